"""Which people look after which tenants."""

from __future__ import annotations

from django.db import models

from tenants.audited import AuditedOfPerson
from tenants.roles import TENANT_ROLES


class Membership(AuditedOfPerson):
    """What someone may do at one tenant. Who has a role on the whole site needs none."""

    audit_part = "membership"

    user = models.ForeignKey("tenants.User", models.CASCADE, related_name="memberships")
    tenant = models.ForeignKey("tenants.Tenant", models.CASCADE, related_name="memberships")
    role = models.CharField(max_length=20, choices=TENANT_ROLES, default="manager")

    class Meta:
        ordering = ["tenant__name"]
        constraints = [models.UniqueConstraint(fields=["user", "tenant"], name="one_role_at_a_tenant")]

    def __str__(self) -> str:
        return f"{self.get_role_display()} of {self.tenant}"
