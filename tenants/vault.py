"""Claude's signed thinking, kept for hours for clients that drop it: encrypted, each tenant's own, bounded in size.

What is kept belongs to the key it was made for and is found by the id of a tool call. What it means is the bridge's
business (bridge/vault.py): here it is bytes. Losing some is harmless, so nothing here ever fails a request.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
import zlib
from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from functools import partial
from typing import Any, ClassVar

from django.db import Error, models
from django.db.models import Q, Sum
from django.db.models.functions import Now

from tenants.database import Database
from tenants.encryption import Box, Unreadable
from tenants.values import Caller

log = logging.getLogger(__name__)

TURN_BYTES = 1024 * 1024  # sealed; a turn that thought for longer than that is not kept
TENANT_BYTES = 256 * 1024 * 1024  # all that is kept of one tenant; the oldest goes first
STEP_BYTES = TENANT_BYTES // 16  # that a worker adds before it measures again
MOST_FOUND = 1000  # turns of one history
MOST_WAITING = 200  # turns of one worker that wait for the database
READ_SECONDS = 2.0
WRITE_SECONDS = 1.0
FORGET_SECONDS = 600.0
FORGET_ROWS = 500

LAPSED = Q(until__lt=Now())  # by the database's clock: hosts' clocks differ
UNWANTED = LAPSED | Q(tenant__thinking_vault=False)


class KeptThinkingQuerySet(models.QuerySet["KeptThinking"]):
    def forget(self, *, everything: bool = False) -> int:
        """Deletes some of what is past its time or not wanted any more, of tenants that are not under legal hold."""
        unwanted = self if everything else self.filter(UNWANTED)
        some = unwanted.filter(tenant__held_at=None).order_by("until").values_list("pk", flat=True)[:FORGET_ROWS]
        return self.filter(pk__in=list(some)).delete()[0]

    def make_room(self, tenant_id: int) -> int:
        """How many bytes of the tenant's share are free, once the oldest have gone (which a legal hold forbids)."""
        rows = self.filter(tenant_id=tenant_id)
        free = TENANT_BYTES - (rows.aggregate(total=Sum("size"))["total"] or 0)
        if free < STEP_BYTES:
            oldest = []
            for pk, size in rows.filter(tenant__held_at=None).order_by("until").values_list("pk", "size").iterator():
                oldest.append(pk)
                free += size
                if free >= STEP_BYTES:
                    break
            for start in range(0, len(oldest), FORGET_ROWS):
                self.filter(pk__in=oldest[start : start + FORGET_ROWS]).delete()
        return free


class KeptThinking(models.Model):
    """The thinking of one turn that ended in tool calls."""

    tenant = models.ForeignKey("tenants.Tenant", models.CASCADE, db_index=False, related_name="+")
    key = models.ForeignKey("tenants.ApiKey", models.CASCADE, db_index=False, related_name="+")
    call = models.CharField(max_length=64, help_text="SHA-256 of the id of the turn's first tool call.")
    until = models.DateTimeField(db_index=True)
    end_user = models.CharField(max_length=128, null=True)
    size = models.PositiveIntegerField(help_text="Bytes, sealed.")
    sealed = models.BinaryField()

    objects: ClassVar[models.Manager[Any]] = models.Manager.from_queryset(KeptThinkingQuerySet)()

    class Meta:
        verbose_name = "kept thinking"
        verbose_name_plural = "kept thinking"
        constraints = [models.UniqueConstraint(fields=["key", "call"], name="thinking_of_call")]
        indexes = [
            models.Index(fields=["tenant", "until"], name="thinking_tenant"),
            models.Index(fields=["tenant", "end_user"], name="thinking_user", condition=Q(end_user__isnull=False)),
        ]

    def __str__(self) -> str:
        return self.call


class Vault:
    """One per worker: keeps and finds thinking through the database executor. `hours` 0: it is shut, for everybody."""

    def __init__(self, database: Database, keys: Mapping[int, bytes], hours: int) -> None:
        self._database, self._box = database, Box(keys)
        self._kept_for = timedelta(hours=hours)
        self._writing: set[asyncio.Task[None]] = set()
        self._left: dict[int, int] = {}  # bytes that a tenant may add here before its share is measured again

    def is_open(self, caller: Caller) -> bool:
        return bool(self._kept_for) and caller.keeps_thinking

    async def find(self, caller: Caller, calls: Iterable[str]) -> dict[str, bytes]:
        """What is kept for these calls, as far as there is any and the database answers in time."""
        names = {_name(caller, call): call for call in list(calls)[:MOST_FOUND]}
        try:
            async with asyncio.timeout(READ_SECONDS):
                return await self._database(partial(self._open, caller, names))
        except (Error, TimeoutError) as error:
            log.warning("kept thinking could not be looked up", extra={"error": str(error)})
            return {}

    async def keep(self, caller: Caller, make: Callable[[], dict[str, bytes]], end_user: str | None) -> None:
        """Keeps what `make` makes, which is called in a thread: by call. Returns when it is kept, or after a second,
        whichever comes first; it is kept even if whoever waits goes away."""
        if len(self._writing) >= MOST_WAITING:
            return
        await self._in_background(partial(self._write, caller, make, end_user))

    async def forget(self, caller: Caller, calls: Iterable[str]) -> None:
        """Deletes what upstream did not take back."""
        names = [_name(caller, call) for call in calls]
        rows = KeptThinking.objects.filter(key_id=caller.key_id, call__in=names, tenant__held_at=None)
        await self._in_background(rows.delete)

    async def run(self) -> None:
        """Forgets what is past its time, until cancelled."""
        while True:
            try:
                await self.look_after()
            except Error as error:
                log.warning("kept thinking cannot be looked after", extra={"error": str(error)})
            await asyncio.sleep(FORGET_SECONDS)

    async def look_after(self) -> None:
        """Raises django.db.Error while the database is away."""
        unit = partial(KeptThinking.objects.forget, everything=not self._kept_for)
        while await self._database(unit) >= FORGET_ROWS:
            pass

    async def aclose(self) -> None:
        await asyncio.gather(*self._writing, return_exceptions=True)

    async def _in_background(self, unit: Callable[[], Any]) -> None:
        task = asyncio.create_task(self._quietly(unit))
        self._writing.add(task)
        task.add_done_callback(self._writing.discard)
        await asyncio.wait({task}, timeout=WRITE_SECONDS)

    async def _quietly(self, unit: Callable[[], Any]) -> None:
        begun = time.monotonic()
        try:
            await self._database(unit)
        except Exception as error:  # whatever it was: an answer is not held up by it
            log.warning("thinking could not be kept", extra={"error": type(error).__name__})
        if (seconds := time.monotonic() - begun) > WRITE_SECONDS:
            log.warning("keeping thinking took long", extra={"seconds": round(seconds, 1)})

    def _write(self, caller: Caller, make: Callable[[], dict[str, bytes]], end_user: str | None) -> None:
        from tenants.models import Tenant

        if not Tenant.objects.filter(pk=caller.tenant_id, thinking_vault=True).exists():
            return  # turned off since the request came, which may be long ago
        rows = []
        for call, data in make().items():
            name = _name(caller, call)
            sealed = self._box.seal(_purpose(caller, name), zlib.compress(data, 1))
            if len(sealed) <= TURN_BYTES and self._has_room(caller.tenant_id, len(sealed)):
                place = {"tenant_id": caller.tenant_id, "key_id": caller.key_id, "call": name}
                row = {"until": Now() + self._kept_for, "end_user": end_user, "size": len(sealed), "sealed": sealed}
                rows.append(KeptThinking(**place, **row))
        again = ["until", "end_user", "size", "sealed"]
        KeptThinking.objects.bulk_create(
            rows, update_conflicts=True, unique_fields=["key", "call"], update_fields=again
        )

    def _has_room(self, tenant_id: int, size: int) -> bool:
        left = self._left.get(tenant_id, 0) - size
        if left < 0:
            left = min(KeptThinking.objects.make_room(tenant_id), STEP_BYTES) - size
        self._left[tenant_id] = left
        return left >= 0

    def _open(self, caller: Caller, names: Mapping[str, str]) -> dict[str, bytes]:
        rows = KeptThinking.objects.filter(key_id=caller.key_id, tenant_id=caller.tenant_id, call__in=list(names))
        found = {}
        for name, sealed in rows.filter(until__gt=Now()).values_list("call", "sealed"):
            try:
                data = self._box.open(_purpose(caller, name), bytes(sealed))
            except Unreadable:
                log.error("kept thinking cannot be opened with these ENCRYPTION_KEYS")
                continue
            found[names[name]] = zlib.decompress(data)
        return found


def _name(caller: Caller, call: str) -> str:
    """Callers with keys of Anthropic's own share one of ours: each has names of their own."""
    owner = caller.hint if caller.secret_id is None else ""
    return hashlib.sha256(f"{owner}\0{call}".encode(errors="replace")).hexdigest()


def _purpose(caller: Caller, name: str) -> str:
    """What it is sealed for: moved to another place, it does not open."""
    return f"thinking:{caller.tenant_id}:{caller.key_id}:{name}"
