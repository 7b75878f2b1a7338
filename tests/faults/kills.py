"""Proof: workers die by SIGKILL in the middle of everything, and no request is lost, doubled or left open."""

from __future__ import annotations

import asyncio
import itertools
import os
import random
import signal

from tests.faults import accounts
from tests.faults.load import Ask, End, Leave, Seen, run, under_load
from tests.faults.report import Report
from tests.faults.stage import Stage
from tests.live import until

ANSWERS = ("[fault:ok tokens=50 rate=100]", "[fault:ok tokens=20]", "[fault:ok tokens=20 rate=100 first=0.1]")


def kills(count: int, clients: int = 24, seed: int = 1) -> Report:
    report = Report(
        f"{count} SIGKILLs of a random worker of 2, {clients} clients asking all the time and hanging up now and then;"
        f" seed {seed}"
    )
    with Stage() as stage:
        seen = run(_under_load(stage, count, clients, random.Random(seed)))
        until(lambda: len(stage.server.workers()) == stage.workers, 10, "the return of the workers")
        calls = stage.fake.calls()
        records = stage.settled(lambda records: accounts.complete(seen, calls, records))
        report.exactly("kills", stage.server.log().count("was sent SIGKILL"), count)
        report.told("requests", len(seen))
        report.told("requests that upstream heard", len(calls))
        accounts.compare(report, seen, records, calls)
        accounts.sums(report, records, stage.server.usage())
        died = sum(one.end in (End.CUT, End.UNANSWERED) for one in seen)
        report.none_of("journal files left over", stage.left_over())
        report.at_least("requests that lost their worker", died, count)
        accounts.no_errors(report, seen)
    return report


async def _under_load(stage: Stage, count: int, clients: int, chance: random.Random) -> list[Seen]:
    asks = (_ask(chance) for _ in itertools.count())
    async with under_load(stage.port, stage.key, asks, clients) as seen:
        for _ in range(count):
            await asyncio.sleep(chance.uniform(0.1, 0.6))
            await asyncio.to_thread(_kill_one, stage, chance)
    return seen


def _kill_one(stage: Stage, chance: random.Random) -> None:
    os.kill(chance.choice(until(stage.server.workers, 10, "a worker to kill")), signal.SIGKILL)


def _ask(chance: random.Random) -> Ask:
    leave = Leave("wait", chance.uniform(0, 0.5), chance.random() < 0.5) if chance.random() < 0.15 else None
    return Ask(chance.choice(ANSWERS), chance.random() < 0.7, leave)
