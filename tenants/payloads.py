"""Payloads: what a client sent and was sent, sealed for its request, written beside the answer's path.

The row's id is its request's. Nothing here holds up an answer or fails one: what cannot be kept is counted, and its
record goes on saying that a payload was to be there.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import zlib
from collections import deque
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, ClassVar

import msgspec
from django.db import Error, models

from tenants.database import Database
from tenants.encryption import Box
from tenants.values import Content, Side, Taped

log = logging.getLogger(__name__)

WAITING_BYTES = 64 * 1024 * 1024  # in memory of one worker; what comes on top is lost
BATCH_BYTES = 8 * 1024 * 1024
GATHER_SECONDS = 0.2
RETRY_SECONDS = 1.0
SEARCHED_BYTES = 8 * 1024 * 1024  # longer bodies of a tenant with patterns are not kept: searching takes too long

# Body, patterns, whether the body is only the beginning: what may be kept of it, and how often something was replaced.
Redact = Callable[[bytes, tuple[str, ...], bool], tuple[bytes, int]]


class PayloadQuerySet(models.QuerySet["Payload"]):
    def keep(self, rows: list[Payload]) -> None:
        """Once each, however often a unit of the database runs."""
        self.bulk_create(rows, ignore_conflicts=True)


class Payload(models.Model):
    """One request's body and its answer's, sealed. No foreign key of it is enforced, as with the record's."""

    id = models.UUIDField(primary_key=True, editable=False)
    tenant = models.ForeignKey("tenants.Tenant", models.PROTECT, db_constraint=False, db_index=False, related_name="+")
    key = models.ForeignKey("tenants.ApiKey", models.PROTECT, db_constraint=False, db_index=False, related_name="+")
    end_user = models.CharField(max_length=128, null=True)
    sealed = models.BinaryField()

    objects: ClassVar[models.Manager[Any]] = models.Manager.from_queryset(PayloadQuerySet)()

    class Meta:
        default_permissions = ("view",)
        indexes = [
            models.Index(fields=["tenant", "id"], name="payload_tenant"),
            models.Index(fields=["key", "id"], name="payload_key"),
            models.Index(
                fields=["tenant", "end_user"], name="payload_user", condition=models.Q(end_user__isnull=False)
            ),
        ]

    def __str__(self) -> str:
        return str(self.pk)

    def opened(self, keys: Mapping[int, bytes]) -> Content:
        """What was kept. Raises Unreadable."""
        content = Box(keys).open(_purpose(self), bytes(self.sealed))
        return msgspec.msgpack.decode(zlib.decompress(content), type=Content)


def _purpose(row: Payload) -> str:
    """What it is sealed for: moved to another request, it does not open."""
    return f"payload:{row.tenant_id}:{row.key_id}:{row.pk}"


class Payloads:
    """One per worker: takes what was taped, and seals and writes it through the database executor."""

    def __init__(self, database: Database, keys: Mapping[int, bytes], limit: int, redact: Redact) -> None:
        self._database, self._box, self._limit, self._redact = database, Box(keys), limit, redact
        self._waiting: deque[Taped] = deque()
        self._size = 0
        self._some, self._flushing = asyncio.Event(), asyncio.Lock()
        self._failing = False
        self.lost = 0

    def put(self, taped: Taped) -> None:
        """Takes it, if there is room."""
        if self._size + taped.size > WAITING_BYTES:
            self._lose(taped, "too many wait for the database")
            return
        self._waiting.append(taped)
        self._size += taped.size
        self._some.set()

    async def run(self) -> None:
        """Writes what comes, in batches, until cancelled."""
        while True:
            await self._some.wait()
            await asyncio.sleep(GATHER_SECONDS if await self.flush() else RETRY_SECONDS)

    async def flush(self) -> bool:
        """Writes what waits; False when the database would not take it: then it goes on waiting."""
        async with self._flushing:
            return await self._flush()

    async def _flush(self) -> bool:
        while batch := self._batch():
            try:
                await self._database(partial(self._write, batch))
            except Error as error:
                if not self._failing:
                    log.error("payloads cannot be written; they wait", extra={"error": str(error)})
                self._failing = True
                return False
            self._failing = False
            for taped in batch:
                self._waiting.popleft()
                self._size -= taped.size
        self._some.clear()
        return True

    def _batch(self) -> list[Taped]:
        batch: list[Taped] = []
        size = 0
        for taped in self._waiting:
            size += taped.size
            if batch and size > BATCH_BYTES:
                break
            batch.append(taped)
        return batch

    def _write(self, batch: list[Taped]) -> None:
        rows = []
        for taped in batch:
            try:
                rows.append(self._sealed(taped))
            except Exception as error:  # whatever it is, it may hold what was to be replaced: only its kind is told
                self._lose(taped, type(error).__name__)
        Payload.objects.keep(rows)

    def _lose(self, taped: Taped, why: str) -> None:
        self.lost += 1
        log.error("a payload could not be kept", extra={"request_id": str(taped.id), "error": why})

    def _sealed(self, taped: Taped) -> Payload:
        row = Payload(id=taped.id, tenant_id=taped.tenant_id, key_id=taped.key_id, end_user=taped.end_user)
        request_sha256 = taped.request_sha256 or hashlib.sha256(taped.request).hexdigest()
        request = (taped.request, taped.request_size, request_sha256)
        answer = (taped.answer, taped.answer_size, taped.answer_sha256)
        asked, told = (self._side(*side, taped.patterns) for side in (request, answer))
        content = msgspec.msgpack.encode(Content(asked, told, taped.status, taped.content_type))
        row.sealed = self._box.seal(_purpose(row), zlib.compress(content, 1))
        return row

    def _side(self, body: bytes, size: int, sha256: str, patterns: tuple[str, ...]) -> Side:
        """Replaced first, cut then, so that no half of what a pattern matches is left at the end."""
        cut, count = size > len(body), 0
        if patterns and len(body) > SEARCHED_BYTES:
            return Side(b"", size, "", True)
        if patterns:
            body, count = self._redact(body, patterns, cut)
        cut = cut or len(body) > self._limit
        return Side(body[: self._limit], size, "" if count or (patterns and cut) else sha256, cut, count)
