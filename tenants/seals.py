"""Digests of the record: one per tenant and UTC day of admission, kept as rows of the audit trail.

A day is sealed once every record of it is final and another day has passed. The trail then closes it: whatever appears
in it later was either written by the ledger, which signs a supplement in the same transaction, or by someone else.
`verification.py` compares the rows with their digests. docs/audit.md describes the form.
"""

from __future__ import annotations

import hashlib
import hmac
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, NamedTuple
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import Q, QuerySet

from tenants import audit, ids
from tenants.audit import AuditEvent
from tenants.records import IS_OPEN, RECORD_COLUMNS, RequestRecord

KIND = "records"
SEALED, SUPPLEMENTED, RESEALED = "records.sealed", "records.supplemented", "records.resealed"
PRUNED, CLOSED = "records.pruned", "records.closed"
ONE_DAY = timedelta(days=1)
WAIT = timedelta(days=1)  # after the end of a day, for what the journals of absent hosts still hold
MARGIN = timedelta(hours=1)  # by which another host's clock may be ahead
MAX_CHUNKS = 250  # a day of up to so many records has a digest of each
TRIES = 3


class Chunk(NamedTuple):
    """Some records that follow each other, and the digest of their rows."""

    first: UUID
    size: int
    digest: str

    @classmethod
    def read(cls, text: str) -> Chunk:
        first, count, digest = text.split(":")
        return cls(UUID(first), int(count), digest)

    def __str__(self) -> str:
        return f"{self.first.hex}:{self.size}:{self.digest}"


class Digester:
    """Takes rows, oldest first, and makes chunks of `size` of them."""

    def __init__(self, key: bytes, size: int = 1) -> None:
        self._key, self._size = key, size
        self.chunks: list[Chunk] = []
        self._rows: list[tuple[UUID, bytes]] = []

    def add(self, pk: UUID, line: bytes) -> None:
        self._rows.append((pk, line))
        if len(self._rows) == self._size:
            self.end()

    def end(self) -> list[Chunk]:
        if self._rows:
            self.chunks.append(Chunk(self._rows[0][0], len(self._rows), digest(self._key, [x for _, x in self._rows])))
            self._rows = []
        return self.chunks


def digest(key: bytes, lines: Iterable[bytes]) -> str:
    return hmac.digest(key, b"\n".join(lines), hashlib.sha256).hex()[:32]


def rows_of(tenant_id: int, day: date) -> QuerySet[RequestRecord]:
    """The final records of a tenant's day: one that is open has not happened yet."""
    return RequestRecord.objects.filter(of_day(day), tenant_id=tenant_id).exclude(IS_OPEN).order_by("pk")


def of_day(day: date) -> Q:
    """A range of ids: they begin with the time of admission."""
    return Q(pk__gte=ids.floor(start(day)), pk__lt=ids.floor(start(day + ONE_DAY)))


def start(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)


def lines(rows: QuerySet[RequestRecord], columns: Sequence[str]) -> Iterator[tuple[UUID, bytes]]:
    """Each row as canonical JSON of these columns, a few at a time in memory."""
    place = list(columns).index("id")
    for values in rows.order_by("pk").values_list(*columns).iterator(chunk_size=1000):
        yield UUID(str(values[place])), audit.canonical(values)


def events_of(tenant_id: int, day: date) -> QuerySet[AuditEvent]:
    found: QuerySet[AuditEvent] = AuditEvent.objects.filter(object_type=KIND, object_id=_name(tenant_id, day))
    return found.order_by("seq")


def closed_through() -> date | None:
    """The last day of which nothing may appear any more but what the ledger supplements."""
    last = AuditEvent.objects.filter(action=CLOSED).order_by("-seq").first()
    return date.fromisoformat(last.told_after["through"]) if last else None


# Sealing


def seal_due(now: datetime | None = None, stop: Callable[[], bool] = lambda: False) -> int:
    """Seals every tenant's days that are over and complete, and closes those of which all are; returns how many."""
    due = ((now or datetime.now(UTC)) - ONE_DAY - WAIT).date()
    closed = closed_through()
    day = closed + ONE_DAY if closed else _first_day(due)
    through, count, complete = closed, 0, True
    while day <= due and not stop():
        for tenant_id in list(RequestRecord.objects.filter(of_day(day)).order_by().values_list("tenant_id").distinct()):
            made = _seal_if_new(tenant_id[0], day)
            count += made is True
            complete = complete and made is not None
        through = day if complete else through  # days are closed in their order
        day += ONE_DAY
    if through != closed and through is not None:
        AuditEvent.objects.append(CLOSED, kind=KIND, label=through.isoformat(), after={"through": through.isoformat()})
    return count


def _first_day(due: date) -> date:
    """Of the first record there is; without any, everything up to now is closed as it is: empty."""
    first = RequestRecord.objects.order_by("pk").values_list("pk", flat=True).first()
    return min(ids.moment(first).date(), due) if first else due


def _seal_if_new(tenant_id: int, day: date) -> bool | None:
    """True when it was sealed now, None when it cannot be yet: a record of it is open, or they are still coming."""
    if events_of(tenant_id, day).exists():
        return False
    rows = rows_of(tenant_id, day)
    still_open = RequestRecord.objects.filter(IS_OPEN, of_day(day), tenant_id=tenant_id)
    for _ in range(TRIES):
        if still_open.exists():
            return None
        told = _told(rows, day)
        with transaction.atomic():
            audit.lock()  # whoever writes a record of such a day waits here too
            if rows.count() == told["records"] and not still_open.exists():
                _append(SEALED, tenant_id, day, told)
                return True
    return None


def _told(rows: QuerySet[RequestRecord], day: date) -> dict[str, Any]:
    key = settings.AUDIT_KEYS[max(settings.AUDIT_KEYS)]
    digester = Digester(key, max(1, -(-rows.count() // MAX_CHUNKS)))
    for pk, line in lines(rows, RECORD_COLUMNS):
        digester.add(pk, line)
    return _form(key, day, digester.end())


def _form(key: bytes, day: date, chunks: list[Chunk]) -> dict[str, Any]:
    return {
        "day": day.isoformat(),
        "records": sum(chunk.size for chunk in chunks),
        "digest": digest(key, [str(chunk).encode() for chunk in chunks]),
        "columns": list(RECORD_COLUMNS),
        "chunks": [str(chunk) for chunk in chunks],
    }


def _append(action: str, tenant_id: int, day: date, told: dict[str, Any], reason: str = "") -> None:
    AuditEvent.objects.append(
        action,
        kind=KIND,
        id=_name(tenant_id, day),
        label=day.isoformat(),
        tenant_id=tenant_id,
        after=told,
        reason=reason,
    )


def _name(tenant_id: int, day: date) -> str:
    return f"{tenant_id}:{day.isoformat()}"


# What happens to a day after it was sealed


def wait_for_sealing(pks: Iterable[UUID]) -> None:
    """Before records are written: if one is of a day that may just be being sealed, after that."""
    if any(_may_be_sealed(pk) for pk in pks):
        audit.lock()


def supplement(finals: Iterable[RequestRecord]) -> None:
    """Signs records that became final after their day was sealed or closed, in the transaction that wrote them."""
    late = sorted((record for record in finals if _may_be_sealed(record.pk)), key=lambda record: record.pk)
    if not late:
        return
    closed, key = closed_through(), settings.AUDIT_KEYS[max(settings.AUDIT_KEYS)]

    def place(record: RequestRecord) -> tuple[int, date]:
        return record.tenant_id, record.at.date()

    for (tenant_id, day), records in itertools.groupby(sorted(late, key=place), place):
        if (closed and day <= closed) or events_of(tenant_id, day).exists():
            digester = Digester(key)
            rows = RequestRecord.objects.filter(pk__in=[record.pk for record in records])
            for pk, line in lines(rows, RECORD_COLUMNS):
                digester.add(pk, line)
            _append(SUPPLEMENTED, tenant_id, day, _form(key, day, digester.end()))


def reseal(tenant_id: int, day: date, change: Callable[[], int], reason: str) -> int:
    """Makes a change that the day's digest would show, and signs the day again: the erasure of a person.

    What the old digest would have found is told with the new one, so that nothing is covered up by it.
    """
    from tenants.verification import findings_of

    with transaction.atomic():
        audit.lock()
        found = findings_of(tenant_id, day)
        sealed = events_of(tenant_id, day).exists()
        count = change()
        if sealed and count:
            told = {**_told(rows_of(tenant_id, day), day), "changed": count, "found_before": found[:20]}
            _append(RESEALED, tenant_id, day, told, reason)
    return count


def tell_pruned(tenant_id: int, day: date) -> None:
    """Tells that a day's records are about to go: how many, of which digest. In the transaction that deletes the
    first of them; told once, also when pruning goes on another night."""
    audit.lock()
    events = list(events_of(tenant_id, day))
    last = events[-1] if events else None
    if last is not None and last.action == PRUNED:
        return
    whole = last is not None and last.action in (SEALED, RESEALED)
    told = last.told_after if last is not None and whole else _told(rows_of(tenant_id, day), day)
    known = {"day": day.isoformat(), "records": told["records"], "digest": told["digest"]}
    _append(PRUNED, tenant_id, day, {**known, "seal": last.seq if last else None})


def tell_pruned_between(tenant_id: int, begin: datetime, end: datetime) -> None:
    """The same of every day that has a record between these midnights."""
    pks = RequestRecord.objects.filter(tenant_id=tenant_id, pk__lt=ids.floor(end)).order_by("pk")
    while first := pks.filter(pk__gte=ids.floor(begin)).values_list("pk", flat=True).first():
        tell_pruned(tenant_id, ids.moment(first).date())
        begin = start(ids.moment(first).date() + ONE_DAY)


def seal_rest(tenant_id: int, day: date) -> None:
    """Seals what is left of a day whose pruning was stopped on the way."""
    with transaction.atomic():
        audit.lock()
        last = events_of(tenant_id, day).last()
        if last is not None and last.action == PRUNED and rows_of(tenant_id, day).exists():
            _append(RESEALED, tenant_id, day, _told(rows_of(tenant_id, day), day), "pruning was stopped")


def _may_be_sealed(pk: UUID) -> bool:
    return start(ids.moment(pk).date() + ONE_DAY) + WAIT <= datetime.now(UTC) + MARGIN
