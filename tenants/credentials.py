"""Tenants' own keys to Anthropic: kept encrypted, shown to nobody, used for their requests instead of the site's."""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING, Any, ClassVar

from django.conf import settings
from django.db import models, transaction
from django.utils import timezone

from tenants.encryption import Box, Unreadable
from tenants.installation import GateModel, GateQuerySet
from tenants.values import Credential

if TYPE_CHECKING:
    from tenants.models import Tenant

log = logging.getLogger(__name__)

_FORM = re.compile(r"sk-ant-[0-9A-Za-z_-]{16,240}")


def check(secret: str) -> str:
    """The key without what was pasted around it. Raises ValueError; never repeats what it was given."""
    secret = secret.strip()
    if not _FORM.fullmatch(secret):
        raise ValueError(
            "That is not an Anthropic key: it begins with sk-ant- and holds letters, digits, - and _ only."
        )
    return secret


class CredentialQuerySet(GateQuerySet):
    def put(self, tenant: Tenant, secret: str, by: object = "") -> UpstreamCredential:
        """Sets or replaces a tenant's key, within a second on every worker; what runs goes on. Raises ValueError."""
        secret = check(secret)
        with transaction.atomic():
            old = self.select_for_update().filter(tenant=tenant).first()
            if old is not None:  # a new row, so that nothing learned with the old key is taken for the new one's
                old.delete(action="credential.replaced")
            row: UpstreamCredential = self.create(
                tenant=tenant,
                hint=f"sk-ant-…{secret[-4:]}",
                sealed=_box().seal(_purpose(tenant.pk), secret.encode()),
                created_by=str(by),
            )
        return row

    def of(self, tenant_id: int) -> Credential | None:
        """What goes upstream for this tenant; one that cannot be read has no secret, and must not be replaced by the
        site's."""
        row = self.filter(tenant_id=tenant_id).first()
        if row is None:
            return None
        try:
            secret = _box().open(_purpose(tenant_id), row.sealed).decode()
        except Unreadable:
            log.error("a tenant's Anthropic key cannot be decrypted", extra={"tenant_id": tenant_id})
            secret = ""
        return Credential(secret, row.hint, row.pk, refused=row.refused_at is not None)

    def note(self, pk: int, refused: str) -> None:
        """Upstream refused it, and how; or, with an empty text, took it again."""
        rows = self.filter(pk=pk, refused_at__isnull=bool(refused))
        if rows.exists():
            rows.update(refused_at=timezone.now() if refused else None, refused_as=refused[:64])


class UpstreamCredential(GateModel):
    """One tenant's key. It can be replaced or removed, not read."""

    audit_name = "credential"
    audit_ignored = GateModel.audit_ignored | {"refused_at", "refused_as"}

    tenant = models.OneToOneField("tenants.Tenant", models.CASCADE, related_name="credential")
    hint = models.CharField(max_length=40, editable=False)
    sealed = models.BinaryField(editable=False)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    created_by = models.CharField(max_length=150, blank=True, editable=False)
    refused_at = models.DateTimeField(null=True, editable=False, help_text="Since when Anthropic refuses it.")
    refused_as = models.CharField(max_length=64, blank=True, editable=False)

    objects: ClassVar[models.Manager[Any]] = models.Manager.from_queryset(CredentialQuerySet)()

    class Meta:
        verbose_name = "Anthropic key"

    def __str__(self) -> str:
        return self.hint


def _box() -> Box:
    return Box(settings.ENCRYPTION_KEYS)


def _purpose(tenant_id: int) -> str:
    return f"credential:{tenant_id}"
