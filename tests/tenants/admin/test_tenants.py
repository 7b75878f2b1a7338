"""Tenants are created and listed with what belongs to them."""

from __future__ import annotations

from datetime import timedelta

from django.test import Client
from django.utils import timezone

from tenants.models import AuditEvent, Issued, KeptThinking, Tenant
from tests.tenants.admin.conftest import issue

ADD, LIST = "/admin/tenants/tenant/add/", "/admin/tenants/tenant/"


def test_a_new_tenant_leads_to_its_first_key(as_alice: Client) -> None:
    response = as_alice.post(ADD, {"name": "Acme", "slug": "acme", "note": ""})
    acme = Tenant.objects.get()
    assert response.headers["Location"] == f"{LIST}{acme.pk}/change/"
    assert f"/admin/tenants/apikey/add/?tenant={acme.pk}" in as_alice.get(response.headers["Location"]).content.decode()


def test_short_names_are_unique(as_alice: Client, acme: Tenant) -> None:
    response = as_alice.post(ADD, {"name": "Another", "slug": "acme"})
    assert b"already exists" in response.content
    assert Tenant.objects.count() == 1


def test_the_list_counts_the_keys_that_are_not_revoked(as_alice: Client, bobs_key: Issued, globex: Tenant) -> None:
    issue(globex, "old").row.revoke("x")
    rows = as_alice.get(LIST).context["cl"].result_list
    assert {row.slug: row.key_count for row in rows} == {"acme": 1, "globex": 0}


def test_a_tenant_is_found_by_either_name(as_alice: Client, acme: Tenant, globex: Tenant) -> None:
    for asked in ("Acm", "acme"):
        assert [row.slug for row in as_alice.get(LIST, {"q": asked}).context["cl"].result_list] == ["acme"]


def test_an_empty_list_says_the_next_step(as_alice: Client) -> None:
    assert b"No tenants yet" in as_alice.get(LIST).content


def test_thinking_is_kept_by_choice_alone_and_what_was_kept_goes_with_it(
    as_alice: Client, acme: Tenant, bobs_key: Issued
) -> None:
    page = f"{LIST}{acme.pk}/change/"
    assert b"Stores content" in as_alice.get(page).content and not acme.thinking_vault
    fields = {"name": "Acme", "slug": "acme", "time_zone": "UTC"}
    for said, kept in ({**fields, "thinking_vault": "on"}, True), (fields, False):
        form = as_alice.get(page).context["adminform"].form
        hidden = {
            name: form[name].value() or "" for name in form.fields if name not in ("thinking_vault", "idempotent")
        }
        assert as_alice.post(page, {**hidden, **said}).status_code == 302
        acme.refresh_from_db()
        assert acme.thinking_vault is kept
        if kept:
            row = {"tenant": acme, "key": bobs_key.row, "call": "x", "size": 1, "sealed": b"x"}
            KeptThinking.objects.create(**row, until=timezone.now() + timedelta(hours=1))
    assert not KeptThinking.objects.exists()
    told = [event.after for event in AuditEvent.objects.filter(action="tenant.changed").order_by("seq")]
    assert told[-2:] == ['{"thinking_vault":true}', '{"thinking_vault":false}']
