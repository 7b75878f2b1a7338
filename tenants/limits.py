"""Limits of keys and tenants: what a request asks of them, what it is given, and which store counts.

    Limit          one rule: of whom, of what, how many
    Store          counts: in memory that a host's workers share (limits_memory), or in Redis, for hosts (limits_redis)
    Limiter        asks the shared store and, while that is away, the host's own for its part of each limit

Requests and tokens a minute are a bucket each that holds a minute's worth and fills up evenly (GCRA): after a silence a
whole minute's worth may go at once, so in any minute at most twice the limit, and in the long run exactly the limit.
All limits of a request are taken together or not at all.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple, Protocol

log = logging.getLogger(__name__)

MINUTE = 60_000_000_000  # ns, and how far ahead of the clock a bucket may be: a minute's worth is the burst
SLACK = 10_000  # ns; steps are rounded up, and a burst of as many requests as the limit says must still fit
MOST = 2**31 - 1  # what a column holds
MOST_RUNNING = 60_000  # at once: what the table of a host can count in one worker
SAY_SECONDS = 60.0


class Unit(StrEnum):
    REQUESTS = "requests"
    TOKENS = "tokens"
    CONCURRENCY = "concurrency"


@dataclass(frozen=True, slots=True)
class Limit:
    """So many of a unit for one key or tenant. `dark`: what would be refused is only noted."""

    scope: str  # key or tenant
    subject: str  # which one: no two have the same
    unit: Unit
    limit: int
    dark: bool = False
    id: bytes = field(init=False, repr=False, compare=False)  # by which stores know it
    running: bool = field(init=False, repr=False, compare=False)  # counts what runs, not what comes in a minute

    def __post_init__(self) -> None:
        text = f"{self.scope}\0{self.subject}\0{self.unit}"
        object.__setattr__(self, "id", hashlib.blake2b(text.encode(), digest_size=16).digest())
        object.__setattr__(self, "running", self.unit is Unit.CONCURRENCY)

    def part(self, instances: int) -> int:
        """What one of so many hosts may give out by itself."""
        return max(1, self.limit // instances) if instances > 1 else self.limit


class Standing(NamedTuple):
    """How one limit stands. `wait`: seconds until what was asked fits; 0: now, None: never."""

    limit: Limit
    asked: int
    remaining: int
    reset: float  # seconds until all of it is there again
    wait: float | None
    size: int  # the limit, or this host's part of it


Ask = tuple[Limit, int]


@dataclass(slots=True)
class Taken:
    """What a store answered. `levels`: how full each limit is, after what was taken: ns that its bucket is ahead of the
    clock, or how many are running. `refused`: the number of the ask for which nothing was taken; `dark`: of the one
    that a dark limit would have refused."""

    store: Store
    asks: Sequence[Ask]
    levels: Sequence[int]
    instances: int = 1
    refused: int | None = None
    dark: int | None = None
    ticket: object = None  # the store's own
    settled: bool = False

    def kept(self) -> Sequence[Ask]:
        """What was taken."""
        if self.refused is not None:
            return ()
        return self.asks if self.dark is None else [ask for ask in self.asks if not ask[0].dark]

    def standing(self, number: int) -> Standing:
        """How the limit of this ask stands now; with what was asked of it, if it did not get it."""
        limit, amount = self.asks[number]
        missed = self.refused is not None or (self.dark is not None and limit.dark)
        return standing(limit, amount if missed else 0, self.levels[number], self.instances)

    def standings(self) -> list[Standing]:
        return [self.standing(number) for number in range(len(self.asks))]

    def settle(self, tokens: int | None, requests: bool = True) -> None:
        """The end: `tokens` used in truth (None: none), `requests` False if it is to count as if it had never been."""
        if not self.settled and self.refused is None:
            self.settled = True
            self.store.settle(self, tokens or 0, requests)


class Away(Exception):
    """The store cannot be asked."""


class Store(Protocol):
    """`instances`: count as one of so many hosts, each with its part of the limits."""

    async def take(self, asks: Sequence[Ask], instances: int = 1) -> Taken: ...
    async def peek(self, limits: Sequence[Limit], instances: int = 1) -> list[Standing]: ...
    def settle(self, taken: Taken, tokens: int, requests: bool) -> None: ...


class SharedStore(Store, Protocol):
    """One that can be away: `usable` says whether it is worth asking now."""

    @property
    def usable(self) -> bool: ...


class Limiter:
    """Never fails: while the shared store is away every host gives out its part, and what nobody can count passes."""

    def __init__(self, local: Store, shared: SharedStore | None = None, instances: int = 1) -> None:
        self._local, self._shared, self._instances = local, shared, instances
        self._said = float("-inf")

    async def take(self, asks: Sequence[Ask]) -> Taken:
        """All of it or nothing."""
        if self._shared is not None and self._shared.usable:
            try:
                return await self._shared.take(asks)
            except Away:
                pass
        try:
            return await self._local.take(asks, self._instances if self._shared else 1)
        except Away as error:
            self._say(error)
            return Taken(self._local, (), ())

    async def peek(self, limits: Sequence[Limit]) -> list[Standing]:
        """How these stand; nothing is taken."""
        if not limits:
            return []
        if self._shared is not None and self._shared.usable:
            try:
                return await self._shared.peek(limits)
            except Away:
                pass
        return await self._local.peek(limits, self._instances if self._shared else 1)

    def _say(self, error: Away) -> None:
        now = time.monotonic()
        if now - self._said > SAY_SECONDS:
            self._said = now
            log.error("limits cannot be counted: requests pass", extra={"error": str(error)})


def step(amount: int, limit: int) -> int:
    """How far so much moves a bucket of this limit, in ns: a minute for all of it."""
    return -(-amount * MINUTE // limit)


def standing(limit: Limit, asked: int, level: int, instances: int = 1) -> Standing:
    """How a limit stands that is so full. Nobody knows when a running request ends: come back in a second."""
    size = limit.part(instances)
    if limit.running:
        return Standing(limit, asked, max(0, size - level), 0.0, 0.0 if level + asked <= size else 1.0, size)
    remaining = min(size, max(0, (MINUTE + SLACK - level) * size // MINUTE))
    needed = step(asked, size)
    wait = None if needed > MINUTE + SLACK else max(0, level + needed - MINUTE - SLACK) / 1e9
    return Standing(limit, asked, remaining, level / 1e9, wait, size)


def judge(store: Store, asks: Sequence[Ask], levels: list[int], instances: int = 1) -> tuple[Taken, list[int]]:
    """What is taken of what was asked, given how full the limits are: all, or nothing; of dark ones all, or none.
    Also how much each limit is to be moved by, where something was taken."""
    steps, refused, dark = [], False, False
    for (limit, amount), level in zip(asks, levels, strict=True):
        size = limit.part(instances)
        move = amount if limit.running else step(amount, size)
        steps.append(move)
        if level + move > (size if limit.running else MINUTE + SLACK):
            refused, dark = refused or not limit.dark, dark or limit.dark
    if not (refused or dark):
        return Taken(store, asks, [level + move for level, move in zip(levels, steps, strict=True)], instances), steps
    if refused:
        worst = _worst(asks, levels, instances, dark=False)
        return Taken(store, asks, levels, instances, refused=worst), [0] * len(steps)
    steps = [0 if limit.dark else move for (limit, _), move in zip(asks, steps, strict=True)]
    after = [level + move for level, move in zip(levels, steps, strict=True)]
    return Taken(store, asks, after, instances, dark=_worst(asks, levels, instances, dark=True)), steps


def _worst(asks: Sequence[Ask], levels: Sequence[int], instances: int, dark: bool) -> int:
    """The one to wait for the longest."""
    waits = {}
    for number, ((limit, amount), level) in enumerate(zip(asks, levels, strict=True)):
        wait = standing(limit, amount, level, instances).wait
        if limit.dark is dark and wait != 0:
            waits[number] = float("inf") if wait is None else wait
    return max(waits, key=waits.__getitem__)
