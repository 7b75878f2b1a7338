"""The gate: who holds a key, from memory, with changes heard within a second."""

from __future__ import annotations

import asyncio
import hmac
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import TypeVar

from django.db import Error

from tenants.database import Database
from tenants.keys import Key
from tenants.models import ApiKey, Installation, KeySecret
from tenants.values import Caller, Credential

log = logging.getLogger(__name__)

POLL_SECONDS = 0.4  # a revoked key gets no new request after at most this plus one query
NEGATIVE_SECONDS = 5.0
STALE_SECONDS = 900.0  # how long known keys keep working while the database is away
CACHE_SIZE = 20_000


V = TypeVar("V")


class GateUnavailable(Exception):
    """The key is not known here and the database cannot be asked."""


class Gate:
    """Identifies keys. Hits cost one HMAC; misses one unit of the database executor.

    The cache is keyed by the digest of the whole key, never a part of it. Every change to a key, a secret or a tenant
    bumps `Installation.revision`; `watch` polls it and forgets everything when it moved.
    """

    def __init__(
        self, database: Database, peppers: Mapping[int, bytes], changed: Callable[[], Awaitable[None]] | None = None
    ) -> None:
        self._changed = changed  # who else keeps something in memory that the revision counts; may raise Error
        self._database = database
        self._peppers = peppers
        self._pepper = peppers[max(peppers)]
        self._callers: dict[bytes, Caller] = {}
        self._unknown: dict[bytes, float] = {}
        self._lookups: dict[bytes, asyncio.Future[Caller | None]] = {}
        self._revision: int | None = None
        self._generation = 0
        self._heard = time.monotonic()

    async def identify(self, key: Key) -> Caller | None:
        """The caller (perhaps `barred`), or None for a key that does not exist. Raises GateUnavailable."""
        return await self._find(key.digest(self._pepper), lambda: KeySecret.objects.identify(key, self._peppers))

    async def guest(self, secret: str) -> Caller | None:
        """Whoever comes with a key of Anthropic's own. Of that only a pseudonym is kept. Raises GateUnavailable."""
        caller = await self._find(b"guest", ApiKey.objects.guest)
        hint = f"caller-{hmac.digest(self._pepper, b'caller-key:' + secret.encode(), 'sha256').hex()[:16]}"
        return caller and replace(caller, hint=hint, credential=Credential(secret, hint))

    async def _find(self, digest: bytes, ask: Callable[[], Caller | None]) -> Caller | None:
        now = time.monotonic()
        if now - self._heard < STALE_SECONDS:
            caller = self._callers.get(digest)
            if caller is not None:
                return caller
            if self._unknown.get(digest, 0.0) > now:
                return None
        lookup = self._lookups.get(digest)
        if lookup is None:
            lookup = self._lookups[digest] = asyncio.ensure_future(self._look_up(ask, digest))
            lookup.add_done_callback(lambda _: self._lookups.pop(digest, None))
        # Shielded: the first client to ask may hang up while others wait for the same answer.
        return await asyncio.shield(lookup)

    async def _look_up(self, ask: Callable[[], Caller | None], digest: bytes) -> Caller | None:
        generation = -1
        caller: Caller | None = None
        while generation != self._generation:  # a change came in between: what was read may be older than it
            generation = self._generation
            try:
                caller = await self._database(ask)
            except Error as error:
                raise GateUnavailable from error
        if caller is not None:
            _remember(self._callers, digest, caller)
        else:
            _remember(self._unknown, digest, time.monotonic() + NEGATIVE_SECONDS)
        return caller

    async def watch(self) -> None:
        """Polls the revision until cancelled."""
        while True:
            await self.poll()
            await asyncio.sleep(POLL_SECONDS)

    async def poll(self) -> None:
        try:
            revision = await self._database(Installation.current_revision)
        except Error as error:
            if self._revision is not None:
                log.warning("keys are served from memory: the database cannot be asked", extra={"error": str(error)})
            return
        self._heard = time.monotonic()
        if revision != self._revision:
            self._generation += 1
            self._callers.clear()
            self._unknown.clear()
            if self._changed is None or await self._told():
                self._revision = revision

    async def _told(self) -> bool:
        try:
            await self._changed()  # type: ignore[misc]
        except Error as error:
            log.warning("a change could not be read; it is tried again", extra={"error": str(error)})
            return False
        return True


def _remember(cache: dict[bytes, V], digest: bytes, value: V) -> None:
    if len(cache) >= CACHE_SIZE:
        cache.pop(next(iter(cache)))
    cache[digest] = value
