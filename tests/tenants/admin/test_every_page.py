"""What holds on every page: the policy, no caching, sign-in first, nothing that a name could break."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from urllib.parse import quote

import pytest
from django.conf import settings
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from tenants.admin.middleware import POLICY
from tenants.models import AuditEvent, Budget, Tenant, UpstreamCredential, User
from tests.tenants.admin.conftest import Record, allowed, issue, signed_in

HOSTILE = "<script>alert(1)</script>\"'&{{7*7}}"


@pytest.fixture
def pages(acme: Tenant, alice: User, record: Record) -> list[str]:
    """Every page of the console, of rows that Mallory named."""
    acme.name = acme.note = HOSTILE
    acme.save()
    key = issue(acme, HOSTILE, note=HOSTILE).row
    key.revoke(HOSTILE, by=HOSTILE)
    other = issue(acme, HOSTILE).row
    request = record(
        key,
        model=HOSTILE,
        alias=f"{HOSTILE}!",
        end_user=HOSTILE,
        error_code=HOSTILE[:64],
        stop_reason=HOSTILE[:40],
        receipt=f"{HOSTILE}, {HOSTILE}",
        refusal={HOSTILE: HOSTILE},
        tags={HOSTILE: [HOSTILE]},
        cost_lines={HOSTILE: 1},
        upstream_id=HOSTILE,
        message_id=HOSTILE,
        user_agent=HOSTILE,
    )
    rows = {"tenant": [acme.pk], "apikey": [key.pk, other.pk], "requestrecord": [request.pk], "user": [alice.pk]}
    budgets = [Budget.objects.give(owner, "month", 10**9, by=HOSTILE).pk for owner in (acme, other)]
    rows["budget"] = budgets
    rows["auditevent"] = list(AuditEvent.objects.values_list("pk", flat=True))
    found = ["/admin/", "/admin/password_change/", "/admin/password_change/done/", "/admin/second-factor/"]
    for kind, pks in rows.items():
        found.append(f"/admin/tenants/{kind}/")
        found.append(f"/admin/tenants/{kind}/?q={quote(HOSTILE)}")
        found += [f"/admin/tenants/{kind}/{pk}/{page}/" for pk in pks for page in ("change", "history")]
        if kind not in ("requestrecord", "auditevent"):
            found.append(f"/admin/tenants/{kind}/add/")
    record(other, state="refused", error_code=HOSTILE[:64], refusal={"message": HOSTILE, HOSTILE: [HOSTILE]})
    other.rotate(timedelta(hours=1), settings.KEY_PEPPERS)
    verbs = [
        reverse(f"admin:tenants_apikey_{verb}", args=(other.pk,)) for verb in ("revoke", "rotate", "end-old-secret")
    ]
    UpstreamCredential.objects.put(acme, "sk-ant-" + "a" * 30, by=HOSTILE)
    UpstreamCredential.objects.update(refused_at=timezone.now())
    on_tenant = ("suspend", "anthropic-key", "remove-upstream-key")
    return [*found, *verbs, *(reverse(f"admin:tenants_tenant_{name}", args=(acme.pk,)) for name in on_tenant)]


def test_hostile_names_are_only_text(as_alice: Client, pages: list[str]) -> None:
    shown = 0
    for page in pages:
        response = as_alice.get(page)
        assert response.status_code == 200, page
        content = response.content.decode()
        assert "<script>alert" not in content, page
        shown += "&lt;script&gt;alert(1)" in content
    assert shown > 10


def test_no_page_has_a_script_or_a_style_of_its_own(as_alice: Client, pages: list[str]) -> None:
    for page in pages:
        content = as_alice.get(page).content.decode()
        assert "<style" not in content and ' style="' not in content, page
        assert "<script>" not in content and "javascript:" not in content and " onclick" not in content, page


def test_every_page_carries_the_policy_and_is_not_kept(as_alice: Client, pages: list[str]) -> None:
    for page in [*pages, "/admin/jsi18n/", "/admin/nonsense/", "/admin/tenants/", "/admin/login/"]:
        response = as_alice.get(page)
        assert response.headers["Content-Security-Policy"] == POLICY, page
        assert response.headers["Cache-Control"] == "no-store", page
        assert response.headers["X-Frame-Options"] == "DENY", page
        assert response.headers["X-Content-Type-Options"] == "nosniff", page
        assert response.headers["Referrer-Policy"] == "same-origin", page
        assert response.headers["Cross-Origin-Opener-Policy"] == "same-origin", page
        assert response.headers["Cross-Origin-Resource-Policy"] == "same-origin", page
        assert "camera=()" in response.headers["Permissions-Policy"], page


def test_strangers_are_sent_to_sign_in(client: Client, pages: list[str]) -> None:
    for page in [*pages, "/admin/nonsense/"]:
        for answer in (client.get(page), client.post(page, {"reason": "x"})):
            assert answer.status_code == 302, page
            assert answer.headers["Location"].startswith("/admin/login/?next="), page
            assert answer.headers["Content-Security-Policy"] == POLICY
            assert answer.headers["Cache-Control"] == "no-store"


def test_someone_without_permissions_sees_none_of_it(carol: User, pages: list[str]) -> None:
    nobody = signed_in(allowed(carol))
    response = nobody.get("/admin/")
    assert b"may not see anything yet" in response.content
    assert b"alert(1)" not in response.content
    for page in pages:
        if page.startswith("/admin/tenants/"):
            assert nobody.get(page).status_code == 403, page


def test_the_navigation_speaks_the_users_words(as_alice: Client) -> None:
    page = as_alice.get("/admin/").content.decode()
    nav = page.partition('id="console-nav"')[2].partition("</nav>")[0]
    words = [line.strip() for line in nav.replace("<", "\n<").replace(">", ">\n").splitlines()]
    shown = [word for word in words if word and not word.startswith(("<", "aria-label"))]
    assert shown == ["Overview", "Tenants", "Keys", "Requests", "Budgets", "Models", "Audit", "People"]
    assert "Authentication" not in page and "Groups" not in page
    assert as_alice.get("/admin/auth/group/").status_code == 404


def test_carol_sees_what_she_may(as_carol: Client, pages: list[str]) -> None:
    page = as_carol.get("/admin/").content.decode()
    assert "/admin/tenants/user/" not in page
    assert as_carol.get("/admin/tenants/requestrecord/").status_code == 200
    assert as_carol.get("/admin/tenants/user/").status_code == 403


def test_a_form_without_its_token_is_refused_on_a_page_of_ours(alice: User, acme: Tenant) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(alice)
    response = client.post(reverse("admin:tenants_tenant_suspend", args=(acme.pk,)), {"reason": "x"})
    assert response.status_code == 403 and b"Please send that again" in response.content
    assert response.headers["Content-Security-Policy"] == POLICY
    assert Tenant.objects.get().suspended_at is None


def test_the_overview_leads_a_newcomer(as_alice: Client, record: Record) -> None:
    def now() -> str:
        steps = as_alice.get("/admin/").context["next_steps"]
        return next(step["title"] for step in steps if step["now"]) if steps else "done"

    assert now() == "Create a tenant"
    acme = Tenant.objects.create(slug="acme", name="Acme")
    assert now() == "Issue a key"
    key = issue(acme).row
    assert now() == "Send a request"
    record(key)
    assert now() == "done"


@pytest.mark.parametrize(
    ("upstream", "key", "title"),
    [("sandbox", "", "Sandbox"), ("anthropic", "", "No Anthropic key"), ("anthropic", "sk-ant-secret", "Anthropic")],
)
def test_the_overview_says_what_answers(as_alice: Client, settings: Any, upstream: str, key: str, title: str) -> None:
    settings.UPSTREAM, settings.ANTHROPIC_API_KEY = upstream, key
    page = as_alice.get("/admin/")
    assert page.context["upstream"].title == title
    assert b"sk-ant-secret" not in page.content
