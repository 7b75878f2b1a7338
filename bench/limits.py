"""What limits cost a request: nothing to limit, each way of counting, and what one would write first, in one run.

    python -m bench.limits [--redis URL] [--rounds N] [--processes N]

Prints microseconds of one admission and its settlement, the median of several rounds that take turns, and how many a
second several processes get through on the same table together.
"""

from __future__ import annotations

import argparse
import asyncio
import fcntl
import json
import multiprocessing
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tenants.limits import Ask, Limit, Limiter, Unit
from tenants.limits_memory import MemoryStore
from tenants.limits_redis import RedisStore

MANY = 2_000_000_000  # nothing is refused: the whole way is measured
CALLS = 2_000


def asks(*units: Unit) -> list[Ask]:
    return [(Limit(scope, "bench", unit, 60_000 if unit is Unit.CONCURRENCY else MANY), 1)
            for scope in ("key", "tenant") for unit in units]  # fmt: skip


class Naive:
    """A file of JSON and a lock around it."""

    def __init__(self, folder: Path) -> None:
        self._file = os.fdopen(os.open(folder / "naive.json", os.O_RDWR | os.O_CREAT), "r+")

    def take(self, wanted: list[Ask]) -> None:
        fcntl.flock(self._file, fcntl.LOCK_EX)
        try:
            self._file.seek(0)
            counts = json.loads(self._file.read() or "{}")
            minute = int(time.time() // 60)
            for limit, amount in wanted:
                name = f"{limit.id.hex()}:{minute}"
                counts[name] = counts.get(name, 0) + amount
            self._file.seek(0)
            self._file.truncate()
            self._file.write(json.dumps(counts))
            self._file.flush()
        finally:
            fcntl.flock(self._file, fcntl.LOCK_UN)


async def timed(limiter: Limiter, wanted: list[Ask], calls: int = CALLS) -> float:
    """Microseconds of a call."""
    started = time.perf_counter()
    for _ in range(calls):
        (await limiter.take(wanted)).settle(7)
    return (time.perf_counter() - started) / calls * 1e6


async def none(calls: int = CALLS) -> float:
    """What a key without limits costs: to see that it has none."""
    limits: tuple[Limit, ...] = ()

    async def take() -> None:
        if not limits:
            return

    started = time.perf_counter()
    for _ in range(calls):
        await take()
    return (time.perf_counter() - started) / calls * 1e6


def naive(store: Naive, wanted: list[Ask], calls: int = CALLS) -> float:
    started = time.perf_counter()
    for _ in range(calls):
        store.take(wanted)
    return (time.perf_counter() - started) / calls * 1e6


def together(folder: Path, processes: int, work: Callable[[Path], int]) -> float:
    """Calls a second of so many processes at once."""
    started = time.perf_counter()
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        ready = time.perf_counter()
        done = sum(pool.map(work, [folder] * processes))
    return done / (time.perf_counter() - min(ready, started + 60))


def two_seconds(folder: Path) -> int:
    store, wanted, count = MemoryStore(folder), asks(Unit.REQUESTS), 0
    end = time.monotonic() + 2
    while time.monotonic() < end:
        store.take_now(wanted)
        count += 1
    return count


def two_naive_seconds(folder: Path) -> int:
    store, wanted, count = Naive(folder), asks(Unit.REQUESTS), 0
    end = time.monotonic() + 2
    while time.monotonic() < end:
        store.take(wanted)
        count += 1
    return count


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--redis", default=os.environ.get("REDIS_URL", ""))
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--processes", type=int, default=4)
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="bridge-bench-"))
    local = Limiter(MemoryStore(folder))
    simple = Naive(folder)
    every = asks(Unit.REQUESTS, Unit.TOKENS, Unit.CONCURRENCY)
    results: dict[str, list[float]] = {}
    shared, running = None, None
    if options.redis:
        store = RedisStore(options.redis, "bench")
        await store.open()
        shared, running = Limiter(local._local, store), asyncio.create_task(store.run())
    for _ in range(options.rounds):
        rows = {
            "no limits": await none(),
            "RPM of key and tenant": await timed(local, asks(Unit.REQUESTS)),
            "RPM, TPM and concurrency of both": await timed(local, every),
            "naive: JSON in a locked file, RPM of both": naive(simple, asks(Unit.REQUESTS)),
        }
        if shared is not None:
            rows["Redis: RPM, TPM and concurrency of both"] = await timed(shared, every, 300)
        for name, value in rows.items():
            results.setdefault(name, []).append(value)
    for name, values in results.items():
        print(f"{statistics.median(values):10.1f} µs  {name}  (best {min(values):.1f}, worst {max(values):.1f})")
    for name, work in (("shared table", two_seconds), ("naive", two_naive_seconds)):
        print(f"{together(folder, options.processes, work):10,.0f} /s  {options.processes} processes at once, {name}")
    if running is not None:
        running.cancel()


if __name__ == "__main__":
    asyncio.run(main())
