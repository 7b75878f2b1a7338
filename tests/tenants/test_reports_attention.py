"""What needs attention is told, and what does not is not."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from tenants import pricing
from tenants import reports_attention as reports
from tenants.models import ApiKey, Budget, BudgetWindow, RequestRecord, Tenant, UsageDay
from tenants.reports_attention import Away, Spike, spike
from tenants.windows import first_day
from tests.tenants.test_usage import row

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


@pytest.fixture
def acme(db: None) -> Tenant:
    return Tenant.objects.create(slug="acme", name="Acme")


@pytest.mark.parametrize(("days", "told"), [(-1, False), (1, True), (13.9, True), (14.1, False)])
def test_keys_that_end_within_two_weeks_are_told(key: ApiKey, days: float, told: bool) -> None:
    ApiKey.objects.filter(pk=key.pk).update(expires_at=NOW + timedelta(days=days))
    assert bool(reports.expiring_keys(ApiKey.objects.all(), NOW)) is told
    ApiKey.objects.filter(pk=key.pk).update(revoked_at=NOW)
    assert reports.expiring_keys(ApiKey.objects.all(), NOW) == []


@pytest.mark.parametrize(("spent", "told"), [(79, False), (80, True), (100, True), (140, True)])
def test_budgets_are_told_from_eighty_percent(acme: Tenant, spent: int, told: bool) -> None:
    budget = Budget.objects.give(acme, "month", 100)
    BudgetWindow.objects.create(budget=budget, first_day=first_day("month", NOW, "UTC"), spent_nanos=spent)
    assert bool(reports.nearly_spent(BudgetWindow.objects.all(), NOW)) is told


def test_windows_that_are_over_and_budgets_that_are_gone_are_not_told(acme: Tenant, key: ApiKey) -> None:
    last, gone = Budget.objects.give(acme, "day", 100), Budget.objects.give(acme, "total", 100)
    BudgetWindow.objects.create(budget=last, first_day=NOW.date() - timedelta(days=1), spent_nanos=100)
    BudgetWindow.objects.create(budget=gone, first_day=first_day("total", NOW, "UTC"), spent_nanos=100)
    gone.remove()
    assert reports.nearly_spent(BudgetWindow.objects.all(), NOW) == []


def test_the_age_of_prices_is_that_of_the_newest_check() -> None:
    built_in = replace(pricing.built_in()[0], checked=NOW.date() - timedelta(days=91))
    newer, own = replace(built_in, checked=NOW.date() - timedelta(days=3)), replace(built_in, checked=None)
    assert reports.unchecked_days([built_in, own], NOW) == 91
    assert reports.unchecked_days([built_in, newer], NOW) == 3
    assert reports.unchecked_days([own], NOW) is None


Days = tuple[list[dict[str, Any]], list[dict[str, Any]]]


def week(*shares: tuple[int, int]) -> Days:
    """Days of (requests, errors), today's last."""
    rows = [{"requests": requests, "errors": errors} for requests, errors in shares]
    return rows[:-1], rows[-1:]


def test_a_day_much_worse_than_the_week_before_is_a_spike() -> None:
    found = spike(*week(*[(1000, 10)] * 7, (1000, 40)))
    assert found is not None and (found.errors, found.today, found.before) == (40, 0.04, 0.01)


@pytest.mark.parametrize(
    "rows",
    [
        week(*[(1000, 10)] * 7, (1000, 30)),  # three times as much is not more than three times
        week(*[(1000, 0)] * 7, (10_000, 100)),  # one in a hundred
        week(*[(0, 0)] * 7, (10, 4)),  # too few to say
        week(*[(0, 0)] * 8),
    ],
)
def test_a_day_like_others_is_no_spike(rows: Days) -> None:
    assert spike(*rows) is None


def test_the_week_before_is_of_seven_days(key: ApiKey) -> None:
    for age, requests, errors in ((0, 100, 10), (7, 100, 1), (8, 1000, 900)):
        day = NOW.date() - timedelta(days=age)
        UsageDay.objects.create(tenant=key.tenant, key=key, day=day, model="m", requests=requests, errors=errors)
    assert reports.error_spike(UsageDay.objects.all(), NOW) == Spike(10, 0.1, 0.01)


def test_what_upstream_turned_away_is_counted_among_the_newest(key: ApiKey, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reports, "LOOK_AT_MOST", 6)
    away = {"state": "failed", "error_code": "rate_limit_exceeded"}
    ours = {"state": "refused", "error_code": "rate_limit_exceeded"}
    for minutes, ends in ((1, away), (2, {**away, "error_code": "server_is_overloaded"}), (3, ours), (4, away)):
        RequestRecord.objects.create(**row(key, NOW - timedelta(minutes=minutes), **ends))
    RequestRecord.objects.create(**row(key, NOW - timedelta(minutes=61), **away))
    assert reports.turned_away(RequestRecord.objects.all(), NOW) == Away(3, 4)
    for minutes in range(5, 9):
        RequestRecord.objects.create(**row(key, NOW - timedelta(minutes=minutes), **away))
    with CaptureQueriesContext(connection) as asked:
        assert reports.turned_away(RequestRecord.objects.all(), NOW) == Away(5, 6)
    assert len(asked) == 1 and "LIMIT 6" in asked[0]["sql"]
    assert Away(3, 300).is_much and not Away(3, 301).is_much and not Away(2, 2).is_much
