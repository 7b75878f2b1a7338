"""Who came in, who left and who was turned away: a flood of wrong passwords must not become a flood of rows."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping

from tenants import actors
from tenants.actors import Actor
from tenants.audit import AuditEvent
from tenants.models import User

ROWS_A_MINUTE = 10  # of each worker; what goes beyond is counted, and told with the next row


class Failures:
    """Of one worker."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._minute = 0
        self._told = 0
        self._untold = 0

    def tell(self, username: str, now: float | None = None, told: Mapping[str, str] | None = None) -> None:
        """A name is told only where someone has it: into that field, people type passwords. `told`: what else there is
        to say."""
        with self._lock:
            self._begin(time.time() if now is None else now)
            if self._told >= ROWS_A_MINUTE:
                self._untold += 1
                return
            self._told += 1
            more, self._untold = self._untold, 0
        known = User.objects.filter(username=username[:150]).first()
        label = known.get_username() if known else "someone unknown"
        AuditEvent.objects.append(
            "user.sign_in_failed",
            kind="user",
            id=known.pk if known else "",
            label=label,
            context={**(told or {}), **_beyond(more)},
        )

    def tell_rest(self, now: float | None = None) -> None:
        """What was only counted, once its minute is over."""
        with self._lock:
            self._begin(time.time() if now is None else now)
            if self._told or not self._untold:
                return
            more, self._untold = self._untold, 0
        AuditEvent.objects.append("user.sign_in_failed", kind="user", label="several", context=_beyond(more))

    def _begin(self, now: float) -> None:
        if (minute := int(now // 60)) != self._minute:
            self._minute, self._told = minute, 0


failures = Failures()


def signed_in(user: User, told: Mapping[str, str] | None = None) -> None:
    AuditEvent.objects.append("user.signed_in", user, label=user.get_username(), actor=_as(user), context=told)


def code_asked(user: User, told: Mapping[str, str] | None = None) -> None:
    """The password was right, or the provider let them in. Who reads this of themselves, and it was not they, has lost
    the first factor."""
    AuditEvent.objects.append("user.code_asked", user, label=user.get_username(), context=told)


def signed_out(user: User) -> None:
    AuditEvent.objects.append("user.signed_out", user, label=user.get_username(), actor=_as(user))


def _as(user: User) -> Actor:
    return actors.somebody(user.get_username(), user.pk)


def _beyond(more: int) -> dict[str, int]:
    return {"not_told_before": more} if more else {}
