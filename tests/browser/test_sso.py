"""Single sign-on in a browser under the site's strict policy: out to a provider of another origin, and back."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from typing import Any

import pytest
from django.test import override_settings
from playwright.sync_api import Page, expect

from tenants.models import Tenant, User
from tests.browser.conftest import Shoot
from tests.provider import CLIENT_ID, CLIENT_SECRET, FakeProvider
from tests.proxysite.sso.conftest import provider

__all__ = ["provider"]

KEY = re.compile(r"sk-bridge_live_[0-9A-Za-z]{46}")

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def site(live_server: Any, provider: FakeProvider, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a running console where Dora has an account at the provider."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    User.objects.create_user("dora", "dora@example.com", is_staff=True, role="admin", must_change_password=True)
    Tenant.objects.create(slug="acme", name="Acme")
    with override_settings(
        OIDC_ISSUER=provider.issuer,
        OIDC_CLIENT_ID=CLIENT_ID,
        OIDC_CLIENT_SECRET=CLIENT_SECRET,
        PUBLIC_URL=str(live_server.url),
        ROOT_URLCONF="tests.proxysite.sso.addresses",
    ):
        yield str(live_server.url)


def test_in_by_the_provider_and_there_again_for_a_live_key(
    page: Page, site: str, provider: FakeProvider, shoot: Shoot
) -> None:
    page.goto(f"{site}/admin/tenants/apikey/add/")
    shoot("login-sso")
    provider.down = True
    page.get_by_role("link", name="Sign in with single sign-on").click()
    expect(page.get_by_text("The single sign-on provider cannot be reached")).to_be_visible()
    shoot("login-sso-away")

    provider.down = False
    provider.claims = {"auth_time": int(time.time()) - 3600}
    page.get_by_role("link", name="Sign in with single sign-on").click()
    expect(page).to_have_url(f"{site}/admin/tenants/apikey/add/")
    assert provider.calls.count("/authorize") == 1
    shoot("issue-sso")

    provider.claims = {}
    page.get_by_role("link", name="Sign in again with single sign-on").click()
    expect(page).to_have_url(f"{site}/admin/tenants/apikey/add/")
    assert provider.asked[-1]["prompt"] == "login"
    page.get_by_label("Tenant").select_option(label="Acme")
    page.get_by_label("Name").fill("support bot")
    page.get_by_role("button", name="Issue a key").click()
    assert KEY.fullmatch(page.locator("#key").inner_text())


def test_where_passwords_are_off_there_is_one_way(page: Page, site: str, shoot: Shoot) -> None:
    with override_settings(OIDC_ONLY=True):
        page.goto(f"{site}/admin/")
        expect(page.get_by_label("Password")).to_have_count(0)
        shoot("login-sso-only")
        page.get_by_role("link", name="Sign in with single sign-on").click()
        expect(page).to_have_url(f"{site}/admin/")
        expect(page.get_by_role("button", name="Sign out")).to_be_visible()
