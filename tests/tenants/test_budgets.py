"""A worker's reservations: together in one transaction, none left behind by whoever went away."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.db import OperationalError
from django.utils import timezone

from tenants import budgets, ids
from tenants.asks import Ask
from tenants.budgets import Budgets, BudgetsUnavailable
from tenants.database import Database
from tenants.models import ApiKey, Budget, BudgetWindow, Hold, Holder, Tenant
from tenants.values import BudgetRule
from tests.conftest import issue

DOLLAR = 10**9


class Worker:
    """A worker with one database thread and a budget of a dollar."""

    def __init__(self, tenant: Tenant) -> None:
        issue(tenant)
        key = ApiKey.objects.get()
        Budget.objects.give(key, "total", DOLLAR)
        self.rules: tuple[BudgetRule, ...] = Budget.objects.rules_of(key)
        self.database = Database(threads=1)
        self.budgets = Budgets(self.database)

    def ask(self, nanos: int) -> Ask:
        return Ask(ids.uuid7(), timezone.now(), self.rules, nanos, 0, 1, 1)

    async def sums(self) -> tuple[int, int]:
        """How much is held, in how many holds."""
        held = await BudgetWindow.objects.values_list("reserved_nanos", flat=True).afirst()
        return held or 0, await Hold.objects.acount()

    @asynccontextmanager
    async def busy(self) -> AsyncIterator[None]:
        """The only thread of the database has other things to do."""
        begun, go = threading.Event(), threading.Event()
        other = asyncio.create_task(self.database(lambda: begun.set() or go.wait(10)))
        await asyncio.to_thread(begun.wait, 10)
        try:
            yield
        finally:
            go.set()
            await other


@pytest.fixture
async def worker(acme: Tenant) -> AsyncIterator[Worker]:
    worker = await sync_to_async(Worker)(acme)
    yield worker
    await worker.budgets.close()
    await asyncio.to_thread(worker.database.close)


@pytest.fixture
def groups(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many reservations each transaction held."""
    found: list[int] = []
    real: Callable[..., Any] = Hold.objects.reserve

    def counted(holder: Any, asks: list[Ask], again: bool) -> Any:
        found.append(len(asks))
        return real(holder, asks, again)

    monkeypatch.setattr(Hold.objects, "reserve", counted)
    return found


async def test_those_who_wait_at_once_share_a_transaction(worker: Worker, groups: list[int]) -> None:
    async with worker.busy():
        waiting = [asyncio.create_task(worker.budgets.reserve(worker.ask(DOLLAR // 20))) for _ in range(30)]
        while len(worker.budgets._waiting) < 29 and not groups:
            await asyncio.sleep(0)
    verdicts = await asyncio.gather(*waiting)
    assert [verdict.tokens is not None for verdict in verdicts] == [True] * 20 + [False] * 10
    assert await worker.sums() == (DOLLAR, 20)
    assert sum(groups) == 30
    assert len(groups) <= 2


async def test_whoever_stops_waiting_leaves_nothing_held(worker: Worker) -> None:
    async with worker.busy():
        one = asyncio.create_task(worker.budgets.reserve(worker.ask(100)))
        other = asyncio.create_task(worker.budgets.reserve(worker.ask(200)))
        await asyncio.sleep(0.02)
        one.cancel()
    await asyncio.gather(one, other, return_exceptions=True)
    await worker.budgets.close()
    assert await worker.sums() == (200, 1)


async def test_whoever_is_cancelled_in_the_moment_of_the_verdict_leaves_nothing_either(worker: Worker) -> None:
    real = worker.database

    async def cut_short(unit: Callable[[], Any]) -> Any:
        verdicts = await real(unit)
        asyncio.get_running_loop().call_soon(task.cancel)  # runs when the verdict is there, before its task does
        return verdicts

    worker.budgets._database = cut_short  # type: ignore[assignment]
    task = asyncio.create_task(worker.budgets.reserve(worker.ask(100)))
    with pytest.raises(asyncio.CancelledError):
        await task
    worker.budgets._database = real
    assert await worker.sums() == (100, 1)
    await worker.budgets.close()
    assert await worker.sums() == (0, 0)


async def test_a_commit_whose_answer_was_lost_is_taken_back(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Hold.objects.reserve

    def loses_the_answer(*args: Any) -> None:
        real(*args)
        raise OperationalError("the connection died")

    monkeypatch.setattr(Hold.objects, "reserve", loses_the_answer)
    with pytest.raises(BudgetsUnavailable):
        await worker.budgets.reserve(worker.ask(100))
    monkeypatch.undo()
    assert await worker.sums() == (100, 1)
    await worker.budgets.close()
    assert await worker.sums() == (0, 0)


async def test_a_unit_that_runs_again_after_its_commit_holds_once(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, runs = Hold.objects.reserve, iter((True, False))

    def loses_its_first_answer(*args: Any) -> Any:
        verdicts = real(*args)
        if next(runs):
            raise OperationalError("the connection died")
        return verdicts

    await worker.budgets.standings(worker.rules)  # the connection is one that was used before
    monkeypatch.setattr(Hold.objects, "reserve", loses_its_first_answer)
    verdict = await worker.budgets.reserve(worker.ask(DOLLAR))
    assert verdict.tokens == 1
    assert await worker.sums() == (DOLLAR, 1)


async def test_without_the_database_everyone_is_refused_at_once_until_it_is_back(
    worker: Worker, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(budgets, "PATIENCE_SECONDS", 0.05)
    monkeypatch.setattr(budgets, "PROBE_SECONDS", 0.01)
    run = asyncio.create_task(worker.budgets.run())
    async with worker.busy():
        with pytest.raises(BudgetsUnavailable):
            await worker.budgets.reserve(worker.ask(100))
        for _ in range(100):
            with pytest.raises(BudgetsUnavailable):
                await asyncio.wait_for(worker.budgets.reserve(worker.ask(100)), 0.02)
    while worker.budgets._away:
        await asyncio.sleep(0.01)
    assert (await worker.budgets.reserve(worker.ask(100))).tokens
    run.cancel()
    await asyncio.gather(run, return_exceptions=True)
    await worker.budgets.close()
    assert await worker.sums() == (100, 1)
    assert caplog.text.count("the database is away") == 1


async def test_a_worker_shows_that_it_lives_once_it_holds_something(worker: Worker) -> None:
    await worker.budgets.beat()
    assert not await Holder.objects.aexists()
    await worker.budgets.reserve(worker.ask(100))
    await Holder.objects.aupdate(seen_at=timezone.now() - timezone.timedelta(minutes=9))
    await worker.budgets.beat()
    assert await Holder.objects.filter(seen_at__gt=timezone.now() - timezone.timedelta(minutes=1)).aexists()


async def test_a_worker_judges_others_only_after_a_steady_minute(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    await worker.budgets.reserve(worker.ask(100))
    await Hold.objects.aupdate(holder=ids.uuid7())
    await Holder.objects.acreate(pk=(await Hold.objects.aget()).holder, seen_at=timezone.now() - timezone.timedelta(1))
    await worker.budgets.beat()
    await worker.budgets.beat()
    assert await worker.sums() == (100, 1)
    monkeypatch.setattr(budgets, "STEADY_SECONDS", 0)
    await worker.budgets.beat()
    assert await worker.sums() == (0, 1)
