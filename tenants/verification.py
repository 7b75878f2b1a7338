"""Finds what was done to the trail and to the sealed records behind their back: names the first broken row.

Streams: memory does not grow with the number of rows.
"""

from __future__ import annotations

import hmac
import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from django.conf import settings
from django.db import DatabaseError, connection

from tenants import append_only, ids, seals
from tenants.audit import NO_HASH, AuditEvent, Head
from tenants.records import RequestRecord
from tenants.seals import CLOSED, PRUNED, RESEALED, SEALED, SUPPLEMENTED, Chunk

MAX_FINDINGS = 100
UNREADABLE = (ValueError, TypeError, AttributeError, OverflowError, DatabaseError)  # of a column's text
BEGINNING = Head(0, NO_HASH)


@dataclass(slots=True)
class Verdict:
    """`broken` is the first row of the trail that does not hold, in words; `records` what does not match a seal."""

    rows: int = 0
    head: Head = BEGINNING
    broken: str = ""
    records: list[str] = field(default_factory=list)
    sealed_days: int = 0
    unguarded: list[str] = field(default_factory=list)  # triggers that are missing

    @property
    def problem(self) -> str:
        """Why the trail itself does not hold, in words; nothing if it does."""
        missing = f"triggers are missing: {', '.join(self.unguarded)}" if self.unguarded else ""
        return self.broken or missing

    @property
    def holds(self) -> bool:
        return not (self.problem or self.records)


def verify(anchors: Iterable[Head] = (), records: bool = True, since: int = 0) -> Verdict:
    """The whole trail, or (quicker, and proving less) what follows row `since`; then the sealed records."""
    verdict = verify_chain(anchors, since)
    verdict.unguarded = append_only.missing(connection)
    if records:
        verdict.records = list(itertools.islice(_of_records(verdict), MAX_FINDINGS))
    return verdict


def verify_newest(count: int) -> Verdict:
    """So many of the newest rows of the trail: what a page can be kept waiting for."""
    return verify(records=False, since=max(AuditEvent.objects.head().seq - count, 0))


def verify_chain(anchors: Iterable[Head] = (), since: int = 0) -> Verdict:
    verdict = Verdict()
    wanted = {anchor.seq: anchor.hash for anchor in anchors}
    before = _before(since)
    try:
        for row in AuditEvent.objects.filter(seq__gt=since).order_by("seq").iterator(chunk_size=1000):
            if problem := _problem(row, before) or _off_anchor(row, wanted):
                verdict.broken = problem
                return verdict
            before = verdict.head = Head(row.seq, row.hash)
            verdict.rows += 1
    except UNREADABLE:
        verdict.broken = f"row {before.seq + 1} cannot be read: a column holds what was never written there"
        return verdict
    if missing := sorted(seq for seq in wanted if seq > max(before.seq, since)):
        verdict.broken = f"row {missing[0]} is missing: the trail was cut after row {before.seq}"
    return verdict


def _before(since: int) -> Head:
    if since == 0:
        return BEGINNING
    row = AuditEvent.objects.filter(seq=since).values_list("hash", flat=True).first()
    return Head(since, row or "")


def _problem(row: AuditEvent, before: Head) -> str:
    if row.seq != before.seq + 1:
        return f"row {before.seq + 1} is missing: row {row.seq} follows row {before.seq}"
    if row.key_number not in settings.AUDIT_KEYS:
        return f"row {row.seq} names AUDIT_KEY {row.key_number}, which is not known here"
    if not hmac.compare_digest(row.hash.encode(), row.computed_hash().encode()):
        return f"row {row.seq} was changed, moved, or not written by Bridge: its hash is not that of its columns"
    if row.prev_hash != before.hash:
        return f"row {row.seq} does not follow row {before.seq}: it was written after another one"
    return ""


def _off_anchor(row: AuditEvent, wanted: dict[int, str]) -> str:
    if wanted.get(row.seq, row.hash) == row.hash:
        return ""
    return f"row {row.seq} is not the one of the anchor: the trail was written anew from there or before"


# Records


def _of_records(verdict: Verdict) -> Iterator[str]:
    """Every sealed day of every tenant once, and what is in closed days without ever having been sealed."""
    told = AuditEvent.objects.filter(action__in=(SEALED, SUPPLEMENTED, PRUNED)).order_by("seq")
    for seq, tenant_id, name in told.values_list("seq", "tenant_id", "object_id").iterator(chunk_size=1000):
        tenant, _, text = str(name).partition(":")
        if str(tenant_id) != tenant:
            continue  # not of our making: the chain says so
        day = date.fromisoformat(text)
        if seals.events_of(tenant_id, day)[0].seq == seq:
            verdict.sealed_days += 1
            # Twice: a late record may come in between, and a transaction would keep everyone from writing to SQLite.
            yield from findings_of(tenant_id, day) and findings_of(tenant_id, day)
    yield from _never_sealed()


def _never_sealed() -> Iterator[str]:
    closed = AuditEvent.objects.filter(action=CLOSED).order_by("seq")
    if not closed:
        return
    end = seals.start(seals.closed_through() or date.min) + seals.ONE_DAY
    before = RequestRecord.objects.filter(pk__lt=ids.floor(end)).order_by("pk")
    first = before.values_list("pk", flat=True).first()
    while first is not None:
        day = ids.moment(first).date()
        tenants = before.filter(seals.of_day(day)).order_by().values_list("tenant_id", flat=True).distinct()
        for tenant_id in sorted(tenants):
            if not seals.events_of(tenant_id, day).exists():
                count = seals.rows_of(tenant_id, day).count()
                yield f"{_of(tenant_id, day)}: {count} added after the day was closed"
        before = before.filter(pk__gte=ids.floor(seals.start(day + seals.ONE_DAY)))
        first = before.values_list("pk", flat=True).first()


@dataclass(slots=True)
class _Expected:
    """What a tenant's day should hold, after all that the trail tells of it."""

    columns: list[str] = field(default_factory=list)
    key: bytes = b""
    chunks: list[Chunk] = field(default_factory=list)
    late: dict[Any, tuple[Chunk, bytes, list[str]]] = field(default_factory=dict)
    pruned: bool = False

    def apply(self, event: AuditEvent) -> None:
        told = event.told_after
        if event.action == PRUNED:
            self.chunks, self.late, self.pruned = [], {}, True
            return
        key = settings.AUDIT_KEYS.get(event.key_number, b"")
        chunks = [Chunk.read(text) for text in told["chunks"]]
        if event.action == SUPPLEMENTED:
            self.late.update({chunk.first: (chunk, key, told["columns"]) for chunk in chunks})
        elif event.action in (SEALED, RESEALED):
            self.columns, self.key, self.chunks, self.late = told["columns"], key, chunks, {}


def findings_of(tenant_id: int, day: date) -> list[str]:
    """What of this day's records is not as it was sealed."""
    expected = _Expected()
    for event in seals.events_of(tenant_id, day):
        expected.apply(event)
    where = _of(tenant_id, day)
    try:
        return [f"{where}: {finding}" for finding in _compare(expected, tenant_id, day)]
    except UNREADABLE:
        return [f"{where}: a record cannot be read: a column holds what was never written there"]


def _compare(expected: _Expected, tenant_id: int, day: date) -> Iterator[str]:
    rows = seals.rows_of(tenant_id, day)
    late = expected.late
    if late:
        yield from _compare_late(late)
    if not expected.chunks:
        # Of a pruned day, and of one that was empty when it was closed, nothing is left but what came late.
        rest = rows.exclude(pk__in=list(late))
        why = "is there although the day was pruned" if expected.pruned else "was added"
        yield from (f"record {pk} {why}" for pk in rest.values_list("pk", flat=True)[:MAX_FINDINGS])
        return
    place, current = -1, list[tuple[Any, bytes]]()
    firsts = [chunk.first for chunk in expected.chunks]
    for pk, line in seals.lines(rows, expected.columns):
        if pk in late:
            continue
        while place + 1 < len(firsts) and pk >= firsts[place + 1]:
            yield from _compare_chunk(expected, place, current)
            place, current = place + 1, []
        current.append((pk, line))
    while place < len(firsts):
        yield from _compare_chunk(expected, place, current)
        place, current = place + 1, []


def _compare_chunk(expected: _Expected, place: int, rows: list[tuple[Any, bytes]]) -> Iterator[str]:
    if place < 0:  # older than the oldest that was sealed
        yield from (f"record {pk} was added" for pk, _ in rows)
        return
    chunk = expected.chunks[place]
    if len(rows) == chunk.size and seals.digest(expected.key, [line for _, line in rows]) == chunk.digest:
        return
    if chunk.size > 1:
        last = rows[-1][0] if rows else "the next"
        what = "changed" if len(rows) == chunk.size else f"{len(rows)} where {chunk.size} were sealed"
        yield f"records from {chunk.first} to {last}: {what}"
        return
    found = dict(rows)
    original = found.pop(chunk.first, None)
    if original is None:
        yield f"record {chunk.first} is missing"
    elif seals.digest(expected.key, [original]) != chunk.digest:
        yield f"record {chunk.first} was changed"
    yield from (f"record {pk} was added" for pk in found)


def _compare_late(late: dict[Any, tuple[Chunk, bytes, list[str]]]) -> Iterator[str]:
    for pk, (chunk, key, columns) in late.items():
        line = next((line for _, line in seals.lines(RequestRecord.objects.filter(pk=pk), columns)), None)
        if line is None:
            yield f"record {pk} is missing"
        elif seals.digest(key, [line]) != chunk.digest:
            yield f"record {pk} was changed"


def _of(tenant_id: int, day: date) -> str:
    return f"tenant {tenant_id}, {day.isoformat()}"
