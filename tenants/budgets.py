"""A worker's way to its budgets: reservations that wait at once share a transaction, and what nobody waits for any more
is given back.

    Budgets.reserve    an Ask → its Verdict; raises BudgetsUnavailable
    Budgets.standings  how they stand, for who asks
    Budgets.run        shows that this process is alive, settles for those that are not, notices the database's return
"""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from django.db import Error, transaction
from django.utils import timezone

from tenants import ids
from tenants.asks import Ask, Standing, Verdict
from tenants.database import Database
from tenants.models import BudgetWindow, Hold, Holder
from tenants.values import BudgetRule

log = logging.getLogger(__name__)

PATIENCE_SECONDS = 3.0  # how long a reservation may take before the database counts as away, and not merely as busy
PROBE_SECONDS = 0.5  # between looks whether it is back
BEAT_SECONDS = 10.0
STEADY_SECONDS = 60.0  # of beats without failure before this process judges others: they had trouble when it had
MOST_AT_ONCE = 200

Waiting = tuple[Ask, "asyncio.Future[Verdict]"]


class BudgetsUnavailable(Exception):
    """Nothing can be held now: the database is away, or too slow. Nothing of the request is held."""


class Budgets:
    """One per worker; it belongs to the event loop."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.holder = ids.uuid7()
        self._waiting: list[Waiting] = []
        self._work: asyncio.Task[None] | None = None
        self._unwanted: set[tuple[uuid.UUID, int]] = set()  # held, perhaps, with nobody waiting
        self._known = False  # there is a row that says this process lives
        self._away = False
        self._steady: float | None = None

    async def reserve(self, ask: Ask) -> Verdict:
        """Holds what is asked for, or says how the budgets stand. Raises BudgetsUnavailable, at once when it is known
        that the database is away."""
        if self._away:
            raise BudgetsUnavailable
        future: asyncio.Future[Verdict] = asyncio.get_running_loop().create_future()
        self._waiting.append((ask, future))
        if self._work is None:
            self._work = asyncio.create_task(self._work_off())
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                return await future
        except BaseException as error:
            if future.done() and not future.cancelled():  # decided in the moment in which we stopped waiting
                self._unwanted.add((ask.request_id, ask.part))
            if not isinstance(error, TimeoutError):
                raise
            self._lost("it takes too long")
            raise BudgetsUnavailable from None

    async def standings(self, rules: Sequence[BudgetRule]) -> list[Standing]:
        """How they stand now. Raises BudgetsUnavailable."""
        try:
            return await self._database(partial(BudgetWindow.objects.standings, rules, timezone.now()))
        except Error:
            raise BudgetsUnavailable from None

    async def run(self) -> None:
        """Until cancelled."""
        beaten = float("-inf")
        while True:
            await asyncio.sleep(PROBE_SECONDS)
            if self._away:
                await self._try(_probe)
            if self._unwanted and not self._away:
                await self._release()
            now = time.monotonic()
            if now - beaten > BEAT_SECONDS:
                beaten = now
                await self.beat()

    async def beat(self) -> None:
        """Shows that this process lives; charges what the dead have left."""
        now = time.monotonic()
        steady = self._steady is not None and now - self._steady > STEADY_SECONDS
        if not await self._try(partial(_beat, self.holder if self._known else None, steady)):
            self._steady = None
        elif self._steady is None:
            self._steady = now

    async def close(self) -> None:
        """Waits for what is under way and gives back what nobody wants."""
        if self._work is not None:
            await asyncio.gather(self._work, return_exceptions=True)
        if self._unwanted:
            await self._release()

    async def _work_off(self) -> None:
        try:
            while self._waiting:
                group, self._waiting = self._waiting[:MOST_AT_ONCE], self._waiting[MOST_AT_ONCE:]
                await self._reserve([one for one in group if not one[1].done()])
        finally:
            self._work = None

    async def _reserve(self, group: list[Waiting]) -> None:
        if not group:
            return
        asks = [ask for ask, _ in group]
        try:
            verdicts = await self._database(_Reservation(self.holder, not self._known, asks))
        except BaseException as error:
            # It may have been committed all the same.
            self._unwanted.update((ask.request_id, ask.part) for ask in asks)
            for _, future in group:
                if not future.done():
                    future.set_exception(BudgetsUnavailable())
            if not isinstance(error, Error):
                raise
            return self._lost(str(error))
        self._known, self._away = True, False
        for (ask, future), verdict in zip(group, verdicts, strict=True):
            if not future.done():
                future.set_result(verdict)
            elif verdict.tokens is not None:
                self._unwanted.add((ask.request_id, ask.part))

    async def _release(self) -> None:
        parts, self._unwanted = self._unwanted, set()
        released = False
        try:
            released = await self._try(partial(Hold.objects.release, parts))
        finally:  # cancelled in the middle, too: releasing twice does nothing
            if not released:
                self._unwanted |= parts

    async def _try(self, unit: partial[None] | object) -> bool:
        try:
            await self._database(unit)  # type: ignore[arg-type]
        except Error as error:
            self._lost(str(error))
            return False
        self._away = False
        return True

    def _lost(self, why: str) -> None:
        if not self._away:
            log.warning("requests with budgets are refused: the database is away", extra={"error": why})
        self._away = True


@dataclass(slots=True)
class _Reservation:
    """A unit for the database, which runs it again if the connection died, perhaps after the commit."""

    holder: uuid.UUID
    new: bool
    asks: list[Ask]
    begun: bool = False

    def __call__(self) -> list[Verdict]:
        again, self.begun = self.begun, True
        if self.new:
            Holder.objects.see(self.holder)
        return Hold.objects.reserve(self.holder, self.asks, again)


def _beat(holder: uuid.UUID | None, settle_others: bool) -> None:
    if holder is not None:
        Holder.objects.see(holder)
    if settle_others and (count := Hold.objects.lapse()):
        log.warning("charged the holds of a process that never came back", extra={"holds": count})


def _probe() -> None:
    """Takes the writer's lock on SQLite, as a reservation would."""
    with transaction.atomic():
        BudgetWindow.objects.first()
