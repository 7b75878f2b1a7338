"""Figures of use: the sums of the records and no others, by day, with the quiet days in between."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import pytest

from tenants import reports_usage as reports
from tenants.models import ApiKey, Tenant, UsageDay
from tenants.reports_usage import Span
from tenants.usage import bucket
from tests.conftest import issue

TODAY = date(2026, 11, 22)


@pytest.fixture
def key(db: None) -> ApiKey:
    return _key("acme")


def _key(slug: str) -> ApiKey:
    issue(Tenant.objects.create(slug=slug, name=slug.title()))
    return ApiKey.objects.get(tenant__slug=slug)


def used(key: ApiKey, age: int = 0, model: str = "claude-opus-5", **columns: Any) -> UsageDay:
    day = TODAY - timedelta(days=age)
    return UsageDay.objects.create(tenant=key.tenant, key=key, day=day, model=model, **columns)


@pytest.mark.parametrize(
    ("name", "first"),
    [("today", 22), ("7d", 16), ("month", 1), ("30d", None), ("nonsense", None)],
)
def test_a_span_has_both_of_its_ends(name: str, first: int | None) -> None:
    span = reports.span(name, TODAY)
    assert span == Span(date(2026, 11, first) if first else date(2026, 10, 24), TODAY)
    assert name != "7d" or len(span.days()) == 7


def test_days_without_use_are_days_with_nothing(key: ApiKey) -> None:
    used(key, requests=3, refusals=1, errors=1, cost_nanos=5)
    used(key, age=2, requests=2)
    used(key, age=2, model="claude-x", requests=2)
    used(key, age=3, requests=100)
    rows = reports.by_day(reports.days_of(key), Span(TODAY - timedelta(days=2), TODAY))
    assert [(row["day"].day, row["requests"], row["answered"]) for row in rows] == [(20, 4, 4), (21, 0, 0), (22, 3, 1)]
    assert rows[1].keys() == rows[2].keys()


def test_a_tenant_is_the_sum_of_its_keys_and_of_no_others(key: ApiKey) -> None:
    issue(key.tenant)
    other = ApiKey.objects.exclude(pk=key.pk).get()
    used(key, cost_nanos=1)
    used(other, cost_nanos=10)
    used(_key("globex"), cost_nanos=100)
    assert reports.total(reports.days_of(key))["cost_nanos"] == 1
    assert reports.total(reports.days_of(key.tenant))["cost_nanos"] == 11
    assert reports.total(UsageDay.objects.all())["cost_nanos"] == 111


def test_latency_is_that_of_all_requests_together(key: ApiKey) -> None:
    used(key, total_times={bucket(1_000_000): 90}, first_token_times={bucket(200_000): 90})
    used(key, model="claude-x", total_times={bucket(8_000_000): 10})
    found = reports.latency(reports.days_of(key))
    assert found.total.p50 == pytest.approx(1_000_000, rel=0.1)
    assert found.total.p95 == pytest.approx(8_000_000, rel=0.1)
    assert found.first_token.p95 == pytest.approx(200_000, rel=0.1)
    assert reports.latency(UsageDay.objects.none()).total.p50 is None


def test_the_dearest_come_first_and_then_the_busiest(key: ApiKey) -> None:
    other = _key("globex")
    used(key, model="claude-a", requests=1, cost_nanos=5)
    used(key, model="claude-b", requests=9)
    used(other, model="claude-a", requests=1, cost_nanos=6)
    used(other, model="", requests=50, refusals=50)
    spent = reports.spenders(UsageDay.objects.all())
    assert [(row["model"], row["cost_nanos"]) for row in reports.top(spent, "model")] == [
        ("claude-a", 11),
        ("claude-b", 0),
    ]
    assert [row["tenant"] for row in reports.top(spent, "tenant")] == [other.tenant_id, key.tenant_id]
    assert len(reports.top(spent, "model", 1)) == 1
    assert reports.tenant_names([other.tenant_id, 99]) == {other.tenant_id: "Globex"}
