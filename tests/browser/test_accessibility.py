"""The main pages of a site in use, for everyone: no serious violation, light and dark, wide and narrow, by keyboard."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from django.conf import settings
from django.db import connection
from django.test import Client, override_settings
from django.utils import timezone
from playwright.sync_api import Page, expect

from tenants import append_only, looking
from tenants.models import ApiKey, AuditEvent, Budget, Installation, RequestRecord, Tenant, User
from tests.browser import axe
from tests.browser.conftest import Shoot
from tests.scenery import furnish
from tests.tenants.admin.test_payloads import seal

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def guarded() -> bool:
    return False


@pytest.fixture
def site(live_server: Any, page: Page) -> str:
    """A furnished site, signed in as Alice."""
    furnish()
    client = Client()
    client.force_login(User.objects.create_superuser("alice", password="a password for the first day"))
    cookie = client.cookies[settings.SESSION_COOKIE_NAME].value
    page.context.add_cookies([{"name": settings.SESSION_COOKIE_NAME, "value": cookie, "url": live_server.url}])
    return str(live_server.url)


def main_pages() -> dict[str, str]:
    acme = Tenant.objects.get(slug="acme")
    refused = RequestRecord.objects.filter(state="refused").first()
    answered = RequestRecord.objects.filter(state="settled", cost_lines__isnull=False).first()
    change = AuditEvent.objects.exclude(before={}).first()
    assert refused and answered and change
    tenant, key = f"tenants/tenant/{acme.pk}", f"tenants/apikey/{ApiKey.objects.filter(tenant=acme)[0].pk}"
    return {
        "overview": "",
        "tenants": "tenants/tenant/",
        "tenant": f"{tenant}/change/",
        "tenant-suspend": f"{tenant}/suspend/",
        "tenant-anthropic-key": f"{tenant}/anthropic-key/",
        "keys": "tenants/apikey/",
        "key-issue": "tenants/apikey/add/",
        "key": f"{key}/change/",
        "key-rotate": f"{key}/rotate/",
        "key-history": f"{key}/history/",
        "requests": "tenants/requestrecord/?cost=1c",
        "request": f"tenants/requestrecord/{answered.pk}/change/",
        "request-refused": f"tenants/requestrecord/{refused.pk}/change/",
        "budgets": "tenants/budget/",
        "budget": f"tenants/budget/{Budget.objects.all()[0].pk}/change/",
        "aliases": "tenants/modelalias/",
        "prices": "tenants/modelprice/",
        "audit": "tenants/auditevent/",
        "audit-event": f"tenants/auditevent/{change.pk}/change/",
        "people": "tenants/user/",
        "second-factor": "second-factor/",
    }


# The spacing that readers may choose (WCAG 1.4.12): whatever is nearly too wide is too wide with it.
SPACED = """() => document.querySelectorAll("body, body *").forEach((each) => {
  each.style.letterSpacing = "0.12em"; each.style.wordSpacing = "0.16em"; each.style.lineHeight = "1.5"; })"""


def test_no_page_shuts_anyone_out(page: Page, site: str, shoot: Shoot) -> None:
    wrong: dict[str, list[str]] = {}
    for name, path in main_pages().items():
        page.goto(f"{site}/admin/{path}")
        for scheme, width in (("light", 1280), ("dark", 360)):
            page.set_viewport_size({"width": width, "height": 900})
            page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
            page.wait_for_timeout(300)  # the admin's colours fade
            if found := axe.violations(page):
                wrong[f"{name} {scheme} {width}"] = found
        shoot(name)
        page.evaluate(SPACED)
        if found := axe.violations(page):
            wrong[f"{name} spaced"] = found
    assert wrong == {}


def test_what_is_folded_shuts_nobody_out(page: Page, site: str, shoot: Shoot) -> None:
    page.goto(f"{site}/admin/tenants/apikey/add/")
    page.get_by_text("More: payloads").click()
    expect(page.get_by_label("Replaced first")).to_be_visible()
    assert axe.violations(page) == []
    shoot("key-issue-more")


def test_what_went_wrong_shuts_nobody_out(page: Page, site: str, shoot: Shoot, monkeypatch: pytest.MonkeyPatch) -> None:
    append_only.unprotect(connection)
    Installation.objects.update(witnessed_at=timezone.now() - timedelta(hours=5))
    monkeypatch.setattr("tenants.metrics.value", lambda name: 200.0)
    page.goto(f"{site}/admin/")
    expect(page.get_by_text("triggers are missing")).to_be_visible()
    assert axe.violations(page) == []
    shoot("overview-needs")
    append_only.protect(connection)


def test_a_search_that_is_not_through_shuts_nobody_out(
    page: Page, site: str, shoot: Shoot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(looking, "STRETCH_ROWS", 10)
    monkeypatch.setattr(looking, "SECONDS", 0)
    for name, query in (("nothing", "cost=1d"), ("some", "stop=end_turn")):
        page.goto(f"{site}/admin/tenants/requestrecord/?{query}")
        expect(page.get_by_role("link", name="Look further back").last).to_be_visible()
        assert axe.violations(page) == []
        shoot(f"requests-looked-{name}")


def test_a_payload_shuts_nobody_out(page: Page, site: str, shoot: Shoot) -> None:
    record = RequestRecord.objects.filter(state="settled")[0]
    said = [{"role": "user", "content": "Where is my lamp?"}, {"role": "tool", "tool_call_id": "c", "content": "{}"}]
    seal(record, json.dumps({"messages": said}).encode(), b"")
    page.goto(f"{site}/admin/tenants/requestrecord/{record.pk}/payload/")
    assert axe.violations(page) == []
    shoot("payload-ask")
    page.get_by_label("Reason").fill("a customer asked")
    page.get_by_role("button", name="Open the payload").click()
    page.locator("details summary").last.click()
    assert axe.violations(page) == []


def test_single_sign_on_shuts_nobody_out(page: Page, live_server: Any) -> None:
    on = {"OIDC_ISSUER": "https://idp.example.com", "ROOT_URLCONF": "tests.proxysite.sso.addresses"}
    for only in (False, True):
        with override_settings(OIDC_ONLY=only, **on):
            page.goto(f"{live_server.url}/admin/login/")
            expect(page.get_by_role("link", name="Sign in with single sign-on")).to_be_visible()
            assert axe.violations(page) == []


def test_signing_in_shuts_nobody_out(page: Page, live_server: Any) -> None:
    for path in ("/", "/admin/login/"):
        page.goto(f"{live_server.url}{path}")
        assert axe.violations(page) == []


def test_the_keyboard_goes_everywhere(page: Page, site: str) -> None:
    """First to the content, past the sections; each stop has a visible ring; figures unfold with Enter."""
    page.goto(f"{site}/admin/")
    page.keyboard.press("Tab")
    skip = page.get_by_role("link", name="Skip to main content")
    expect(skip).to_be_focused()
    assert skip.evaluate("link => link.getBoundingClientRect().top >= 0")
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.closest('#content-start, main, .content') !== null")

    numbers = page.get_by_text("The numbers").first
    numbers.focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("columnheader", name="Hung up")).to_be_visible()
    page.keyboard.press("Tab")
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
