"""The ledger: carries the journal's rows into the database, in batches, once each."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable
from contextlib import suppress
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
from django.db import DatabaseError, Error, InterfaceError, OperationalError, models, transaction

from tenants import ids, journal, partitions, seals
from tenants.database import Database
from tenants.journal import Columns, Journal
from tenants.models import RECORD_COLUMNS, Hold, KeySecret, RequestRecord, UsageDay
from tenants.values import OPEN_STATES

log = logging.getLogger(__name__)

FLUSH_SECONDS = 0.2
SYNC_SECONDS = 1.0
RECOVER_SECONDS = 10.0
MONTHS_SECONDS = 6 * 3600.0
TOUCH_SECONDS = 60.0  # a secret's last use is written at most this often
BATCH_ROWS = 500

_COLUMNS = frozenset(RECORD_COLUMNS)
_TEXT_LENGTHS = {
    field.attname: field.max_length
    for field in RequestRecord._meta.concrete_fields
    if isinstance(field, models.CharField | models.TextField)
}
_NULLABLE = frozenset(field.attname for field in RequestRecord._meta.concrete_fields if field.null)


class Ledger:
    """One per worker. `run` flushes until cancelled; `close` flushes what is left."""

    def __init__(self, journal: Journal, database: Database, directory: Path, fsync: str = "off") -> None:
        self._journal = journal
        self._database = database
        self._directory = directory
        self._fsync = fsync == "1s"
        self._touched: dict[int, float] = {}
        self._failing = False
        self._stored_at = self._recovered_at = time.monotonic()
        self._flushing = asyncio.Lock()

    async def run(self) -> None:
        synced = recovered = months = float("-inf")
        while True:
            await self.flush()
            now = time.monotonic()
            if self._fsync and now - synced > SYNC_SECONDS:
                synced = now
                await asyncio.get_running_loop().run_in_executor(None, self._journal.sync)
            if now - recovered > RECOVER_SECONDS:
                recovered = now
                await self.recover()
            if now - months > MONTHS_SECONDS:
                months = now
                await self._try(partitions.prepare_months)
            await asyncio.sleep(FLUSH_SECONDS)

    async def flush(self) -> bool:
        """Stores what the journal has; False when the database would not take it (the journal keeps it)."""
        async with self._flushing:  # who asks for a flush wants what another one is about to store, too
            return await self._flush()

    async def _flush(self) -> bool:
        began, batch = time.monotonic(), self._journal.take()
        stored = not batch.rows
        try:
            stored = stored or await self._try(partial(write, batch.rows, self._to_touch(batch.rows), self._directory))
        finally:  # cancelled in the middle, too: a row may be written twice, but not forgotten
            (self._journal.stored if stored else self._journal.put_back)(batch)
        if stored:
            self._stored_at = began
        return stored

    @property
    def behind(self) -> float:
        """For how many seconds the database has not had every row: of requests that ended here, or of a dead process.

        Some while all is well: rows are stored every FLUSH_SECONDS, a dead process's looked for every RECOVER_SECONDS.
        """
        return time.monotonic() - min(self._stored_at, self._recovered_at)

    async def recover(self) -> int:
        """Stores the rows that dead processes left behind; returns how many."""
        began, count = time.monotonic(), 0
        for orphan in journal.orphans(self._directory):
            if not await self._try(partial(write, orphan.rows, {}, self._directory)):
                orphan.release()
                break
            count += len(orphan.rows)
            log.info("recovered the journal of a dead worker", extra={"rows": len(orphan.rows)})
            orphan.delete()
        else:
            self._recovered_at = began
        return count

    async def close(self) -> None:
        """The last flush; what the database will not take now stays on disk for the next start."""
        await self.flush()
        self._journal.shut()

    async def _try(self, unit: Any) -> bool:
        try:
            await self._database(unit)
        except Error as error:
            if not self._failing:
                log.error("the ledger cannot write; the journal keeps the rows", extra={"error": str(error)})
            self._failing = True
            return False
        self._failing = False
        return True

    def _to_touch(self, rows: Iterable[Columns]) -> dict[int, datetime]:
        now, touch = time.monotonic(), {}
        for row in rows:
            secret = row.get("secret_id")
            if secret is not None and now - self._touched.get(secret, float("-inf")) > TOUCH_SECONDS:
                self._touched[secret] = now
                touch[secret] = ids.moment(row["id"])
        return touch


def write(rows: list[Columns], used: dict[int, datetime], directory: Path) -> None:
    """Stores rows, all or (the database being away) none. A row it refuses for good is set aside, not the batch."""
    cleaned = [clean(row) for row in rows]
    for start in range(0, len(cleaned), BATCH_ROWS):
        part = cleaned[start : start + BATCH_ROWS]
        try:
            with transaction.atomic():
                _store(part)
                KeySecret.objects.touch(used)
        except (OperationalError, InterfaceError):
            raise
        except DatabaseError:
            _write_singly(part, directory)


def _store(rows: list[Columns]) -> None:
    """The one place where a record becomes final, and all that follows from it, in the caller's transaction."""
    seals.wait_for_sealing(row["id"] for row in rows)
    finals = RequestRecord.objects.write(rows)
    seals.supplement(finals)
    UsageDay.objects.add(finals)
    Hold.objects.settle(finals)


def _write_singly(rows: list[Columns], directory: Path) -> None:
    for row in rows:
        try:
            with transaction.atomic():
                _store([row])
        except (OperationalError, InterfaceError):
            raise
        except DatabaseError as error:
            log.error("a record was refused and set aside", extra={"request_id": str(row["id"]), "error": str(error)})
            with (directory / "rejected.jsonl").open("ab") as file:
                file.write(msgspec.json.encode(row) + b"\n")
            _let_go(row)


def _let_go(row: Columns) -> None:
    """A record that nobody will ever store is charged all the same, and holds nothing."""
    record = RequestRecord(**row)
    if record.state not in OPEN_STATES:
        with suppress(DatabaseError), transaction.atomic():
            Hold.objects.settle([record])


def clean(row: Columns) -> Columns:
    """The row as every database takes it: known columns, no NUL, no text longer than its column."""
    known = dict(row)
    for name in known.keys() - _COLUMNS:
        del known[name]
    for name, length in _TEXT_LENGTHS.items():
        text = known.get(name)
        if isinstance(text, str) and (not text or "\0" in text or (length is not None and len(text) > length)):
            known[name] = text.replace("\0", "\ufffd")[:length] or (None if name in _NULLABLE else "")
    return known
