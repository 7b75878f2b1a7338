"""Proof: a slow upstream does not slow down the requests that it does not concern."""

from __future__ import annotations

import asyncio

from tests.faults.load import Ask, Client, Leave, Seen, percentile, run, swarm
from tests.faults.report import Report
from tests.faults.stage import Stage
from tests.live import until

QUICK = "[fault:ok tokens=10]"
HANGS = "[fault:ok first=600]"
CLIENTS = 4  # enough to reach both workers
MAX_PENDING_SECONDS = 300.0


def slow(pending: int, samples: int, limit: float) -> Report:
    report = Report(
        f"{samples:,} quick requests one after another on an idle server, and as many with {pending:,} requests (half"
        " of them streams) waiting for a slow upstream; 2 workers"
    )
    with Stage() as stage:
        idle, loaded, waited = run(_measured(stage, pending, samples))
        report.exactly("requests waiting throughout", waited, pending)
        report.exactly("quick requests answered", sum(one.status == 200 for one in (*idle, *loaded)), 2 * samples)
        before, after = _p50(idle), _p50(loaded)
        report.told("p50, idle", f"{before:.2f} ms")
        report.told(f"p50, {pending:,} waiting", f"{after:.2f} ms")
        report.told("p99, idle", f"{percentile((one.seconds for one in idle), 0.99) * 1000:.2f} ms")
        report.told(f"p99, {pending:,} waiting", f"{percentile((one.seconds for one in loaded), 0.99) * 1000:.2f} ms")
        report.at_most("p50 with them, times p50 without", after / before, limit, " ×")
    return report


def _p50(seen: list[Seen]) -> float:
    return percentile((one.seconds for one in seen), 0.5) * 1000


async def _measured(stage: Stage, pending: int, samples: int) -> tuple[list[Seen], list[Seen], int]:
    await _quick(stage, samples // 4)
    idle = await _quick(stage, samples)
    leave = Leave("wait", MAX_PENDING_SECONDS)
    asks = [Ask(HANGS, n % 2 == 0, leave) for n in range(pending)]
    waiting = asyncio.create_task(swarm(stage.port, stage.key, asks, pending, MAX_PENDING_SECONDS))
    await asyncio.to_thread(until, lambda: _in_flight(stage) == pending, 30, "the start of the slow requests")
    loaded = await _quick(stage, samples)
    still = await asyncio.to_thread(_in_flight, stage)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    return idle, loaded, still


async def _quick(stage: Stage, samples: int) -> list[Seen]:
    """One request at a time, by clients in turn."""
    clients = [Client(stage.port, stage.key) for _ in range(CLIENTS)]
    seen = [await clients[n % CLIENTS].ask(Ask(QUICK, False)) for n in range(samples)]
    await asyncio.gather(*(client.close() for client in clients))
    return seen


def _in_flight(stage: Stage) -> int:
    return int(stage.fake.ledger("summary=1")["in_flight"])
