"""Proof: whatever goes on, for however long, nothing grows.

python -m tests.faults.soak [--minutes N]     half an hour unless told otherwise
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import random
import signal
import sys
import time
from collections.abc import Awaitable, Callable

from tests.faults import accounts
from tests.faults.load import Ask, Client, End, Seen, counted, run, under_load
from tests.faults.report import Report
from tests.faults.stage import OPEN_STATES, Stage, open_files, resident, thread_count
from tests.faults.traffic import FAULTS, GOOD, Refused, traffic
from tests.live import until

CLIENTS = 12
KEY = ("--budget", "1000000:month", "--concurrency", "1000", "--tpm", "1000000000")
LIMITED = ("--rpm", "60")
LIMITED_SECONDS = 0.1  # between the requests of whoever has that limit
FIRST, LAST = 0.25, 0.25  # shares of the time
KILL_SECONDS = 5.0
MORE = 0.02  # of what was there before; beside it, what a sample may happen to show more:
MEMORY = "memory, MB"
FLOORS = {
    "descriptors": 2,
    "threads": 2,  # of pools with a fixed size, which grow to it when they need to
    "connections to upstream": CLIENTS,
}

Mischief = Callable[[float], Awaitable[None]]


def soak(seconds: float, memory_mb: float = 8, seed: int = 1) -> Report:
    """`memory_mb`: so much more than before is noise; what a short run has not warmed up yet, too."""
    report = Report(
        f"{seconds / 60:.2g} minutes of {CLIENTS} clients that ask in all dialects, whole and streamed, hang up, read"
        f" slowly, are refused and meet faults of upstream, and one that runs into its limit; after the first"
        f" {FIRST:.0%} the younger of 2 workers dies by SIGKILL every {KILL_SECONDS:g} s, in the last {LAST:.0%} the"
        f" server is restarted again and again; seed {seed}"
    )
    with Stage() as stage:
        stage.key = stage.server.issue_key("acme", "soak", *KEY)
        time_of = Soak(stage, random.Random(seed))
        quiet = time_of.traffic(time_of.nothing, seconds * FIRST)
        before = sizes(stage)
        killed = time_of.traffic(time_of.kills, seconds * (1 - FIRST - LAST))
        after = sizes(stage)
        seen = [*quiet, *killed, *time_of.traffic(time_of.restarts, seconds * LAST)]
        report.told("requests", len(seen))
        report.told("SIGKILLs", stage.server.log().count("was sent SIGKILL"))
        report.told("restarts", time_of.restarted)
        report.told("refused by a limit", time_of.limited)
        _growth(report, before, after, {**FLOORS, MEMORY: memory_mb})
        _answers(report, quiet, seen)
        _accounts(report, stage, [one for one in seen if not isinstance(one.ask, Refused)])
        report.none_of("journal files of workers that are gone", stage.left_over())
    return report


class Soak:
    """Traffic, and what happens meanwhile."""

    def __init__(self, stage: Stage, chance: random.Random) -> None:
        self._stage, self._chance = stage, chance
        self._limited_key = stage.server.issue_key("acme", "limited", *LIMITED)
        self.restarted = self.limited = 0

    def traffic(self, meanwhile: Mischief, seconds: float) -> list[Seen]:
        """What was seen; returns when the server has calmed down."""
        seen = run(self._traffic(meanwhile, time.monotonic() + seconds))
        with contextlib.suppress(TimeoutError):
            until(lambda: not any(_unrest(self._stage).values()), 60)
        for one in seen:
            one.body = one.body[-1000:]
        return seen

    async def nothing(self, end: float) -> None:
        pass

    async def kills(self, end: float) -> None:
        while time.monotonic() < end - KILL_SECONDS:
            await asyncio.sleep(KILL_SECONDS)
            pids = self._stage.server.workers()
            if len(pids) == self._stage.workers:
                os.kill(pids[-1], signal.SIGKILL)

    async def restarts(self, end: float) -> None:
        while not self.restarted or time.monotonic() < end - KILL_SECONDS:
            await asyncio.to_thread(self._stage.server.stop)
            await asyncio.to_thread(self._stage.server.start)
            self.restarted += 1
            await asyncio.sleep(KILL_SECONDS / 2)

    async def _traffic(self, meanwhile: Mischief, end: float) -> list[Seen]:
        limited = asyncio.create_task(self._runs_into_its_limit(end))
        async with under_load(self._stage.port, self._stage.key, traffic(self._chance), CLIENTS) as seen:
            await meanwhile(end)
            await asyncio.sleep(max(end - time.monotonic(), 0))
        return seen + await limited

    async def _runs_into_its_limit(self, end: float) -> list[Seen]:
        client, seen = Client(self._stage.port, self._limited_key), list[Seen]()
        while time.monotonic() < end:
            one = await client.ask(Ask(GOOD[0]))
            if one.status == 429:
                self.limited += 1
            else:
                seen.append(one)
            await asyncio.sleep(LIMITED_SECONDS)
        await client.close()
        return seen


def sizes(stage: Stage) -> dict[str, float]:
    """Of the master and of the worker that is oldest, and what else may pile up."""
    pids = (stage.server.pid, stage.server.workers()[0])
    return {
        MEMORY: sum(map(resident, pids)) / 1e6,
        "descriptors": sum(open_files(pid, stage.fake.port) for pid in pids),
        "threads": sum(map(thread_count, pids)),
        "connections to upstream": stage.fake.ledger("summary=1")["open_connections"],
        "files": sum(path.is_file() for path in stage.server.data_dir.rglob("*")),
        **_unrest(stage),
    }


def _unrest(stage: Stage) -> dict[str, float]:
    """What there is only while something goes on."""
    states = ", ".join(f"'{state}'" for state in OPEN_STATES)
    return {
        "connections of clients": stage.clients(),
        "requests in flight upstream": stage.fake.in_flight(),
        "open records": _count(stage, f"SELECT count(*) AS n FROM tenants_requestrecord WHERE state IN ({states})"),
        "open holds": _count(stage, "SELECT count(*) AS n FROM tenants_hold WHERE state = 'open'"),
        "workers that are missing": stage.workers - len(stage.server.workers()),
    }


def _count(stage: Stage, query: str) -> int:
    return int(stage.server._rows(query)[0]["n"])


def _growth(report: Report, before: dict[str, float], after: dict[str, float], floors: dict[str, float]) -> None:
    for what, most in before.items():
        limit = most * (1 + MORE) + floors.get(what, 0)
        report.at_most(f"{what}, after {most:.4g}", after[what], limit)


def _answers(report: Report, quiet: list[Seen], seen: list[Seen]) -> None:
    report.told("how they ended for their clients", counted(str(one.end) for one in seen))
    good = [one for one in quiet if one.ask.text in GOOD]
    lost = [f"{one.end} {one.status} {one.ask.text} {one.body[-160:]!r}" for one in good if one.end is not End.DONE]
    report.none_of("good requests that were not answered while all workers lived", lost)
    whole = [f"{one.ask.path} {one.ask.text}" for one in seen if one.ask.text in FAULTS and one.end is End.DONE]
    report.none_of("broken answers that look whole", whole)
    odd = [f"{one.end} {one.ask.text} {one.body[-160:]!r}" for one in seen if one.end in (End.MUTE, End.HUNG)]
    report.none_of("answers that do not end, or not properly", odd)


def _accounts(report: Report, stage: Stage, seen: list[Seen]) -> None:
    """Refusals are left out: a flood of them shares its records."""
    calls = stage.fake.calls()
    records = stage.settled(lambda records: accounts.complete(seen, calls, records))
    accounts.compare(report, seen, records, calls)
    accounts.sums(report, records, stage.server.usage())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=30.0)
    report = soak(parser.parse_args().minutes * 60)
    print(report)
    return 0 if report.holds else 1


if __name__ == "__main__":
    sys.exit(main())
