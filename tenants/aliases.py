"""Other names for models."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db import models
from django.db.models import F, Q

from tenants.installation import GateModel

if TYPE_CHECKING:
    from tenants.models import Tenant


class ModelAlias(GateModel):
    """Another name for a model: for one tenant, or for all. The tenant's own wins."""

    audit_name = "alias"

    tenant = models.ForeignKey(
        "tenants.Tenant",
        models.CASCADE,
        null=True,
        blank=True,
        related_name="aliases",
        help_text="Empty: for every tenant.",
    )
    name = models.CharField(max_length=200, help_text="What clients ask for, e.g. gpt-4o.")
    target = models.CharField(max_length=200, help_text="The model they get, e.g. claude-sonnet-5-5.")

    class Meta:
        ordering = ["name", "tenant"]
        verbose_name = "alias"
        verbose_name_plural = "aliases"
        constraints = [
            models.UniqueConstraint(fields=["tenant", "name"], name="alias_of_tenant"),
            models.UniqueConstraint(fields=["name"], condition=Q(tenant=None), name="alias_of_all"),
        ]

    def __str__(self) -> str:
        return f"{self.name} → {self.target}"

    @classmethod
    def of(cls, tenant: Tenant) -> dict[str, str]:
        """What this tenant's names mean."""
        rows = cls.objects.filter(Q(tenant=None) | Q(tenant=tenant)).order_by(F("tenant").asc(nulls_first=True))
        return dict(rows.values_list("name", "target"))
