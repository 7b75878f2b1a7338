"""The API door's only way to the database: a few threads with persistent connections.

`CONN_MAX_AGE` leaks under ASGI and a pool is held for as long as a stream lasts (docs/decisions/0003-database.md).
A fixed executor has a known number of connections, fails in milliseconds when the database is away, and recovers with
the first unit after it is back.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TypeVar

from django.db import InterfaceError, OperationalError, connection

T = TypeVar("T")


class Database:
    """Runs short, idempotent units of database work off the event loop."""

    def __init__(self, threads: int = 4) -> None:
        self._threads = threads
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="database", initializer=_give_way)

    async def __call__(self, unit: Callable[[], T]) -> T:
        """The unit's result. A unit may run twice: once more after a connection turned out to be dead."""
        return await asyncio.get_running_loop().run_in_executor(self._executor, _run, unit)

    def close(self) -> None:
        """Waits for running units and closes the connection of every thread."""
        all_here = threading.Barrier(self._threads)
        for _ in range(self._threads):
            self._executor.submit(_leave, all_here)
        self._executor.shutdown(wait=True)


def _give_way() -> None:
    """Has Linux not take the core from the event loop, which has a request to answer, when this thread wakes up."""
    with suppress(OSError, AttributeError):
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))


def _run(unit: Callable[[], T]) -> T:
    used_before = connection.connection is not None
    try:
        return unit()
    except (OperationalError, InterfaceError):
        connection.close()
        if not used_before:
            raise
        return unit()


def _leave(all_here: threading.Barrier) -> None:
    """Runs once in each thread: none is free for a second one before all have met."""
    connection.close()
    all_here.wait(timeout=30)
