"""The tables: people and tenants here; keys, aliases, budgets, usage, the record and the site in files of their own."""

from __future__ import annotations

from typing import Any, ClassVar

from django.contrib.auth.models import AbstractUser, UserManager
from django.db import models, transaction
from django.utils import timezone
from django.utils.functional import cached_property

from tenants.alerts import Alert, check_emails, check_webhook
from tenants.aliases import ModelAlias
from tenants.audit import AuditEvent
from tenants.audited import Audited, AuditedQuerySet
from tenants.capture import DAYS_VALIDATORS, LABELS, Capturing, Level
from tenants.credentials import UpstreamCredential
from tenants.installation import GateModel, Installation
from tenants.keyring import ApiKey, Issued, KeySecret
from tenants.limited import Limited
from tenants.limits import Limit
from tenants.memberships import Membership
from tenants.payloads import Payload
from tenants.pricing import ModelPrice
from tenants.provider_accounts import ProviderAccount
from tenants.records import MODES, RECORD_COLUMNS, RequestRecord
from tenants.recovery_codes import RecoveryCode
from tenants.replays import Replay
from tenants.roles import EVERYTHING, SITE_ROLES, Scope, at_a_tenant
from tenants.second_factor import SecondFactor
from tenants.spending import Budget, BudgetWindow, Hold, Holder
from tenants.throttle import SignInTries
from tenants.usage import UsageDay
from tenants.vault import KeptThinking
from tenants.windows import check_zone


class People(UserManager.from_queryset(AuditedQuerySet)):  # type: ignore[misc]
    use_in_migrations = False


class User(Audited, AbstractUser):
    """Someone who may open the console."""

    audit_name = "user"

    must_change_password = models.BooleanField(
        default=False, help_text="Asked for a password of their own before anything else."
    )
    role = models.CharField(
        "role on the whole site", max_length=20, blank=True, choices=[("", "None"), *SITE_ROLES], default=""
    )

    objects: ClassVar[People] = People()

    class Meta(AbstractUser.Meta):
        pass

    def granted(self) -> dict[str, list[str]]:
        """The names of what it was given besides its own columns."""
        permissions = self.user_permissions.order_by("codename").values_list("codename", flat=True)
        return {"groups": sorted(self.groups.values_list("name", flat=True)), "permissions": list(permissions)}

    def tell_granted(self, before: dict[str, list[str]]) -> None:
        """Tells the audit trail of what changed since."""
        after = self.granted()
        if changed := [name for name in after if after[name] != before[name]]:
            old, new = ({name: told[name] for name in changed} for told in (before, after))
            AuditEvent.objects.append("user.permissions_changed", self, before=old, after=new)

    @cached_property
    def places(self) -> dict[int | None, frozenset[str]]:
        """What they may do at single tenants, by the tenant's id."""
        if self.pk is None:
            return {}
        return {tenant: at_a_tenant(role) for tenant, role in self.memberships.values_list("tenant_id", "role")}

    @property
    def factor(self) -> SecondFactor | None:
        """What they sign in with beside the password, if they set it up."""
        return getattr(self, "second_factor", None)

    def scope(self, *permissions: str) -> Scope:
        """Where any of these permissions holds for them."""
        from tenants.backend import RoleBackend  # it needs this class

        if not self.is_active:
            return Scope()
        if self.is_superuser or RoleBackend().everywhere(self).intersection(permissions):
            return EVERYTHING
        wanted = set(permissions)
        return Scope(frozenset(tenant for tenant, may in self.places.items() if tenant and wanted & may))

    def save(self, *args: Any, action: str = "", **kwargs: Any) -> None:
        """A new password is told as that; the same one under a newer hash (Django's doing) as a mere change."""
        if vars(self).get("_password") is not None and not self._state.adding:
            action = action or "user.password_changed"
        super().save(*args, action=action, **kwargs)


class Tenant(Limited, Capturing, GateModel):
    """A team or customer: owns keys, and everything recorded under them."""

    audit_secret = frozenset({"alert_webhook"})  # services put their password into the address

    slug = models.SlugField(unique=True, max_length=60, help_text="Short name for commands and exports, e.g. acme.")
    name = models.CharField(max_length=120)
    note = models.TextField(blank=True)
    time_zone = models.CharField(
        max_length=64, default="UTC", validators=[check_zone], help_text="Where its days begin, e.g. Europe/Berlin."
    )
    alert_emails = models.TextField(
        blank=True,
        validators=[check_emails],
        help_text="Who hears of budgets at 50, 80 and 100 %: addresses, one a line. Empty: the site's.",
    )
    alert_webhook = models.URLField(
        max_length=500,
        blank=True,
        validators=[check_webhook],
        help_text="Where the same goes as a signed POST: https only. Empty: the site's.",
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    suspended_at = models.DateTimeField(null=True, blank=True, editable=False)
    suspended_by = models.CharField(max_length=150, blank=True, editable=False)
    suspended_reason = models.CharField(max_length=250, blank=True, editable=False)
    retention_days = models.PositiveIntegerField(
        "retention",
        null=True,
        blank=True,
        help_text="Days that its records are kept. Empty: the site's default (RETENTION_DAYS). 0: for ever.",
    )
    idempotent = models.BooleanField(
        "Idempotency-Key", default=False, help_text="For all of its keys: answers are kept for a day, encrypted."
    )
    capture = models.CharField("payloads kept", max_length=7, choices=LABELS, default=Level.OFF.value)
    capture_days = models.PositiveIntegerField(
        "days kept", default=30, validators=DAYS_VALIDATORS, help_text="With its record at the latest."
    )
    thinking_vault = models.BooleanField(
        "keep thinking",
        default=False,
        help_text="Stores content: Claude's signed thinking before its tool calls, encrypted, for hours, so that it is "
        "there again when a client comes back without it. Off: none is stored, and what was is deleted.",
    )
    held_at = models.DateTimeField(null=True, blank=True, editable=False)
    held_reason = models.CharField(max_length=250, blank=True, editable=False)

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name

    def limits(self) -> list[Limit]:
        """Those of all its live keys together; test keys count apart, against the same."""
        return self.own_limits("tenant", f"{self.pk}:live")

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Thinking that is not to be kept any more goes at once, unless the tenant is under legal hold."""
        with transaction.atomic():
            super().save(*args, **kwargs)
            if not self.thinking_vault and self.held_at is None:
                KeptThinking.objects.filter(tenant=self).delete()

    def suspend(self, reason: str = "", by: object = "") -> None:
        """Refuses every key of the tenant from now on (within a second on every worker)."""
        if self.suspended_at is None:
            self.suspended_at, self.suspended_by, self.suspended_reason = timezone.now(), str(by), reason[:250]
            fields = ["suspended_at", "suspended_by", "suspended_reason"]
            self.save(update_fields=fields, action="tenant.suspended", reason=reason)

    def resume(self, reason: str = "") -> None:
        self.suspended_at, self.suspended_by, self.suspended_reason = None, "", ""
        fields = ["suspended_at", "suspended_by", "suspended_reason"]
        self.save(update_fields=fields, action="tenant.resumed", reason=reason)

    def hold(self, reason: str) -> None:
        """Legal hold: nothing recorded of it is pruned or erased until it is released."""
        self.held_at, self.held_reason = timezone.now(), reason[:250]
        self.save(update_fields=["held_at", "held_reason"], action="tenant.held", reason=reason)

    def release(self) -> None:
        """Ends the legal hold: what its retention no longer covers goes with the next pruning."""
        self.held_at, self.held_reason = None, ""
        self.save(update_fields=["held_at", "held_reason"], action="tenant.released")


__all__ = [
    "MODES", "RECORD_COLUMNS", "Alert", "ApiKey", "AuditEvent", "Budget", "BudgetWindow", "Hold", "Holder",
    "Installation", "Issued", "KeptThinking", "KeySecret", "Membership", "ModelAlias", "ModelPrice", "Payload",
    "ProviderAccount", "RecoveryCode", "Replay", "RequestRecord", "SecondFactor", "SignInTries", "Tenant",
    "UpstreamCredential", "UsageDay", "User",
]  # fmt: skip
