"""Which people look after which tenants."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.contrib.auth import get_user_model
from django.db import models

from tenants.audited import Audited
from tenants.roles import TENANT_ROLES


class Membership(Audited):
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

    @classmethod
    def audit_subject(cls, row: Mapping[str, Any]) -> Mapping[str, Any]:
        name = get_user_model()._base_manager.filter(pk=row["user_id"]).values_list("username", flat=True).first()
        return {"kind": "user", "id": row["user_id"], "label": name or "", "tenant_id": row["tenant_id"]}
