"""Proof: a client that hangs up stops upstream at once, and nothing of it is left."""

from __future__ import annotations

import asyncio
import contextlib
import random

from tests.faults.load import Ask, End, Leave, Seen, percentile, run, swarm
from tests.faults.report import Report
from tests.faults.stage import Stage, thread_count
from tests.live import until

ANSWER = "[fault:ok tokens=4000 rate=200 first=0.2]"
FLOOD = "[fault:ok tokens=100000 rate=20000]"  # more than all buffers on the way hold
HELD = "[fault:ok first=600]"
SLOTS = 40  # of a worker, for requests that upstream works on
THREADS = 20  # per worker


def disconnects(count: int, limit_ms: float, at_once: int = 4, seed: int = 1) -> Report:
    report = Report(
        f"{count:,} clients and a warm-up hanging up (FIN or RST) at a random moment before or within an answer, every"
        f" tenth while it reads nothing and the gateway is stuck sending; {at_once} at once, 2 workers of {SLOTS}"
        f" slots; seed {seed}"
    )
    chance = random.Random(seed)
    with Stage(MAX_IN_FLIGHT=str(SLOTS)) as stage:
        run(swarm(stage.port, stage.key, [_ask(chance, n) for n in range(5 * at_once)], at_once))
        stage.fake.quiet(5)
        files = stage.files()
        seen = run(swarm(stage.port, stage.key, [_ask(chance, n) for n in range(count)], at_once))
        quiet = stage.fake.quiet(5)
        closed = {call["marker"]: call["closed_at"] for call in stage.fake.calls()}
        records = stage.settled(lambda records: len(records) >= count + 5 * at_once)
        grown, threads = stage.file_growth(files), max(map(thread_count, stage.server.workers()))
        slots = run(_free_slots(stage))
    _judge(report, seen, closed, limit_ms)
    report.exactly("records", len(records), count + 5 * at_once)
    other = [f"{record['id']} {record['state']}" for record in records if record["state"] != "cancelled"]
    report.none_of("records that are not cancelled", other)
    report.exactly("upstream requests still in flight", quiet["in_flight"])
    report.exactly("slots that are free after", slots, 2 * SLOTS)
    report.at_most("threads of a worker, after", threads, THREADS)
    report.at_most("descriptors of a worker more than after the warm-up", grown, 0)
    return report


def _judge(report: Report, seen: list[Seen], closed: dict[str, float | None], limit_ms: float) -> None:
    left = [one for one in seen if one.end is End.LEFT]
    delays = {one.ask.name: (at - one.ended) * 1000 for one in left if (at := closed.get(one.ask.name))}
    deaf = [delays[one.ask.name] for one in left if one.ask.text == FLOOD and one.ask.name in delays]
    report.exactly("hung up", len(left), len(seen))
    report.none_of("upstream requests not ended by it", [n for one in left if not closed.get(n := one.ask.name, 1)])
    report.told("hung up before anything was sent upstream", sum(one.ask.name not in closed for one in left))
    report.told("from hang-up to upstream's notice, p50", f"{percentile(delays.values(), 0.5):.1f} ms")
    report.at_most("from hang-up to upstream's notice, p99", percentile(delays.values(), 0.99), limit_ms, " ms")
    report.told("from hang-up to upstream's notice, the longest", f"{max(delays.values(), default=0.0):.1f} ms")
    report.told("the same while the gateway was stuck sending, p50", f"{percentile(deaf, 0.5):.1f} ms")


def _ask(chance: random.Random, number: int) -> Ask:
    reset = chance.random() < 0.5
    if number % 10 == 9:
        return Ask(FLOOD, True, Leave("deaf", chance.uniform(0.3, 0.6), reset))
    return Ask(ANSWER, chance.random() < 0.7, Leave("wait", chance.uniform(0.02, 0.8), reset))


async def _free_slots(stage: Stage) -> int:
    """How many requests reach upstream at once, of more than all slots can take: a slot that leaked takes none."""
    asks = [Ask(HELD, False, Leave("wait", 60)) for _ in range(6 * SLOTS)]
    held = asyncio.create_task(swarm(stage.port, stage.key, asks, len(asks)))
    with contextlib.suppress(TimeoutError):
        await asyncio.to_thread(until, lambda: stage.fake.in_flight() >= 2 * SLOTS, 10)
    found = await asyncio.to_thread(stage.fake.in_flight)
    held.cancel()
    await asyncio.gather(held, return_exceptions=True)
    return found
