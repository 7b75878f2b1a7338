"""How Django's question "may they?" is answered: by role, and about a row by what holds at its tenant."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.contrib.auth.backends import ModelBackend
from django.db.models import Model

from tenants.models import User
from tenants.roles import MAY, Role, tenant_of


class RoleBackend(ModelBackend):
    """Django's, with permissions from roles: asked about a row, only those that hold for it."""

    def get_all_permissions(self, user_obj: Any, obj: Model | None = None) -> set[str]:
        if not user_obj.is_active or user_obj.is_anonymous:
            return set()
        places: Iterable[frozenset[str]] = user_obj.places.values()
        if obj is not None:
            places = [user_obj.places.get(tenant_of(obj), frozenset())]
        return self.everywhere(user_obj).union(*places)

    def everywhere(self, user: User) -> set[str]:
        """What holds on the whole site."""
        role = MAY[Role(user.role)] if user.role in MAY else frozenset()
        return super().get_all_permissions(user) | role
