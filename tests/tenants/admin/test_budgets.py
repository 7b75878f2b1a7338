"""Budgets in the console: given, seen where they stand, changed, removed; by whom they may be."""

from __future__ import annotations

import pytest
from django.test import Client
from django.utils import timezone

from tenants import windows
from tenants.models import AuditEvent, Budget, BudgetWindow, Issued, Tenant, User
from tests.tenants.admin.conftest import allowed

ADD = "/admin/tenants/budget/add/"
DOLLAR = 10**9


def spend(budget: Budget, spent: int, held: int = 0) -> None:
    first_day = windows.first_day(budget.window, timezone.now(), budget.tenant.time_zone)
    BudgetWindow.objects.create(budget=budget, first_day=first_day, spent_nanos=spent, reserved_nanos=held)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"limit_usd": ""}, "This field is required"),
        ({"limit_usd": "-1"}, "greater than or equal to 0"),
        ({"limit_usd": "0.0000000001"}, "no more than 9 decimal places"),
        ({"limit_usd": "1000000001"}, "less than or equal to"),
        ({"limit_usd": "NaN"}, "Enter a number"),
        ({"window": "year"}, "Select a valid choice"),
        ({"tenant": ""}, "This field is required"),
    ],
)
def test_what_makes_no_sense_is_said(as_alice: Client, acme: Tenant, changes: dict[str, str], says: str) -> None:
    good = {"tenant": str(acme.pk), "key": "", "window": "month", "limit_usd": "100"}
    assert says in as_alice.post(ADD, {**good, **changes}).content.decode()
    assert not Budget.objects.exists()


def test_a_key_of_another_tenant_is_refused(as_alice: Client, acme: Tenant, mallorys_key: Issued) -> None:
    form = {"tenant": acme.pk, "key": str(mallorys_key.row.pk), "window": "day", "limit_usd": "1"}
    assert "belongs to another tenant" in as_alice.post(ADD, form).content.decode()


def test_a_budget_is_given_and_on_the_trail(as_alice: Client, acme: Tenant, bobs_key: Issued) -> None:
    form = {"tenant": acme.pk, "key": str(bobs_key.row.pk), "window": "month", "limit_usd": "12.000000001"}
    assert as_alice.post(ADD, form).status_code == 302
    budget = Budget.objects.get()
    assert (budget.limit_nanos, budget.key_id, budget.created_by) == (12 * DOLLAR + 1, bobs_key.row.pk, "alice")
    assert AuditEvent.objects.filter(action="budget.created", object_label="key budget, month").count() == 1


def test_pages_say_how_it_stands_in_words(as_alice: Client, acme: Tenant, bobs_key: Issued) -> None:
    spend(Budget.objects.give(acme, "total", 100 * DOLLAR), 41_200_000_000, 5 * DOLLAR)
    spend(Budget.objects.give(bobs_key.row, "total", 10 * DOLLAR), DOLLAR // 2)
    listed = as_alice.get("/admin/tenants/budget/").content.decode()
    assert "$41.20 of $100, $5 held" in listed and "<meter" in listed
    assert "$41.20 of $100" in as_alice.get(f"/admin/tenants/tenant/{acme.pk}/change/").content.decode()
    assert "$0.50 of $10" in as_alice.get(f"/admin/tenants/apikey/{bobs_key.row.pk}/change/").content.decode()


def test_a_window_that_is_over_counts_no_more(as_alice: Client, acme: Tenant) -> None:
    budget = Budget.objects.give(acme, "day", 100 * DOLLAR)
    BudgetWindow.objects.create(budget=budget, first_day="2026-01-01", spent_nanos=99 * DOLLAR)
    assert "$0 of $100, resets" in as_alice.get("/admin/tenants/budget/").content.decode()


def test_a_limit_is_changed(as_alice: Client, acme: Tenant) -> None:
    budget = Budget.objects.give(acme, "month", DOLLAR)
    page = f"/admin/tenants/budget/{budget.pk}/change/"
    assert 'value="1"' in as_alice.get(page).content.decode()
    assert as_alice.post(page, {"limit_usd": "0.25", "window": "day", "tenant": "9"}).status_code == 302
    budget.refresh_from_db()
    assert (budget.limit_nanos, budget.window, budget.tenant_id) == (DOLLAR // 4, "month", acme.pk)


def test_a_removed_budget_stays_as_history(as_alice: Client, acme: Tenant) -> None:
    budget = Budget.objects.give(acme, "month", DOLLAR)
    assert as_alice.post(f"/admin/tenants/budget/{budget.pk}/remove/", {"reason": "merged"}).status_code == 302
    budget.refresh_from_db()
    assert budget.removed_at and budget.removed_by == "alice"
    assert as_alice.get(f"/admin/tenants/budget/{budget.pk}/change/").status_code == 200
    assert as_alice.post(f"/admin/tenants/budget/{budget.pk}/change/", {"limit_usd": "5"}).status_code == 403
    assert AuditEvent.objects.filter(action="budget.removed").exists()


def test_carol_looks_and_changes_nothing(as_carol: Client, carol: User, acme: Tenant) -> None:
    budget = Budget.objects.give(acme, "month", DOLLAR)
    assert as_carol.get("/admin/tenants/budget/").status_code == 403
    allowed(carol, "view_budget", "view_tenant")
    assert as_carol.get("/admin/tenants/budget/").status_code == 200
    for page in (f"/admin/tenants/budget/{budget.pk}/change/", f"/admin/tenants/budget/{budget.pk}/remove/", ADD):
        assert as_carol.post(page, {"limit_usd": "5", "reason": "x"}).status_code == 403
    page = as_carol.get(f"/admin/tenants/tenant/{acme.pk}/change/").content.decode()
    assert "whsec_" not in page


def test_whoever_may_change_a_tenant_sees_its_webhook_secret(as_alice: Client, acme: Tenant) -> None:
    assert "whsec_" in as_alice.get(f"/admin/tenants/tenant/{acme.pk}/change/").content.decode()


def test_time_zones_and_places_of_alerts_are_checked(as_alice: Client, acme: Tenant) -> None:
    form = {
        "name": "Acme",
        "slug": "acme",
        "time_zone": "Mars",
        "alert_emails": "bob",
        "alert_webhook": "http://a.example",
    }
    page = as_alice.post(f"/admin/tenants/tenant/{acme.pk}/change/", form).content.decode()
    assert "is no time zone" in page
    assert "valid email address" in page
    assert "An https address" in page
