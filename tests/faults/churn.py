"""Proof: clients come and go at random, and nothing of them is left: one record each, no thread, no descriptor."""

from __future__ import annotations

import random

from tests.faults import accounts
from tests.faults.load import Ask, Leave, run, swarm
from tests.faults.report import Report
from tests.faults.stage import Stage, thread_count

THREADS = 20  # per worker
SLOW = "[fault:ok tokens=20 rate=200]"
ANSWERS = ("[fault:ok tokens=20]", SLOW, "[fault:ok tokens=10 first=0.05]")


def churn(requests: int, at_once: int = 32, seed: int = 1) -> Report:
    chance = random.Random(seed)
    report = Report(
        f"{requests:,} requests and a warm-up, {at_once} at once, half of them streamed, a third of the clients hanging"
        f" up at random points (FIN or RST); 2 workers; seed {seed}"
    )
    with Stage() as stage:
        seen = run(swarm(stage.port, stage.key, _asks(chance, max(requests // 4, at_once)), at_once))
        stage.settled(lambda records: len(records) >= len(seen))
        stage.fake.quiet()
        before = stage.files()
        with stage.most_threads() as most_threads:
            seen += run(swarm(stage.port, stage.key, _asks(chance, requests), at_once))
        records = stage.settled(lambda records: len(records) >= len(seen))
        report.exactly("records", len(records), len(seen))
        accounts.compare(report, seen, records, stage.fake.calls())
        accounts.proper_ends(report, seen)
        accounts.no_errors(report, seen)
        quiet = stage.fake.quiet()
        report.exactly("upstream requests still in flight", quiet["in_flight"])
        report.at_most("idle upstream connections kept", quiet["open_connections"], 2 * at_once)
        report.at_most("threads of a worker, the most", most_threads(), THREADS)
        report.at_most("threads of a worker, after", max(map(thread_count, stage.server.workers())), THREADS)
        report.at_most("descriptors of a worker more than after the warm-up", stage.file_growth(before), 0)
        report.exactly("workers that ended", len(before.keys() - stage.server.workers()))
    return report


def _asks(chance: random.Random, count: int) -> list[Ask]:
    return [_leaving(chance) if n % 3 == 0 else Ask(chance.choice(ANSWERS), n % 2 == 0) for n in range(count)]


def _leaving(chance: random.Random) -> Ask:
    reset = chance.random() < 0.3
    match chance.choice(("body", "wait", "wait", "chunks")):
        case "body":
            leave = Leave("body", chance.random(), reset)
        case "wait":
            leave = Leave("wait", chance.uniform(0.0, 0.08), reset)
        case _:
            leave = Leave("chunks", chance.randint(1, 18), reset)
    return Ask(SLOW, leave.where == "chunks" or chance.random() < 0.5, leave)
