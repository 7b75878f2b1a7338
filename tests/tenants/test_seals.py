"""The record's digests: a closed day is sealed, late rows are signed, and whatever else is done to it is found."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from django.db import transaction

from tenants import retention, seals, verification
from tenants.audit import AuditEvent
from tenants.ledger import _store as store
from tenants.models import ApiKey, RequestRecord, Tenant
from tenants.pseudonym import pseudonym
from tests.conftest import issue
from tests.tenants.test_usage import row

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
DAY = date(2026, 11, 10)
AT = datetime(2026, 11, 10, 9, tzinfo=UTC)
Recorded = Callable[..., list[UUID]]


@pytest.fixture
def recorded(acme: Tenant) -> Recorded:
    """Has the ledger write requests of Acme, admitted then."""
    issue(acme)

    def write(count: int = 3, at: datetime = AT, **columns: Any) -> list[UUID]:
        key = ApiKey.objects.get(tenant=acme)
        rows = [row(key, at + timedelta(seconds=n), **columns) for n in range(count)]
        with transaction.atomic():
            store(rows)
        return [one["id"] for one in rows]

    return write


def findings() -> list[str]:
    return [finding.partition(": ")[2] for finding in verification.verify().records]


def told(action: str) -> list[dict[str, Any]]:
    return [event.told_after for event in AuditEvent.objects.filter(action=action).order_by("seq")]


def raw(**where: Any) -> Any:
    return RequestRecord.objects.filter(**where)


def test_a_day_is_sealed_when_another_has_passed(recorded: Recorded) -> None:
    recorded()
    assert seals.seal_due(datetime(2026, 11, 11, 23, 59, tzinfo=UTC)) == 0
    assert seals.seal_due(datetime(2026, 11, 12, 0, 1, tzinfo=UTC)) == 1
    (seal,) = told(seals.SEALED)
    assert (seal["day"], seal["records"], len(seal["chunks"])) == ("2026-11-10", 3, 3)
    assert seals.closed_through() == DAY
    assert seals.seal_due(NOW) == 0 and seals.closed_through() == date(2026, 11, 18)
    assert findings() == []


def test_a_day_with_an_open_request_waits_and_so_does_its_closing(recorded: Recorded) -> None:
    recorded()
    (running,) = recorded(1, state="sent")
    recorded(at=AT + timedelta(days=1))
    assert seals.seal_due(NOW) == 1
    assert seals.closed_through() is None
    raw(pk=running).update(state="interrupted")
    assert seals.seal_due(NOW) == 1
    assert seals.closed_through() == date(2026, 11, 18)
    assert findings() == []


@pytest.mark.parametrize("size", [1, 100])
def test_an_edited_record_is_found(recorded: Recorded, monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    monkeypatch.setattr(seals, "MAX_CHUNKS", 250 // size)
    pks = recorded(5)
    seals.seal_due(NOW)
    raw(pk=pks[2]).update(cost_nanos=1)
    (found,) = findings()
    assert found == (f"record {pks[2]} was changed" if size == 1 else f"records from {pks[0]} to {pks[2]}: changed")


def test_a_deleted_record_is_found(recorded: Recorded) -> None:
    pks = recorded()
    seals.seal_due(NOW)
    raw(pk=pks[1]).delete()
    assert findings() == [f"record {pks[1]} is missing"]


@pytest.mark.parametrize("seconds", [-5, 0.5, 50])
def test_an_added_record_is_found(recorded: Recorded, seconds: float) -> None:
    first, *_ = recorded()
    seals.seal_due(NOW)
    copy = RequestRecord.objects.get(pk=first)
    copy.pk = row(copy.key, AT + timedelta(seconds=seconds))["id"]
    RequestRecord.objects.bulk_create([copy])
    assert findings() == [f"record {copy.pk} was added"]


def test_a_record_added_to_a_closed_day_without_any_is_found(recorded: Recorded) -> None:
    (first,) = recorded(1)
    seals.seal_due(NOW)
    copy = RequestRecord.objects.get(pk=first)
    copy.pk = row(copy.key, AT + timedelta(days=2))["id"]
    RequestRecord.objects.bulk_create([copy])
    assert findings() == ["1 added after the day was closed"]
    seals.seal_due(NOW + timedelta(days=5))
    assert findings() == ["1 added after the day was closed"], "and it is not sealed later as if it were right"


def test_what_is_moved_to_another_tenant_or_day_is_found(recorded: Recorded, acme: Tenant) -> None:
    pks = recorded()
    seals.seal_due(NOW)
    raw(pk=pks[0]).update(tenant_id=acme.pk + 1)
    assert sorted(findings()) == ["1 added after the day was closed", f"record {pks[0]} is missing"]


def test_a_record_made_open_again_is_found(recorded: Recorded) -> None:
    pks = recorded()
    seals.seal_due(NOW)
    raw(pk=pks[0]).update(state="sent")
    assert findings() == [f"record {pks[0]} is missing"]


def test_a_late_record_is_signed_by_the_ledger_and_nothing_else_is(recorded: Recorded) -> None:
    recorded()
    seals.seal_due(NOW)
    (late,) = recorded(1, at=AT + timedelta(minutes=5))
    recorded(1, at=AT + timedelta(days=1))
    assert [one["records"] for one in told(seals.SUPPLEMENTED)] == [1, 1]
    assert findings() == []
    raw(pk=late).update(status=500)
    assert findings() == [f"record {late} was changed"]
    raw(pk=late).delete()
    assert findings() == [f"record {late} is missing"]


def test_a_replayed_batch_is_signed_once(recorded: Recorded, acme: Tenant) -> None:
    seals.seal_due(NOW)
    rows = [row(ApiKey.objects.get(tenant=acme), AT)]
    for _ in range(2):
        with transaction.atomic():
            store(rows)
    assert len(told(seals.SUPPLEMENTED)) == 1
    assert findings() == []


def test_pruning_tells_of_digest_and_count(recorded: Recorded) -> None:
    recorded()
    seals.seal_due(NOW)
    (seal,) = told(seals.SEALED)
    retention.prune(5, now=NOW)
    (pruned,) = told(seals.PRUNED)
    assert (pruned["records"], pruned["digest"]) == (3, seal["digest"])
    assert findings() == []
    (back,) = recorded(1)
    assert findings() == [], "one that came later still is signed as late"
    retention.prune(5, now=NOW)
    assert [one["records"] for one in told(seals.PRUNED)] == [3, 1] and findings() == []
    RequestRecord.objects.bulk_create([RequestRecord(pk=back, tenant_id=1, key_id=back, state="settled")])
    assert findings() != []


def test_pruning_that_is_stopped_seals_what_is_left(
    recorded: Recorded, acme: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "BATCH_ROWS", 2)
    pks = recorded(5)
    seals.seal_due(NOW)
    retention.prune(5, now=NOW, stop=lambda: True)
    assert RequestRecord.objects.count() == 3 and findings() == []
    raw(pk=pks[4]).update(status=500)
    assert findings() == [f"record {pks[4]} was changed"]


def test_an_erased_end_user_is_told_and_the_day_sealed_again(recorded: Recorded, acme: Tenant) -> None:
    recorded(end_user=pseudonym(acme.pk, "u-1"))
    pks = recorded(2, at=AT + timedelta(hours=1))
    seals.seal_due(NOW)
    assert retention.erase_end_user(acme, "u-1") == 3
    (resealed,) = told(seals.RESEALED)
    assert (resealed["changed"], resealed["found_before"]) == (3, [])
    assert findings() == []
    raw(pk=pks[0]).update(cost_nanos=1)
    assert findings() == [f"record {pks[0]} was changed"]


def test_an_erasure_covers_nothing_up(recorded: Recorded, acme: Tenant) -> None:
    recorded(1, end_user=pseudonym(acme.pk, "u-1"))
    (other,) = recorded(1, at=AT + timedelta(hours=1))
    seals.seal_due(NOW)
    raw(pk=other).update(cost_nanos=1)
    retention.erase_end_user(acme, "u-1")
    (resealed,) = told(seals.RESEALED)
    assert resealed["found_before"][0].endswith(f"record {other} was changed")
