"""The list of keys: found by name, public id, hint or a pasted key, which is never repeated."""

from __future__ import annotations

from datetime import timedelta
from urllib.parse import quote

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from tenants.models import ApiKey, Issued, KeySecret, Tenant
from tests.tenants.admin.conftest import issue

LIST = "/admin/tenants/apikey/"


def names(client: Client, query: str = "") -> set[str]:
    response = client.get(f"{LIST}{query}", follow=True)
    assert response.status_code == 200
    return {key.name for key in response.context["cl"].result_list}


def test_a_key_is_found_by_name_public_id_and_hint(as_alice: Client, bobs_key: Issued, mallorys_key: Issued) -> None:
    key = bobs_key.key
    for asked in ("upport", key.public_id, key.hint, key.hint.replace("…", "..."), f" {key.public_id} "):
        assert names(as_alice, f"?q={quote(asked)}") == {"support bot"}, asked
    assert names(as_alice, "?q=nothing") == set()


@pytest.mark.parametrize("frame", ["{}", "Bearer {}", " {} "])
@pytest.mark.parametrize("page", [LIST, "/admin/tenants/requestrecord/", "/admin/tenants/tenant/"])
def test_a_pasted_key_is_never_repeated(as_alice: Client, bobs_key: Issued, page: str, frame: str) -> None:
    key = bobs_key.key
    first = as_alice.get(page, {"q": frame.format(key.text)})
    assert (first.status_code, first.headers["Location"]) == (302, f"{page}?q={key.public_id}")
    assert key.text[-30:].encode() not in first.content
    shown = as_alice.get(first.headers["Location"])
    assert key.text[-30:].encode() not in shown.content


def test_a_pasted_key_finds_its_row(as_alice: Client, bobs_key: Issued, mallorys_key: Issued) -> None:
    assert names(as_alice, f"?q={bobs_key.key.text}&mode=live") == {"support bot"}


def test_each_status_lists_the_keys_that_say_so(as_alice: Client, acme: Tenant, globex: Tenant) -> None:
    past = timezone.now() - timedelta(days=1)
    issue(acme, "active")
    issue(acme, "expired", expires_at=past)
    issue(globex, "suspended")
    issue(globex, "revoked", expires_at=past).row.revoke("x")
    globex.suspend()
    for key in ApiKey.objects.all():
        assert key.status == key.name
        assert names(as_alice, f"?status={key.name}") == {key.name}
    assert len(names(as_alice, "?status=nonsense")) == 4


def test_tenant_and_mode_narrow_the_list(as_alice: Client, bobs_key: Issued, mallorys_key: Issued) -> None:
    assert names(as_alice, f"?tenant={bobs_key.row.tenant_id}") == {"support bot"}
    assert names(as_alice, "?tenant=nonsense") == set()
    assert names(as_alice, "?mode=test") == set()
    assert len(names(as_alice, "?mode=&tenant=&status=")) == 2


@pytest.mark.parametrize(
    "lookup",
    [
        "secrets__digest__startswith=a",
        "secrets__pepper=1",
        "tenant__keys__secrets__digest__gt=a",
        "digest=a",
    ],
)
def test_no_lookup_reaches_a_digest(as_alice: Client, bobs_key: Issued, lookup: str) -> None:
    for kind in ("apikey", "tenant", "requestrecord"):
        response = as_alice.get(f"/admin/tenants/{kind}/?{lookup}", follow=True)
        assert response.status_code == 400, kind


def test_the_password_of_a_person_is_no_lookup_either(as_alice: Client) -> None:
    assert as_alice.get("/admin/tenants/user/?password__startswith=md5").status_code == 400


def test_the_list_asks_as_much_for_many_keys_as_for_one(as_alice: Client, acme: Tenant) -> None:
    issue(acme)
    with CaptureQueriesContext(connection) as one:
        as_alice.get(LIST)
    for number in range(5):
        issue(acme, f"key {number}")
    with CaptureQueriesContext(connection) as many:
        as_alice.get(LIST)
    assert len(many) == len(one)


def test_the_list_says_when_a_key_was_last_used(as_alice: Client, bobs_key: Issued) -> None:
    assert b"never" in as_alice.get(LIST).content
    KeySecret.objects.touch({KeySecret.objects.get().pk: timezone.now() - timedelta(minutes=3)})
    assert b"3 min ago" in as_alice.get(LIST).content


def test_an_empty_list_says_the_next_step(as_alice: Client, acme: Tenant) -> None:
    page = as_alice.get(LIST).content.decode()
    assert "No keys yet" in page and 'href="add/"' in page
    assert "Nothing matches" in as_alice.get(LIST, {"q": "x"}).content.decode()
