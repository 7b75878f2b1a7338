"""Who may do what, and where: the roles, what each may do, and the tenants that this holds for.

A permission comes from a person's role on the whole site (or, as in any Django site, from groups and single
permissions: these hold on the whole site too), or from a membership: then it holds for the rows of that tenant alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeVar

from django.db.models import Model, QuerySet

Q = TypeVar("Q", bound="QuerySet[Any]")


class Role(StrEnum):
    ADMIN = "admin"
    MANAGER = "manager"
    AUDITOR = "auditor"
    PAYLOAD_AUDITOR = "payload-auditor"


LABELS = {
    Role.ADMIN: "Platform admin",
    Role.MANAGER: "Tenant manager",
    Role.AUDITOR: "Auditor",
    Role.PAYLOAD_AUDITOR: "Auditor with payload",
}
SITE_ROLES = [(str(role), LABELS[role]) for role in (Role.ADMIN, Role.AUDITOR, Role.PAYLOAD_AUDITOR)]
TENANT_ROLES = [(str(role), LABELS[role]) for role in (Role.MANAGER, Role.AUDITOR, Role.PAYLOAD_AUDITOR)]

# The way from a row to its tenant. Rows of a model that is not here belong to the whole site.
PATHS = {
    "tenant": "pk",
    "apikey": "tenant",
    "keysecret": "key__tenant",
    "upstreamcredential": "tenant",
    "budget": "tenant",
    "budgetwindow": "budget__tenant",
    "modelalias": "tenant",
    "requestrecord": "tenant",
    "payload": "tenant",
    "usageday": "tenant",
    "auditevent": "tenant",
}


def _may(*verbs_and_models: str) -> frozenset[str]:
    """`"view add: tenant apikey"` as permissions."""
    pairs = (text.split(":") for text in verbs_and_models)
    names = ((verb, model) for verbs, models in pairs for verb in verbs.split() for model in models.split())
    return frozenset(f"tenants.{verb}_{model}" for verb, model in names)


_LOOKS = _may("view: tenant apikey budget modelalias requestrecord")
_AUDITS = _LOOKS | _may("view: modelprice auditevent user membership", "export: requestrecord")
MAY = {
    Role.MANAGER: _LOOKS | _may("add change: apikey budget modelalias", "delete: modelalias"),
    Role.AUDITOR: _AUDITS,
    Role.PAYLOAD_AUDITOR: _AUDITS | {"tenants.view_payload"},
    Role.ADMIN: _AUDITS
    | _may("add change: tenant apikey budget modelalias modelprice user membership")
    | _may("delete: modelalias modelprice membership"),
}


def at_a_tenant(role: str) -> frozenset[str]:
    """What a membership gives: of what the role may do, that which is about rows of a tenant."""
    may = MAY.get(Role(role), frozenset()) if role in MAY else frozenset()
    return frozenset(name for name in may if name.partition("_")[2] in PATHS or name == "tenants.view_payload")


@dataclass(frozen=True, slots=True)
class Scope:
    """The tenants whose rows something holds for. None: all of them, and what belongs to none."""

    tenants: frozenset[int] | None = frozenset()

    @property
    def everything(self) -> bool:
        return self.tenants is None

    @property
    def tenant(self) -> int | None:
        """The tenant, where it is one alone."""
        return next(iter(self.tenants)) if self.tenants and len(self.tenants) == 1 else None

    def only(self, rows: Q) -> Q:
        """Of these rows, those within."""
        if self.tenants is None:
            return rows
        path = PATHS.get(str(rows.model._meta.model_name))
        return rows.filter(**{f"{path}__in": self.tenants}) if path else rows.none()

    def holds(self, row: Model) -> bool:
        return self.tenants is None or tenant_of(row) in self.tenants


EVERYTHING = Scope(None)


def tenant_of(row: Model) -> int | None:
    """The id of the tenant that a row belongs to."""
    path = PATHS.get(str(row._meta.model_name))
    if path is None:
        return None
    value: Any = row
    *steps, last = path.split("__")
    for step in steps:
        value = getattr(value, step)
    found: int | None = getattr(value, "pk" if last == "pk" else f"{last}_id")
    return found
