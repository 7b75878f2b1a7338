"""The journal: every request is on disk before it leaves, and its end before its answer does.

One append-only file ("segment") per worker at a time. A frame is length, CRC32 and a msgpack triple
[kind, id, columns]; the columns of a request's frames, merged in order, are its row. A plain write survives SIGKILL
(it is in the page cache); JOURNAL_FSYNC decides what a power cut may cost. A segment is deleted when every request in
it is final and in the database. Its owner holds a flock: a segment that can be locked belongs to a dead process, and
whoever locks it recovers it.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import struct
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple
from zlib import crc32

import msgspec

from tenants.money import PICOS_PER_NANO
from tenants.values import State, UsageSource

Columns = dict[str, Any]

SEGMENT_BYTES = 4 * 1024 * 1024
SHOW_AFTER_SECONDS = 2.0  # an open request older than this gets a provisional row, so that the console can see it
REFUSALS_PER_SECOND = 10  # of one key that get a row each; the rest of that second share one row per reason
PENDING_IN_MEMORY = 20_000  # final rows waiting for the database; above, whole segments wait on disk only

log = logging.getLogger(__name__)

_HEADER = struct.Struct("<II")
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(tuple[str, bytes, Columns]).decode


class Segment:
    """One file of the journal, locked as long as this process lives."""

    def __init__(self, directory: Path, number: int) -> None:
        # Locked under a name that nobody looks at, so that recovery never sees it unlocked.
        draft = directory / f"{os.getpid()}-{number}.new"
        self.path = directory / f"{time.time_ns()}-{os.getpid()}-{number}.open"
        self.descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600)
        fcntl.flock(self.descriptor, fcntl.LOCK_EX)
        os.rename(draft, self.path)
        self.size = 0
        self.entries = 0  # requests of this segment that are not yet final and in the database

    def append(self, kind: str, request_id: uuid.UUID, columns: Columns) -> None:
        """Writes one frame whole, or raises OSError and leaves the file as it was."""
        payload = _encode((kind, request_id.bytes, columns))
        frame = _HEADER.pack(len(payload), crc32(payload)) + payload
        if os.write(self.descriptor, frame) != len(frame):
            os.ftruncate(self.descriptor, self.size)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.path))
        self.size += len(frame)

    def delete(self) -> None:
        self.path.unlink(missing_ok=True)
        os.close(self.descriptor)

    def hand_over(self) -> None:
        """Lets go of the lock: the file is recovered like a dead process's."""
        os.close(self.descriptor)


@dataclass(slots=True)
class Entry:
    """One request's place in the journal. `columns` is its row so far."""

    journal: Journal
    segment: Segment
    id: uuid.UUID
    columns: Columns
    opened: float
    marked: float
    unwritten: Columns = field(default_factory=dict)
    closed: bool = False
    shown: bool = False
    merged: bool = False  # has no row of its own

    def note(self, **columns: Any) -> None:
        """More of its row, written with the next frame."""
        self.columns.update(columns)
        self.unwritten.update(columns)

    def sent(self, **columns: Any) -> None:
        """It goes upstream now: from here on a crash is charged, not forgiven. Raises OSError: then it may not go."""
        try:
            self.segment.append("mark", self.id, self.frame({"state": State.SENT, **columns}))
        except OSError:
            self.journal.failures += 1
            raise

    def mark(self, **columns: Any) -> None:
        """What was seen so far, for whoever recovers it after a crash."""
        self.marked = time.monotonic()
        self.journal._append(self, "mark", self.frame({"state": State.STREAMING, **columns}))

    def close(self, **columns: Any) -> None:
        """Its end. Only the first call counts."""
        if not self.closed:
            self.closed = True
            self.journal._close(self, columns)

    def row(self) -> Columns:
        """Its row as it is now."""
        return {**self.columns, "id": self.id}

    def frame(self, columns: Columns) -> Columns:
        """What the next frame says: these columns and those noted before."""
        self.columns.update(columns)
        unwritten, self.unwritten = self.unwritten, {}
        return {**unwritten, **columns}


class Batch(NamedTuple):
    """What the database should have next: `ended` requests, and `running` ones for the first time."""

    ended: list[Entry]
    running: list[Entry]
    rows: list[Columns]


class Journal:
    """This process's part of the journal. Not thread-safe: it belongs to the event loop."""

    def __init__(self, directory: Path, fsync: str = "off") -> None:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._directory = directory
        self._fsync = fsync
        self._numbers = iter(range(1, 1 << 62))
        self._segment = self._new_segment()
        self._open: dict[uuid.UUID, Entry] = {}
        self._pending: list[Entry] = []
        self._refusals = Refusals()
        self.failures = 0  # writes that the disk would not take

    def admit(self, request_id: uuid.UUID, **columns: Any) -> Entry:
        """Puts a request on record before anything is done for it. Raises OSError when the disk will not take it."""
        now = time.monotonic()
        try:
            if self._segment.size >= SEGMENT_BYTES:
                self._retire(self._segment)
            entry = Entry(self, self._segment, request_id, {"state": State.ADMITTED, **columns}, now, now)
            self._segment.append("open", request_id, entry.columns)
        except OSError:
            self.failures += 1
            raise
        self._segment.entries += 1
        self._open[request_id] = entry
        return entry

    def take(self) -> Batch:
        """What is to be stored now. Hand it to `stored` or `put_back`."""
        now = time.monotonic()
        for entry in self._refusals.over(now):
            self._finish(entry)
        ended, self._pending = self._pending, []
        running = [e for e in self._open.values() if not (e.shown or e.closed) and now - e.opened > SHOW_AFTER_SECONDS]
        return Batch(ended, running, [entry.row() for entry in (*ended, *running)])

    def stored(self, batch: Batch) -> None:
        """The database has these rows."""
        for entry in batch.running:
            entry.shown = True
        for entry in batch.ended:
            self._forget(entry)

    def put_back(self, batch: Batch) -> None:
        """The database did not take these: they wait in memory or, if that is too many, on disk alone."""
        self._pending[:0] = batch.ended
        if len(self._pending) <= PENDING_IN_MEMORY:
            return
        waiting = {entry.segment: 0 for entry in self._pending}
        for entry in self._pending:
            waiting[entry.segment] += 1
        spilled = {s for s, count in waiting.items() if s is not self._segment and s.entries == count}
        self._pending = [entry for entry in self._pending if entry.segment not in spilled]
        for segment in spilled:
            segment.hand_over()

    @property
    def depth(self) -> int:
        """Requests in the journal that are not yet final in the database."""
        return len(self._open) + len(self._pending)

    @property
    def open(self) -> int:
        return len(self._open)

    def sync(self) -> None:
        """Flushes the current segment to the device (called every second off the loop when JOURNAL_FSYNC=1s)."""
        os.fdatasync(self._segment.descriptor)

    def shut(self) -> None:
        """Deletes the current segment if nothing in it is missing from the database, else leaves it to recovery."""
        if self._segment.entries:
            self._segment.hand_over()
        else:
            self._segment.delete()

    def _new_segment(self) -> Segment:
        return Segment(self._directory, next(self._numbers))

    def _close(self, entry: Entry, columns: Columns) -> None:
        shared = self._refusals.shared(entry, columns) if columns.get("state") == State.REFUSED else None
        if shared is not None and shared is not entry:
            self._append(entry, "merged", {"into": shared.id.bytes})
            shared.columns["count"] += 1
            entry.merged = True
            self._open.pop(entry.id)
            self._forget(entry)
            return
        self._append(entry, "done", entry.frame(columns))
        if shared is None:
            self._finish(entry)

    def _append(self, entry: Entry, kind: str, columns: Columns) -> None:
        """What no longer decides anything: a write that fails is an alarm, not an end."""
        try:
            entry.segment.append(kind, entry.id, columns)
            if self._fsync == "each" and kind != "mark":
                os.fdatasync(entry.segment.descriptor)
        except OSError as error:
            # The answer is on its way; the row still goes to the database from memory.
            self.failures += 1
            log.error("the journal could not be written", extra={"request_id": str(entry.id), "error": str(error)})

    def _finish(self, entry: Entry) -> None:
        self._open.pop(entry.id, None)
        self._pending.append(entry)

    def _forget(self, entry: Entry) -> None:
        segment = entry.segment
        segment.entries -= 1
        if segment.entries == 0 and segment is not self._segment:
            segment.delete()

    def _retire(self, segment: Segment) -> None:
        self._segment = self._new_segment()
        if segment.entries == 0:
            segment.delete()


class Refusals:
    """Counts refusals of a key in a second: the first ones get a row each, the flood shares one per reason."""

    def __init__(self) -> None:
        self._second = 0
        self._counts: dict[Any, int] = {}
        self._shared: dict[tuple[Any, str], Entry] = {}
        self._past: list[Entry] = []

    def shared(self, entry: Entry, columns: Columns) -> Entry | None:
        """The entry to merge this one into (itself, if it is to be that entry), or None for a row of its own."""
        self._turn(int(time.monotonic()))
        key = entry.columns["key_id"]
        count = self._counts[key] = self._counts.get(key, 0) + 1
        if count <= REFUSALS_PER_SECOND:
            return None
        shared = self._shared.setdefault((key, columns.get("error_code", "")), entry)
        shared.columns.setdefault("count", 1)
        return shared

    def over(self, now: float) -> list[Entry]:
        """The shared entries whose second has passed."""
        self._turn(int(now))
        past, self._past = self._past, []
        return past

    def _turn(self, second: int) -> None:
        if second != self._second:
            self._past.extend(self._shared.values())
            self._second, self._counts, self._shared = second, {}, {}


# --- Recovery -------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Orphan:
    """A dead process's segment, locked by us: its rows, and its file to delete once they are stored."""

    path: Path
    descriptor: int
    rows: list[Columns]

    def delete(self) -> None:
        self.path.unlink(missing_ok=True)
        self.release()

    def release(self) -> None:
        os.close(self.descriptor)


def orphans(directory: Path) -> Iterator[Orphan]:
    """Locks and reads each segment whose owner is dead."""
    for path in sorted(directory.glob("*.open")):
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            continue
        if os.fstat(descriptor).st_nlink == 0:  # another worker recovered it between our open and our lock
            os.close(descriptor)
            continue
        yield Orphan(path, descriptor, rows(path.read_bytes()))


def rows(content: bytes) -> list[Columns]:
    """The rows in a segment, each with its `id`; those without an end are `interrupted`. A torn tail is left out."""
    found: dict[uuid.UUID, Columns] = {}
    ended: set[uuid.UUID] = set()
    for kind, raw_id, columns in _frames(content):
        request_id = uuid.UUID(bytes=raw_id)
        if kind == "merged":
            found.pop(request_id, None)
            into = found.get(uuid.UUID(bytes=columns["into"]))
            if into is not None:
                into["count"] = into.get("count", 1) + 1
            continue
        found.setdefault(request_id, {}).update(columns)
        if kind == "done":
            ended.add(request_id)
    return [as_row(request_id, columns, request_id in ended) for request_id, columns in found.items()]


def as_row(request_id: uuid.UUID, columns: Columns, ended: bool = True) -> Columns:
    """Columns as the record wants them. Without an end: interrupted, and charged what was held for it; without a hold
    the most it can have cost, or what was seen if that is more. Said to be a bound."""
    row = {**columns, "id": request_id}
    bound = row.pop("bound", {})
    if not ended:
        if row["state"] != State.ADMITTED:
            if (bound.get("cost_nanos") or 0) >= (row.get("cost_nanos") or 0):
                row.update(bound)
            held = row.get("held_nanos")
            if held is not None and held != row.get("cost_nanos"):
                row.update(cost_nanos=held, cost_lines=[_held(held)])
            row["usage_source"] = UsageSource.BOUND
        row.update(state=State.INTERRUPTED, error_code="worker_died")
    return row


def _held(nanos: int) -> dict[str, Any]:
    why = "Charged what was held for it: the worker died."
    return {"class": "hold", "tokens": 0, "pico": nanos * PICOS_PER_NANO, "why": why}


def _frames(content: bytes) -> Iterator[tuple[str, bytes, Columns]]:
    position = 0
    while position + _HEADER.size <= len(content):
        length, checksum = _HEADER.unpack_from(content, position)
        position += _HEADER.size
        payload = content[position : position + length]
        if len(payload) < length or crc32(payload) != checksum:
            return
        yield _decode(payload)
        position += length
