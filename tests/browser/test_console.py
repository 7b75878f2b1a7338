"""Alice's first hour in the console, in a browser under the site's strict policy."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from django.contrib.sessions.backends.db import SessionStore
from django.contrib.sessions.models import Session
from playwright.sync_api import Page, expect

from tenants.actors import Actor, Kind, acting
from tenants.models import ApiKey, RequestRecord, Tenant, UpstreamCredential, User
from tests.browser.conftest import Shoot
from tests.tenants.admin.test_payloads import seal

GIVEN, OWN = "a password for the first day", "an entirely new sentence"
KEY = re.compile(r"sk-bridge_live_[0-9A-Za-z]{46}")

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def site(live_server: Any) -> str:
    """The address of a running console with one user, whose password was given to her."""
    User.objects.create_superuser("alice", password=GIVEN, must_change_password=True)
    return str(live_server.url)


def sign_in(page: Page, site: str, password: str) -> None:
    page.goto(f"{site}/admin/")
    page.get_by_label("Username").fill("alice")
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Log in").click()


def choose_a_password(page: Page) -> None:
    page.get_by_label("Old password").fill(GIVEN)
    page.get_by_label("New password:", exact=True).fill(OWN)
    page.get_by_label("New password confirmation").fill(OWN)
    page.get_by_role("button", name="Change my password").click()


def create_acme(page: Page) -> None:
    page.get_by_label("Name").press_sequentially("Acme")  # the slug follows the keyboard
    expect(page.get_by_label("Slug")).to_have_value("acme")
    page.get_by_role("button", name="Create a tenant").click()


def issue_a_key(page: Page, name: str) -> str:
    page.get_by_label("Tenant").select_option(label="Acme")
    page.get_by_label("Name").fill(name)
    page.get_by_role("button", name="Issue a key").click()
    shown = page.locator("#key").inner_text()
    assert KEY.fullmatch(shown)
    expect(page).to_have_url(re.compile(r"/apikey/[0-9a-f-]{36}/change/$"))
    return shown


def test_from_the_first_sign_in_to_a_revoked_key(page: Page, site: str, shoot: Shoot) -> None:
    page.goto(site)
    shoot("landing")
    page.get_by_role("link", name="Open the console").click()
    shoot("login")
    sign_in(page, site, GIVEN)

    expect(page.get_by_text("Choose a password of your own")).to_be_visible()
    shoot("password")
    choose_a_password(page)
    page.goto(f"{site}/admin/")
    shoot("overview-first")

    page.get_by_role("link", name="Create a tenant").click()
    create_acme(page)
    page.get_by_role("link", name="Issue a key").click()
    expect(page.get_by_label("Tenant").locator("option:checked")).to_have_text("Acme")
    shoot("issue")
    key = issue_a_key(page, "support bot")
    expect(page).to_have_url(f"{site}/admin/tenants/apikey/{ApiKey.objects.get().pk}/change/")
    shoot("issued")

    page.get_by_role("button", name="Copy key").click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    assert page.evaluate("navigator.clipboard.readText()") == key
    for snippet in page.locator("pre").all():
        assert key in (snippet.text_content() or "")
    page.get_by_role("link", name="I have stored it, continue").click()
    expect(page.get_by_text(key[:23]).first).to_be_visible()
    assert key not in page.content()
    shoot("key")

    page.get_by_role("link", name="Revoke…").click()
    page.get_by_label("Reason").fill("leaked in a log")
    shoot("revoke")
    page.get_by_role("button", name="Revoke").click()
    expect(page.get_by_text("within a second on every worker")).to_be_visible()
    expect(page.get_by_text("by alice: leaked in a log")).to_be_visible()


@pytest.fixture
def acme(page: Page, site: str) -> str:
    """The site, signed in, with Acme."""
    User.objects.update(must_change_password=False)
    sign_in(page, site, GIVEN)
    page.goto(f"{site}/admin/tenants/tenant/add/")
    create_acme(page)
    return site


def test_a_reload_shows_the_keys_page_and_issues_nothing(page: Page, acme: str) -> None:
    page.goto(f"{acme}/admin/tenants/apikey/add/")
    key = issue_a_key(page, "support bot")
    page.reload()
    expect(page.get_by_role("heading", name="support bot (Acme)")).to_be_visible()
    assert key not in page.content()
    page.go_back()
    assert key not in page.content()
    assert ApiKey.objects.count() == 1


def test_a_key_is_rotated_and_its_old_secret_ended(page: Page, acme: str, shoot: Shoot) -> None:
    page.goto(f"{acme}/admin/tenants/apikey/add/")
    old = issue_a_key(page, "support bot")
    row = ApiKey.objects.get()
    RequestRecord.objects.create(
        tenant=row.tenant, key=row, key_hint=row.secrets.get().hint, mode="live", state="refused", status=403,
        dialect="chat", error_code="ip_not_authorized", count=12,
        refusal={"message": "This API key may not be used from here: the request came from 198.51.100.7, and the key's "
                 "list of networks does not hold that. Ask whoever issued the key to add your address.",
                 "rule": "networks", "level": "key", "address": "198.51.100.7"},
    )  # fmt: skip
    page.get_by_role("link", name="I have stored it, continue").click()
    page.get_by_role("link", name="Rotate…").click()
    expect(page.get_by_label("For 24 hours")).to_be_checked()
    shoot("rotate")
    page.get_by_label("For 1 hour").check()
    page.get_by_role("button", name="Rotate").click()
    new = page.locator("#key").inner_text()
    assert KEY.fullmatch(new) and new != old
    shoot("rotated")
    page.reload()  # the address is the key's page by now: nothing is sent again
    expect(page.get_by_text("rotating, old secret ends")).to_be_visible()
    assert row.secrets.count() == 2 and new not in page.content()
    expect(page.get_by_text("the request came from 198.51.100.7")).to_be_visible()
    shoot("key-rotating")
    page.get_by_role("link", name="End old secret…").click()
    page.get_by_label("Reason").fill("everyone has changed over")
    shoot("end-old-secret")
    page.get_by_role("button", name="End old secret").click()
    expect(page.get_by_text("rotating, old secret ends")).to_have_count(0)


def test_an_old_session_gives_its_password_again(page: Page, acme: str, shoot: Shoot) -> None:
    session = Session.objects.get()
    content = session.get_decoded()
    del content["password_given_at"]
    session.session_data = SessionStore().encode(content)
    session.save()
    page.goto(f"{acme}/admin/tenants/apikey/add/")
    page.get_by_label("Tenant").select_option(label="Acme")
    page.get_by_label("Name").fill("support bot")
    page.get_by_role("button", name="Issue a key").click()
    expect(page.get_by_text("Give your password")).to_be_visible()
    shoot("issue-password")
    page.get_by_label("Your password").fill(GIVEN)
    page.get_by_role("button", name="Issue a key").click()
    assert KEY.fullmatch(page.locator("#key").inner_text())


def test_a_tenant_gets_an_anthropic_key_of_its_own(page: Page, acme: str, shoot: Shoot) -> None:
    secret = "sk-ant-" + "api03-acmes-own-key-ABCD"
    page.goto(f"{acme}/admin/tenants/tenant/{Tenant.objects.get().pk}/change/")
    page.get_by_role("link", name="Anthropic key…").click()
    page.get_by_label("Anthropic key").fill(secret)
    shoot("anthropic-key")
    page.get_by_role("button", name="Set").click()
    expect(page.get_by_text("sk-ant-…ABCD").first).to_be_visible()
    assert "own-key" not in page.content()
    UpstreamCredential.objects.note(UpstreamCredential.objects.get().pk, "upstream_auth")
    page.reload()
    expect(page.get_by_text("refused by Anthropic")).to_be_visible()
    shoot("tenant-refused-key")
    page.goto(f"{acme}/admin/")
    expect(page.get_by_text("Anthropic refuses the key of Acme")).to_be_visible()
    shoot("overview-refused-key")


def test_a_double_click_issues_one_key(page: Page, acme: str) -> None:
    page.goto(f"{acme}/admin/tenants/apikey/add/")
    page.get_by_label("Tenant").select_option(label="Acme")
    page.get_by_label("Name").fill("impatient")
    page.get_by_role("button", name="Issue a key").dblclick()
    expect(page.locator("#key")).to_have_text(KEY)
    assert ApiKey.objects.count() == 1


def test_a_pasted_key_never_leaves_the_browser(page: Page, acme: str) -> None:
    page.goto(f"{acme}/admin/tenants/apikey/add/")
    key = issue_a_key(page, "support bot")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(f"{acme}/admin/tenants/apikey/")
    page.get_by_label("Search").fill(f" {key} ")
    page.get_by_label("Search").press("Enter")
    expect(page.get_by_text("Clear")).to_be_visible()
    expect(page.get_by_role("link", name="support bot")).to_be_visible()
    assert not [url for url in asked if key[-30:] in url]


def test_requests_are_explored(page: Page, acme: str, shoot: Shoot) -> None:
    page.goto(f"{acme}/admin/tenants/apikey/add/")
    issue_a_key(page, "support bot")
    key = ApiKey.objects.get()
    common = {"tenant_id": key.tenant_id, "key_id": key.pk, "key_hint": "hint", "mode": "live", "dialect": "chat"}
    timing = {"queue_us": 900, "first_token_us": 640_000, "total_us": 2_300_000}
    for number in range(60):
        state = {"state": "refused", "status": 429} if number % 7 == 0 else {"state": "settled", "status": 200}
        RequestRecord.objects.create(**common, **timing, **state, model="claude-sonnet-5-5", cost_nanos=number * 10**6)
    page.goto(f"{acme}/admin/")
    shoot("overview")
    page.get_by_role("link", name="All requests").click()
    shoot("requests")
    page.get_by_role("link", name="Older").click()
    expect(page.get_by_text("10 shown")).to_be_visible()
    page.get_by_role("link", name="Newer").click()
    page.get_by_label("By state").select_option("refused")
    expect(page.get_by_text("9 shown")).to_be_visible()
    assert page.url.endswith("?since=24h&state=refused"), "only what was chosen is in the address"
    page.locator("#result_list tbody th a").first.click()
    expect(page.get_by_role("link", name="Previous of this key")).to_be_visible()
    shoot("request")


def test_a_payload_is_opened_with_a_reason(page: Page, acme: str, shoot: Shoot) -> None:
    page.goto(f"{acme}/admin/tenants/apikey/add/")
    issue_a_key(page, "support bot")
    key = ApiKey.objects.get()
    tenant = Tenant.objects.get()
    page.goto(f"{acme}/admin/tenants/tenant/{tenant.pk}/change/")
    page.get_by_label("Payloads kept").select_option(label="All requests")
    page.get_by_label("Replaced first").fill(r"\b\d{4}(?:[ -]?\d{4}){3}\b")
    shoot("capture-policy")
    page.get_by_role("button", name="Save").click()
    record = RequestRecord.objects.create(
        tenant=tenant, key=key, key_hint="hint", mode="live", state="settled", status=200, dialect="chat",
        model="claude-sonnet-5-5", captured=True,
    )  # fmt: skip
    pixel = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{'iVBORw0KGgo' * 300}"}}
    call = {"id": "call_1", "type": "function", "function": {"name": "find_order", "arguments": '{"number": 17}'}}
    said = [
        {"role": "system", "content": "You help customers of a shop that sells lamps. Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "Where is my order? <script>alert(1)</script>"}, pixel]},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_1", "content": '{"state": "on its way", "days": 2}'},
    ]
    answer = "Your lamp is on its way.\n\nIt arrives in two days: the day after tomorrow."
    told = {"id": "chatcmpl-1", "choices": [{"message": {"content": answer, "reasoning_content": "Two days."}}]}
    tools = [{"type": "function", "function": {"name": "find_order", "parameters": {"type": "object"}}}]
    request = {"model": "claude-sonnet-5-5", "messages": said, "tools": tools, "max_tokens": 500}
    seal(record, json.dumps(request).encode(), json.dumps(told).encode())
    page.goto(f"{acme}/admin/tenants/requestrecord/{record.pk}/change/")
    page.get_by_role("link", name="Open its payload").click()
    shoot("payload-reason")
    page.get_by_label("Reason").fill("the customer asked what we told them")
    page.get_by_role("button", name="Open the payload").click()
    expect(page.get_by_text("the day after tomorrow")).to_be_visible()
    expect(page.get_by_text('"days": 2')).to_be_hidden()
    shoot("payload")
    page.get_by_text("result call_1").click()
    expect(page.get_by_text('"days": 2')).to_be_visible()
    with page.expect_download() as download:
        page.get_by_role("button", name="Download as JSON").click()
    assert json.loads(json.loads(download.value.path().read_text())["request"]["text"]) == request
    assert page.goto(f"{acme}/admin/tenants/requestrecord/{record.pk}/payload/") is not None
    expect(page.get_by_text("the day after tomorrow")).to_have_count(0)
    page.goto(f"{acme}/admin/tenants/auditevent/?action=payload.opened")
    expect(page.get_by_text("2 shown")).to_be_visible()


def test_the_audit_trail_is_read_and_verified(page: Page, acme: str, shoot: Shoot) -> None:
    tenant = Tenant.objects.get()
    with acting(Actor(Kind.USER, "alice", "1", "203.0.113.9")):
        tenant.suspend("invoice overdue")
        tenant.resume("paid")
    page.goto(f"{acme}/admin/")
    page.locator("#console-nav").get_by_role("link", name="Audit").click()
    expect(page.get_by_role("link", name="Acme").first).to_be_visible()
    shoot("audit")
    page.get_by_label("By action").select_option("tenant.suspended")
    expect(page.get_by_text("1 shown")).to_be_visible()
    page.locator("#result_list tbody th a").first.click()
    expect(page.get_by_text("invoice overdue").first).to_be_visible()
    shoot("audit-event")
    page.goto(f"{acme}/admin/tenants/tenant/{tenant.pk}/history/")
    expect(page.get_by_text("Tenant resumed: paid")).to_be_visible()
    shoot("history")
    page.get_by_role("link", name="All of it in the audit trail").click()
    page.get_by_role("button", name="Verify now").click()
    expect(page.get_by_text("The trail holds")).to_be_visible()
    shoot("audit-verified")


def test_the_rest_of_the_console_keeps_to_the_policy(page: Page, acme: str, shoot: Shoot) -> None:
    alice, tenant = User.objects.get().pk, Tenant.objects.get().pk
    names = [
        "tenants/tenant/",
        "tenants/apikey/",
        "tenants/user/",
        "tenants/user/add/",
        f"tenants/user/{alice}/change/",
    ]
    names += [f"tenants/tenant/{tenant}/{page_name}/" for page_name in ("change", "suspend", "history")]
    for name in names:
        page.goto(f"{acme}/admin/{name}")
        shoot(name.removeprefix("tenants/").replace("/", "-").strip("-"))
    page.get_by_role("button", name="Toggle theme").click()
    assert page.evaluate("document.documentElement.dataset.theme") in ("light", "dark")
