"""UUIDv7: ids that sort by time, made here so that a request has its id before any database is asked."""

from __future__ import annotations

import os
import threading
import time
import uuid
from datetime import UTC, datetime

_lock = threading.Lock()
_last = 0
_unused: list[int] = []  # random numbers: read many at a time, for each reading is a system call
os.register_at_fork(after_in_child=_unused.clear)


def uuid7() -> uuid.UUID:
    """A UUIDv7 (RFC 9562): 48 bits of unix milliseconds, 12 bits that keep one process monotonic, 62 random bits."""
    global _last
    with _lock:
        # Milliseconds and a 12-bit fraction in one number: a clock that stands still or steps back still counts up.
        _last = max(time.time_ns() * 4096 // 1_000_000, _last + 1)
        stamp = _last
        if not _unused:
            _unused.extend(memoryview(os.urandom(8 * 64)).cast("Q"))
        random = _unused.pop() >> 2
    return uuid.UUID(int=(stamp >> 12) << 80 | 0x7 << 76 | (stamp & 0xFFF) << 64 | 0b10 << 62 | random)


def moment(value: uuid.UUID) -> datetime:
    """When a UUIDv7 was made (to the millisecond, UTC)."""
    return datetime.fromtimestamp((value.int >> 80) / 1000, UTC)


def floor(at: datetime) -> uuid.UUID:
    """The smallest UUIDv7 of that millisecond: the bound for `id >=` and for partitions."""
    return uuid.UUID(int=(int(at.timestamp() * 1000) << 80) | 0x7 << 76 | 0b10 << 62)
