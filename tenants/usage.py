"""What was used, by day: rollups of the records, written in the transaction in which a record becomes final.

A day is the UTC day of admission. The sums stay when the records they were made of have been pruned.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import date
from typing import Any, NamedTuple

from django.db import models
from django.db.models import Q, Sum

from tenants import bulk
from tenants.records import RequestRecord
from tenants.values import State

TOKEN_COLUMNS = (
    "input_tokens",
    "cache_write_5m_tokens",
    "cache_write_1h_tokens",
    "cache_read_tokens",
    "output_tokens",
    "reasoning_tokens",
)
SUMMED = (*TOKEN_COLUMNS, "web_searches", "cost_nanos")
COUNTED = ("requests", "refusals", "errors", "cancelled", "unpriced")
TIMES = {"total_times": "total_us", "first_token_times": "first_token_us"}
BUCKETS_PER_OCTAVE = 4  # a quantile is right to within 10 %

_COUNT_OF_STATE = {
    State.REFUSED: "refusals",
    State.FAILED: "errors",
    State.INTERRUPTED: "errors",
    State.CANCELLED: "cancelled",
}


class Place(NamedTuple):
    """The row of the rollup that a record adds to."""

    tenant_id: int
    key_id: str
    day: date
    model: str

    @classmethod
    def of(cls, record: RequestRecord) -> Place:
        return cls(record.tenant_id, str(record.key_id), record.at.date(), record.model)


class UsageDayQuerySet(models.QuerySet["UsageDay"]):
    def add(self, finals: Iterable[RequestRecord]) -> None:
        """Adds records that became final just now. To be called in the transaction that made them so, once for each."""
        sums: dict[Place, UsageDay] = {}
        for record in finals:
            place = Place.of(record)
            if place not in sums:
                sums[place] = UsageDay(**place._asdict())
            sums[place].count(record)
        rows = self._locked(sorted(sums))
        for place, row in rows.items():
            row.merge(sums[place])
        bulk.update(map(vars, rows.values()), UsageDay)

    def _locked(self, places: list[Place]) -> dict[Place, UsageDay]:
        """The rows of these places, ours until the transaction ends: made and locked in one order by every worker."""
        near = Q(key__in={p.key_id for p in places}, day__in={p.day for p in places})
        known = {row.place for row in self.filter(near)}
        # Conflicts are with workers that made the same row just now; the query after shows theirs.
        self.bulk_create([UsageDay(**p._asdict()) for p in places if p not in known], ignore_conflicts=True)
        locked = self.filter(near, model__in={p.model for p in places}).order_by("pk").select_for_update()
        rows = {row.place: row for row in locked}
        return {place: rows[place] for place in places}

    def between(self, first: date | None, last: date | None) -> UsageDayQuerySet:
        """Those of these days, both included."""
        found = self.filter(day__gte=first) if first else self
        return found.filter(day__lte=last) if last else found

    def summed(self, *by: str) -> list[dict[str, Any]]:
        """The sums of every column, for each value of these columns (or over all), in their order."""
        return list(self.summed_query(*by).order_by(*by)) if by else [self.aggregate(**_sums())]

    def summed_query(
        self, *by: str, columns: Iterable[str] = (*COUNTED, *SUMMED)
    ) -> models.QuerySet[UsageDay, dict[str, Any]]:
        """The same in no order, to be put into another one and cut by the database; the fewer columns the faster."""
        found: models.QuerySet[UsageDay, dict[str, Any]] = self.order_by().values(*by).annotate(**_sums(columns))
        return found


def _sums(columns: Iterable[str] = (*COUNTED, *SUMMED)) -> dict[str, Sum]:
    return {name: Sum(name, default=0) for name in columns}


class UsageDay(models.Model):
    """One key's use of one model on one day. Without a model: what was refused before there was one.

    `total_times` and `first_token_times` are histograms: how many requests took 2^(n/4) µs or a little more, by n.
    """

    tenant = models.ForeignKey("tenants.Tenant", models.PROTECT, db_constraint=False, db_index=False, related_name="+")
    key = models.ForeignKey("tenants.ApiKey", models.PROTECT, db_constraint=False, db_index=False, related_name="+")
    day = models.DateField(help_text="The UTC day of admission.")
    model = models.CharField(max_length=200, blank=True)

    requests = models.BigIntegerField(default=0, help_text="All of them, however they ended.")
    refusals = models.BigIntegerField(default=0)
    errors = models.BigIntegerField(default=0, help_text="Failed or interrupted.")
    cancelled = models.BigIntegerField(default=0)
    unpriced = models.BigIntegerField(default=0, help_text="Used something, with no price known.")

    input_tokens = models.BigIntegerField(default=0)
    cache_write_5m_tokens = models.BigIntegerField(default=0)
    cache_write_1h_tokens = models.BigIntegerField(default=0)
    cache_read_tokens = models.BigIntegerField(default=0)
    output_tokens = models.BigIntegerField(default=0)
    reasoning_tokens = models.BigIntegerField(default=0)
    web_searches = models.BigIntegerField(default=0)
    cost_nanos = models.BigIntegerField(default=0, help_text="Nano-dollars.")

    total_times = models.JSONField(default=dict)
    first_token_times = models.JSONField(default=dict)

    objects = models.Manager.from_queryset(UsageDayQuerySet)()

    class Meta:
        ordering = ["-day"]
        verbose_name = "day of usage"
        verbose_name_plural = "days of usage"
        constraints = [models.UniqueConstraint(fields=["key", "day", "model"], name="usage_of_key")]
        indexes = [
            models.Index(fields=["tenant", "day"], name="usage_tenant"),
            models.Index(fields=["day"], name="usage_day"),
        ]

    def __str__(self) -> str:
        return f"{self.day} {self.model}"

    @property
    def place(self) -> Place:
        return Place(self.tenant_id, str(self.key_id), self.day, self.model)

    def count(self, record: RequestRecord) -> None:
        """Adds one record (or, of refusals recorded together, as many as it stands for)."""
        self.requests += record.count
        counter = _COUNT_OF_STATE.get(State(record.state))
        if counter:
            setattr(self, counter, getattr(self, counter) + record.count)
        if record.cost_nanos is None and record.mode == "live" and any(getattr(record, name) for name in TOKEN_COLUMNS):
            self.unpriced += 1
        for name in SUMMED:
            setattr(self, name, getattr(self, name) + (getattr(record, name) or 0))
        for histogram, column in TIMES.items():
            microseconds = getattr(record, column)
            if microseconds is not None and record.state == State.SETTLED:
                times = getattr(self, histogram)
                place = bucket(microseconds)
                times[place] = times.get(place, 0) + 1

    def merge(self, other: UsageDay) -> None:
        for name in (*COUNTED, *SUMMED):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for name in TIMES:
            setattr(self, name, dict(Counter(getattr(self, name)) + Counter(getattr(other, name))))


def bucket(microseconds: int) -> str:
    """Where a time is counted."""
    return str(math.floor(math.log2(max(microseconds, 1)) * BUCKETS_PER_OCTAVE))


def quantile(times: Mapping[str, int], share: float) -> float | None:
    """The time in microseconds that this share of requests did not exceed; None without any."""
    left = share * sum(times.values())
    for exponent in sorted(map(int, times)):
        left -= times[str(exponent)]
        if left <= 0:
            return float(2 ** ((exponent + 0.5) / BUCKETS_PER_OCTAVE))
    return None
