"""Keys and their secrets: issuing, rotating, revoking, and who holds one."""

from __future__ import annotations

import hmac
import uuid
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from django.core.exceptions import ValidationError
from django.db import models, transaction
from django.utils import timezone

from tenants import audit, ids, keys, networks, tags
from tenants.aliases import ModelAlias
from tenants.capture import DAYS_VALIDATORS, LABELS, Capturing, Level, policy
from tenants.credentials import UpstreamCredential
from tenants.installation import GateModel, GateQuerySet
from tenants.limited import Limited
from tenants.limits import Limit
from tenants.records import MODES
from tenants.spending import Budget
from tenants.values import Caller, Mode

if TYPE_CHECKING:
    from tenants.models import Tenant


GUESTS = uuid.UUID("00000000-0000-7000-8000-63616c6c6572")  # the key row of ALLOW_CALLER_KEYS
GUEST_TENANT = "caller-keys"


class RotationRefused(Exception):
    """Why a key's secrets cannot be changed like that, in words for whoever asked."""


class AlreadyRotated(RotationRefused):
    """The secret that was to be replaced is not the newest any more."""


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
        networks: list[str] | None = None,
        tags: dict[str, str] | None = None,
        by: object = "",
        id: uuid.UUID | None = None,
        **columns: Any,
    ) -> Issued:
        """Makes a key with its first secret; `columns` are any others of the key's.

        With an `id` that exists already: IntegrityError, nothing is issued. Raises ValueError for networks or tags that
        are none.
        """
        with transaction.atomic():
            row: ApiKey = self.create(
                id=id or ids.uuid7(),
                tenant=tenant,
                name=name,
                mode=mode,
                allowed_models=allowed_models or None,
                networks=_networks(networks),
                tags=_tags(tags),
                created_by=str(by),
                **columns,
            )
            return Issued(row, KeySecret.objects.mint(row, peppers))

    def guest(self) -> Caller:
        """Whoever comes with a key of Anthropic's (ALLOW_CALLER_KEYS), but for that key.

        They share a row without secrets, under a tenant of its own: revoking one or suspending the other ends it.
        """
        from tenants.models import Tenant

        key = self.select_related("tenant").filter(pk=GUESTS).first()
        if key is None:
            with transaction.atomic():
                tenant, _ = Tenant.objects.get_or_create(slug=GUEST_TENANT, defaults={"name": "Callers' own keys"})
                defaults = {"tenant": tenant, "name": "callers' own keys", "created_by": "ALLOW_CALLER_KEYS"}
                key, _ = self.get_or_create(pk=GUESTS, defaults=defaults)
        caller: Caller = KeySecret(key=key, hint="").as_caller()
        return caller


class ApiKey(Limited, Capturing, GateModel):
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
    networks = models.JSONField(
        null=True, blank=True, help_text="Addresses and networks it may be used from; empty: any."
    )
    tags = models.JSONField(null=True, blank=True, help_text="Up to ten name=value pairs, copied to its records.")
    capture = models.CharField(
        "payloads kept",
        max_length=7,
        choices=[*LABELS[:-1], (str(Level.FULL), "Whatever its tenant keeps")],
        default=Level.FULL.value,
    )
    capture_days = models.PositiveIntegerField(
        "days kept", null=True, blank=True, validators=DAYS_VALIDATORS, help_text="Empty: as long as its tenant's."
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
        for name, read in (("networks", _networks), ("tags", _tags)):
            try:
                setattr(self, name, read(getattr(self, name)))
            except (ValueError, TypeError, AttributeError) as error:
                raise ValidationError({name: str(error)}) from None

    def rotate(
        self, overlap: timedelta, peppers: Mapping[int, bytes], by: object = "", *, replacing: int | None = None
    ) -> keys.Key:
        """Gives the key a new secret, to be shown once; the one before it ends after `overlap`. Two live at most.

        `replacing`: the newest secret as whoever asks has seen it, so that asking twice rotates once. Raises
        RotationRefused.
        """
        with transaction.atomic():
            audit.lock()  # before the row, as every change of one does: two that wait for each other would both fail
            row: ApiKey = ApiKey.objects.select_for_update().get(pk=self.pk)  # one rotation at a time
            now = timezone.now()
            secrets = list(row.secrets.order_by("-pk"))
            live = [secret for secret in secrets if secret.is_live(now)]
            row._check_rotation(overlap, secrets, live, replacing)
            for secret in live:
                secret.end(now + overlap)
            return KeySecret.objects.mint(row, peppers, action="key.rotated")

    def _check_rotation(
        self, overlap: timedelta, secrets: list[KeySecret], live: list[KeySecret], replacing: int | None
    ) -> None:
        if self.revoked_at:
            raise RotationRefused("This key is revoked, and stays so: issue another one.")
        if not secrets:
            raise RotationRefused("This key has no secret of its own that could be rotated.")
        if replacing is not None and secrets[0].pk != replacing:
            raise AlreadyRotated(
                "This key was rotated before: its newest secret is not the one that was to be replaced."
            )
        if self.expires_at and self.expires_at <= timezone.now():
            raise RotationRefused("This key has expired: give it a later end first.")
        if overlap and len(live) > 1:
            ends = live[-1].expires_at
            raise RotationRefused(
                f"Two secrets of this key work already, the older one until {ends:%Y-%m-%d %H:%M:%S} UTC: "
                "end it first, or rotate without an overlap, which ends both."
            )

    def end_old_secrets(self, reason: str = "") -> None:
        """Ends a rotation's overlap now (within a second on every worker)."""
        with transaction.atomic():
            now = timezone.now()
            for secret in self.secrets.order_by("-pk")[1:]:
                secret.end(now, reason)

    @property
    def old_secret(self) -> KeySecret | None:
        """The one that a rotation replaced, while it still works."""
        now = timezone.now()
        return next((secret for secret in list(self.secrets.all())[1:] if secret.is_live(now)), None)

    @property
    def can_rotate(self) -> bool:
        return self.status in ("active", "suspended") and bool(self.secrets.all())

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

    def mint(self, row: ApiKey, peppers: Mapping[int, bytes], action: str = "") -> keys.Key:
        """A new secret of a key. What is returned exists only there."""
        key = keys.mint(Mode(row.mode))
        number = max(peppers)
        digest = key.digest(peppers[number])
        secret = self.model(key=row, public_id=key.public_id, hint=key.hint, pepper=number, digest=digest)
        secret.save(force_insert=True, action=action)
        return key

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

    def is_live(self, now: datetime) -> bool:
        return self.expires_at is None or self.expires_at > now

    def end(self, at: datetime, reason: str = "") -> None:
        """It works until then, or until it was to end anyway."""
        if self.is_live(at):
            self.expires_at = at
            self.save(update_fields=["expires_at"], action="key.secret_ended", reason=reason)

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
            rotated=self.expires_at is not None and self.expires_at.timestamp() == min(ends),
            models=frozenset(key.allowed_models) if key.allowed_models else None,
            aliases=ModelAlias.of(tenant),
            strict=key.compat == "strict",
            auto_cache=key.auto_cache,
            budgets=Budget.objects.rules_of(key),
            limits=tuple(key.limits()),
            idempotent=key.idempotent or tenant.idempotent,
            keeps_thinking=tenant.thinking_vault,
            credential=UpstreamCredential.objects.of(tenant.pk) if key.mode == "live" else None,
            networks=tuple(map(networks.read, key.networks or ())),
            tags=key.tags or {},
            capture=policy(tenant, key),
            barred="revoked" if key.revoked_at else "suspended" if tenant.suspended_at else "",
        )


def _networks(texts: list[str] | None) -> list[str] | None:
    return networks.read_all(texts or ()) or None


def _tags(given: dict[str, str] | None) -> dict[str, str] | None:
    return tags.read_all(tags.shown(given)) or None
