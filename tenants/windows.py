"""The calendar of budgets: which day a window began on, and when it ends, in the tenant's time zone.

A window is known by its first local day, so that a tenant that moves to another time zone keeps what it has spent.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from functools import lru_cache
from zoneinfo import ZoneInfo, available_timezones

from django.core.exceptions import ValidationError

EVER = date(1970, 1, 1)  # the first day of the window that never ends

_FIRST_DAY: dict[str, Callable[[date], date]] = {
    "day": lambda day: day,
    "week": lambda day: day - timedelta(days=day.weekday()),
    "month": lambda day: day.replace(day=1),
    "total": lambda day: EVER,
}
_NEXT: dict[str, Callable[[date], date | None]] = {
    "day": lambda day: day + timedelta(days=1),
    "week": lambda day: day + timedelta(days=7),
    "month": lambda day: (day.replace(day=1) + timedelta(days=32)).replace(day=1),
    "total": lambda day: None,
}
WINDOWS = tuple(_FIRST_DAY)


@lru_cache(maxsize=1024)
def zone(name: str) -> tzinfo:
    return UTC if name == "UTC" else ZoneInfo(name)


def check_zone(name: str) -> None:
    """Raises ValidationError for what is no IANA time zone."""
    if name != "UTC" and name not in available_timezones():
        raise ValidationError(f"{name!r} is no time zone: it accepts IANA names, e.g. Europe/Berlin.")


def first_day(window: str, at: datetime, time_zone: str) -> date:
    """The first local day of the window that is open at this moment."""
    return _FIRST_DAY[window](at.astimezone(zone(time_zone)).date())


def end(window: str, first: date, time_zone: str) -> datetime | None:
    """The moment the window ends: local midnight, or the day's first moment where clocks skip it. None: never."""
    following = _NEXT[window](first)
    if following is None:
        return None
    return datetime.combine(following, time.min, tzinfo=zone(time_zone)).astimezone(UTC)
