"""Payloads go when their days are over, with their end user, and never under legal hold; the trail counts them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from django.conf import settings
from django.core.management import call_command
from django.test import override_settings

from tenants import ids, payload_retention, retention
from tenants.encryption import Box
from tenants.models import ApiKey, AuditEvent, Payload, Tenant
from tenants.nightly import Nightly
from tenants.pseudonym import pseudonym

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)


def put(key: ApiKey, days: float, end_user: str | None = None) -> UUID:
    """A payload of so many days ago."""
    pk = UUID(int=ids.floor(NOW - timedelta(days=days)).int | (ids.uuid7().int & ((1 << 62) - 1)))
    sealed = Box(settings.ENCRYPTION_KEYS).seal("a", b"content")
    Payload.objects.create(pk=pk, tenant=key.tenant, key=key, end_user=end_user, sealed=sealed)
    return pk


def left() -> set[UUID]:
    return set(Payload.objects.values_list("pk", flat=True))


def told(action: str) -> list[dict[str, Any]]:
    return [event.told_after for event in AuditEvent.objects.filter(action=action).order_by("seq")]


@pytest.mark.parametrize(
    ("tenant", "key_days", "records", "default", "days"),
    [(30, None, None, None, 30), (30, 7, None, None, 7), (7, 30, None, None, 7), (30, None, 10, None, 10),
     (30, None, None, 5, 5), (30, None, 0, 5, 30)],
)  # fmt: skip
def test_the_shortest_of_all_days_counts(
    key: ApiKey, tenant: int, key_days: int | None, records: int | None, default: int | None, days: int
) -> None:
    Tenant.objects.update(capture_days=tenant, retention_days=records)
    ApiKey.objects.update(capture_days=key_days)
    gone, kept = put(key, days + 0.1), put(key, days - 0.1)
    assert payload_retention.prune(default, now=NOW, dry_run=True) == {"acme": 1} and left() == {gone, kept}
    assert payload_retention.prune(default, now=NOW) == {"acme": 1}
    assert left() == {kept}


def test_what_went_is_counted_on_the_trail(key: ApiKey, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(payload_retention, "BATCH_ROWS", 2)
    pks = [put(key, days) for days in (50, 45, 40)]
    payload_retention.prune(None, now=NOW)
    first, second = told("payload.pruned")
    assert (first["count"], second["count"]) == (2, 1) and left() == set()
    assert first["from"] == ids.moment(pks[0]).isoformat() and first["through"] == ids.moment(pks[1]).isoformat()


def test_a_legal_hold_stands_above_it(key: ApiKey) -> None:
    kept = put(key, 90, pseudonym(key.tenant_id, "user-17"))
    key.tenant.hold("a lawsuit")
    assert payload_retention.prune(1, now=NOW) == payload_retention.prune(1, now=NOW, dry_run=True) == {}
    with pytest.raises(retention.UnderLegalHold):
        retention.erase_end_user(key.tenant, "user-17")
    assert left() == {kept} and told("payload.erased") == []


def test_the_night_does_it(key: ApiKey) -> None:
    put(key, 90)
    with override_settings(RETENTION_DAYS=None):
        assert Nightly().look(NOW) is not None
    assert left() == set()


def test_an_end_users_payloads_are_erased_and_counted(key: ApiKey) -> None:
    put(key, 1, pseudonym(key.tenant_id, "user-17"))
    kept = put(key, 1, pseudonym(key.tenant_id, "user-18"))
    retention.erase_end_user(key.tenant, "user-17")
    assert left() == {kept}
    (event,) = told("payload.erased")
    assert event == {"count": 1, "end_user": pseudonym(key.tenant_id, "user-17")}


def test_they_are_encrypted_again(key: ApiKey, capsys: pytest.CaptureFixture[str]) -> None:
    put(key, 1)
    keys = {**settings.ENCRYPTION_KEYS, max(settings.ENCRYPTION_KEYS) + 1: b"n" * 32}
    with override_settings(ENCRYPTION_KEYS=keys):
        call_command("reencrypt")
    assert "Payloads: 1 encrypted again" in capsys.readouterr().out
    assert Box({max(keys): b"n" * 32}).open("a", bytes(Payload.objects.get().sealed)) == b"content"
