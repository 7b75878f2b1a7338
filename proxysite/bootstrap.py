"""The first start: someone who can log in, and a test key to try things with. Later starts find both and do nothing."""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass
from pathlib import Path

from django.conf import settings
from django.db import transaction

from proxysite import environment as env
from tenants.models import ApiKey, Tenant, User
from tenants.values import Mode


@dataclass(frozen=True, slots=True)
class FirstSteps:
    """What was made now; an empty text is what was there already (or came from the environment)."""

    username: str = ""
    password: str = ""
    test_key: str = ""

    def lines(self) -> list[str]:
        told = []
        if self.password:
            told.append(f"Console login   {self.username} / {self.password}   (asks for a password of your own)")
        if self.test_key:
            told.append(f"First test key  {self.test_key}")
        return told

    def keep(self, path: Path) -> None:
        """Writes it where only this user can read it, for starts without a terminal."""
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write("\n".join(self.lines()) + "\n")


@transaction.atomic
def first_steps() -> FirstSteps:
    username, password = _first_admin()
    return FirstSteps(username, password, _first_key())


def _first_admin() -> tuple[str, str]:
    if User.objects.exists():
        return "", ""
    username = env.read("DJANGO_SUPERUSER_USERNAME", "admin")
    given = env.read("DJANGO_SUPERUSER_PASSWORD")
    password = given or secrets.token_urlsafe(12)
    User.objects.create_superuser(
        username, env.read("DJANGO_SUPERUSER_EMAIL"), password, must_change_password=not given
    )
    return username, "" if given else password


def _first_key() -> str:
    if ApiKey.objects.exists():
        return ""
    tenant, _ = Tenant.objects.get_or_create(slug="first-steps", defaults={"name": "First steps"})
    return ApiKey.objects.issue(tenant, "first test key", mode=Mode.TEST, peppers=settings.KEY_PEPPERS).key.text
