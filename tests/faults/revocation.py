"""Proof: a revoked key is refused by every worker within a second."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from functools import partial

from tests.faults.load import Ask, Client, Seen, percentile, run
from tests.faults.report import Report
from tests.faults.stage import Stage, connections

CLIENTS = 8
LIMIT = 1.0  # seconds
AFTER = 1.5  # seconds that clients go on asking after the command has ended
PAUSE = 0.005


def revocation(times: int, workers: int) -> Report:
    report = Report(
        f"{times} × `revoke_key` while {CLIENTS} kept connections ask without end with the key; {workers} workers"
    )
    latest, refused, other, alone = list[float](), 0, list[str](), 0
    with Stage(workers) as stage:
        for n in range(times):
            key = stage.server.issue_key("acme", f"to be revoked {n}")
            seen, reached = run(_revoked(stage, key))
            revoked_at = _revoked_at(stage, key)
            accepted = [one.answered for one in seen if one.status == 200]
            latest.append(max(accepted) - revoked_at)
            refused += sum(one.status == 401 for one in seen)
            other += [f"{one.status} {one.end}" for one in seen if one.status not in (200, 401)]
            alone += workers - reached
    report.exactly("workers without one of the clients", alone)
    report.at_least("requests refused with 401", refused, times * CLIENTS)
    report.none_of("answers that are neither 200 nor 401", other)
    report.told("last answer to the key after its revocation, p50", f"{percentile(latest, 0.5):.2f} s")
    report.at_most("last answer to the key after its revocation, the latest", max(latest), LIMIT, " s")
    return report


async def _revoked(stage: Stage, key: str) -> tuple[list[Seen], int]:
    """What the clients saw, and how many workers served them."""
    clients = await spread(stage, key)
    reached = sum(connections(pid, stage.port) > 0 for pid in stage.server.workers())
    seen, _ = await asked_around(clients, partial(stage.server.manage, "revoke_key", key), PAUSE, AFTER)
    return seen, reached


async def asked_around(
    clients: list[Client], change: Callable[[], str], pause: float, after: float
) -> tuple[list[Seen], str]:
    """What the clients saw until some seconds after the change, and what that said."""
    over, seen = asyncio.Event(), list[Seen]()

    async def ask_on(client: Client) -> None:
        while not over.is_set():
            seen.append(await client.ask(Ask("[fault:ok tokens=1]", False)))
            await asyncio.sleep(pause)
        await client.close()

    asking = [asyncio.create_task(ask_on(client)) for client in clients]
    said = await asyncio.to_thread(change)
    await asyncio.sleep(after)
    over.set()
    await asyncio.gather(*asking)
    return seen, said


async def spread(stage: Stage, key: str) -> list[Client]:
    """Connections to every worker: the kernel gives each to whichever worker is free, so try until all have one."""
    deadline = time.monotonic() + 10
    while True:
        clients = [Client(stage.port, key) for _ in range(CLIENTS)]
        await asyncio.gather(*(client.ask(Ask("[fault:ok tokens=1]", False)) for client in clients))
        if all(connections(pid, stage.port) for pid in stage.server.workers()) or time.monotonic() > deadline:
            return clients
        await asyncio.gather(*(client.close() for client in clients))


def _revoked_at(stage: Stage, key: str) -> float:
    """The time that the row says: a moment before the commit."""
    public_id = key.split("_")[2][:8]
    query = (
        "SELECT k.revoked_at FROM tenants_apikey k JOIN tenants_keysecret s ON s.key_id = k.id WHERE s.public_id = ?"
    )
    with closing(sqlite3.connect(stage.server.data_dir / "bridge.sqlite3", timeout=10)) as connection:
        (text,) = connection.execute(query, [public_id]).fetchone()
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()
