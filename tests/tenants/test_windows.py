"""The calendar of budgets, in the tenant's own time, on the days when clocks change too."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest
from django.core.exceptions import ValidationError

from tenants import windows

BERLIN = "Europe/Berlin"


@pytest.mark.parametrize("name", ["Mars/Olympus", "", "../etc/passwd", "+02:00"])
def test_what_is_no_time_zone_is_refused(name: str) -> None:
    with pytest.raises(ValidationError):
        windows.check_zone(name)


@pytest.mark.parametrize("name", ["UTC", BERLIN, "America/New_York", "Asia/Kathmandu"])
def test_time_zones_have_their_usual_names(name: str) -> None:
    windows.check_zone(name)


@pytest.mark.parametrize(
    ("window", "first", "end"),
    [
        ("day", date(2026, 11, 22), datetime(2026, 11, 22, 23, tzinfo=UTC)),
        ("week", date(2026, 11, 16), datetime(2026, 11, 22, 23, tzinfo=UTC)),
        ("month", date(2026, 11, 1), datetime(2026, 11, 30, 23, tzinfo=UTC)),
        ("total", windows.EVER, None),
    ],
)
def test_windows_begin_at_local_midnight_and_weeks_on_monday(window: str, first: date, end: datetime | None) -> None:
    a_sunday_in_berlin = datetime(2026, 11, 22, 22, 59, 59, tzinfo=UTC)
    assert windows.first_day(window, a_sunday_in_berlin, BERLIN) == first
    assert windows.end(window, first, BERLIN) == end


def test_a_moment_later_it_is_monday() -> None:
    at = datetime(2026, 11, 22, 23, tzinfo=UTC)
    assert windows.first_day("week", at, BERLIN) == windows.first_day("day", at, BERLIN) == date(2026, 11, 23)
    assert windows.first_day("day", at, "UTC") == date(2026, 11, 22)


@pytest.mark.parametrize(
    ("day", "hours"),
    [(date(2026, 3, 29), 23), (date(2026, 10, 25), 25), (date(2026, 7, 1), 24)],
)
def test_days_when_clocks_change_are_as_long_as_they_are(day: date, hours: int) -> None:
    begin = windows.end("day", date.fromordinal(day.toordinal() - 1), BERLIN)
    end = windows.end("day", day, BERLIN)
    assert begin and end and (end - begin).total_seconds() == hours * 3600


def test_a_day_whose_midnight_is_skipped_begins_with_its_first_moment() -> None:
    end = windows.end("day", date(2026, 4, 23), "Africa/Cairo")  # on the 24th clocks go from 00:00 to 01:00
    assert end == datetime(2026, 4, 23, 22, tzinfo=UTC)
    assert windows.first_day("day", end, "Africa/Cairo") == date(2026, 4, 24)


def test_the_year_turns() -> None:
    assert windows.end("month", date(2026, 12, 1), "UTC") == datetime(2027, 1, 1, tzinfo=UTC)
