"""Backups made under load and restored: every record that was there when the backup began is there again, unchanged."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.faults.load import Ask, run, swarm
from tests.live import Server, until
from tests.postgres import Postgres, binaries

KEPT = ("id", "state", "status", "model", "input_tokens", "output_tokens", "total_us")
SANDBOX = {"UPSTREAM": "sandbox"}


def told(records: list[dict[str, Any]]) -> dict[str, tuple[Any, ...]]:
    return {record["id"]: tuple(record[name] for name in KEPT) for record in records}


async def under_load(server: Server, backup: Any) -> None:
    """Makes a backup while requests come, some before it and some after."""

    async def make() -> None:
        await asyncio.sleep(0.5)
        await asyncio.to_thread(backup)

    await asyncio.gather(swarm(server.port, server.test_key, (Ask() for _ in range(300)), 8), make())


def test_the_embedded_database_is_backed_up_while_it_is_used_and_restored(tmp_path: Any) -> None:
    path = tmp_path / "backup"
    with Server(SANDBOX) as server:
        run(swarm(server.port, server.test_key, (Ask() for _ in range(20)), 4))
        before = told(until(lambda: server.records(state="settled")[19:] and server.records()))
        run(under_load(server, lambda: server.manage("backup", str(path), "--with-secrets")))
        key = server.test_key
        until(lambda: len(server.records(state="settled")) == 320)
        every = told(server.records())
    assert path.stat().st_mode & 0o077 == 0
    restored = Server(SANDBOX)
    try:
        restored.manage("restore", str(path))
        restored.start()
        assert run(swarm(restored.port, key, [Ask()], 1))[0].status == 200, "its keys work"
        after = told(restored.records())
    finally:
        restored.close()
    assert before.items() <= after.items()
    unchanged = [pk for pk, row in after.items() if every.get(pk) == row]
    interrupted = [pk for pk, row in after.items() if pk in every and row[1] == "interrupted"]
    assert len(after.keys() & every.keys()) == len(unchanged) + len(interrupted)


@pytest.mark.skipif(not binaries(), reason="PostgreSQL is not installed")
def test_postgresql_is_dumped_while_it_is_used_and_restored(tmp_path: Any) -> None:
    with Postgres() as postgres, Server({**SANDBOX, "DATABASE_URL": postgres.url}) as server:
        run(swarm(server.port, server.test_key, (Ask() for _ in range(20)), 4))
        before = told(until(lambda: server.records(state="settled")[19:] and server.records()))
        run(under_load(server, lambda: postgres.dump(tmp_path / "dump")))
        until(lambda: len(server.records(state="settled")) == 320)
        every, key = told(server.records()), server.test_key
        server.stop()
        server.env["DATABASE_URL"] = postgres.restore(tmp_path / "dump", "restored")
        server.start()
        assert run(swarm(server.port, key, [Ask()], 1))[0].status == 200, "its keys work"
        after = told(server.records())
    assert before.items() <= after.items()
    assert all(every[pk] == row for pk, row in after.items() if pk in every)
