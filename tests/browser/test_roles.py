"""A manager and an auditor in a browser: what is theirs, and what they are not offered."""

from __future__ import annotations

from typing import Any

import pytest
from django.conf import settings
from playwright.sync_api import Page, expect

from tenants.models import ApiKey, Budget, Membership, ModelAlias, RequestRecord, Tenant, User
from tests.browser.conftest import Shoot

PASSWORD = "correct horse battery"

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def site(live_server: Any) -> str:
    """A console with two tenants, and Alice to give roles."""
    User.objects.create_superuser("alice", password=PASSWORD)
    for name in ("Acme", "Globex"):
        tenant = Tenant.objects.create(slug=name.lower(), name=name, rpm=600)
        key = ApiKey.objects.issue(tenant, f"{name}'s key", peppers=settings.KEY_PEPPERS).row
        Budget.objects.give(tenant, "month", 100 * 10**9)
        ModelAlias.objects.create(tenant=tenant, name=f"{name.lower()}-model", target="claude-sonnet-5-5")
        RequestRecord.objects.create(
            tenant=tenant, key=key, key_hint=key.secrets.get().hint, mode="live", state="settled", status=200,
            dialect="chat", model="claude-sonnet-5-5", input_tokens=1200, output_tokens=80, cost_nanos=4_800_000,
        )  # fmt: skip
    return str(live_server.url)


def sign_in(page: Page, site: str, name: str) -> None:
    page.goto(f"{site}/admin/")
    page.get_by_label("Username").fill(name)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()


def sign_out(page: Page) -> None:
    page.get_by_role("button", name="Sign out").click()


def add_bob(page: Page, site: str, shoot: Shoot) -> None:
    """Name, password, role and tenant in one form."""
    page.goto(f"{site}/admin/tenants/user/add/")
    page.get_by_label("Username").fill("bob")
    page.locator("#id_password1").fill(PASSWORD)
    page.locator("#id_password2").fill(PASSWORD)
    page.get_by_label("Must choose a new password").uncheck()
    page.locator("#id_memberships-0-tenant").select_option(label="Acme")
    page.locator("#id_memberships-0-role").select_option(label="Tenant manager")
    shoot("person-add")
    page.get_by_role("button", name="Add a person").click()
    expect(page.get_by_text("was added successfully")).to_be_visible()


def test_a_manager_sees_only_acme(page: Page, site: str, shoot: Shoot) -> None:
    sign_in(page, site, "alice")
    add_bob(page, site, shoot)
    page.goto(f"{site}/admin/tenants/user/")
    expect(page.get_by_text("Tenant manager of Acme")).to_be_visible()
    shoot("people")
    sign_out(page)

    sign_in(page, site, "bob")
    for section in ("", "tenant", "apikey", "budget", "modelalias", "requestrecord"):
        page.goto(f"{site}/admin/{f'tenants/{section}/' if section else ''}")
        assert "globex" not in page.content().lower(), section
        shoot(f"manager-{section or 'overview'}")
    nav = page.locator("#console-nav")
    expect(nav.get_by_role("link", name="Keys")).to_have_count(1)
    expect(nav.get_by_role("link", name="People")).to_have_count(0)

    page.goto(f"{site}/admin/tenants/apikey/add/")
    assert page.get_by_label("Tenant").locator("option").all_inner_texts()[1:] == ["Acme"]
    page.get_by_label("Tenant").select_option(label="Acme")
    page.get_by_label("Name").fill("too fast")
    page.get_by_label("Requests per minute").fill("601")
    page.get_by_role("button", name="Issue a key").click()
    expect(page.get_by_text("At most 600: the limit of Acme itself.")).to_be_visible()
    shoot("manager-ceiling")
    page.get_by_label("Requests per minute").fill("600")
    page.get_by_role("button", name="Issue a key").click()
    assert page.locator("#key").inner_text().startswith("sk-bridge_live_")


def test_an_auditor_looks_and_changes_nothing(page: Page, site: str, shoot: Shoot) -> None:
    User.objects.create_user("carol", password=PASSWORD, is_staff=True, role="auditor")
    sign_in(page, site, "carol")
    for kind, rows in (("tenant", Tenant), ("apikey", ApiKey), ("budget", Budget), ("modelalias", ModelAlias)):
        page.goto(f"{site}/admin/tenants/{kind}/")
        assert "Globex" in page.content() and "Acme" in page.content()
        expect(page.locator(".object-tools a[href*='add/']")).to_have_count(0)
        page.goto(f"{site}/admin/tenants/{kind}/{rows.objects.first().pk}/change/")  # type: ignore[attr-defined]
        expect(page.get_by_role("button", name="Save")).to_have_count(0)
        expect(page.locator("main input:not([type=hidden]), main textarea, main select")).to_have_count(0)
        shoot(f"auditor-{kind}")
    page.goto(f"{site}/admin/tenants/auditevent/")
    page.get_by_role("button", name="Verify now").click()
    expect(page.get_by_text("The trail holds")).to_be_visible()
    shoot("auditor-audit")


def test_who_audits_one_tenant_finds_its_part_of_the_trail(page: Page, site: str, shoot: Shoot) -> None:
    frank = User.objects.create_user("frank", password=PASSWORD, is_staff=True)
    Membership.objects.create(user=frank, tenant=Tenant.objects.get(slug="acme"), role="auditor")
    sign_in(page, site, "frank")
    page.locator("#console-nav").get_by_role("link", name="Audit").click()
    export = page.get_by_role("group", name="Export")
    expect(export.get_by_role("button", name="JSONL")).to_be_visible()
    expect(page.get_by_role("button", name="Verify now")).to_have_count(0)
    assert "Globex" not in page.content()
    shoot("auditor-of-one-audit")
    export.get_by_role("link", name="Your exports of requests").click()
    expect(page.get_by_text("No exports yet")).to_be_visible()
    shoot("auditor-of-one-exports")
