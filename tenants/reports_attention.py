"""What an administrator should look at: asked of few rows, so that the overview stays fast however much there is."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import F, QuerySet

from tenants import ids, metrics, windows, witness
from tenants.models import ApiKey, AuditEvent, BudgetWindow, Installation, RequestRecord
from tenants.money import PriceRow
from tenants.reports_usage import Sums
from tenants.usage import UsageDayQuerySet
from tenants.values import State
from tenants.verification import verify_newest

EXPIRING_DAYS = 14
SPIKE_LEAST = 5  # errors, and
SPIKE_TIMES = 3  # times as large a share of the requests as in the week before, and
SPIKE_SHARE = 0.02  # of them at least
PRICES_DAYS = 90
LOOK_BACK = timedelta(hours=1)
LOOK_AT_MOST = 1_000  # requests
AWAY_LEAST, AWAY_SHARE = 3, 0.01  # of them, to be worth a line

BEHIND_SECONDS = 60.0  # rows wait for the database this long at most while all is well, and then some
TRAIL_ROWS = 200  # the newest of the audit trail, verified whenever somebody looks
WITNESS_LATE = 3 * witness.EVERY

# How upstream's 429 and 529 are recorded of requests that were sent.
_TURNED_AWAY = ("rate_limit_exceeded", "server_is_overloaded")


def expiring_keys(keys: QuerySet[ApiKey], now: datetime) -> list[ApiKey]:
    """Those that end soon unless somebody does something, the first to end first."""
    soon = keys.filter(expires_at__gt=now, expires_at__lte=now + timedelta(days=EXPIRING_DAYS), revoked_at=None)
    return list(soon.select_related("tenant").order_by("expires_at")[:50])


def nearly_spent(found: QuerySet[BudgetWindow], now: datetime) -> list[BudgetWindow]:
    """The windows open now of budgets of which 80 % or more is spent, the most spent first."""
    much = found.filter(budget__removed_at=None, spent_nanos__gte=F("budget__limit_nanos") / 5 * 4)
    rows = much.select_related("budget__tenant", "budget__key").order_by("-first_day")[:500]
    current = [row for row in rows if row.first_day == _open(row, now)]
    return sorted(current, key=lambda row: -row.spent_nanos / max(row.budget.limit_nanos, 1))


def _open(row: BudgetWindow, now: datetime) -> object:
    return windows.first_day(row.budget.window, now, row.budget.tenant.time_zone)


@dataclass(frozen=True)
class Spike:
    """The share of requests that failed today, and in the week before."""

    errors: int
    today: float
    before: float


def error_spike(days: UsageDayQuerySet, now: datetime) -> Spike | None:
    """How today differs from the week before; None when it is no worse."""
    week = days.filter(day__gte=now.date() - timedelta(days=7), day__lte=now.date())
    rows = list(week.summed_query("day", columns=("requests", "errors")))
    return spike([row for row in rows if row["day"] != now.date()], [row for row in rows if row["day"] == now.date()])


def spike(week: Sequence[Sums], today: Sequence[Sums]) -> Spike | None:
    """From the sums of the days before and of today."""
    errors, requests = sum(row["errors"] for row in today), sum(row["requests"] for row in today)
    earlier = sum(row["requests"] for row in week)
    share = errors / requests if requests else 0.0
    before = sum(row["errors"] for row in week) / earlier if earlier else 0.0
    worse = errors >= SPIKE_LEAST and share >= SPIKE_SHARE and share > SPIKE_TIMES * before
    return Spike(errors, share, before) if worse else None


def unchecked_days(prices: Iterable[PriceRow], now: datetime) -> int | None:
    """For how many days nobody compared the built-in prices with upstream's list; None when a site has only its own."""
    checked = [row.checked for row in prices if row.checked]
    return (now.date() - max(checked)).days if checked else None


@dataclass(frozen=True)
class Away:
    """Of the newest `looked_at` requests within the hour, how many upstream turned away for load."""

    turned_away: int
    looked_at: int

    @property
    def is_much(self) -> bool:
        return self.turned_away >= AWAY_LEAST and self.turned_away >= AWAY_SHARE * self.looked_at


def turned_away(requests: QuerySet[RequestRecord], now: datetime) -> Away:
    """Read from the newest end, and no further than a thousand: as fast however many there are."""
    recent = requests.filter(pk__gte=ids.floor(now - LOOK_BACK)).order_by("-pk")
    rows = list(recent.values_list("state", "error_code")[:LOOK_AT_MOST])
    return Away(sum(state == State.FAILED and code in _TURNED_AWAY for state, code in rows), len(rows))


def behind() -> timedelta | None:
    """For how long the database has not had all that ended on this host; None while that is as it should be."""
    seconds = metrics.value("bridge_journal_behind_seconds")
    return timedelta(seconds=seconds) if seconds > BEHIND_SECONDS else None


def trail_problem() -> str:
    """Why the newest rows of the audit trail do not hold; nothing if they do."""
    return verify_newest(TRAIL_ROWS).problem


def unwitnessed_since(now: datetime) -> datetime | None:
    """When the head of the audit trail was last said in the log (or its first row written); None if that is recent."""
    said = Installation.objects.filter(pk=1).values_list("witnessed_at", flat=True).first()
    last: datetime | None = said or AuditEvent.objects.order_by("seq").values_list("at", flat=True).first()
    return last if last and now - last > WITNESS_LATE else None
