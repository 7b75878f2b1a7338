"""Keys are revoked and tenants suspended: with a reason, logged, and heard of by every worker."""

from __future__ import annotations

import pytest
from django.test import Client
from django.urls import reverse

from tenants.models import ApiKey, AuditEvent, Installation, Issued, Tenant
from tests.tenants.admin.conftest import issue


def revoke_page(issued: Issued) -> str:
    return reverse("admin:tenants_apikey_revoke", args=(issued.row.pk,))


def test_revoking_needs_a_reason(as_alice: Client, bobs_key: Issued) -> None:
    response = as_alice.post(revoke_page(bobs_key), {"reason": "  "})
    assert b"This field is required" in response.content
    assert ApiKey.objects.get().revoked_at is None


def told(action: str) -> list[str]:
    """The reasons that the audit trail has, oldest first."""
    events = AuditEvent.objects.filter(action=action, actor_name="alice").order_by("seq")
    return [event.told_context["reason"] for event in events]


def test_looking_at_the_page_revokes_nothing(as_alice: Client, bobs_key: Issued) -> None:
    page = as_alice.get(revoke_page(bobs_key)).content.decode()
    assert "within a second on every worker" in page
    assert ApiKey.objects.get().revoked_at is None


def test_a_revoked_key_says_when_by_whom_and_why(as_alice: Client, bobs_key: Issued) -> None:
    response = as_alice.post(revoke_page(bobs_key), {"reason": "leaked in a log"}, follow=True)
    row = ApiKey.objects.get()
    assert (row.revoked_by, row.revoked_reason, row.status) == ("alice", "leaked in a log", "revoked")
    page = response.content.decode()
    assert "by alice: leaked in a log" in page
    assert "within a second on every worker" in page
    assert told("key.revoked") == ["leaked in a log"]


def test_every_worker_hears_of_it(as_alice: Client, bobs_key: Issued) -> None:
    before = Installation.current_revision()
    as_alice.post(revoke_page(bobs_key), {"reason": "leaked"})
    assert Installation.current_revision() > before


def test_a_key_is_revoked_once(as_alice: Client, bobs_key: Issued) -> None:
    as_alice.post(revoke_page(bobs_key), {"reason": "leaked"})
    as_alice.post(revoke_page(bobs_key), {"reason": "something else"})
    assert ApiKey.objects.get().revoked_reason == "leaked"
    assert told("key.revoked") == ["leaked"]


def test_carol_cannot_revoke(as_carol: Client, bobs_key: Issued) -> None:
    assert as_carol.get(revoke_page(bobs_key)).status_code == 403
    assert as_carol.post(revoke_page(bobs_key), {"reason": "spite"}).status_code == 403
    page = as_carol.get(reverse("admin:tenants_apikey_change", args=(bobs_key.row.pk,))).content
    assert b'id="revoke"' not in page
    assert ApiKey.objects.get().revoked_at is None


def test_what_does_not_exist_cannot_be_revoked(as_alice: Client, db: None) -> None:
    assert as_alice.get("/admin/tenants/apikey/01890000-0000-7000-8000-000000000000/revoke/").status_code == 404
    assert as_alice.get("/admin/tenants/apikey/nonsense/revoke/").status_code == 404


def test_several_keys_are_revoked_with_one_reason(as_alice: Client, acme: Tenant) -> None:
    rows = [issue(acme, name).row for name in ("one", "two", "three")]
    chosen = {"action": "revoke_selected", "_selected_action": [str(rows[0].pk), str(rows[1].pk)]}
    asked = as_alice.post("/admin/tenants/apikey/", chosen)
    assert b"these 2" in asked.content
    assert not ApiKey.objects.exclude(revoked_at=None).exists()
    refused = as_alice.post("/admin/tenants/apikey/", {**chosen, "confirmed": "yes", "reason": ""})
    assert b"This field is required" in refused.content
    done = as_alice.post("/admin/tenants/apikey/", {**chosen, "confirmed": "yes", "reason": "moved"}, follow=True)
    assert b"Revoked: 2 keys" in done.content
    assert set(ApiKey.objects.exclude(revoked_at=None).values_list("name", "revoked_reason")) == {
        ("one", "moved"),
        ("two", "moved"),
    }
    assert told("key.revoked") == ["moved", "moved"]


def test_carol_has_no_such_action(as_carol: Client, bobs_key: Issued) -> None:
    chosen = {"action": "revoke_selected", "_selected_action": [str(bobs_key.row.pk)]}
    as_carol.post("/admin/tenants/apikey/", {**chosen, "confirmed": "yes", "reason": "spite"})
    assert ApiKey.objects.get().revoked_at is None


@pytest.mark.parametrize("kind", ["apikey", "tenant", "requestrecord", "user"])
def test_nothing_is_deleted_in_the_console(as_alice: Client, bobs_key: Issued, kind: str) -> None:
    pks = {"apikey": bobs_key.row.pk, "tenant": bobs_key.row.tenant_id, "user": 1, "requestrecord": bobs_key.row.pk}
    assert as_alice.post(f"/admin/tenants/{kind}/{pks[kind]}/delete/", {"post": "yes"}).status_code in (302, 403)
    as_alice.post(f"/admin/tenants/{kind}/", {"action": "delete_selected", "_selected_action": [str(pks[kind])]})
    assert ApiKey.objects.exists() and Tenant.objects.exists()


def test_a_tenant_is_suspended_and_resumed(as_alice: Client, bobs_key: Issued) -> None:
    tenant = bobs_key.row.tenant
    suspend, resume = (reverse(f"admin:tenants_tenant_{verb}", args=(tenant.pk,)) for verb in ("suspend", "resume"))
    before = Installation.current_revision()
    as_alice.get(suspend)
    as_alice.post(suspend, {"reason": ""})
    assert ApiKey.objects.get().status == "active"
    as_alice.post(suspend, {"reason": "invoice overdue"})
    assert ApiKey.objects.get().status == "suspended"
    assert Installation.current_revision() > before
    as_alice.post(resume, {"reason": "paid"})
    assert ApiKey.objects.get().status == "active"
    assert told("tenant.suspended") + told("tenant.resumed") == ["invoice overdue", "paid"]


def test_carol_cannot_suspend(as_carol: Client, acme: Tenant) -> None:
    page = reverse("admin:tenants_tenant_suspend", args=(acme.pk,))
    assert as_carol.post(page, {"reason": "spite"}).status_code == 403
    assert Tenant.objects.get().suspended_at is None
