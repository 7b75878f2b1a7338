"""A tenant's Anthropic key goes into the console and never comes out of it."""

from __future__ import annotations

import time

import pytest
from django.test import Client
from django.urls import reverse

from tenants.models import AuditEvent, Tenant, UpstreamCredential
from tests.tenants.admin.conftest import PASSWORD

SECRET = "sk-ant-" + "api03-acmes-own-key-ABCD"
OTHER = "sk-ant-" + "api03-acmes-next-key-WXYZ"


def page(tenant: Tenant, name: str = "anthropic-key") -> str:
    return reverse(f"admin:tenants_tenant_{name}", args=(tenant.pk,))


def shown(client: Client, tenant: Tenant) -> str:
    return client.get(page(tenant, "change")).content.decode()


def test_without_one_the_page_says_that_the_sites_is_used(as_alice: Client, acme: Tenant) -> None:
    assert "the site&#x27;s" in shown(as_alice, acme)
    assert "remove-upstream-key" not in shown(as_alice, acme)


def test_it_is_set_and_only_its_end_is_shown(as_alice: Client, acme: Tenant) -> None:
    response = as_alice.post(page(acme), {"secret": f" {SECRET} "}, follow=True)
    assert "sk-ant-…ABCD" in response.content.decode() and "by alice" in shown(as_alice, acme)
    for name in ("change", "anthropic-key", "history", "remove-upstream-key"):
        assert "own-key" not in as_alice.get(page(acme, name)).content.decode(), name
    assert "own-key" not in response.content.decode() + str(as_alice.session.items())
    assert "own-key" not in str(list(AuditEvent.objects.values()))


def test_it_is_replaced_and_removed_with_a_reason(as_alice: Client, acme: Tenant) -> None:
    as_alice.post(page(acme), {"secret": SECRET})
    as_alice.post(page(acme), {"secret": OTHER})
    assert UpstreamCredential.objects.get().hint == "sk-ant-…WXYZ"
    as_alice.post(page(acme, "remove-upstream-key"), {"reason": "contract ended"})
    assert not UpstreamCredential.objects.exists()
    event = AuditEvent.objects.filter(action="credential.deleted").get()
    assert event.actor_name == "alice" and "contract ended" in str(event.context)


@pytest.mark.parametrize("secret", ["", "sk-proj-something-else-entirely", "hunter2"])
def test_what_is_no_key_is_refused_and_not_given_back(as_alice: Client, acme: Tenant, secret: str) -> None:
    content = as_alice.post(page(acme), {"secret": secret}).content.decode()
    assert "errorlist" in content and (not secret or secret not in content)
    assert not UpstreamCredential.objects.exists()


def test_an_old_session_gives_its_password_again(as_alice: Client, acme: Tenant) -> None:
    session = as_alice.session
    session["password_given_at"] = time.time() - 3600
    session.save()
    assert b"Give your password" in as_alice.post(page(acme), {"secret": SECRET}).content
    assert not UpstreamCredential.objects.exists()
    as_alice.post(page(acme), {"secret": SECRET, "password": PASSWORD})
    assert UpstreamCredential.objects.exists()


def test_carol_can_neither_set_nor_remove_it(as_carol: Client, acme: Tenant) -> None:
    UpstreamCredential.objects.put(acme, SECRET)
    assert as_carol.get(page(acme)).status_code == 403
    assert as_carol.post(page(acme), {"secret": OTHER}).status_code == 403
    assert as_carol.post(page(acme, "remove-upstream-key"), {"reason": "spite"}).status_code == 403
    assert 'id="anthropic-key"' not in shown(as_carol, acme)
    assert UpstreamCredential.objects.get().hint == "sk-ant-…ABCD"


def test_one_that_anthropic_refuses_shows_on_the_overview_and_the_tenants_page(as_alice: Client, acme: Tenant) -> None:
    row = UpstreamCredential.objects.put(acme, SECRET)
    assert "Anthropic refuses" not in as_alice.get("/admin/").content.decode()
    UpstreamCredential.objects.note(row.pk, "upstream_auth")
    overview = as_alice.get("/admin/").content.decode()
    assert "Anthropic refuses the key of" in overview and page(acme, "change") in overview
    assert "refused by Anthropic" in shown(as_alice, acme)
