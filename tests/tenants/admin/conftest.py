"""The cast: Alice runs the site, Bob manages Acme, Carol audits, Mallory is at the other tenant."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from asgiref.sync import sync_to_async
from django.conf import settings
from django.contrib.auth.models import Permission
from django.test import Client
from django.utils import timezone

from tenants import ids, sign_ins
from tenants.models import ApiKey, Issued, Membership, RequestRecord, Tenant, User
from tests import second_factors

PASSWORD = "correct horse battery"
KEY = re.compile(r"sk-bridge_(?:live|test)_[0-9A-Za-z]{46}")


def signed_in(user: User) -> Client:
    client = Client()
    client.force_login(user)
    session = client.session
    session["password_given_at"] = session["began_at"] = session["seen_at"] = time.time()
    session.save()
    return client


def allowed(user: User, *codenames: str) -> User:
    user.user_permissions.set(Permission.objects.filter(codename__in=codenames))
    return user


@pytest.fixture
def alice(db: None) -> User:
    return User.objects.create_superuser("alice", password=PASSWORD)


@pytest.fixture
def carol(db: None) -> User:
    user = User.objects.create_user("carol", password=PASSWORD, is_staff=True)
    return allowed(user, "view_tenant", "view_apikey", "view_requestrecord")


def at(user: User, tenant: Tenant, role: str = "manager") -> User:
    """The same person with a role at that tenant."""
    Membership.objects.create(user=user, tenant=tenant, role=role)
    return user


def person(name: str, role: str = "") -> User:
    return User.objects.create_user(name, password=PASSWORD, is_staff=True, role=role)


@pytest.fixture
def bob(acme: Tenant) -> User:
    return at(person("bob"), acme)


@pytest.fixture
def mallory(globex: Tenant) -> User:
    return at(person("mallory"), globex)


@pytest.fixture
def as_alice(alice: User) -> Client:
    return signed_in(alice)


@pytest.fixture
def as_carol(carol: User) -> Client:
    return signed_in(carol)


@pytest.fixture
def acme(db: None) -> Tenant:
    return Tenant.objects.create(slug="acme", name="Acme")


@pytest.fixture
def globex(db: None) -> Tenant:
    return Tenant.objects.create(slug="globex", name="Globex")


def issue(tenant: Tenant, name: str = "support bot", **rights: Any) -> Issued:
    return ApiKey.objects.issue(tenant, name, peppers=settings.KEY_PEPPERS, **rights)


@pytest.fixture
def bobs_key(acme: Tenant) -> Issued:
    return issue(acme)


@pytest.fixture
def mallorys_key(globex: Tenant) -> Issued:
    return issue(globex, "Mallory's notebook")


@pytest.fixture
def read_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Exports are read in the test's own transaction, not in threads with connections of their own."""

    async def reader(call: Callable[[], Any]) -> Any:
        return await sync_to_async(call)()

    monkeypatch.setattr("tenants.exports.reader", reader)
    monkeypatch.setattr("tenants.exports.close_old_connections", lambda: None)


Record = Callable[..., RequestRecord]


@pytest.fixture
def record(db: None) -> Record:
    """Writes a request of a key, a number of seconds old."""

    def write(key: ApiKey, age: float = 1, **columns: Any) -> RequestRecord:
        row = {
            "id": _id_at(timezone.now() - timedelta(seconds=age)),
            "tenant_id": key.tenant_id,
            "key_id": key.pk,
            "key_hint": key.secrets.first().hint,
            "mode": key.mode,
            "state": "settled",
            "status": 200,
            "dialect": "chat",
            "model": "claude-sonnet-5-5",
            **columns,
        }
        return RequestRecord.objects.create(**row)

    return write


def _id_at(moment: datetime) -> UUID:
    """A UUIDv7 of that moment, different from any other."""
    low = ids.uuid7().int & ((1 << 62) - 1)
    return UUID(int=ids.floor(moment).int | low)


# Alice with a second factor


@pytest.fixture
def one_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No code runs out within the test, and it has a minute's worth of told failures of its own."""
    monkeypatch.setattr(sign_ins, "failures", sign_ins.Failures())
    now = time.time() // 30 * 30 + 15
    monkeypatch.setattr(time, "time", lambda: now)


@pytest.fixture
def alices_codes(alice: User, one_moment: None) -> list[str]:
    """Alice has a factor; these are her recovery codes."""
    return second_factors.enrol(alice)


@pytest.fixture
def half(client: Client, alices_codes: list[str]) -> Client:
    """Somebody who gave Alice's password."""
    second_factors.give_password(client)
    return client
