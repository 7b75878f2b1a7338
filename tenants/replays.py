"""Answers kept for whoever asks the same again under the same Idempotency-Key: claimed once, kept encrypted for a day.

A claim is a row without an answer. Whoever holds it renews its lease; of a worker that died it lapses, and the next to
ask takes it over. Only whole answers are kept: what failed is forgotten, and tried again when it is asked again.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
import zlib
from collections.abc import Mapping
from datetime import timedelta
from functools import partial
from typing import Any, ClassVar, NamedTuple
from uuid import UUID
from weakref import WeakValueDictionary

import msgspec
from django.db import Error, IntegrityError, models, transaction
from django.db.models import Q
from django.db.models.functions import Now

from tenants.database import Database
from tenants.encryption import Box, Unreadable
from tenants.values import Caller, Claim, KeptAnswer

log = logging.getLogger(__name__)

KEPT_FOR = timedelta(hours=24)
LEASE = timedelta(seconds=60)
RENEW_SECONDS = 15.0
FORGET_SECONDS = 600.0
FORGET_ROWS = 500
WAIT_SECONDS = 60.0
POLL_SECONDS = (0.1, 0.2, 0.5)  # the last one again and again
LATE_ANSWERS = 200  # waiting in memory for a database that is away

LAPSED = Q(until__lt=Now())  # by the database's clock: hosts' clocks differ


class Place(NamedTuple):
    """Where an answer is kept. `name` is the digest of the client's own name for the request."""

    tenant_id: int
    key_id: UUID
    name: str

    @classmethod
    def of(cls, caller: Caller, name: str) -> Place:
        if caller.secret_id is None:  # callers with keys of Anthropic's share ours: each has names of their own
            name = f"{caller.hint}\0{name}"
        return cls(caller.tenant_id, caller.key_id, hashlib.sha256(name.encode()).hexdigest())

    @property
    def purpose(self) -> str:
        """What the answer is sealed for: moved to another place, it does not open."""
        return f"answer:{self.tenant_id}:{self.key_id}:{self.name}"


class ReplayQuerySet(models.QuerySet["Replay"]):
    def at(self, place: Place) -> ReplayQuerySet:
        return self.filter(key_id=place.key_id, name=place.name)

    def claim(self, place: Place, fingerprint: str, owner: UUID) -> Replay | Claim:
        """The row with the answer, or what there is instead. Reads only, unless there is something to claim."""
        row = self.at(place).annotate(lapsed=LAPSED).first()
        if row is None or row.lapsed:  # type: ignore[attr-defined]
            return self._take(place, fingerprint, owner, row)
        if row.owner == owner and row.sealed is None:
            return Claim.YOURS
        if row.fingerprint != fingerprint:
            return Claim.REUSED
        return Claim.RUNNING if row.sealed is None else row

    def _take(self, place: Place, fingerprint: str, owner: UUID, lapsed: Replay | None) -> Claim:
        """Makes or takes over the row; of several who try at once one succeeds, the others find it running."""
        ours = {"fingerprint": fingerprint, "owner": owner, "sealed": None, "end_user": None}
        ours |= {"until": Now() + LEASE}
        if lapsed is not None:
            taken = self.filter(LAPSED, pk=lapsed.pk, owner=lapsed.owner).update(**ours)
            return Claim.YOURS if taken else Claim.RUNNING
        try:
            with transaction.atomic():
                self.create(tenant_id=place.tenant_id, key_id=place.key_id, name=place.name, **ours)
        except IntegrityError:
            return Claim.RUNNING
        return Claim.YOURS

    def renew(self, owners: list[UUID]) -> None:
        self.filter(owner__in=owners, sealed=None).update(until=Now() + LEASE)

    def forget_expired(self) -> int:
        """Deletes some of what is past its time, of tenants that are not under legal hold."""
        some = self.filter(LAPSED, tenant__held_at=None).order_by("until").values_list("pk", flat=True)[:FORGET_ROWS]
        return self.filter(pk__in=list(some)).delete()[0]


class Replay(models.Model):
    """One request with an Idempotency-Key: being answered (`sealed` is null), or answered."""

    tenant = models.ForeignKey("tenants.Tenant", models.CASCADE, related_name="+")
    key = models.ForeignKey("tenants.ApiKey", models.CASCADE, db_index=False, related_name="+")
    name = models.CharField(max_length=64, help_text="SHA-256 of the client's own name for the request.")
    fingerprint = models.CharField(max_length=64, help_text="What was asked, hashed together with that name.")
    owner = models.UUIDField(help_text="The request that answers it, or did.")
    until = models.DateTimeField(db_index=True, help_text="The end of the lease, or of the answer's time.")
    end_user = models.CharField(max_length=128, null=True)
    sealed = models.BinaryField(null=True)

    objects: ClassVar[models.Manager[Any]] = models.Manager.from_queryset(ReplayQuerySet)()

    class Meta:
        verbose_name = "kept answer"
        constraints = [models.UniqueConstraint(fields=["key", "name"], name="replay_of_key")]
        indexes = [models.Index(fields=["tenant", "end_user"], name="replay_user", condition=Q(end_user__isnull=False))]

    def __str__(self) -> str:
        return str(self.owner)


class Replays:
    """One per worker: claims, keeps and finds answers through the database executor."""

    def __init__(self, database: Database, keys: Mapping[int, bytes]) -> None:
        self._database, self._box = database, Box(keys)
        self._claims: set[UUID] = set()
        self._forgot = float("-inf")
        self._late: dict[UUID, partial[None]] = {}
        self._turns: WeakValueDictionary[Place, asyncio.Lock] = WeakValueDictionary()

    async def claim(self, caller: Caller, name: str, fingerprint: str, owner: UUID) -> KeptAnswer | Claim:
        """The answer, if there is one or will be within a minute; else whether it is the caller's to make.

        Of those who wait for one answer in this worker only one asks the database at a time.
        """
        place = Place.of(caller, name)
        turn = self._turns.setdefault(place, asyncio.Lock())
        try:
            async with asyncio.timeout(WAIT_SECONDS), turn:
                return await self._claim(place, fingerprint, owner)
        except TimeoutError:
            return Claim.RUNNING
        except Error as error:
            log.error("an Idempotency-Key could not be looked up", extra={"error": str(error)})
            return Claim.UNAVAILABLE

    async def keep(self, caller: Caller, name: str, answer: KeptAnswer, end_user: str | None) -> None:
        """Keeps the answer to a claim of ours: at once, or as soon as the database is back."""
        unit = partial(self._seal, Place.of(caller, name), answer, end_user)
        try:
            await self._database(unit)
        except Error as error:
            log.error("an answer waits to be kept for its Idempotency-Key", extra={"error": str(error)})
            if len(self._late) < LATE_ANSWERS:
                self._late[answer.request_id] = unit
                return
        self._claims.discard(answer.request_id)

    async def release(self, caller: Caller, name: str, owner: UUID) -> None:
        """Gives a claim of ours back: whoever asks next answers it."""
        self._claims.discard(owner)
        try:
            await self._database(Replay.objects.at(Place.of(caller, name)).filter(owner=owner, sealed=None).delete)
        except Error as error:
            log.warning("the claim of an Idempotency-Key lapses by itself", extra={"error": str(error)})

    async def run(self) -> None:
        """Renews what is claimed here, and forgets what is past its time, until cancelled."""
        while True:
            await asyncio.sleep(RENEW_SECONDS)
            try:
                await self.look_after()
            except Error as error:
                log.warning("kept answers cannot be looked after", extra={"error": str(error)})

    async def look_after(self) -> None:
        """Raises django.db.Error while the database is away."""
        for owner, unit in list(self._late.items()):
            await self._database(unit)
            del self._late[owner]
            self._claims.discard(owner)
        if self._claims:
            await self._database(partial(Replay.objects.renew, list(self._claims)))
        now = time.monotonic()
        if now - self._forgot > FORGET_SECONDS:
            self._forgot = now
            while await self._database(Replay.objects.forget_expired) == FORGET_ROWS:
                pass

    async def _claim(self, place: Place, fingerprint: str, owner: UUID) -> KeptAnswer | Claim:
        pauses = iter(POLL_SECONDS)
        while True:
            found = await self._database(partial(Replay.objects.claim, place, fingerprint, owner))
            if isinstance(found, Replay):
                return await self._database(partial(self._open, place, found))
            if found is Claim.YOURS:
                self._claims.add(owner)
            if found is not Claim.RUNNING:
                return found
            await asyncio.sleep(next(pauses, POLL_SECONDS[-1]))

    def _seal(self, place: Place, answer: KeptAnswer, end_user: str | None) -> None:
        sealed = self._box.seal(place.purpose, zlib.compress(msgspec.msgpack.encode(answer), 1))
        ours = Replay.objects.at(place).filter(owner=answer.request_id)
        ours.update(sealed=sealed, until=Now() + KEPT_FOR, end_user=end_user)

    def _open(self, place: Place, row: Replay) -> KeptAnswer | Claim:
        try:
            content = self._box.open(place.purpose, bytes(row.sealed or b""))
        except Unreadable:
            log.error("a kept answer cannot be opened with these ENCRYPTION_KEYS", extra={"request_id": str(row.owner)})
            return Claim.UNAVAILABLE
        return msgspec.msgpack.decode(zlib.decompress(content), type=KeptAnswer)
