"""A worker's upstream slots and the account's quota, shared by tenants: nobody starves because another one is greedy.

While there is plenty, whoever comes is served. Two things are scarce, and each is shared out when it runs short:

    slots    above three quarters of what the worker serves at once, a tenant gets another only if it has fewer than
             slots ÷ (tenants running + 1), so that whoever comes next finds room; one that has been alone for a minute
             may have them all
    quota    for as long as upstream says that the account's quota is used up, tenants that used more than an equal part
             of the last minute's tokens wait, and the others go on

Nothing that runs is stopped for it. Counts are the worker's own: the kernel spreads connections over workers.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import NamedTuple

SCARCE = 0.75  # of the slots taken
ALONE_SECONDS = 60.0
FADE_SECONDS = 60.0  # a use weighs 1/e after so long
FORGOTTEN = 1.0  # tokens: less is no recent use
USUAL_PRESSURE = 5.0  # seconds, where upstream does not say
LONGEST_PRESSURE = 60.0


class Unfair(NamedTuple):
    """Why a tenant has to wait: how many slots or recent tokens it has, of how many, and what its part would be."""

    what: str  # slots or quota
    own: int
    total: int
    share: int
    wait: float


class Fairness:
    """One per worker."""

    def __init__(self, slots: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._slots, self._clock = slots, clock
        self._running: dict[int, int] = {}
        self._total = 0
        self._used: dict[int, tuple[float, float]] = {}  # tokens, and when they were as many
        self._pressed_until = float("-inf")
        self._arrivals: dict[int, float] = {}

    def arrived(self, tenant: int) -> None:
        """A tenant wants something, whether or not it will get in: from now on room is kept for it."""
        self._arrivals[tenant] = self._clock()

    def enter(self, tenant: int, shared: bool = True) -> Unfair | None:
        """Counts a request of a tenant as running, or says why it has to wait. Not `shared`: it goes to an upstream
        account of the tenant's own."""
        unfair = self._crowding(tenant) or (self._overusing(tenant) if shared else None)
        if unfair is None:
            self._running[tenant] = self._running.get(tenant, 0) + 1
            self._total += 1
        return unfair

    def leave(self, tenant: int, tokens: int) -> None:
        """The end of a request that had entered, and what it used."""
        self._total -= 1
        left = self._running[tenant] - 1
        if left:
            self._running[tenant] = left
        else:
            del self._running[tenant]
        if tokens:
            now = self._clock()
            self._used[tenant] = (self._recent(tenant, now) + tokens, now)

    def press(self, seconds: float | None) -> None:
        """Upstream refused a request because the account's quota is used up, for so long if it said."""
        wait = min(USUAL_PRESSURE if seconds is None else seconds, LONGEST_PRESSURE)
        self._pressed_until = max(self._pressed_until, self._clock() + wait)

    def _crowding(self, tenant: int) -> Unfair | None:
        if self._total < self._slots * SCARCE:
            return None
        since = self._clock() - ALONE_SECONDS
        others = {each for each, at in self._arrivals.items() if at >= since} | self._running.keys()
        if not others - {tenant}:
            return None
        own = self._running.get(tenant, 0)
        share = max(1, self._slots // (len(self._running) + (tenant not in self._running) + 1))
        return Unfair("slots", own, self._total, share, 1.0) if own >= share else None

    def _overusing(self, tenant: int) -> Unfair | None:
        now = self._clock()
        left = self._pressed_until - now
        if left <= 0:
            return None
        used = {each: recent for each in list(self._used) if (recent := self._recent(each, now)) >= FORGOTTEN}
        self._used = {each: self._used[each] for each in used}
        used.setdefault(tenant, 0.0)
        total = sum(used.values())
        share = total / len(used)
        if len(used) < 2 or used[tenant] <= share:
            return None
        return Unfair("quota", round(used[tenant]), round(total), round(share), left)

    def _recent(self, tenant: int, now: float) -> float:
        tokens, at = self._used.get(tenant, (0.0, now))
        return tokens * math.exp((at - now) / FADE_SECONDS)
