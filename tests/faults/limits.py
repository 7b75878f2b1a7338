"""Proofs: limits hold exactly over all workers, whoever counts; Redis may die, and workers may, and nothing leaks."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import random
import signal
import time
from collections.abc import Coroutine, Iterator
from typing import Any

from tests.faults.load import Ask, Client, End, Seen, counted, run, swarm
from tests.faults.report import Report
from tests.faults.stage import Json, Stage
from tests.live import until
from tests.redis import RedisServer

CLIENTS = 24
RPM, TPM, AT_ONCE = 120, 12_000, 6
QUICK, LONG = "[fault:ok tokens=1]", "[fault:ok tokens=20 rate=100]"
USED = ("input_tokens", "cache_write_5m_tokens", "cache_write_1h_tokens", "output_tokens")


def limits(seconds: float, workers: int = 4, shared: bool = False) -> Report:
    """Each limit in turn, with many times what it lets through."""
    where = "in Redis" if shared else "in the workers' shared table"
    report = Report(f"{CLIENTS} clients ask without end for {seconds:g} s per limit; {workers} workers, counts {where}")
    with _redis(shared) as env, Stage(workers, **env) as stage:
        _requests(report, stage, seconds)
        _tokens(report, stage, seconds)
        _at_once(report, stage, seconds)
    return report


def redis_dies(times: int, workers: int = 4) -> Report:
    """Redis is killed and started again under load."""
    report = Report(f"{times} × SIGKILL of Redis under the load of {CLIENTS} clients; {workers} workers")
    with RedisServer() as redis, Stage(workers, REDIS_URL=redis.url, INSTANCES="2") as stage:
        key = stage.server.issue_key("acme", "limited", "--rpm", "60000", "--tpm", "100000000", "--concurrency", "1000")

        async def kill() -> None:
            for _ in range(times):
                await asyncio.sleep(1)
                await asyncio.to_thread(redis.stop)
                await asyncio.sleep(1)
                await asyncio.to_thread(redis.start)
            await asyncio.sleep(2)

        seen = run(_while(kill(), stage, key, QUICK))
        log = stage.server.log()
        report.told("requests", len(seen))
        report.told("how they ended", counted(str(one.status) for one in seen))
        report.none_of("5xx", [one.body[-160:] for one in seen if one.status >= 500])
        report.none_of("answers that are not 200", [one.body[-160:] for one in seen if one.status != 200])
        report.at_most("the longest answer", max(one.seconds for one in seen), 3, " s")
        report.at_least("times that a worker found Redis away", log.count("Redis does not answer"), times)
        back = log.count("limits are counted in Redis")
        report.at_least("times that a worker found it back (once at its start)", back, times + workers)
    return report


def limit_kills(count: int, workers: int = 4, seed: int = 1) -> Report:
    """Workers die with requests running in them."""
    report = Report(
        f"{count} SIGKILLs of a random worker of {workers} while {CLIENTS} clients keep {AT_ONCE} places taken;"
        f" seed {seed}"
    )
    chance = random.Random(seed)
    with Stage(workers) as stage:
        key = stage.server.issue_key("acme", "limited", "--concurrency", str(AT_ONCE))

        async def kill() -> None:
            for _ in range(count):
                await asyncio.sleep(chance.uniform(0.2, 0.6))
                pids = await asyncio.to_thread(until, stage.server.workers, 10, "a worker to kill")
                with contextlib.suppress(ProcessLookupError):
                    os.kill(chance.choice(pids), signal.SIGKILL)

        seen = run(_while(kill(), stage, key, LONG))
        until(lambda: len(stage.server.workers()) == workers, 10, "the return of the workers")
        died = sum(one.end in (End.CUT, End.UNANSWERED) for one in seen)
        report.at_least("requests that lost their worker", died, count)
        report.at_least("requests answered", sum(one.status == 200 for one in seen), count)
        report.none_of("5xx", [one.body[-160:] for one in seen if one.status >= 500])
        left = run(_standing(stage, key))["concurrency"]["remaining"]
        report.exactly("places free when all is over", left, AT_ONCE)
        report.at_most("requests upstream at once", _most_at_once(stage.fake.calls()), 2 * AT_ONCE)
    return report


def _requests(report: Report, stage: Stage, seconds: float) -> None:
    key = stage.server.issue_key("acme", "requests", "--rpm", str(RPM))
    seen, passed = _load(stage, key, QUICK, seconds)
    granted = sum(one.status == 200 for one in seen)
    report.at_least("RPM: requests, times what the limit lets through", len(seen) / granted, 10)
    report.at_most("RPM: granted (limit and burst)", granted, RPM + int(RPM * passed / 60))
    report.at_least("RPM: granted", granted, RPM + int(RPM * (passed - 1) / 60))
    _only(report, "RPM", seen)


def _tokens(report: Report, stage: Stage, seconds: float) -> None:
    key = stage.server.issue_key("globex", "tokens", "--tpm", str(TPM))
    seen, passed = _load(stage, key, "[fault:ok tokens=200]", seconds)
    granted_ids = {one.id for one in seen if one.status == 200}
    records = stage.settled(lambda records: granted_ids <= {record["id"] for record in records})
    used = sum(int(record[name] or 0) for record in records if record["id"] in granted_ids for name in USED)
    report.at_least("TPM: requests, times what the limit lets through", len(seen) / len(granted_ids), 10)
    report.at_most("TPM: tokens used (limit and burst)", used, TPM + int(TPM * passed / 60))
    report.at_least("TPM: tokens used", used, round(0.8 * TPM))
    _only(report, "TPM", seen)


def _at_once(report: Report, stage: Stage, seconds: float) -> None:
    key = stage.server.issue_key("initech", "at once", "--concurrency", str(AT_ONCE))
    before = len(stage.fake.calls())
    seen, _ = _load(stage, key, LONG, seconds)
    calls = stage.fake.calls()[before:]
    report.told("at once: requests", len(seen))
    report.at_least("at once: granted", len(calls), AT_ONCE)
    report.exactly("at once: most upstream", _most_at_once(calls), AT_ONCE)
    left = run(_standing(stage, key))["concurrency"]["remaining"]
    report.exactly("at once: places free afterwards", left, AT_ONCE)
    _only(report, "at once", seen)


def _only(report: Report, what: str, seen: list[Seen]) -> None:
    odd = [f"{one.status} {one.end} {one.body[-120:]!r}" for one in seen if one.status not in (200, 429)]
    report.none_of(f"{what}: answers that are neither 200 nor 429", odd)
    silent = [one.headers for one in seen if one.status == 429 and "retry-after" not in one.headers]
    report.none_of(f"{what}: refusals that do not say when to come back", silent)


def _load(stage: Stage, key: str, text: str, seconds: float) -> tuple[list[Seen], float]:
    """What the clients saw, and the seconds from the first request to the last answer."""
    seen = run(_while(asyncio.sleep(seconds), stage, key, text))
    return seen, max(one.ended for one in seen) - min(one.sent for one in seen)


async def _while(work: Coroutine[Any, Any, None], stage: Stage, key: str, text: str) -> list[Seen]:
    """Clients of every worker ask without end until the work is done."""
    over = asyncio.Event()
    asks = (Ask(text, False) for _ in itertools.count())
    load = asyncio.create_task(swarm(stage.port, key, itertools.takewhile(lambda _: not over.is_set(), asks), CLIENTS))
    try:
        await work
    finally:
        over.set()
    return await load


async def _standing(stage: Stage, key: str) -> dict[str, Json]:
    """The key's own limits, by unit, a moment after the last answer."""
    client = Client(stage.port, key)
    status, body = await client.get("/v1/key")
    await client.close()
    assert status == 200, body
    return {limit["unit"]: limit for limit in json.loads(body)["limits"] if limit["scope"] == "key"}


def _most_at_once(calls: list[Json]) -> int:
    moments = [(call["started"], 1) for call in calls] + [(call["ended_at"] or time.time(), -1) for call in calls]
    return max(itertools.accumulate(change for _, change in sorted(moments)), default=0)


@contextlib.contextmanager
def _redis(wanted: bool) -> Iterator[dict[str, str]]:
    if not wanted:
        yield {}
        return
    with RedisServer() as server:
        yield {"REDIS_URL": server.url}
