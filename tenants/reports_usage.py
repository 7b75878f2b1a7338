"""What was used, for the console's figures and charts: sums, series and quantiles of days' rollups, never of records.

Every function takes the days that it is about, so that whoever may see less asks with fewer of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from tenants.models import ApiKey, Tenant, UsageDay
from tenants.usage import TIMES, UsageDayQuerySet, quantile

Sums = dict[str, Any]

SPANS = {"today": "Today", "7d": "7 days", "30d": "30 days", "month": "This month"}
USUAL_SPAN = "30d"


@dataclass(frozen=True)
class Span:
    """Some days, both ends included."""

    first: date
    last: date

    def days(self) -> list[date]:
        return [self.first + timedelta(days=number) for number in range((self.last - self.first).days + 1)]


def span(name: str, today: date) -> Span:
    """The days that a name of SPANS means; another name means the usual ones."""
    first = {"today": today, "7d": today - timedelta(days=6), "month": today.replace(day=1)}
    return Span(first.get(name, today - timedelta(days=29)), today)


def days_of(owner: Tenant | ApiKey) -> UsageDayQuerySet:
    mine = {"tenant": owner} if isinstance(owner, Tenant) else {"key": owner}
    days: UsageDayQuerySet = UsageDay.objects.filter(**mine)
    return days


def total(days: UsageDayQuerySet) -> Sums:
    """The sums of all columns."""
    return _with_answered(days.summed()[0])


def by_day(days: UsageDayQuerySet, over: Span) -> list[Sums]:
    """The sums of every day of the span, also of those on which nothing was used."""
    found = {row["day"]: row for row in days.between(over.first, over.last).summed("day")}
    nothing = dict.fromkeys(total(UsageDay.objects.none()), 0)
    return [_with_answered(found[day]) if day in found else {**nothing, "day": day} for day in over.days()]


def _with_answered(sums: Sums) -> Sums:
    """`answered`: all that was not refused and did not fail. A client that hung up is no error."""
    return {**sums, "answered": sums["requests"] - sums["refusals"] - sums["errors"]}


@dataclass(frozen=True)
class Times:
    """Half of the requests, and 95 of 100, took no longer: microseconds, right to within 10 %; None without any."""

    p50: float | None
    p95: float | None


@dataclass(frozen=True)
class Latency:
    total: Times
    first_token: Times


def latency(days: UsageDayQuerySet) -> Latency:
    """How long the answered requests of these days took."""
    times: dict[str, Counter[str]] = {name: Counter() for name in TIMES}
    for row in days.values(*TIMES):
        for name, histogram in times.items():
            histogram.update(row[name])
    whole, first = (Times(quantile(times[name], 0.5), quantile(times[name], 0.95)) for name in TIMES)
    return Latency(whole, first)


def spenders(days: UsageDayQuerySet) -> list[Sums]:
    """Requests and cost by tenant and model, in one pass over the days: what `top` chooses from."""
    return list(days.summed_query("tenant", "model", columns=("requests", "cost_nanos")))


def top(spent: Iterable[Sums], by: str, count: int = 5) -> list[Sums]:
    """The tenants (or models) that cost most, and among equals had most requests."""
    found: dict[Any, Sums] = {}
    for row in spent:
        if row[by]:  # refusals before there was a model have none
            sums = found.setdefault(row[by], {by: row[by], "requests": 0, "cost_nanos": 0})
            sums["requests"] += row["requests"]
            sums["cost_nanos"] += row["cost_nanos"]
    return sorted(found.values(), key=lambda row: (-row["cost_nanos"], -row["requests"], row[by]))[:count]


def tenant_names(ids: Iterable[int]) -> dict[int, str]:
    return dict(Tenant.objects.filter(pk__in=set(ids)).values_list("pk", "name"))
