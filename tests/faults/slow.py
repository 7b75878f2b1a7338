"""Proof: neither a slow upstream nor slow readers slow down the requests that they do not concern."""

from __future__ import annotations

import asyncio
import contextlib
import statistics

from tests.faults.load import MESSAGES, Ask, Client, Leave, Seen, percentile, run, swarm
from tests.faults.report import Report
from tests.faults.stage import Stage, resident
from tests.live import until

QUICK = "[fault:ok tokens=10]"
FLOOD = "[fault:ok tokens=6000]"  # at once, and more than all buffers on the way hold
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
        before, after = _at(idle, 0.5), _at(loaded, 0.5)
        report.told("p50, idle", f"{before:.2f} ms")
        report.told(f"p50, {pending:,} waiting", f"{after:.2f} ms")
        report.told("p99, idle", f"{_at(idle, 0.99):.2f} ms")
        report.told(f"p99, {pending:,} waiting", f"{_at(loaded, 0.99):.2f} ms")
        report.at_most("p50 with them, times p50 without", after / before, limit, " ×")
    return report


def slow_readers(readers: int, rounds: int, samples: int, limit_mb: float, limit: float) -> Report:
    """`limit`: of the p99 of others, times what it is while as many read past the gateway."""
    report = Report(
        f"{rounds} rounds of {samples:,} quick requests one after another on an idle server, as many beside {readers:,}"
        " clients that read some KB a second of an answer that comes faster than that, and as many while these read it"
        " from the fake Anthropic itself: what that costs the cores is the load's; 2 workers"
    )
    measured: dict[str, list[list[Seen]]] = {"idle": [], "past": [], "through": []}
    grown = list[int]()
    with Stage() as stage:
        run(_quick(stage, samples))
        for _ in range(rounds):
            measured["idle"].append(run(_quick(stage, samples)))
            measured["past"].append(run(_beside_readers_of_upstream(stage, readers, samples)))
            quick, bytes_grown = run(_beside_readers(stage, readers, samples))
            measured["through"].append(quick)
            grown.append(bytes_grown)
        expected = (3 * rounds + 1) * samples + rounds * readers
        records = stage.settled(lambda records: len(records) >= expected)
    answered = sum(one.status == 200 for each in measured.values() for quick in each for one in quick)
    report.exactly("quick requests answered", answered, 3 * rounds * samples)
    report.exactly("records", len(records), expected)
    for share in (0.5, 0.99):
        for where, told in (("idle", "idle"), ("past", "with slow readers of upstream's"), ("through", "with ours")):
            report.told(f"p{share * 100:g}, {told}", f"{_usual(measured[where], share):.2f} ms")
    ratios = (
        _at(ours, 0.99) / _at(past, 0.99) for ours, past in zip(measured["through"], measured["past"], strict=True)
    )
    report.at_most("p99 with ours, times p99 with upstream's", statistics.median(ratios), limit, " ×")
    report.at_most("memory that each costs, the most of the rounds", max(grown) / readers / 1e6, limit_mb, " MB")
    return report


def _usual(rounds: list[list[Seen]], share: float) -> float:
    """The median of the rounds' percentiles."""
    return statistics.median(_at(quick, share) for quick in rounds)


def _at(seen: list[Seen], share: float) -> float:
    """The milliseconds that this share of them does not exceed."""
    return percentile((one.seconds for one in seen), share) * 1000


async def _measured(stage: Stage, pending: int, samples: int) -> tuple[list[Seen], list[Seen], int]:
    await _quick(stage, samples // 4)
    idle = await _quick(stage, samples)
    leave = Leave("wait", MAX_PENDING_SECONDS)
    asks = [Ask(HANGS, n % 2 == 0, leave) for n in range(pending)]
    waiting = asyncio.create_task(swarm(stage.port, stage.key, asks, pending, MAX_PENDING_SECONDS))
    await asyncio.to_thread(until, lambda: stage.fake.in_flight() == pending, 30, "the start of the slow requests")
    loaded = await _quick(stage, samples)
    still = await asyncio.to_thread(stage.fake.in_flight)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    return idle, loaded, still


async def _quick(stage: Stage, samples: int) -> list[Seen]:
    """One request at a time, by clients in turn."""
    clients = [Client(stage.port, stage.key) for _ in range(CLIENTS)]
    seen = [await clients[n % CLIENTS].ask(Ask(QUICK, False)) for n in range(samples)]
    await asyncio.gather(*(client.close() for client in clients))
    return seen


async def _beside_readers(stage: Stage, readers: int, samples: int) -> tuple[list[Seen], int]:
    """The quick requests, and by how many bytes the workers have grown."""
    before = _memory(stage)
    asks = [Ask(FLOOD, True, Leave("slow", MAX_PENDING_SECONDS)) for _ in range(readers)]
    reading = asyncio.create_task(swarm(stage.port, stage.key, asks, readers, MAX_PENDING_SECONDS))
    await asyncio.to_thread(until, lambda: stage.clients() == readers, 30, "the start of the slow readers")
    await asyncio.to_thread(_stuck, stage)
    grown = _memory(stage) - before
    quick = await _quick(stage, samples)
    assert await asyncio.to_thread(stage.clients) >= readers, "slow readers that had nothing more to read"
    reading.cancel()
    await asyncio.gather(reading, return_exceptions=True)
    await asyncio.to_thread(stage.fake.quiet)
    return quick, grown


async def _beside_readers_of_upstream(stage: Stage, readers: int, samples: int) -> list[Seen]:
    asks = [Ask(FLOOD, True, Leave("slow", MAX_PENDING_SECONDS), path=MESSAGES) for _ in range(readers)]
    reading = asyncio.create_task(swarm(stage.fake.port, "", asks, readers, MAX_PENDING_SECONDS))
    await asyncio.to_thread(until, lambda: stage.fake.clients() >= readers, 30, "the start of the slow readers")
    quick = await _quick(stage, samples)
    assert await asyncio.to_thread(stage.fake.clients) >= readers, "slow readers that had nothing more to read"
    reading.cancel()
    await asyncio.gather(reading, return_exceptions=True)
    await asyncio.to_thread(stage.fake.quiet)
    return quick


def _stuck(stage: Stage) -> None:
    """Returns when the buffers on the way are full: the workers have not grown for a second."""
    sizes = list[int]()

    def steady() -> bool:
        sizes.append(_memory(stage))
        return len(sizes) > 20 and sizes[-1] - sizes[-20] < 1_000_000

    with contextlib.suppress(TimeoutError):
        until(steady, 30)


def _memory(stage: Stage) -> int:
    return sum(map(resident, stage.server.workers()))
