"""Proof: a revocation, a changed limit and a suspension reach every worker within a second."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from tests.faults.load import Ask, Client, Seen, percentile, run
from tests.faults.report import Report
from tests.faults.stage import Stage, connections
from tests.live import REPO

CLIENTS = 8
LIMIT = 1.0  # seconds
AFTER = 1.3  # seconds that clients go on asking after a change
PAUSE = 0.02
ASK = Ask("[fault:ok tokens=1]", False)

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


@dataclass(slots=True)
class Tally:
    """What came of all changes of a kind."""

    last: list[float] = field(default_factory=list)  # seconds from each change to the last answer under the old rule
    new: int = 0  # answers under the new rule
    odd: list[str] = field(default_factory=list)
    alone: int = 0  # workers that no client had


def changes(times: int, workers: int) -> Report:
    """So many of each kind, while kept connections to every worker ask without end."""
    report = Report(
        f"{times} revocations, changes of a limit and suspensions each, while {CLIENTS} kept connections ask without "
        f"end; {workers} workers"
    )
    with Stage(workers) as stage:
        change = Changer(stage)
        try:
            for kind in ("revoke", "rpm", "suspend"):
                tally = run(_of_kind(stage, change, kind, times))
                report.exactly(f"{kind}: workers without one of the clients", tally.alone)
                report.at_least(f"{kind}: answers under the new rule", tally.new, times * CLIENTS)
                report.none_of(f"{kind}: answers that are neither 200 nor 401", tally.odd)
                report.told(f"{kind}: last answer under the old rule, p50", f"{percentile(tally.last, 0.5):.2f} s")
                what = f"{kind}: last answer under the old rule, the latest of {len(tally.last)}"
                report.at_most(what, max(tally.last), LIMIT, " s")
        finally:
            change.close()
    return report


async def _of_kind(stage: Stage, change: Changer, kind: str, times: int) -> Tally:
    tally = Tally()
    key = change("issue", kind)
    for number in range(times):
        if kind == "revoke" and number:
            key = change("issue", kind)
        clients = await _spread(stage, key)
        tally.alone += stage.workers - sum(connections(pid, stage.port) > 0 for pid in stage.server.workers())
        words = {"rpm": ("rpm", key, str(1_000_000 + number))}.get(kind, (kind, key))
        seen, said = await _asked_around(clients, partial(change, *words))
        changed, old = float(said), _still_old(kind, number)
        tally.last.append(max((one.answered - changed for one in seen if old(one)), default=0.0))
        tally.new += sum(not old(one) for one in seen)
        tally.odd += [f"{one.status} {one.end}" for one in seen if one.status not in (200, 401)]
        if kind == "suspend":
            await asyncio.to_thread(change, "resume", key)
            await _until_served(stage, key)
    return tally


async def _asked_around(clients: list[Client], change: Callable[[], str]) -> tuple[list[Seen], str]:
    """What the clients saw until some time after the change, and what that said."""
    over, seen = asyncio.Event(), list[Seen]()

    async def ask_on(client: Client) -> None:
        while not over.is_set():
            seen.append(await client.ask(ASK))
            await asyncio.sleep(PAUSE)
        await client.close()

    asking = [asyncio.create_task(ask_on(client)) for client in clients]
    said = await asyncio.to_thread(change)
    await asyncio.sleep(AFTER)
    over.set()
    await asyncio.gather(*asking)
    return seen, said


async def _spread(stage: Stage, key: str) -> list[Client]:
    """Connections to every worker: the kernel gives each to whichever worker is free, so try until all have one."""
    deadline = time.monotonic() + 10
    while True:
        clients = [Client(stage.port, key) for _ in range(CLIENTS)]
        await asyncio.gather(*(client.ask(ASK) for client in clients))
        if all(connections(pid, stage.port) for pid in stage.server.workers()) or time.monotonic() > deadline:
            return clients
        await asyncio.gather(*(client.close() for client in clients))


def _still_old(kind: str, number: int) -> OldRule:
    if kind != "rpm":
        return lambda one: one.status == 200
    return lambda one: one.headers.get("x-ratelimit-limit-requests") != str(1_000_000 + number)


async def _until_served(stage: Stage, key: str) -> None:
    """Every worker has heard that the tenant is back: a second of nothing but answers."""
    await asyncio.sleep(1)
    client = Client(stage.port, key)
    while (await client.ask(ASK)).status != 200:
        await asyncio.sleep(0.1)
    await client.close()
