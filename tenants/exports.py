"""Taking rows away: page by page in flat memory, and, of requests, on the audit trail from beginning to end.

An export is told twice: when it begins, and when its last byte was handed over (`records.exported`, with the count and
the hash of the file: its manifest) or it was given up (`records.export_cut`). One that is told only once was killed.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any, BinaryIO
from uuid import UUID

from asgiref.sync import sync_to_async
from django.db import Error, close_old_connections
from django.db.models import QuerySet

from tenants import actors, audit, ids
from tenants.database import Database
from tenants.models import ApiKey, AuditEvent, RequestRecord, Tenant
from tenants.money import usd
from tenants.records import RECORD_COLUMNS
from tenants.sheets import FORMS, Row, Sheet

log = logging.getLogger(__name__)

PAGE_ROWS = 1000
BEGAN, DONE, CUT = "records.export_began", "records.exported", "records.export_cut"
# The columns that are stored, and what they are easier read as.
COLUMNS = ("id", "at", "tenant", "key", "cost_usd", *(name for name in RECORD_COLUMNS if name != "id"))

# Pages of all exports of this process, in turn: a client that reads slowly holds neither a thread nor a connection.
reader = Database(threads=2)

Read = Callable[[Any], tuple[Sequence[Row], Any]]  # the rows after this one, and the last of them


class Taking:
    """A file being made of pages. `part` is its next bytes, none when it is whole; it may be tried again."""

    def __init__(self, form: str, columns: Sequence[str], read: Read) -> None:
        self.sheet = Sheet(form, columns)
        self._read = read
        self.last: Any = None

    def part(self) -> bytes:
        rows, last = self._read(self.last)
        if not rows:
            return b""
        self.last = last
        return self.sheet.add(rows)

    async def parts(self) -> AsyncIterator[bytes]:
        await sync_to_async(close_old_connections)()  # the one that this client's request began with
        if head := self.sheet.begin():
            yield head
        while part := await reader(self.part):
            yield part


class Export:
    """Requests, those of a queryset that are there now, oldest first, as a file."""

    def __init__(
        self,
        rows: QuerySet[RequestRecord],
        form: str,
        words: Mapping[str, str],
        query: str,
        tenant_id: int | None = None,
    ) -> None:
        """`tenant_id`: of whom alone the rows can be, so that it is told on that tenant's trail."""
        self.id = ids.uuid7()
        self.began = datetime.now(UTC)
        self.name = f"bridge-requests-{self.began:%Y-%m-%d}-{self.id.hex[-8:]}.{form}"
        self.content_type = FORMS[form].content_type
        self._about = {"format": form, "filter": dict(words), "query": query}
        self._tenant_id = tenant_id
        self._actor = actors.current()  # nobody is acting any more when the last byte is sent
        self._taking = Taking(form, COLUMNS, _Requests(rows.filter(pk__lte=self.id)))

    def begin(self) -> None:
        """Before the first byte: an export that cannot be told of does not happen."""
        self._tell(BEGAN, self._about)

    def stream(self) -> Stream:
        """For the console."""
        return Stream(self, self._taking.parts())

    def write(self, file: BinaryIO) -> dict[str, Any]:
        """For commands: all of it, at once. Returns the manifest."""
        self.begin()
        try:
            file.write(self._taking.sheet.begin())
            for part in iter(self._taking.part, b""):
                file.write(part)
            file.flush()
        except BaseException:
            self.end(CUT)
            raise
        return manifest(self.end(DONE))

    def end(self, action: str) -> AuditEvent:
        """Tells how it ended, and what was handed over until then."""
        sheet = self._taking.sheet
        sums = {"rows": sheet.rows, "bytes": sheet.bytes, "sha256": sheet.sha256, "last_id": self._taking.last}
        times = {"began": self.began, "ended": datetime.now(UTC)}
        return self._tell(action, {**self._about, **sums, **times})

    def _tell(self, action: str, facts: Mapping[str, Any]) -> AuditEvent:
        told: AuditEvent = AuditEvent.objects.append(
            action,
            kind="export",
            id=self.id,
            label=self.name,
            tenant_id=self._tenant_id,
            after={"file": self.name, **facts},
            actor=self._actor,
        )
        return told


class Stream:
    """The parts of an export for Django, which closes it when its client has gone. However it ends, it is told once."""

    def __init__(self, export: Export, parts: AsyncIterator[bytes]) -> None:
        self._export, self._parts = export, parts
        self._ended = False

    def __aiter__(self) -> Stream:
        return self

    async def __anext__(self) -> bytes:
        try:
            return await anext(self._parts)
        except StopAsyncIteration:
            await reader(partial(self._end, DONE))
            raise
        except Exception:
            await reader(self.close)
            raise

    def close(self) -> None:
        try:
            self._end(CUT)
        except Error as error:  # the file is cut all the same, and its beginning was told
            log.error("an export was cut, which could not be told", extra={"error": str(error)})

    def _end(self, action: str) -> None:
        if not self._ended:
            self._export.end(action)
            self._ended = True


class _Requests:
    """Reads pages of requests by id, each with the names of its tenant and key: a join would lose rows without them."""

    def __init__(self, rows: QuerySet[RequestRecord]) -> None:
        self._rows = rows.prefetch_related(None).order_by("pk").values_list(*RECORD_COLUMNS)
        self._tenants: dict[int, str] = {}
        self._keys: dict[UUID, str] = {}

    def __call__(self, last: UUID | None) -> tuple[Sequence[Row], UUID | None]:
        page = list((self._rows.filter(pk__gt=last) if last else self._rows)[:PAGE_ROWS])
        rows = [dict(zip(RECORD_COLUMNS, values, strict=True)) for values in page]
        _learn(self._tenants, Tenant, "slug", {row["tenant_id"] for row in rows})
        _learn(self._keys, ApiKey, "name", {row["key_id"] for row in rows})
        return [self._shown(row) for row in rows], rows[-1]["id"] if rows else None

    def _shown(self, row: dict[str, Any]) -> Row:
        cost = row["cost_nanos"]
        own = {
            "id": str(row["id"]),
            "at": audit.stamp(ids.moment(row["id"])),
            "tenant": self._tenants.get(row["tenant_id"], ""),
            "key": self._keys.get(row["key_id"], ""),
            "cost_usd": None if cost is None else usd(cost),
        }
        return {**own, **row, "id": own["id"]}


def _learn(names: dict[Any, str], model: Any, column: str, pks: set[Any]) -> None:
    if unknown := pks - names.keys():
        names.update(dict.fromkeys(unknown, ""))
        names.update(model.objects.filter(pk__in=unknown).values_list("pk", column))


def manifest(told: AuditEvent) -> dict[str, Any]:
    """What an export was, by whom, and where on the audit trail it says so."""
    who = {"by": told.actor_name, "address": told.address}
    return {"export": told.object_id, **told.told_after, **who, "event": told.seq, "event_hash": told.hash}


def of_person(person: int, count: int = 50) -> Iterator[AuditEvent]:
    """The newest row of each of a person's last exports, newest first."""
    seen = set[str]()
    for told in _of(person).filter(action__in=[BEGAN, DONE, CUT]).order_by("-seq")[: 2 * count]:
        if told.object_id not in seen:
            seen.add(told.object_id)
            yield told


def ended(person: int, export: UUID) -> AuditEvent | None:
    """The row that tells of the end of a person's export; None while it has not been taken whole."""
    return _of(person).filter(object_id=str(export), action=DONE).first()


def _of(person: int) -> QuerySet[AuditEvent]:
    mine = {"actor_kind": actors.Kind.USER.value, "actor_id": str(person)}
    told: QuerySet[AuditEvent] = AuditEvent.objects.filter(object_type="export", **mine)
    return told
