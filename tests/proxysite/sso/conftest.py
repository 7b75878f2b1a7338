"""Dora has an account at the provider and is someone here; the site asks the provider on this machine."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.http import HttpResponse
from django.test import Client
from django.test import override_settings as settings_of

from proxysite.sso import provider as asked
from tenants.models import User
from tenants.sign_ins import Failures
from tests.provider import CLIENT_ID, CLIENT_SECRET, FakeProvider
from tests.tenants.admin.conftest import PASSWORD, signed_in

HERE = "http://testserver"


@pytest.fixture
def provider() -> Iterator[FakeProvider]:
    asked.forget()
    with FakeProvider() as fake:
        yield fake


@pytest.fixture
def site(provider: FakeProvider, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Single sign-on is on."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with settings_of(
        OIDC_ISSUER=provider.issuer,
        OIDC_CLIENT_ID=CLIENT_ID,
        OIDC_CLIENT_SECRET=CLIENT_SECRET,
        PUBLIC_URL=HERE,
        ROOT_URLCONF="tests.proxysite.sso.addresses",
    ):
        yield


@pytest.fixture(autouse=True)
def nothing_told_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Failed sign-ins are told ten times a minute at most: of every test anew."""
    monkeypatch.setattr("tenants.sign_ins.failures", Failures())


@pytest.fixture
def as_alice(db: None) -> Client:
    return signed_in(User.objects.create_superuser("alice", password=PASSWORD))


@pytest.fixture
def dora(db: None) -> User:
    """She was added with a password that she never used."""
    return User.objects.create_user(
        "dora", "Dora@Example.com", PASSWORD, is_staff=True, role="admin", must_change_password=True
    )


SignIn = Callable[..., HttpResponse]


@pytest.fixture
def sign_in(site: None, provider: FakeProvider, client: Client) -> SignIn:
    """The whole way: to the provider, and back with what it gives."""

    def walk(by: Client = client, **asks: str) -> HttpResponse:
        begun = by.get("/admin/sso/", asks)
        assert begun.status_code == 302
        return by.get(provider.visit(begun.headers["Location"]))

    return walk


def said(client: Client) -> str:
    """What the page for signing in tells somebody."""
    page = client.get("/admin/login/").content.decode()
    return page.partition('<ul class="messagelist">')[2].partition("</ul>")[0]


def is_in(client: Client) -> bool:
    return "_auth_user_id" in client.session


def trail() -> list[tuple[str, str, dict[str, Any]]]:
    """What the audit trail has of sign-ins, oldest first: what, whose, and what else."""
    from tenants.models import AuditEvent

    rows = AuditEvent.objects.filter(action__startswith="user.sign").order_by("seq")
    return [(row.action, row.object_label, row.told_context) for row in rows]
