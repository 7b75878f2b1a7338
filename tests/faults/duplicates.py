"""Proof: however many clients send one request under one Idempotency-Key, upstream hears of it once."""

from __future__ import annotations

from tests.faults.load import Ask, Seen, counted, run, swarm
from tests.faults.report import Report
from tests.faults.stage import SETTLE_SECONDS, Stage
from tests.live import until


def duplicates(rounds: int, clients: int = 100, workers: int = 2) -> Report:
    report = Report(
        f"{rounds} times the same request under one Idempotency-Key from {clients} clients at once, every other time"
        f" streamed; {workers} workers"
    )
    with Stage(workers) as stage:
        key = stage.server.issue_key("acme", "idempotent", "--idempotent")
        seen: list[list[Seen]] = []
        for number in range(rounds):
            ask = Ask("[fault:ok tokens=20 rate=40]", number % 2 == 1, header=f"idempotency-key: round-{number}")
            seen.append(run(swarm(stage.port, key, [ask] * clients, clients)))
        calls = stage.fake.calls()
        records = until(lambda: _all(stage, rounds * clients), SETTLE_SECONDS, "the last record")
    every = [one for each in seen for one in each]
    report.exactly("requests", len(every), rounds * clients)
    report.exactly("requests that upstream heard", len(calls), rounds)
    report.told("how they ended for their clients", counted(f"{one.end} {one.status}" for one in every))
    report.none_of(
        "answers other than 200", [f"{one.status} {one.body[-120:]!r}" for one in every if one.status != 200]
    )
    report.exactly("different answers", sum(len({one.body for one in each}) for each in seen), rounds)
    replayed = sum(one.headers.get("idempotent-replayed") == "true" for one in every)
    report.exactly("answers said to be replayed", replayed, rounds * (clients - 1))
    report.exactly("records of a replay", sum(record["replay_of"] is not None for record in records), replayed)
    report.exactly("records that used something", sum(record["output_tokens"] > 0 for record in records), rounds)
    return report


def _all(stage: Stage, count: int) -> list[dict[str, object]]:
    records = stage.server.records(state="settled")
    return records if len(records) >= count else []
