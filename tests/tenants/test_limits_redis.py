"""Limits in Redis: the same rules as in memory, across hosts; and what happens while Redis is away."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from tenants import limits_redis
from tenants.limits import Away, Limit, Limiter, Unit
from tenants.limits_memory import MemoryStore
from tenants.limits_redis import RedisStore
from tests.redis import PROGRAM, RedisServer
from tests.tenants.test_limits import at_once, rpm, tpm

pytestmark = pytest.mark.skipif(PROGRAM is None, reason="neither valkey-server nor redis-server is installed")


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that is busy with other things is not a Redis that is away."""
    monkeypatch.setattr(limits_redis, "TIMEOUT", 5.0)


@asynccontextmanager
async def host(server: RedisServer, prefix: str) -> AsyncIterator[RedisStore]:
    """A worker of some host."""
    store = RedisStore(server.url, prefix)
    await store.open()
    running = asyncio.create_task(store.run())
    try:
        yield store
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running
        await store.close()


@pytest.fixture
async def store(server: RedisServer, request: pytest.FixtureRequest) -> AsyncIterator[RedisStore]:
    async with host(server, request.node.name) as store:
        yield store


async def granted(store: RedisStore, limit: Limit, times: int) -> int:
    taken = await asyncio.gather(*(store.take([(limit, 1)]) for _ in range(times)))
    return sum(each.refused is None for each in taken)


async def remaining(store: RedisStore, *limits: Limit) -> list[int]:
    return [each.remaining for each in await store.peek(limits)]


@pytest.mark.parametrize("limit", [1, 7, 60, 999])
async def test_a_minute_s_worth_and_no_more(store: RedisStore, limit: int) -> None:
    started = asyncio.get_running_loop().time()
    got = await granted(store, rpm(limit), limit + 50)
    assert limit <= got <= limit + 1 + (asyncio.get_running_loop().time() - started) * limit / 60


async def test_a_refusal_takes_nothing_of_any_limit(store: RedisStore) -> None:
    asks = [(rpm(5), 1), (tpm(1000), 400), (at_once(9, "tenant"), 1)]
    assert [(await store.take(asks)).refused for _ in range(4)] == [None, None, 1, 1]
    left = await remaining(store, rpm(5), tpm(1000), at_once(9, "tenant"))
    assert left[0] == 3 and 200 <= left[1] <= 399 and left[2] == 7


async def test_the_longest_wait_is_told(store: RedisStore) -> None:
    asks = [(rpm(60), 1), (rpm(2, "tenant"), 1)]
    await granted(store, rpm(60), 60)
    await granted(store, rpm(2, "tenant"), 2)
    taken = await store.take(asks)
    assert taken.refused == 1 and taken.standing(1).wait == pytest.approx(30, abs=5)
    never = await store.take([(tpm(10, "tenant"), 11), (rpm(60), 1)])
    assert never.refused == 0 and never.standing(0).wait is None


async def test_tokens_are_settled(store: RedisStore) -> None:
    taken = await store.take([(tpm(1000), 900)])
    assert 100 <= taken.standing(0).remaining <= 110
    taken.settle(40)
    taken.settle(40)
    assert 960 <= (await remaining(store, tpm(1000)))[0] <= 999
    (await store.take([(tpm(1000), 100)])).settle(3000)
    standing = (await store.peek([tpm(1000)]))[0]
    assert standing.remaining == 0 and standing.reset == pytest.approx(182, abs=5)


async def test_a_place_is_free_again(store: RedisStore) -> None:
    first = await store.take([(at_once(1), 1), (rpm(9), 1)])
    assert (await store.take([(at_once(1), 1)])).refused == 0
    first.settle(None, requests=False)
    assert await remaining(store, at_once(1), rpm(9)) == [1, 9]
    assert (await store.take([(at_once(1), 1)])).refused is None


async def test_dark_limits_refuse_nothing(store: RedisStore) -> None:
    asks = [(rpm(2, dark=True), 1), (rpm(9, "tenant"), 1)]
    assert [(await store.take(asks)).dark for _ in range(4)] == [None, None, 0, 0]
    assert await remaining(store, rpm(2, dark=True), rpm(9, "tenant")) == [0, 5]


async def test_hosts_count_together_and_installations_apart(server: RedisServer) -> None:
    async with host(server, "one") as first, host(server, "one") as second, host(server, "two") as other:
        started = asyncio.get_running_loop().time()
        got = await asyncio.gather(*(granted(each, rpm(100), 90) for each in (first, second)))
        assert 100 <= sum(got) <= 101 + (asyncio.get_running_loop().time() - started) * 100 / 60
        assert await granted(other, rpm(100), 90) == 90


async def test_what_ran_on_a_dead_host_no_longer_counts(
    server: RedisServer, store: RedisStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits_redis, "LEASE_SECONDS", 0.4)
    monkeypatch.setattr(limits_redis, "RENEW_SECONDS", 0.1)
    monkeypatch.setattr(limits_redis, "RETRY_SECONDS", 0.1)
    alive = await store.take([(at_once(2), 1)])
    async with host(server, store._prefix.split(":", 1)[1].rstrip(":")) as dying:
        await dying.take([(at_once(2), 1)])
    assert (await store.take([(at_once(2), 1)])).refused == 0
    async with asyncio.timeout(5):
        while (await store.take([(at_once(2), 1)])).refused is not None:
            await asyncio.sleep(0.05)
    await asyncio.sleep(0.6)  # longer than a lease: the living have renewed theirs
    assert await remaining(store, at_once(2)) == [0]
    alive.settle(None)


async def test_one_who_hangs_up_while_waiting_gives_it_back(store: RedisStore) -> None:
    asking = asyncio.create_task(store.take([(at_once(1), 1), (rpm(9), 1)]))
    await asyncio.sleep(0)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    async with asyncio.timeout(5):
        while await remaining(store, at_once(1), rpm(9)) != [1, 9]:
            await asyncio.sleep(0)


async def test_while_redis_is_away_a_host_gives_out_its_part_and_waits_for_nothing(tmp_path: Path) -> None:
    local = MemoryStore(tmp_path)
    with RedisServer() as server:
        async with host(server, "x") as store:
            limiter = Limiter(local, store, instances=2)
            assert (await limiter.take([(rpm(1000), 1)])).store is store
            server.stop()
            loop = asyncio.get_running_loop()
            started = loop.time()
            taken = [await limiter.take([(rpm(10), 1)]) for _ in range(20)]
            assert loop.time() - started < 3
            assert [each.refused for each in taken] == [None] * 5 + [0] * 15
            assert {each.store for each in taken} == {local}
            server.start()
            async with asyncio.timeout(5):
                while (await limiter.take([(rpm(1000), 1)])).store is local:
                    await asyncio.sleep(0.05)
    local.close()


async def test_a_redis_that_hangs_is_not_waited_for_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits_redis, "TIMEOUT", 0.5)
    local = MemoryStore(tmp_path)
    with RedisServer() as server:
        async with host(server, "x") as store:
            limiter = Limiter(local, store)
            os.kill(server.pid, signal.SIGSTOP)
            loop = asyncio.get_running_loop()
            started = loop.time()
            first = await asyncio.gather(*(limiter.take([(rpm(1000), 1)]) for _ in range(50)))
            assert loop.time() - started < 3 and {each.store for each in first} == {local}
            started = loop.time()
            for _ in range(50):
                await limiter.take([(rpm(1000), 1)])
            assert loop.time() - started < 0.4
            os.kill(server.pid, signal.SIGCONT)
            async with asyncio.timeout(5):
                while (await limiter.take([(rpm(1000), 1)])).store is local:
                    await asyncio.sleep(0.05)
    local.close()


async def test_scripts_that_were_flushed_are_loaded_again(store: RedisStore) -> None:
    await store._client.script_flush()
    with pytest.raises(Away):
        await store.take([(rpm(5), 1)])
    async with asyncio.timeout(5):
        while not store.usable:
            await asyncio.sleep(0.01)
    assert (await store.take([(rpm(5), 1)])).refused is None


async def test_a_clock_that_is_set_back_locks_nobody_out(store: RedisStore) -> None:
    limit = Limit("key", "clock", Unit.REQUESTS, 60)
    await granted(store, limit, 3)
    key = store._key(limit)
    value = (await store._client.get(key)).decode()
    until, written = (int(part) + 3_600_000_000 for part in value.split(":"))  # as an hour from now would have written
    await store._client.set(key, f"{until}:{written}")
    taken: Any = await store.take([(limit, 1)])
    assert taken.refused is None and 56 <= taken.standing(0).remaining <= 59
