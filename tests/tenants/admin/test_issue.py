"""A key is issued in the console: shown once, kept nowhere, never issued twice."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from typing import Any

import pytest
from django.apps import apps
from django.conf import settings
from django.contrib.sessions.models import Session
from django.core import serializers
from django.http import HttpResponse
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from tenants import keys
from tenants.models import ApiKey, AuditEvent, Issued, KeySecret, Tenant, User
from tests.tenants.admin.conftest import KEY, Record, allowed, signed_in

ADD = "/admin/tenants/apikey/add/"


def form(tenant: Tenant, **changes: Any) -> dict[str, Any]:
    """What the browser sends, without the id that the form was rendered with."""
    about = {"tenant": tenant.pk, "name": "support bot", "note": "", "mode": "live", "compat": "lenient"}
    return {**about, "capture": "full", "capture_percent": "10", **changes}


def rendered_id(client: Client) -> str:
    page = client.get(ADD)
    return str(page.context["adminform"].form["issue_id"].value())


def send(client: Client, tenant: Tenant, **changes: Any) -> HttpResponse:
    fields = form(tenant, **changes)
    fields.setdefault("issue_id", rendered_id(client))
    return client.post(ADD, fields)


def text(response: HttpResponse) -> str:
    return response.content.decode()


def test_a_new_key_is_shown_by_the_post_itself_and_works(as_alice: Client, acme: Tenant) -> None:
    response = send(as_alice, acme)
    assert response.status_code == 200
    assert response.headers["Cache-Control"] == "no-store"
    key = keys.recognise(KEY.findall(text(response))[0])
    assert key is not None
    caller = KeySecret.objects.identify(key, settings.KEY_PEPPERS)
    assert caller is not None and caller.tenant == "acme"
    assert ApiKey.objects.get().created_by == "alice"


def test_a_key_that_cannot_be_shown_is_not_issued(
    as_alice: Client, acme: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    unshowable = (1 / snippet for snippet in (0,))
    monkeypatch.setattr("tenants.admin.connect.snippets", lambda *_: unshowable)
    with pytest.raises(ZeroDivisionError):
        send(as_alice, acme)
    assert not ApiKey.objects.exists()


def test_the_snippets_carry_the_key_and_this_sites_address(as_alice: Client, acme: Tenant, settings: Any) -> None:
    settings.PUBLIC_URL = "https://bridge.example.com"
    page = text(send(as_alice, acme))
    assert len(set(KEY.findall(page))) == 1
    assert len(KEY.findall(page)) == 6  # the box, curl whole and streamed, Python, JavaScript, Claude Code
    assert page.count("https://bridge.example.com/v1") >= 5
    assert "claude-sonnet-5-5" in page


def test_the_snippets_name_a_model_that_the_key_may_use(as_alice: Client, acme: Tenant) -> None:
    page = text(send(as_alice, acme, allowed_models="claude-haiku-5-5\r\nclaude-opus-5-5"))
    assert "claude-haiku-5-5" in page and "claude-sonnet-5-5" not in page


def test_a_form_sent_twice_issues_one_key(as_alice: Client, acme: Tenant) -> None:
    fields = form(acme, issue_id=rendered_id(as_alice))
    first, second = as_alice.post(ADD, fields), as_alice.post(ADD, fields)
    assert KEY.search(text(first))
    assert "was sent before" in text(second)
    assert not KEY.search(text(second))
    assert ApiKey.objects.count() == KeySecret.objects.count() == 1
    assert AuditEvent.objects.filter(action="key.created").count() == 1


def test_two_forms_issue_two_keys(as_alice: Client, acme: Tenant) -> None:
    send(as_alice, acme)
    send(as_alice, acme)
    assert ApiKey.objects.count() == 2


def test_a_form_without_its_id_is_refused(as_alice: Client, acme: Tenant) -> None:
    response = send(as_alice, acme, issue_id="")
    assert not KEY.search(text(response))
    assert not ApiKey.objects.exists()


def test_the_key_is_kept_nowhere(as_alice: Client, acme: Tenant) -> None:
    response = send(as_alice, acme)
    key = KEY.findall(text(response))[0]
    secret = key.removeprefix("sk-bridge_live_")[8:]
    everything = [serializers.serialize("json", model._default_manager.all()) for model in apps.get_models()]
    assert not [table for table in everything if secret in table]
    assert all(secret not in json.dumps(session.get_decoded(), default=str) for session in Session.objects.all())
    assert secret not in str(response.cookies) + str(as_alice.cookies)


def test_no_other_page_shows_the_key_afterwards(as_alice: Client, acme: Tenant, record: Record) -> None:
    key = KEY.findall(text(send(as_alice, acme)))[0]
    row = ApiKey.objects.get()
    request = record(row)
    pages = [
        "/admin/",
        "/admin/tenants/apikey/",
        ADD,
        reverse("admin:tenants_apikey_change", args=(row.pk,)),
        reverse("admin:tenants_apikey_history", args=(row.pk,)),
        reverse("admin:tenants_apikey_revoke", args=(row.pk,)),
        "/admin/tenants/tenant/",
        "/admin/tenants/requestrecord/",
        reverse("admin:tenants_requestrecord_change", args=(request.pk,)),
    ]
    secret = key.removeprefix("sk-bridge_live_")[8:]
    for page in pages:
        response = as_alice.get(page)
        assert response.status_code == 200, page
        assert secret not in text(response), page


def test_the_page_of_a_key_shows_its_hint_and_never_its_digest(as_alice: Client, bobs_key: Issued) -> None:
    page = text(as_alice.get(reverse("admin:tenants_apikey_change", args=(bobs_key.row.pk,))))
    digest = bytes(KeySecret.objects.get().digest)
    assert bobs_key.key.hint in page
    assert digest.hex() not in page and str(digest) not in page


def test_models_are_a_list_or_nothing(as_alice: Client, acme: Tenant) -> None:
    send(as_alice, acme, allowed_models=" claude-sonnet-5-5 \r\n\r\nclaude-haiku-5-5\r\nclaude-sonnet-5-5")
    send(as_alice, acme, name="any model", allowed_models=" \r\n ")
    assert ApiKey.objects.get(name="support bot").allowed_models == ["claude-sonnet-5-5", "claude-haiku-5-5"]
    assert ApiKey.objects.get(name="any model").allowed_models is None


def test_what_is_kept_of_a_key_is_said_at_issuing(as_alice: Client, acme: Tenant) -> None:
    send(as_alice, acme)
    plain = ApiKey.objects.get()
    assert (plain.capture, plain.capture_days, plain.capture_redactions, plain.idempotent) == ("full", None, "", False)
    kept = {"capture": "sampled", "capture_percent": "7", "capture_days": "3", "capture_redactions": r"\d{16}"}
    send(as_alice, acme, name="kept", idempotent="on", **kept)
    row = ApiKey.objects.get(name="kept")
    assert {name: str(getattr(row, name)) for name in kept} == kept and row.idempotent


@pytest.mark.parametrize(
    ("field", "value"), [("capture_percent", "101"), ("capture_redactions", "("), ("capture", "x")]
)
def test_what_is_wrong_in_the_folded_part_is_not_hidden(as_alice: Client, acme: Tenant, field: str, value: str) -> None:
    folded = re.compile(r"<details><summary>\s*<h2[^>]*>More")
    assert folded.search(text(as_alice.get(ADD)))
    page = text(send(as_alice, acme, **{field: value}))
    assert "errorlist" in page and not folded.search(page)
    assert not ApiKey.objects.exists()


@pytest.mark.parametrize("name", ["gpt'; rm -rf ~", "<script>", "a" * 300, '"'])
def test_what_is_not_a_model_name_is_refused(as_alice: Client, acme: Tenant, name: str) -> None:
    response = send(as_alice, acme, allowed_models=name.replace(" ", "'"))
    assert "is not the name of a model" in text(response)
    assert not ApiKey.objects.exists()


def test_networks_and_tags_are_read_line_by_line(as_alice: Client, acme: Tenant) -> None:
    send(as_alice, acme, networks="203.0.113.0/24\r\n2001:db8::1", tags="team=search\r\n\r\nenv=live")
    row = ApiKey.objects.get()
    assert row.networks == ["203.0.113.0/24", "2001:db8::1/128"]
    assert row.tags == {"team": "search", "env": "live"}
    page = reverse("admin:tenants_apikey_change", args=(row.pk,))
    fields = {field.name: field.value() or "" for field in as_alice.get(page).context["adminform"].form}
    as_alice.post(page, {**fields, "networks": "", "tags": "env=test"})
    after = ApiKey.objects.get()
    assert (after.networks, after.tags) == (None, {"env": "test"})


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("networks", "10.1.2.3/8", "write 10.0.0.0/8"),
        ("networks", "office", "neither an"),
        ("tags", "team", "not a tag"),
    ],
)
def test_what_is_no_network_or_tag_is_refused(
    as_alice: Client, acme: Tenant, field: str, value: str, says: str
) -> None:
    assert says in text(send(as_alice, acme, **{field: value}))
    assert not ApiKey.objects.exists()


def test_a_key_that_would_never_work_is_refused(as_alice: Client, acme: Tenant) -> None:
    yesterday = timezone.now() - timedelta(days=1)
    response = send(as_alice, acme, expires_at=f"{yesterday:%Y-%m-%dT%H:%M}")
    assert "would never work" in text(response)
    assert not ApiKey.objects.exists()


def test_expiry_is_read_as_utc(as_alice: Client, acme: Tenant) -> None:
    send(as_alice, acme, expires_at="2099-05-01T12:30")
    assert ApiKey.objects.get().expires_at.isoformat() == "2099-05-01T12:30:00+00:00"


def test_without_a_tenant_the_way_leads_to_the_first_one(as_alice: Client) -> None:
    assert as_alice.get(ADD).headers["Location"] == "/admin/tenants/tenant/add/"


def test_tenant_and_mode_stay_as_they_were_issued(as_alice: Client, bobs_key: Issued, globex: Tenant) -> None:
    page = reverse("admin:tenants_apikey_change", args=(bobs_key.row.pk,))
    as_alice.post(page, form(globex, name="renamed", mode="test"))
    row = ApiKey.objects.get()
    assert (row.name, row.tenant.slug, row.mode) == ("renamed", "acme", "live")


def test_saving_a_key_unchanged_changes_nothing(as_alice: Client, acme: Tenant) -> None:
    send(as_alice, acme, allowed_models="claude-haiku-5-5", expires_at="2099-05-01T12:30:15")
    row = ApiKey.objects.get()
    page = reverse("admin:tenants_apikey_change", args=(row.pk,))
    fields = as_alice.get(page).context["adminform"].form
    as_alice.post(page, {field.name: field.value() or "" for field in fields})
    after = ApiKey.objects.get()
    assert (after.allowed_models, after.expires_at) == (row.allowed_models, row.expires_at)


def test_carol_who_only_looks_cannot_issue(as_carol: Client, acme: Tenant) -> None:
    assert as_carol.get(ADD).status_code == 403
    assert as_carol.post(ADD, form(acme, issue_id="01890000-0000-7000-8000-000000000000")).status_code == 403
    assert not ApiKey.objects.exists()


def test_whoever_may_issue_needs_no_more_than_that(carol: User, acme: Tenant) -> None:
    bob = signed_in(allowed(carol, "add_apikey"))
    assert KEY.search(text(send(bob, acme)))
