"""Retention: what is kept is kept, what is not goes whole, and a legal hold stands above both."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from io import StringIO
from typing import Any
from uuid import UUID

import pytest
from django.contrib.sessions.models import Session
from django.core.management import CommandError, call_command
from django.db import OperationalError, connection
from django.test import override_settings
from django.utils import timezone

from tenants import partitions, retention
from tenants.models import ApiKey, Installation, RequestRecord, Tenant, UsageDay
from tenants.nightly import Nightly
from tenants.pseudonym import pseudonym
from tests.conftest import issue
from tests.tenants.test_usage import row, store

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
OLD, RECENT = NOW - timedelta(days=40), NOW - timedelta(days=20)
Recorded = Callable[..., UUID]


@pytest.fixture
def globex(acme: Tenant) -> Tenant:
    return Tenant.objects.create(slug="globex", name="Globex")


@pytest.fixture
def recorded(acme: Tenant) -> Recorded:
    """Puts a request of a tenant on record, as admitted then."""

    def record(tenant: Tenant, at: datetime, **columns: Any) -> UUID:
        if not ApiKey.objects.filter(tenant=tenant).exists():
            issue(tenant)
        one = row(ApiKey.objects.get(tenant=tenant), at, **columns)
        store(one)
        found: UUID = one["id"]
        return found

    return record


def left() -> set[UUID]:
    return set(RequestRecord.objects.values_list("pk", flat=True))


def test_nothing_goes_without_a_retention(acme: Tenant, recorded: Recorded) -> None:
    kept = recorded(acme, datetime(2020, 1, 1, tzinfo=UTC))
    assert retention.prune(None, now=NOW).total == 0
    assert left() == {kept}


def test_zero_days_means_for_ever_whatever_the_site_says(acme: Tenant, recorded: Recorded) -> None:
    kept = recorded(acme, OLD)
    Tenant.objects.update(retention_days=0)
    assert retention.prune(1, now=NOW).total == 0
    assert left() == {kept}


def test_each_tenant_has_its_own_retention_or_the_sites(acme: Tenant, globex: Tenant, recorded: Recorded) -> None:
    kept = {recorded(acme, RECENT), recorded(globex, RECENT), recorded(globex, OLD)}
    recorded(acme, OLD)
    Tenant.objects.filter(pk=globex.pk).update(retention_days=90)
    assert retention.prune(30, now=NOW).records == {"acme": 1}
    assert left() == kept


def test_many_records_go_in_batches_and_stop_when_told(
    acme: Tenant, recorded: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "BATCH_ROWS", 3)
    for n in range(8):
        recorded(acme, OLD + timedelta(minutes=n))
    newest = max(left())
    assert retention.prune(30, now=NOW, stop=lambda: len(left()) <= 5).total == 3
    assert len(left()) == 5 and newest in left(), "the oldest go first"
    assert retention.prune(30, now=NOW).total == 5


def test_an_open_request_is_not_pruned(acme: Tenant, recorded: Recorded) -> None:
    running = recorded(acme, OLD, state="sent")
    retention.prune(30, now=NOW)
    assert left() == {running}


def test_the_sums_outlive_the_records(acme: Tenant, recorded: Recorded) -> None:
    recorded(acme, OLD, cost_nanos=12)
    retention.prune(30, now=NOW)
    assert left() == set()
    assert UsageDay.objects.summed()[0]["cost_nanos"] == 12


def test_a_dry_run_says_what_would_go_and_leaves_it(acme: Tenant, recorded: Recorded) -> None:
    kept = {recorded(acme, OLD), recorded(acme, RECENT)}
    assert retention.prune(30, now=NOW, dry_run=True).records == {"acme": 1}
    assert left() == kept


def test_nothing_of_a_tenant_under_legal_hold_is_pruned(acme: Tenant, recorded: Recorded) -> None:
    recorded(acme, OLD)
    acme.hold("a lawsuit")
    pruned = retention.prune(30, now=NOW)
    assert (pruned.total, pruned.held, len(left())) == (0, ["acme"], 1)
    acme.release()
    assert retention.prune(30, now=NOW).total == 1


def test_a_hold_placed_while_pruning_stops_it(
    acme: Tenant, recorded: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "BATCH_ROWS", 1)
    for _ in range(3):
        recorded(acme, OLD)
    monkeypatch.setattr(retention.time, "sleep", lambda _: acme.hold("just now"))
    assert retention.prune(30, now=NOW).total == 1
    assert len(left()) == 2


# --- Months ---------------------------------------------------------------------------------------------------------

JULY, AUGUST = datetime(2026, 7, 1, tzinfo=UTC), datetime(2026, 8, 1, tzinfo=UTC)
only_postgresql = pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite keeps one table")


@pytest.fixture
def july(acme: Tenant) -> str:
    name = "tenants_requestrecord_2026_07"
    assert partitions._make("tenants_requestrecord", name, JULY, AUGUST)
    return name


def tables() -> list[str]:
    return partitions._partitions("tenants_requestrecord")


@only_postgresql
def test_a_month_that_nobody_retains_is_dropped_whole(
    acme: Tenant, globex: Tenant, recorded: Recorded, july: str
) -> None:
    recorded(acme, JULY + timedelta(days=1)), recorded(globex, JULY + timedelta(days=2))
    pruned = retention.prune(30, now=NOW)
    assert (pruned.months, pruned.records) == ([july], {"acme": 1, "globex": 1})
    assert july not in tables() and left() == set()


@only_postgresql
@pytest.mark.parametrize("why", ["retained", "held", "open"])
def test_a_month_stays_while_one_record_of_it_does(
    acme: Tenant, globex: Tenant, recorded: Recorded, july: str, why: str
) -> None:
    recorded(acme, JULY + timedelta(days=1))
    kept = recorded(globex, JULY + timedelta(days=2), state="sent" if why == "open" else "settled")
    if why == "retained":
        Tenant.objects.filter(pk=globex.pk).update(retention_days=1000)
    if why == "held":
        globex.hold("a lawsuit")
    pruned = retention.prune(30, now=NOW)
    assert pruned.months == [] and july in tables()
    assert left() == {kept}
    connection.cursor().execute(f'DROP TABLE "{july}"')


# --- One end user ---------------------------------------------------------------------------------------------------


def test_an_erased_user_is_nobody_in_the_record_and_their_cost_stays(
    acme: Tenant, globex: Tenant, recorded: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "BATCH_ROWS", 2)
    person = {"remote_address": "192.0.2.7", "user_agent": "a browser", "cost_nanos": 5}
    mine = [recorded(acme, RECENT, end_user=pseudonym(acme.pk, "u-17"), **person) for _ in range(5)]
    others = recorded(acme, RECENT, end_user=pseudonym(acme.pk, "u-18"), **person)
    elsewhere = recorded(globex, RECENT, end_user=pseudonym(globex.pk, "u-17"), **person)
    assert retention.erase_end_user(acme, "u-17") == 5
    for record in RequestRecord.objects.all():
        erased = record.pk in mine
        assert (record.end_user is None, record.remote_address is None, record.user_agent == "") == (erased,) * 3
        assert record.cost_nanos == 5
    assert left() == {*mine, others, elsewhere}


def test_nothing_of_a_tenant_under_legal_hold_is_erased(acme: Tenant, recorded: Recorded) -> None:
    recorded(acme, RECENT, end_user=pseudonym(acme.pk, "u-17"))
    acme.hold("a lawsuit")
    with pytest.raises(CommandError, match="legal hold"):
        call_command("erase_end_user", "acme", "u-17")
    assert RequestRecord.objects.get().end_user


# --- Commands and the night -----------------------------------------------------------------------------------------


def test_the_command_tells_counts_and_holds(acme: Tenant, globex: Tenant, recorded: Recorded) -> None:
    recorded(acme, OLD), recorded(globex, OLD)
    globex.hold("a lawsuit")
    said = StringIO()
    with override_settings(RETENTION_DAYS=30):
        call_command("prune", "--dry-run", stdout=said)
        call_command("prune", stdout=said)
    assert "Would delete 1 records." in said.getvalue() and "Deleted 1 records." in said.getvalue()
    assert "globex: under legal hold" in said.getvalue()


def test_of_all_workers_one_prunes_each_night_after_the_hour(acme: Tenant, recorded: Recorded) -> None:
    Installation.objects.get_or_create(pk=1)
    tonight = NOW.replace(hour=3)
    workers = [Nightly(), Nightly()]
    with override_settings(RETENTION_DAYS=30):
        assert [worker.look(tonight) is not None for worker in workers] == [True, False]
        recorded(acme, OLD)
        before, after = tonight + timedelta(hours=23, minutes=59), tonight + timedelta(days=1)
        assert workers[1].look(before) is None
        pruned = workers[1].look(after)
    assert pruned is not None and pruned.total == 1


def test_sessions_that_are_over_go_with_the_night(acme: Tenant) -> None:
    Installation.objects.get_or_create(pk=1)
    for key, left in {"over": -1, "open": 60}.items():
        Session.objects.create(session_key=key, expire_date=timezone.now() + timedelta(seconds=left))
    Nightly().look(NOW)
    assert [session.pk for session in Session.objects.all()] == ["open"]


def test_a_night_without_a_database_is_no_end(monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: Any) -> None:
        raise OperationalError("away")

    monkeypatch.setattr(Installation, "claim_pruning", away)
    assert Nightly().look(NOW) is None
