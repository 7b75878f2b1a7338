"""Proof: while something else holds the database's write lock, every request is served and none is lost."""

from __future__ import annotations

import asyncio
import itertools
import subprocess
import sys
import time

from tests.faults import accounts
from tests.faults.load import Ask, Seen, percentile, run, swarm, under_load
from tests.faults.report import Report
from tests.faults.stage import Stage

# A process of its own, as a backup or an administrator's shell would be. It says when it has the lock.
HOLDER = """
import sqlite3, sys, time
connection = sqlite3.connect(sys.argv[1], timeout=30, isolation_level=None)
connection.execute("BEGIN IMMEDIATE")
print("locked", flush=True)
time.sleep(float(sys.argv[2]))
connection.execute("ROLLBACK")
"""
FLUSH_SECONDS = 30.0  # two tries of five seconds may have just begun when the lock is let go


def locked(seconds: float, clients: int = 8) -> Report:
    report = Report(
        f"BEGIN IMMEDIATE held on SQLite for {seconds:g} s by another process while {clients} clients ask all the time"
        " with a known key; 2 workers"
    )
    with Stage() as stage:
        seen, held = run(_under_load(stage, seconds, clients))
        calls = stage.fake.calls()
        records = stage.settled(lambda records: accounts.complete(seen, calls, records), FLUSH_SECONDS)
        waited = time.monotonic() - held[1]
        days = stage.server.usage()
    during = [one for one in seen if held[0] <= one.sent <= held[2]]
    report.told("requests while it was locked", len(during))
    report.at_least("requests answered in full while it was locked", sum(one.status == 200 for one in during), clients)
    accounts.all_served(report, seen, records, calls, days)
    report.told("p99 of a request meanwhile", f"{percentile((one.seconds for one in during), 0.99) * 1000:.0f} ms")
    report.told("until every record was in the database after it", f"{waited:.1f} s")
    return report


async def _under_load(stage: Stage, seconds: float, clients: int) -> tuple[list[Seen], tuple[float, float, float]]:
    """What clients saw; when the lock was taken, let go by the monotonic clock, and let go."""
    warm = await swarm(stage.port, stage.key, [Ask(stream=False) for _ in range(4 * clients)], clients)
    asks = (Ask("[fault:ok tokens=20 rate=200]", n % 2 == 0) for n in itertools.count())
    path = str(stage.server.data_dir / "bridge.sqlite3")
    async with under_load(stage.port, stage.key, asks, clients) as seen:
        holder = subprocess.Popen([sys.executable, "-c", HOLDER, path, str(seconds)], stdout=subprocess.PIPE)
        assert holder.stdout is not None
        try:
            await asyncio.to_thread(holder.stdout.readline)
            taken = time.time()
            code = await asyncio.to_thread(holder.wait, seconds + 30)
            let_go = time.monotonic(), time.time()
        finally:
            holder.kill()
            holder.wait()
            holder.stdout.close()
    assert code == 0
    return warm + seen, (taken, *let_go)
