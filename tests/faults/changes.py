"""Proof: a revocation, a changed limit and a suspension reach every worker within a second."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable
from functools import partial

from tests.faults.load import Ask, Client, Seen, percentile, run
from tests.faults.report import Report
from tests.faults.revocation import asked_around, spread
from tests.faults.stage import Stage, connections
from tests.live import REPO

LIMIT = 1.0  # seconds
AFTER = 1.3  # seconds that clients go on asking after a change
PAUSE = 0.02

OldRule = Callable[[Seen], bool]


class Changer:
    """tests.faults.changing in a process of its own, with the server's environment."""

    def __init__(self, stage: Stage) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.changing"],
            cwd=REPO, env=stage.server.env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert self._line() == "ready"

    def __call__(self, *words: str) -> str:
        """The answer to a command."""
        assert self._process.stdin is not None
        print(*words, file=self._process.stdin, flush=True)
        return self._line()

    def close(self) -> None:
        self._process.kill()
        self._process.communicate(timeout=10)

    def _line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()


def changes(times: int, workers: int) -> Report:
    """So many of each kind, while kept connections to every worker ask without end."""
    report = Report(f"{times} revocations, changes of a limit and suspensions each, under load; {workers} workers")
    with Stage(workers) as stage:
        change = Changer(stage)
        try:
            for kind in ("revoke", "rpm", "suspend"):
                last, alone, odd = run(_of_kind(stage, change, kind, times))
                report.exactly(f"{kind}: workers without one of the clients", alone)
                report.none_of(f"{kind}: answers that are neither 200 nor 401", odd)
                report.told(f"{kind}: last answer under the old rule, p50", f"{percentile(last, 0.5):.2f} s")
                report.at_most(
                    f"{kind}: last answer under the old rule, the latest of {len(last)}", max(last), LIMIT, " s"
                )
        finally:
            change.close()
    return report


async def _of_kind(stage: Stage, change: Changer, kind: str, times: int) -> tuple[list[float], int, list[str]]:
    """How late the last answer under the old rule was each time, workers that no client had, and odd answers."""
    last, alone, odd = list[float](), 0, list[str]()
    key = change("issue", kind)
    for number in range(times):
        if kind == "revoke" and number:
            key = change("issue", kind)
        clients = await spread(stage, key)
        alone += stage.workers - sum(connections(pid, stage.port) > 0 for pid in stage.server.workers())
        words = {"rpm": ("rpm", key, str(1_000_000 + number))}.get(kind, (kind, key))
        seen, said = await asked_around(clients, partial(change, *words), PAUSE, AFTER)
        committed = float(said)
        old = _still_old(kind, number)
        last.append(max((one.answered - committed for one in seen if old(one)), default=0.0))
        odd += [f"{one.status} {one.end}" for one in seen if one.status not in (200, 401)]
        if kind == "suspend":
            await asyncio.to_thread(change, "resume", key)
            await _until_served(stage, key)
    return last, alone, odd


def _still_old(kind: str, number: int) -> OldRule:
    if kind != "rpm":
        return lambda one: one.status == 200
    return lambda one: one.headers.get("x-ratelimit-limit-requests") != str(1_000_000 + number)


async def _until_served(stage: Stage, key: str) -> None:
    """Every worker has heard that the tenant is back: a second of nothing but answers."""
    await asyncio.sleep(1)
    client = Client(stage.port, key)
    while (await client.ask(Ask("[fault:ok tokens=1]", False))).status != 200:
        await asyncio.sleep(0.1)
    await client.close()
