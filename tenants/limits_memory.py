"""Limits counted in a file that all workers of a host map: exact between them, a few microseconds, no server.

    table   header · 16-byte ids · buckets (ns of the boot's clock) · running requests, a row per worker
    locks   byte 0 is held while the table is read and changed; byte 16 + n by worker n for as long as it lives

Both are byte-range locks, which the kernel frees when a process dies, however it dies. Every change is one aligned
store, so a process killed in the middle leaves nothing half written, and what was running in it no longer counts once
somebody finds its lock free. A slot belongs to the one limit whose id is in it; it is used again for another only if
it says what an empty one would: its bucket is full and nothing is running. (docs/decisions/0011-limits.md)
"""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from tenants.limits import Ask, Away, Limit, Standing, Taken, Unit, judge, standing, step

SLOTS = 16_384
WINDOW = 64  # slots in which an id may be
WORKERS = 256
ID = 16

_TABLE = "table-1"  # another layout has another name
_MAGIC = b"bridge-limits-1\n"
_BOOT = 16  # where the boot's id is
_ROWS = 64  # where the number of rows ever used is
_HEADER = 4096
_BUCKETS = _HEADER + SLOTS * ID
_RUNNING = _BUCKETS + SLOTS * 8
_SIZE = _RUNNING + WORKERS * SLOTS * 2
_EMPTY = b"\0" * ID
_OWNERS = 16  # the first byte of the locks that workers hold


class MemoryStore:
    """One per process, opened after the fork. Not thread-safe: it belongs to the event loop."""

    def __init__(self, directory: Path, clock: Callable[[], int] = time.monotonic_ns, slots: int = SLOTS) -> None:
        """Raises OSError when there is no room for the table."""
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._locks = os.open(directory / "locks", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._known: dict[bytes, int] = {}
        self._slots = slots
        self._clock = clock
        self._lock()
        try:
            self._map = _table(directory / _TABLE)
            view = memoryview(self._map)
            self._rows = view[_ROWS : _ROWS + 8].cast("q")
            self._buckets = view[_BUCKETS:_RUNNING].cast("q")
            self._running = view[_RUNNING:_SIZE].cast("H")
            self._row = self._own_row()
        finally:
            self._unlock()

    async def take(self, asks: Sequence[Ask], instances: int = 1) -> Taken:
        return self.take_now(asks, instances)

    async def peek(self, limits: Sequence[Limit], instances: int = 1) -> list[Standing]:
        return self.peek_now(limits, instances)

    def take_now(self, asks: Sequence[Ask], instances: int = 1) -> Taken:
        """All of it or nothing."""
        now = self._clock()
        self._lock()
        try:
            slots = [self._slot(limit.id, now) for limit, _ in asks]
            levels = [
                self._level(limit, amount, slot, now, instances)
                for (limit, amount), slot in zip(asks, slots, strict=True)
            ]
            taken, steps = judge(self, asks, levels, instances)
            if taken.refused is None:
                for (limit, _), slot, move in zip(asks, slots, steps, strict=True):
                    if limit.running:
                        self._running[self._row * SLOTS + slot] += move
                    elif move:
                        self._buckets[slot] = max(self._buckets[slot], now) + move
        finally:
            self._unlock()
        return taken

    def peek_now(self, limits: Sequence[Limit], instances: int = 1) -> list[Standing]:
        now = self._clock()
        slots = [self._find(limit.id) for limit in limits]
        levels = [
            0 if slot is None else self._level(limit, limit.part(instances), slot, now, instances)
            for limit, slot in zip(limits, slots, strict=True)
        ]
        return [standing(limit, 0, level, instances) for limit, level in zip(limits, levels, strict=True)]

    def settle(self, taken: Taken, tokens: int, requests: bool) -> None:
        for limit, amount in taken.kept():
            if limit.running:
                self._leave(limit.id, amount)
            elif limit.unit is Unit.TOKENS:
                self._move(limit, tokens - amount, taken.instances)
            elif not requests:
                self._move(limit, -amount, taken.instances)

    def close(self) -> None:
        """Lets go of this worker's row: what it still counts as running counts no longer."""
        for view in (self._rows, self._buckets, self._running):
            view.release()
        os.close(self._locks)
        with suppress(BufferError):
            self._map.close()

    # --- One limit ---

    def _level(self, limit: Limit, amount: int, slot: int, now: int, instances: int) -> int:
        """How full it is: how many run, or how far its bucket is ahead of the clock."""
        if not limit.running:
            return max(0, self._buckets[slot] - now)
        running = self._count(slot)
        return running if running + amount <= limit.part(instances) else self._recount(slot)

    def _move(self, limit: Limit, amount: int, instances: int) -> None:
        """Takes so much more from a bucket, whatever is in it, or gives so much back."""
        now, size = self._clock(), limit.part(instances)
        self._lock()
        try:
            slot = self._slot(limit.id, now)
            if amount > 0:
                self._buckets[slot] = max(self._buckets[slot], now) + step(amount, size)
            else:
                self._buckets[slot] -= step(-amount, size)
        finally:
            self._unlock()

    def _leave(self, id: bytes, amount: int) -> None:
        """Without the lock: only this process writes its row, and a slot with something running is nobody else's."""
        slot = self._find(id)
        if slot is not None:
            place = self._row * SLOTS + slot
            self._running[place] = max(0, self._running[place] - amount)

    def _count(self, slot: int) -> int:
        return sum(self._running[slot : self._rows[0] * SLOTS : SLOTS])

    def _recount(self, slot: int) -> int:
        """Without the workers that have died."""
        for row in range(self._rows[0]):
            if self._running[row * SLOTS + slot] and row != self._row and self._try_owner(row):
                self._clear(row)
                self._free_owner(row)
        return self._count(slot)

    # --- Slots ---

    def _find(self, id: bytes) -> int | None:
        """Where this limit is counted; None: nowhere yet."""
        known = self._known.get(id)
        if known is not None and self._map[_HEADER + known * ID : _HEADER + known * ID + ID] == id:
            return known
        first = self._first(id)
        start, end = _HEADER + first * ID, _HEADER + (first + WINDOW) * ID
        while (at := self._map.find(id, start, end)) >= 0:
            if (at - _HEADER) % ID == 0:
                slot = (at - _HEADER) // ID
                if len(self._known) >= SLOTS:
                    self._known.clear()
                self._known[id] = slot
                return slot
            start = at + 1
        return None

    def _slot(self, id: bytes, now: int) -> int:
        """The same, made if need be."""
        found = self._find(id)
        if found is not None:
            return found
        first = self._first(id)
        for slot in range(first, first + WINDOW):
            at = _HEADER + slot * ID
            if self._map[at : at + ID] == _EMPTY or (self._buckets[slot] <= now and self._recount(slot) == 0):
                self._buckets[slot] = now + 1  # so that it is not taken for the next id of the same request
                self._map[at : at + ID] = id
                self._known[id] = slot
                return slot
        raise Away(f"more keys are active at once than there are slots ({self._slots})")

    def _first(self, id: bytes) -> int:
        return int.from_bytes(id[:4], "little") % max(1, self._slots - WINDOW + 1)

    # --- Locks ---

    def _lock(self) -> None:
        fcntl.lockf(self._locks, fcntl.LOCK_EX, 1, 0)

    def _unlock(self) -> None:
        fcntl.lockf(self._locks, fcntl.LOCK_UN, 1, 0)

    def _try_owner(self, row: int) -> bool:
        """Whether no living process has this row; it is ours then, until it is freed."""
        try:
            fcntl.lockf(self._locks, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, _OWNERS + row)
        except OSError as error:
            if error.errno not in (errno.EAGAIN, errno.EACCES):
                raise
            return False
        return True

    def _free_owner(self, row: int) -> None:
        fcntl.lockf(self._locks, fcntl.LOCK_UN, 1, _OWNERS + row)

    def _own_row(self) -> int:
        for row in range(WORKERS):
            if self._try_owner(row):
                self._clear(row)
                self._rows[0] = max(self._rows[0], row + 1)
                return row
        raise OSError(errno.EMFILE, f"more than {WORKERS} workers share a DATA_DIR")

    def _clear(self, row: int) -> None:
        start = _RUNNING + row * SLOTS * 2
        self._map[start : start + SLOTS * 2] = bytes(SLOTS * 2)


def look(directory: Path, limits: Sequence[Limit]) -> list[Standing]:
    """How limits stand, for anyone on the host: nothing is locked or changed. All is left where there is no table."""
    try:
        with open(directory / _TABLE, "rb") as file:
            table = mmap.mmap(file.fileno(), _SIZE, access=mmap.ACCESS_READ)
    except (OSError, ValueError):
        return [standing(limit, 0, 0) for limit in limits]
    with table:
        now = time.monotonic_ns()
        return [standing(limit, 0, _seen(table, limit, now)) for limit in limits]


def _seen(table: mmap.mmap, limit: Limit, now: int) -> int:
    at = table.find(limit.id, _HEADER, _BUCKETS)
    slot, odd = divmod(at - _HEADER, ID)
    if at < 0 or odd:
        return 0
    if not limit.running:
        return max(0, _number(table, _BUCKETS + slot * 8, 8) - now)
    rows = _number(table, _ROWS, 8)
    return sum(_number(table, _RUNNING + (row * SLOTS + slot) * 2, 2) for row in range(rows))


def _number(table: mmap.mmap, at: int, size: int) -> int:
    return int.from_bytes(table[at : at + size], sys.byteorder)


def _table(path: Path) -> mmap.mmap:
    """The table, made new if it is of another boot: its times mean nothing in this one. Called with the lock held."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        boot = _boot()
        if os.pread(descriptor, _BOOT + len(boot), 0) != _MAGIC + boot or os.fstat(descriptor).st_size != _SIZE:
            os.ftruncate(descriptor, 0)
            _reserve(descriptor)
            os.pwrite(descriptor, _MAGIC + boot, 0)
        return mmap.mmap(descriptor, _SIZE)
    finally:
        os.close(descriptor)


def _reserve(descriptor: int) -> None:
    """All of it at once: a disk that is full when a page is first written would kill the process."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(descriptor, 0, _SIZE)
    else:
        os.pwrite(descriptor, bytes(_SIZE), 0)


def _boot() -> bytes:
    """Which boot the monotonic clock counts from."""
    with suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_bytes().strip()[:36]
    return b"-" * 36
