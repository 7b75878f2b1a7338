"""Proof: PostgreSQL is stopped as if it had crashed, and every request of a known key is served and on record."""

from __future__ import annotations

import asyncio
import itertools
import time

from tenants.keys import mint
from tenants.values import Mode
from tests.faults import accounts
from tests.faults.load import Ask, Seen, percentile, run, swarm, under_load
from tests.faults.report import Report
from tests.faults.stage import Stage
from tests.postgres import Postgres

BACK_SECONDS = 30.0  # until every record is in the database after its return
REFUSAL_MS = 50.0
ASKING = 0.05  # seconds between requests with an unknown key


def outage(seconds: float, clients: int = 8) -> Report:
    report = Report(
        f"PostgreSQL stopped at once for {seconds:g} s while {clients} clients ask all the time with a known key, and"
        " one with keys that nobody can check; 2 workers"
    )
    with Postgres() as postgres, Stage(DATABASE_URL=postgres.url) as stage:
        seen, refused, away = run(_under_load(stage, postgres, seconds, clients))
        calls = stage.fake.calls()
        begun = time.monotonic()
        records = stage.settled(lambda records: accounts.complete(seen, calls, records), BACK_SECONDS)
        waited = time.monotonic() - begun
        days = stage.server.usage()
    during = [one for one in seen if away[0] <= one.sent <= away[1]]
    report.told("requests while it was away", len(during))
    report.at_least("requests answered in full while it was away", sum(one.status == 200 for one in during), clients)
    accounts.all_served(report, seen, records, calls, days)
    report.at_least("requests with an unknown key meanwhile", len(refused), 10)
    report.none_of("of these, not refused with 503", [one.status for one in refused if one.status != 503])
    for share in (0.5, 0.95):  # the last percent is the load's, on the same cores
        took = percentile((one.seconds * 1000 for one in refused), share)
        report.at_most(f"their p{share * 100:.0f}", took, REFUSAL_MS, " ms")
    report.told("their p99", f"{percentile((one.seconds for one in refused), 0.99) * 1000:.0f} ms")
    report.told("p99 of a request meanwhile", f"{percentile((one.seconds for one in during), 0.99) * 1000:.0f} ms")
    report.told("until every record was in the database after it", f"{waited:.1f} s")
    return report


async def _under_load(
    stage: Stage, postgres: Postgres, seconds: float, clients: int
) -> tuple[list[Seen], list[Seen], tuple[float, float]]:
    """What clients saw; what the strangers saw; when the database was away."""
    warm = await swarm(stage.port, stage.key, [Ask(stream=False) for _ in range(8 * clients)], clients)
    asks = (Ask("[fault:ok tokens=20 rate=200]", n % 2 == 0) for n in itertools.count())
    refused: list[Seen] = []
    async with under_load(stage.port, stage.key, asks, clients) as seen:
        await asyncio.sleep(0.5)
        await asyncio.to_thread(postgres.stop)
        gone = time.time()
        while time.time() < gone + seconds:
            refused += await swarm(stage.port, mint(Mode.LIVE).text, [Ask(stream=False)], 1)
            await asyncio.sleep(ASKING)
        back = time.time()
        await asyncio.to_thread(postgres.start)
        await asyncio.sleep(1)
    return warm + seen, refused, (gone, back)
