"""The trail: every change is told, once, in order, without secrets; a change that cannot be told does not happen."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import pytest
from django.conf import settings
from django.db import DatabaseError, connection, transaction
from django.utils import timezone

from tenants import append_only, audit
from tenants.actors import Actor, Kind, acting
from tenants.audit import NO_HASH, AppendOnly, AuditEvent
from tenants.models import ApiKey, Installation, KeySecret, ModelAlias, Tenant, User

ALICE = Actor(Kind.USER, "alice", "7", "203.0.113.9", {"user_agent": "a browser"})


@pytest.fixture
def tenant(db: None) -> Tenant:
    return Tenant.objects.create(slug="acme", name="Acme")


def issue(tenant: Tenant, name: str = "bot") -> ApiKey:
    return ApiKey.objects.issue(tenant, name, peppers=settings.KEY_PEPPERS).row


def last() -> AuditEvent:
    return AuditEvent.objects.order_by("-seq")[0]


def actions() -> list[str]:
    return list(AuditEvent.objects.order_by("seq").values_list("action", flat=True))


# The chain


def test_rows_are_numbered_without_a_gap_and_chained(tenant: Tenant) -> None:
    for number in range(5):
        AuditEvent.objects.append("audit.exported", kind="audit", after={"rows": number})
    rows = list(AuditEvent.objects.order_by("seq"))
    assert [row.seq for row in rows] == list(range(1, len(rows) + 1))
    assert rows[0].prev_hash == NO_HASH
    assert all(row.prev_hash == before.hash for before, row in pairwise(rows))
    assert all(row.hash == row.computed_hash() for row in rows)


def test_what_is_rolled_back_was_never_told(tenant: Tenant) -> None:
    head = AuditEvent.objects.head()
    with pytest.raises(RuntimeError), transaction.atomic():
        tenant.suspend()
        raise RuntimeError
    assert AuditEvent.objects.head() == head


def test_a_change_that_cannot_be_told_does_not_happen(tenant: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: AuditEvent) -> str:
        raise DatabaseError("disk full")

    monkeypatch.setattr(AuditEvent, "computed_hash", full)
    revision = Installation.current_revision()
    changes = (
        tenant.suspend,
        lambda: Tenant.objects.get().delete(),
        lambda: issue(tenant),
        lambda: Tenant.objects.filter(pk=tenant.pk).update(name="Other"),
        lambda: Tenant.objects.filter(pk=tenant.pk).delete(),
        lambda: ModelAlias.objects.bulk_create([ModelAlias(name="a", target="b")]),
        lambda: User.objects.create_user("mallory"),
    )
    for change in changes:
        with pytest.raises(DatabaseError, match="disk full"), transaction.atomic():
            change()
    tenant.refresh_from_db()
    assert tenant.suspended_at is None and tenant.name == "Acme"
    assert not ApiKey.objects.exists() and not ModelAlias.objects.exists() and not User.objects.exists()
    assert Installation.current_revision() == revision


@pytest.mark.django_db(transaction=True)
def test_those_who_append_at_once_wait_for_each_other() -> None:
    def append(number: int) -> None:
        try:
            AuditEvent.objects.append("audit.exported", after={"rows": number})
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(append, range(40)))
    rows = list(AuditEvent.objects.order_by("seq"))
    assert [row.seq for row in rows] == list(range(1, 41))
    assert all(row.prev_hash == before.hash for before, row in pairwise(rows))


# Append only


def test_the_model_refuses_to_change_a_row(tenant: Tenant) -> None:
    row = last()
    for change in (
        row.save,
        row.delete,
        AuditEvent.objects.all().delete,
        lambda: AuditEvent.objects.update(action="a.b"),
        lambda: AuditEvent.objects.bulk_create([row]),
    ):
        with pytest.raises(AppendOnly):
            change()


STATEMENTS = [
    "UPDATE tenants_auditevent SET actor_name = 'nobody'",
    "UPDATE tenants_auditevent SET seq = seq + 1",
    "DELETE FROM tenants_auditevent",
    "DELETE FROM tenants_auditevent WHERE seq = 1",
]
OF_VENDOR = {
    "postgresql": ["TRUNCATE tenants_auditevent", "TRUNCATE tenants_auditevent CASCADE"],
    "sqlite": [
        "INSERT OR REPLACE INTO tenants_auditevent SELECT * FROM tenants_auditevent WHERE seq = 1",
        "REPLACE INTO tenants_auditevent SELECT * FROM tenants_auditevent",
        "UPDATE OR REPLACE tenants_auditevent SET seq = 1",
    ],
}


def test_the_database_refuses_to_change_a_row(tenant: Tenant) -> None:
    before = list(AuditEvent.objects.order_by("seq").values())
    for statement in STATEMENTS + OF_VENDOR[connection.vendor]:
        with pytest.raises(DatabaseError, match=append_only.REFUSAL), transaction.atomic():
            connection.cursor().execute(statement)
    assert list(AuditEvent.objects.order_by("seq").values()) == before


def test_a_missing_trigger_is_noticed(db: None) -> None:
    assert append_only.missing(connection) == []
    with transaction.atomic():
        append_only.unprotect(connection)
        assert len(append_only.missing(connection)) == 3
        append_only.protect(connection)


# Who, what, before and after


def test_the_actor_is_told_with_where_from(tenant: Tenant) -> None:
    with acting(ALICE):
        tenant.suspend("unpaid")
    row = last()
    assert (row.actor_kind, row.actor_name, row.actor_id, row.address) == ("user", "alice", "7", "203.0.113.9")
    assert row.told_context == {"user_agent": "a browser", "reason": "unpaid"}
    assert (row.action, row.object_type, row.object_id, row.object_label) == (
        "tenant.suspended",
        "tenant",
        str(tenant.pk),
        "Acme",
    )
    assert row.tenant_id == tenant.pk
    tenant.resume()
    assert (last().action, last().actor_kind, last().actor_name) == ("tenant.resumed", "system", "bridge")


def test_only_what_changed_is_told(tenant: Tenant) -> None:
    tenant.name, tenant.note = "Acme Inc.", "moved"
    tenant.save()
    assert last().told_before == {"name": "Acme", "note": ""}
    assert last().told_after == {"name": "Acme Inc.", "note": "moved"}
    head = AuditEvent.objects.head()
    tenant.save()
    assert AuditEvent.objects.head() == head


def test_what_save_has_not_written_is_not_told(tenant: Tenant) -> None:
    tenant.name, tenant.note = "Never stored", "stored"
    tenant.save(update_fields=["note"])
    assert last().told_after == {"note": "stored"}


def test_a_key_is_told_from_its_issue_to_its_end(tenant: Tenant) -> None:
    key = issue(tenant)
    key.revoke("leaked", by="alice")
    history = list(AuditEvent.objects.of(key))
    assert [row.action for row in history] == ["key.revoked", "key.secret_created", "key.created"]
    assert {row.tenant_id for row in history} == {tenant.pk}
    assert history[0].told_before["revoked_at"] is None
    assert history[0].told_after["revoked_reason"] == history[0].told_context["reason"] == "leaked"
    assert history[1].told_after["hint"] == KeySecret.objects.get().hint


def test_no_secret_is_ever_told(tenant: Tenant) -> None:
    issued = ApiKey.objects.issue(tenant, "bot", peppers=settings.KEY_PEPPERS)
    issued.row.note = f"it is {issued.key.text}"
    issued.row.save()
    issued.row.revoke(f"leaked: {issued.key.text}")
    user = User.objects.create_user("bob", password="correct horse battery")
    hashed = user.password
    user.set_password("another horse battery")
    user.save()
    digest = bytes(KeySecret.objects.get().digest)
    told = "\n".join(json.dumps(row.columns()) for row in AuditEvent.objects.all())
    for secret in (issued.key.text, issued.key.text[-38:], hashed, user.password, digest.hex(), "horse"):
        assert secret not in told
    assert issued.key.public_id in told
    assert last().action == "user.password_changed"
    assert last().told_after == {"password": "[redacted]"}


def test_changes_of_many_rows_are_told_each(tenant: Tenant) -> None:
    other = Tenant.objects.create(slug="globex", name="Globex")
    Tenant.objects.update(note="audited")
    assert actions()[-2:] == ["tenant.changed"] * 2
    aliases = ModelAlias.objects.bulk_create([ModelAlias(name=name, target="claude") for name in ("a", "b")])
    assert actions()[-2:] == ["alias.created"] * 2
    aliases[0].target = "opus"
    ModelAlias.objects.bulk_update(aliases, ["target"])
    assert (actions()[-1], last().told_before, last().told_after) == (
        "alias.changed",
        {"target": "claude"},
        {"target": "opus"},
    )
    ModelAlias.objects.filter(name="b").delete()
    other.delete(reason="left")
    assert actions()[-2:] == ["alias.deleted", "tenant.deleted"]
    assert last().told_before["slug"] == "globex" and last().told_after == {}


def test_a_last_use_is_no_event(tenant: Tenant) -> None:
    key = issue(tenant)
    head = AuditEvent.objects.head()
    KeySecret.objects.touch({key.secrets.get().pk: timezone.now()})
    user = User.objects.create_user("bob")
    made = AuditEvent.objects.head()
    user.last_login = timezone.now()
    user.save(update_fields=["last_login"])
    assert (head.seq + 1, made) == (made.seq, AuditEvent.objects.head())


@pytest.mark.parametrize(
    "value", ["\0", "\ud800", "x" * 10_000, b"bytes", 1.5, {"a": [timezone.now(), {1, 2}]}, float("nan")]
)
def test_whatever_was_changed_can_be_told(db: None, value: Any) -> None:
    row = AuditEvent.objects.append("tenant.changed", label=str(value), before={"x": value}, after={"y": value})
    row.refresh_from_db()
    assert row.hash == row.computed_hash()
    assert len(row.after) < audit.MAX_TEXT + 20 and "bytes" not in row.after


def test_an_action_has_a_form(db: None) -> None:
    with pytest.raises(ValueError, match="is not an action"):
        AuditEvent.objects.append("Revoked the key")
