"""Proof: a client that hangs up stops upstream at once."""

from __future__ import annotations

import random

from tests.faults.load import Ask, End, Leave, percentile, run, swarm
from tests.faults.report import Report
from tests.faults.stage import Stage

ANSWER = "[fault:ok tokens=4000 rate=200 first=0.2]"
FLOOD = "[fault:ok tokens=200000]"  # more than all buffers on the way hold


def disconnects(count: int, limit_ms: float, at_once: int = 4, seed: int = 1) -> Report:
    report = Report(
        f"{count:,} clients hanging up (FIN or RST) at a random moment before or within an answer, every tenth while it"
        f" reads nothing and the gateway is stuck sending; {at_once} at once, 2 workers; seed {seed}"
    )
    chance = random.Random(seed)
    with Stage() as stage:
        seen = run(swarm(stage.port, stage.key, [_ask(chance, n) for n in range(count)], at_once))
        stage.fake.quiet(5)
        closed = {call["marker"]: call["closed_at"] for call in stage.fake.calls()}
        records = stage.settled(lambda records: len(records) >= count)
    left = [one for one in seen if one.end is End.LEFT]
    noticed = [one for one in left if closed.get(one.ask.name)]
    delays = [(closed[one.ask.name] - one.ended) * 1000 for one in noticed]
    deaf = [delay for one, delay in zip(noticed, delays, strict=True) if one.ask.text == FLOOD]
    report.exactly("hung up", len(left), count)
    report.none_of("upstream requests not ended by it", [n for one in left if not closed.get(n := one.ask.name, 1)])
    report.told("hung up before anything was sent upstream", sum(one.ask.name not in closed for one in left))
    report.told("from hang-up to upstream's notice, p50", f"{percentile(delays, 0.5):.1f} ms")
    report.at_most("from hang-up to upstream's notice, p99", percentile(delays, 0.99), limit_ms, " ms")
    report.told("from hang-up to upstream's notice, the longest", f"{max(delays, default=0.0):.1f} ms")
    report.told("the same while the gateway was stuck sending, p50", f"{percentile(deaf, 0.5):.1f} ms")
    report.exactly("records", len(records), count)
    other = [f"{record['id']} {record['state']}" for record in records if record["state"] != "cancelled"]
    report.none_of("records that are not cancelled", other)
    return report


def _ask(chance: random.Random, number: int) -> Ask:
    reset = chance.random() < 0.5
    if number % 10 == 9:
        return Ask(FLOOD, True, Leave("deaf", chance.uniform(0.3, 0.6), reset))
    return Ask(ANSWER, chance.random() < 0.7, Leave("wait", chance.uniform(0.02, 0.8), reset))
