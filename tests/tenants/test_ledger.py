"""The ledger: rows arrive once, survive the database's absence, and none of them can poison the rest."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest
from asgiref.sync import sync_to_async
from django.db import OperationalError, connection

from tenants import ids, journal
from tenants.asks import Ask
from tenants.database import Database
from tenants.journal import Journal
from tenants.ledger import Ledger, clean, write
from tenants.models import ApiKey, Budget, BudgetWindow, Hold, KeySecret, RequestRecord, Tenant
from tenants.values import State
from tests.conftest import issue


class Desk:
    """A journal and its ledger for Acme's key."""

    def __init__(self, directory: Path, tenant: Tenant) -> None:
        self.directory = directory
        self.database = Database(threads=1)
        self.book = Journal(directory)
        self.ledger = Ledger(self.book, self.database, directory)
        issue(tenant)
        secret = KeySecret.objects.get()
        self.columns: dict[str, Any] = {"tenant_id": tenant.pk, "key_id": str(secret.key_id), "secret_id": secret.pk}
        self.columns |= {"mode": "live", "dialect": "chat"}

    def admit(self, **more: Any) -> journal.Entry:
        return self.book.admit(ids.uuid7(), **self.columns, **more)

    async def records(self) -> list[RequestRecord]:
        return await sync_to_async(lambda: list(RequestRecord.objects.order_by("id")))()


@pytest.fixture
async def desk(acme: Tenant, tmp_path: Path) -> AsyncIterator[Desk]:
    desk = await sync_to_async(Desk)(tmp_path, acme)
    yield desk
    await asyncio.to_thread(desk.database.close)


async def test_rows_are_stored_once_and_their_key_was_used(desk: Desk) -> None:
    entry = desk.admit()
    entry.close(state=State.SETTLED, status=200)
    assert await desk.ledger.flush()
    assert await desk.ledger.flush()
    (record,) = await desk.records()
    assert (record.pk, record.state) == (entry.id, "settled")
    secret = await KeySecret.objects.aget()
    assert secret.last_used_at == ids.moment(entry.id)


async def test_replaying_a_journal_changes_nothing(desk: Desk) -> None:
    entry = desk.admit()
    entry.close(state=State.SETTLED, status=200)
    rows = desk.book.take().rows
    for _ in range(3):
        await desk.database(lambda: write(rows, {}, desk.directory))
    older = [{**rows[0], "state": State.INTERRUPTED, "status": 0}]
    await desk.database(lambda: write(older, {}, desk.directory))
    (record,) = await desk.records()
    assert (record.state, record.status) == ("settled", 200)


async def test_an_open_row_is_completed_by_its_end(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "SHOW_AFTER_SECONDS", -1.0)
    entry = desk.admit()
    entry.sent(model="claude-opus-5")
    assert await desk.ledger.flush()
    (record,) = await desk.records()
    assert (record.state, record.model) == ("sent", "claude-opus-5")
    entry.close(state=State.SETTLED, status=200, output_tokens=3)
    assert await desk.ledger.flush()
    (record,) = await desk.records()
    assert (record.state, record.output_tokens) == ("settled", 3)


async def test_while_the_database_is_away_the_journal_keeps_everything(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def away(*_: Any) -> None:
        raise OperationalError("away")

    monkeypatch.setattr("tenants.ledger.RequestRecord.objects.write", away)
    for _ in range(3):
        desk.admit().close(state=State.SETTLED)
        assert not await desk.ledger.flush()
    assert caplog.text.count("the journal keeps the rows") == 1
    monkeypatch.undo()
    assert await desk.ledger.flush()
    assert len(await desk.records()) == 3


Minute = Callable[[str], Awaitable[float]]


@pytest.fixture
def a_minute_later(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> Minute:
    """What the ledger does in its next round, with the database away or there, and for how long rows have waited."""
    clock = SimpleNamespace(now=0)
    monkeypatch.setattr("tenants.ledger.time", SimpleNamespace(monotonic=lambda: clock.now))
    monkeypatch.setattr(desk, "ledger", Ledger(desk.book, desk.database, desk.directory))

    async def step(database: str) -> float:
        clock.now += 60
        with monkeypatch.context() as patch:
            if database == "away":
                patch.setattr("tenants.ledger.RequestRecord.objects.write", Mock(side_effect=OperationalError("away")))
            await desk.ledger.flush()
            await desk.ledger.recover()
        return desk.ledger.behind

    return step


async def test_it_says_for_how_long_rows_have_waited(desk: Desk, a_minute_later: Minute) -> None:
    assert await a_minute_later("away") == 0  # for nothing
    desk.admit().close(state=State.SETTLED)
    assert [await a_minute_later(database) for database in ("away", "away", "there")] == [60, 120, 0]


async def test_rows_that_a_dead_worker_left_wait_too(desk: Desk, a_minute_later: Minute) -> None:
    dead = Journal(desk.directory)
    dead.admit(ids.uuid7(), **desk.columns).close(state=State.SETTLED)
    dead._segment.hand_over()
    assert [await a_minute_later(database) for database in ("away", "away", "there")] == [60, 120, 0]


async def test_a_row_the_database_refuses_is_set_aside_not_the_batch(desk: Desk) -> None:
    good, bad = desk.admit(), desk.admit()
    good.close(state=State.SETTLED)
    bad.close(state=State.SETTLED, status=None)
    assert await desk.ledger.flush()
    assert [record.pk for record in await desk.records()] == [good.id]
    assert str(bad.id) in (desk.directory / "rejected.jsonl").read_text()


async def test_a_row_that_is_set_aside_is_charged_and_holds_nothing(desk: Desk) -> None:
    bad = desk.admit()

    def hold() -> None:
        key = ApiKey.objects.get()
        Budget.objects.give(key, "total", 1000)
        ask = Ask(bad.id, ids.moment(bad.id), Budget.objects.rules_of(key), 500, 0, 1, 1)
        Hold.objects.reserve(ids.uuid7(), [ask])

    await desk.database(hold)
    bad.close(state=State.SETTLED, status=None, cost_nanos=77)
    assert await desk.ledger.flush()
    window = await BudgetWindow.objects.aget()
    assert (window.spent_nanos, window.reserved_nanos) == (77, 0)


async def test_a_dead_workers_rows_are_recovered_and_its_file_goes(desk: Desk) -> None:
    dead = Journal(desk.directory)
    sent = dead.admit(ids.uuid7(), **desk.columns)
    sent.sent(model="claude-opus-5")
    dead._segment.hand_over()
    assert await desk.ledger.recover() == 1
    (record,) = await desk.records()
    assert (record.state, record.error_code, record.usage_source) == ("interrupted", "worker_died", "bound")
    assert await desk.ledger.recover() == 0


async def test_closing_stores_what_is_left(desk: Desk) -> None:
    desk.admit().close(state=State.SETTLED)
    await desk.ledger.close()
    assert len(await desk.records()) == 1
    assert list(desk.directory.glob("*.open")) == []


async def test_a_flush_cut_short_by_the_end_is_made_up_for(desk: Desk) -> None:
    desk.admit().close(state=State.SETTLED, status=200)
    begun, go = threading.Event(), threading.Event()
    busy = asyncio.create_task(desk.database(lambda: begun.set() or go.wait(10)))
    await asyncio.to_thread(begun.wait, 10)
    flush = asyncio.create_task(desk.ledger.flush())  # waits for the only thread
    await asyncio.sleep(0)
    flush.cancel()
    await asyncio.gather(flush, return_exceptions=True)
    go.set()
    await busy
    await desk.ledger.close()
    assert [record.state for record in await desk.records()] == ["settled"]
    assert list(desk.directory.iterdir()) == []


def test_text_is_made_fit_for_every_database() -> None:
    row = clean({"alias": "a\0b" + "c" * 300, "unheard_of": 1, "refusal": {"message": "kept"}, "status": 200})
    assert row == {"alias": "a\ufffdb" + "c" * 197, "refusal": {"message": "kept"}, "status": 200}


@pytest.mark.django_db
def test_a_double_issue_with_one_id_issues_once(acme: Tenant) -> None:
    from django.conf import settings
    from django.db import IntegrityError

    first = ApiKey.objects.issue(acme, "one", peppers=settings.KEY_PEPPERS)
    with pytest.raises(IntegrityError):
        ApiKey.objects.issue(acme, "two", peppers=settings.KEY_PEPPERS, id=first.row.pk)
    assert KeySecret.objects.count() == 1


@pytest.mark.django_db
@pytest.mark.skipif(connection.vendor != "sqlite", reason="PostgreSQL scans a table as small as this one")
@pytest.mark.parametrize(("column", "index"), [("upstream_id", "record_upstream"), ("end_user", "record_end_user")])
def test_a_search_uses_its_index(column: str, index: str) -> None:
    assert f"USING INDEX {index}" in RequestRecord.objects.filter(**{column: "req_1"}).order_by().explain()


def test_what_has_no_value_is_null_where_an_index_leaves_nulls_out() -> None:
    assert clean({"upstream_id": "", "end_user": "", "alias": ""}) == {
        "upstream_id": None,
        "end_user": None,
        "alias": "",
    }
