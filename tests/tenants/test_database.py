"""The threads that talk to the database: behind the event loop in the queue for a core."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator

import pytest

from tenants.database import Database


@pytest.fixture
def database() -> Iterator[Database]:
    database = Database(threads=2)
    yield database
    database.close()


@pytest.mark.skipif(sys.platform != "linux", reason="other schedulers have no such word")
async def test_its_threads_do_not_take_the_core_from_the_event_loop(database: Database) -> None:
    assert await database(lambda: os.sched_getscheduler(0)) == os.SCHED_BATCH
    assert os.sched_getscheduler(0) == os.SCHED_OTHER


async def test_a_host_that_forbids_it_is_served_all_the_same(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "sched_setscheduler", forbidden)
    assert await database(lambda: "done") == "done"
