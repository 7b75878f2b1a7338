"""Keys and their secrets: issuing, rotating, revoking, and who holds one."""

from __future__ import annotations

import hmac
import uuid
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from django.core.exceptions import ValidationError
from django.db import models, transaction
from django.utils import timezone

from tenants import ids, keys
from tenants.aliases import ModelAlias
from tenants.installation import GateModel, GateQuerySet
from tenants.limited import Limited
from tenants.limits import Limit
from tenants.records import MODES
from tenants.spending import Budget
from tenants.values import Caller, Mode

if TYPE_CHECKING:
    from tenants.models import Tenant


class Issued(NamedTuple):
    """A new key: its row, and its text, which exists only here and is to be shown once."""

    row: ApiKey
    key: keys.Key


class ApiKeyManager(models.Manager.from_queryset(GateQuerySet)):  # type: ignore[misc]
    def issue(
        self,
        tenant: Tenant,
        name: str,
        *,
        peppers: Mapping[int, bytes],
        mode: Mode = Mode.LIVE,
        allowed_models: list[str] | None = None,
        expires_at: datetime | None = None,
        note: str = "",
        compat: str = "lenient",
        auto_cache: bool = True,
        rpm: int | None = None,
        tpm: int | None = None,
        concurrency: int | None = None,
        dark_limits: bool = False,
        idempotent: bool = False,
        by: object = "",
        id: uuid.UUID | None = None,
    ) -> Issued:
        """Makes a key with its first secret. With an `id` that exists already: IntegrityError, nothing is issued."""
        with transaction.atomic():
            row: ApiKey = self.create(
                id=id or ids.uuid7(),
                tenant=tenant,
                name=name,
                mode=mode,
                allowed_models=allowed_models or None,
                expires_at=expires_at,
                note=note,
                compat=compat,
                auto_cache=auto_cache,
                rpm=rpm,
                tpm=tpm,
                concurrency=concurrency,
                dark_limits=dark_limits,
                idempotent=idempotent,
                created_by=str(by),
            )
            key = keys.mint(mode)
            number = max(peppers)
            KeySecret.objects.create(
                key=row, public_id=key.public_id, hint=key.hint, pepper=number, digest=key.digest(peppers[number])
            )
        return Issued(row, key)


class ApiKey(Limited, GateModel):
    """A virtual key. Its secrets may change (rotation); name, rights and history stay."""

    audit_name = "key"

    id = models.UUIDField(primary_key=True, default=ids.uuid7, editable=False)
    tenant = models.ForeignKey("tenants.Tenant", models.PROTECT, related_name="keys")
    name = models.CharField(max_length=120, help_text="What it is for, e.g. “support bot, production”.")
    note = models.TextField(blank=True, help_text="Who holds it, where it is deployed.")
    mode = models.CharField(max_length=4, choices=MODES, default="live")
    allowed_models = models.JSONField(null=True, blank=True, help_text="Models the key may use; empty: all.")
    compat = models.CharField(
        max_length=7,
        choices=[("lenient", "lenient"), ("strict", "strict")],
        default="lenient",
        help_text="Strict: a request whose parameters would be ignored gets a 400 instead of a note on the receipt.",
    )
    auto_cache = models.BooleanField(
        "automatic caching",
        default=True,
        help_text="Long prompts without cache breakpoints of their own are cached: repeats cost a tenth or less, "
        "the first write a quarter more.",
    )
    idempotent = models.BooleanField(
        "Idempotency-Key",
        default=False,
        help_text="A request that carries an Idempotency-Key is answered once: the same request under the same name "
        "gets the same answer, free, for a day. Such answers are kept, encrypted.",
    )
    expires_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    created_by = models.CharField(max_length=150, blank=True, editable=False)
    revoked_at = models.DateTimeField(null=True, blank=True, editable=False)
    revoked_by = models.CharField(max_length=150, blank=True, editable=False)
    revoked_reason = models.CharField(max_length=250, blank=True, editable=False)

    objects: ClassVar[ApiKeyManager] = ApiKeyManager()

    class Meta:
        ordering = ["-created_at"]
        verbose_name = "key"

    def __str__(self) -> str:
        return f"{self.name} ({self.tenant})"

    def clean(self) -> None:
        listed = self.allowed_models
        if listed is not None and not (isinstance(listed, list) and all(isinstance(name, str) for name in listed)):
            raise ValidationError({"allowed_models": "A list of model names."})

    def limits(self) -> list[Limit]:
        """Those that its requests have to fit: its own and its tenant's, whose live and test keys count apart."""
        tenant = self.tenant.own_limits("tenant", f"{self.tenant_id}:{self.mode}")
        return [*self.own_limits("key", str(self.pk)), *tenant]

    def revoke(self, reason: str, by: object = "") -> None:
        """Refuses the key from now on (within a second on every worker). The row and its history stay."""
        if self.revoked_at is None:
            self.revoked_at, self.revoked_by, self.revoked_reason = timezone.now(), str(by), reason[:250]
            fields = ["revoked_at", "revoked_by", "revoked_reason"]
            self.save(update_fields=fields, action="key.revoked", reason=reason)

    @property
    def status(self) -> str:
        if self.revoked_at:
            return "revoked"
        if self.expires_at and self.expires_at <= timezone.now():
            return "expired"
        return "suspended" if self.tenant.suspended_at else "active"


class KeySecretQuerySet(GateQuerySet):
    def identify(self, key: keys.Key, peppers: Mapping[int, bytes]) -> Caller | None:
        """Who holds this key, or None. A miss costs the same digest as a hit."""
        secret = self.select_related("key__tenant").filter(public_id=key.public_id).first()
        pepper = peppers.get(secret.pepper) if secret else None
        digest = key.digest(pepper or b"-")
        if secret is None or pepper is None or not hmac.compare_digest(bytes(secret.digest), digest):
            return None
        caller: Caller = secret.as_caller()
        return caller

    def touch(self, used: Mapping[int, datetime]) -> None:
        """Notes when secrets were last used; the gate need not hear of it."""
        for secret_id, at in used.items():
            models.QuerySet.update(self.filter(pk=secret_id), last_used_at=at)


class KeySecret(GateModel):
    """One secret of a key: only its digest is kept, under a numbered pepper that the database never sees."""

    audit_part = "secret"

    key = models.ForeignKey(ApiKey, models.CASCADE, related_name="secrets")
    public_id = models.CharField(max_length=8, unique=True, editable=False)
    hint = models.CharField(max_length=40, editable=False)
    digest = models.BinaryField(max_length=32, editable=False)
    pepper = models.PositiveSmallIntegerField(editable=False)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    expires_at = models.DateTimeField(null=True, blank=True, help_text="End of a rotation's overlap.")
    last_used_at = models.DateTimeField(null=True, blank=True, editable=False)

    objects: ClassVar[models.Manager[Any]] = models.Manager.from_queryset(KeySecretQuerySet)()

    class Meta:
        ordering = ["-created_at"]

    def __str__(self) -> str:
        return self.hint

    @classmethod
    def audit_subject(cls, row: Mapping[str, Any]) -> Mapping[str, Any]:
        tenant = ApiKey.objects.filter(pk=row["key_id"]).values_list("tenant_id", flat=True).first()
        return {"kind": "key", "id": row["key_id"], "label": row["hint"], "tenant_id": tenant}

    def as_caller(self) -> Caller:
        key, tenant = self.key, self.key.tenant
        ends = [at.timestamp() for at in (self.expires_at, key.expires_at) if at]
        return Caller(
            key_id=key.pk,
            secret_id=self.pk,
            tenant_id=tenant.pk,
            tenant=tenant.slug,
            name=key.name,
            hint=self.hint,
            mode=Mode(key.mode),
            expires_at=min(ends, default=None),
            models=frozenset(key.allowed_models) if key.allowed_models else None,
            aliases=ModelAlias.of(tenant),
            strict=key.compat == "strict",
            auto_cache=key.auto_cache,
            budgets=Budget.objects.rules_of(key),
            limits=tuple(key.limits()),
            idempotent=key.idempotent or tenant.idempotent,
            barred="revoked" if key.revoked_at else "suspended" if tenant.suspended_at else "",
        )
