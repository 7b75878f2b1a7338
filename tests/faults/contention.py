"""Proof: several processes write to one SQLite file under load, and none of them is ever told that it is locked."""

from __future__ import annotations

from tests.faults import accounts
from tests.faults.load import Ask, run, swarm
from tests.faults.report import Report
from tests.faults.stage import Stage


def contention(requests: int, clients: int = 32, workers: int = 4) -> Report:
    report = Report(f"{requests} requests of {clients} clients; {workers} workers and one SQLite file")
    with Stage(workers) as stage:
        asks = (Ask("[fault:ok tokens=5]", n % 2 == 0) for n in range(requests))
        seen = run(swarm(stage.port, stage.key, asks, clients))
        calls = stage.fake.calls()
        records = stage.settled(lambda records: accounts.complete(seen, calls, records))
        days, log = stage.server.usage(), stage.server.log()
    report.exactly("requests", len(seen), requests)
    report.exactly("times that the database was said to be locked", log.count("database is locked"))
    accounts.no_errors(report, seen)
    accounts.compare(report, seen, records, calls)
    accounts.sums(report, records, days)
    return report
