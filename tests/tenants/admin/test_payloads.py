"""Opening a payload: a permission, a reason and a row on the audit trail first; then all of it, harmless."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest
from django.conf import settings
from django.test import Client, override_settings
from django.urls import reverse

from bridge.redaction import redact
from tenants.models import ApiKey, AuditEvent, Issued, Payload, RequestRecord, Tenant, User
from tenants.payloads import Payloads
from tenants.values import Taped
from tests.tenants.admin.conftest import Record, allowed, at, person, signed_in

HOSTILE = "<script>alert(1)</script>\"'&{{7*7}}"
IMAGE = {"type": "image_url", "image_url": {"url": "https://mallory.example/pixel.png"}}
SAID = [
    {"role": "system", "content": HOSTILE},
    {"role": HOSTILE, "content": [{"type": "text", "text": HOSTILE}, IMAGE, {"type": HOSTILE, HOSTILE: HOSTILE}]},
]


def seal(record: RequestRecord, request: bytes, answer: bytes = b"", patterns: tuple[str, ...] = ()) -> Payload:
    """Keeps a payload of that record, as a worker does."""
    writer = Payloads(None, settings.ENCRYPTION_KEYS, 10_000, redact)  # type: ignore[arg-type]
    whose = (record.pk, record.tenant_id, record.key_id, None)
    digest = hashlib.sha256(answer).hexdigest()
    taped = Taped(*whose, patterns, request, len(request), "", answer, len(answer), digest, 200, "text/plain")
    row = writer._sealed(taped)
    row.save()
    return row


@pytest.fixture
def kept(bobs_key: Issued, record: Record) -> RequestRecord:
    row = record(bobs_key.row, captured=True)
    answer = {"choices": [{"message": {"role": "assistant", "content": HOSTILE, "reasoning_content": HOSTILE}}]}
    seal(row, json.dumps({"messages": SAID}).encode(), json.dumps(answer).encode())
    return row


def page_of(record: RequestRecord) -> str:
    return reverse("admin:tenants_requestrecord_payload", args=(record.pk,))


def request_page(client: Client, record: RequestRecord) -> str:
    return client.get(reverse("admin:tenants_requestrecord_change", args=(record.pk,))).content.decode()


def openings() -> list[AuditEvent]:
    return list(AuditEvent.objects.filter(action="payload.opened"))


# Who may


def test_without_the_permission_one_learns_only_that_there_is_one(as_carol: Client, kept: RequestRecord) -> None:
    page = request_page(as_carol, kept)
    assert "Payload kept, encrypted" in page and page_of(kept) not in page
    for answer in (as_carol.get(page_of(kept)), as_carol.post(page_of(kept), {"reason": "curious"})):
        assert answer.status_code == 403 and b"alert(1)" not in answer.content
    assert openings() == []


def test_the_right_at_one_tenant_opens_nothing_of_another(
    bob: User, globex: Tenant, kept: RequestRecord, mallorys_key: Issued, record: Record
) -> None:
    theirs = record(mallorys_key.row)
    seal(theirs, b'{"messages": []}')
    client = signed_in(at(person("pat"), globex, "payload-auditor"))
    assert client.post(page_of(theirs), {"reason": "x"}).status_code == 200
    assert client.post(page_of(kept), {"reason": "x"}).status_code == 404
    both = signed_in(at(at(person("chris"), globex, "payload-auditor"), kept.tenant, "auditor"))
    assert both.post(page_of(kept), {"reason": "x"}).status_code == 403
    assert page_of(kept) not in request_page(both, kept) and page_of(theirs) in request_page(both, theirs)
    assert signed_in(bob).post(page_of(kept), {"reason": "x"}).status_code == 403, "managers see no payload"
    assert len(openings()) == 1


@pytest.mark.parametrize("rights", [("view_payload",), ("view_requestrecord",)])
def test_it_takes_the_request_and_the_payload(carol: User, kept: RequestRecord, rights: tuple[str, ...]) -> None:
    client = signed_in(allowed(carol, *rights))
    assert client.post(page_of(kept), {"reason": "x"}).status_code == 403
    assert openings() == []


def test_it_takes_a_reason(as_alice: Client, kept: RequestRecord) -> None:
    assert page_of(kept) in request_page(as_alice, kept)
    for answer in (as_alice.get(page_of(kept)), as_alice.post(page_of(kept), {"reason": "  "})):
        assert answer.status_code == 200 and b"alert(1)" not in answer.content
    assert openings() == []


def test_each_opening_says_who_what_and_why(carol: User, kept: RequestRecord) -> None:
    client = signed_in(allowed(carol, "view_requestrecord", "view_payload"))
    for extra in ({}, {"download": "yes"}):
        assert client.post(page_of(kept), {"reason": "ticket 17", **extra}).status_code == 200
    shown, taken = sorted(openings(), key=lambda event: event.seq)
    assert (shown.actor_name, shown.object_id, shown.tenant_id) == ("carol", str(kept.pk), kept.tenant_id)
    assert shown.told_context["reason"] == "ticket 17"
    assert (shown.told_after, taken.told_after) == ({"as": "page"}, {"as": "file"})


def test_what_cannot_be_told_is_not_shown(
    as_alice: Client, kept: RequestRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise RuntimeError("the trail cannot be written")

    monkeypatch.setattr("tenants.audit.AuditEventQuerySet.append", refuse)
    as_alice.raise_request_exception = False
    answer = as_alice.post(page_of(kept), {"reason": "x"})
    assert answer.status_code == 500 and b"alert" not in answer.content


# What is shown


def test_what_strangers_wrote_is_only_text(as_alice: Client, kept: RequestRecord) -> None:
    answer = as_alice.post(page_of(kept), {"reason": HOSTILE})
    page = answer.content.decode()
    assert answer.headers["Cache-Control"] == "no-store"
    assert "<script>alert" not in page and page.count("&lt;script&gt;alert(1)") >= 6
    assert "mallory.example/pixel.png" in page and "<img" not in page.partition('id="content-main"')[2]
    assert 'href="https://mallory' not in page and ' style="' not in page


def test_a_get_never_shows_it(as_alice: Client, kept: RequestRecord) -> None:
    assert b"alert" not in as_alice.get(f"{page_of(kept)}?reason=x&download=yes").content


def test_the_download_has_every_byte(as_alice: Client, bobs_key: Issued, record: Record) -> None:
    row = record(bobs_key.row)
    seal(row, b'{ "a" :  1 }', b"\xff\x00")
    answer = as_alice.post(page_of(row), {"reason": "x", "download": "yes"})
    told = answer.json()
    assert told["request"]["text"] == '{ "a" :  1 }' and told["answer"]["base64"] == "/wA="
    assert "attachment" in answer.headers["Content-Disposition"] and answer.headers["Cache-Control"] == "no-store"


def test_what_was_cut_or_replaced_is_said(as_alice: Client, bobs_key: Issued, record: Record) -> None:
    row = record(bobs_key.row)
    seal(row, json.dumps({"messages": [{"role": "user", "content": "x 4111 " * 3000}]}).encode(), b"", (r"\b4111\b",))
    page = as_alice.post(page_of(row), {"reason": "x"}).content.decode()
    assert "only the first 10,000 of them are kept" in page and "replaced before it was kept: 3,000" in page
    assert "one could guess" in page and "4111" not in page


def test_a_payload_that_is_not_there_is_told_apart(as_alice: Client, bobs_key: Issued, record: Record) -> None:
    never, lost = record(bobs_key.row), record(bobs_key.row, captured=True)
    assert "payload" not in request_page(as_alice, never).lower()
    assert "could not be kept" in request_page(as_alice, lost)
    assert as_alice.post(page_of(lost), {"reason": "x"}).status_code == 404


def test_a_lost_key_is_said_and_not_an_error(as_alice: Client, kept: RequestRecord) -> None:
    with override_settings(ENCRYPTION_KEYS={9: b"z" * 32}):
        answer = as_alice.post(page_of(kept), {"reason": "x"})
    assert answer.status_code == 200 and b"cannot be opened with these ENCRYPTION_KEYS" in answer.content


# The policy's pages


def test_the_policy_is_set_on_the_tenants_page_and_audited(as_alice: Client, acme: Tenant) -> None:
    url = reverse("admin:tenants_tenant_change", args=(acme.pk,))
    page = as_alice.get(url)
    assert b"is kept only if you say so here" in page.content
    form = {name: value for name, value in page.context["adminform"].form.initial.items() if value is not None}
    bad = as_alice.post(url, {**form, "capture": "full", "capture_redactions": "(unclosed"})
    assert b"is not a regular expression" in bad.content
    as_alice.post(url, {**form, "capture": "sampled", "capture_percent": 5, "capture_redactions": r"\d{16}"})
    acme.refresh_from_db()
    assert (acme.capture, acme.capture_percent, acme.capture_redactions) == ("sampled", 5, r"\d{16}")
    assert AuditEvent.objects.filter(action="tenant.changed").first().told_after["capture"] == "sampled"  # type: ignore[union-attr]


def test_a_key_can_keep_less(as_alice: Client, bobs_key: Issued) -> None:
    url = reverse("admin:tenants_apikey_change", args=(bobs_key.row.pk,))
    page = as_alice.get(url)
    assert b"never more" in page.content and b"Whatever its tenant keeps" in page.content
    form = {name: value for name, value in page.context["adminform"].form.initial.items() if value not in (None, {})}
    as_alice.post(url, {**form, "capture": "off"})
    assert ApiKey.objects.get().capture == "off"
