"""Budgets: nothing is spent over, nothing is refused that fits, and every hold ends."""

from __future__ import annotations

import uuid
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import IntegrityError, transaction
from django.utils import timezone

from tenants import ids, journal
from tenants.asks import Ask
from tenants.ledger import write
from tenants.models import Alert, ApiKey, Budget, BudgetWindow, Hold, Holder, KeySecret, RequestRecord, Tenant
from tenants.values import BudgetRule, Mode, State
from tests.conftest import issue

DOLLAR = 10**9
WORKER = uuid.UUID(int=7)


@pytest.fixture
def key(key: ApiKey) -> ApiKey:
    Holder.objects.see(WORKER)
    return key


def rules(key: ApiKey) -> tuple[BudgetRule, ...]:
    return Budget.objects.rules_of(ApiKey.objects.get(pk=key.pk))


def ask(key: ApiKey, nanos: int, **more: Any) -> Ask:
    """A hold of exactly so much, if nothing else is said."""
    request_id = more.pop("request_id", None) or ids.uuid7()
    at = more.pop("at", None) or timezone.now()
    sizes = {"fixed_nanos": nanos, "token_nanos": 0, "most": 1, "least": 1, **more}
    return Ask(request_id=request_id, at=at, rules=rules(key), **sizes)


def reserve(*asks: Ask, again: bool = False) -> list[bool]:
    return [verdict.tokens is not None for verdict in Hold.objects.reserve(WORKER, asks, again)]


def ended(key: ApiKey, request_id: uuid.UUID, directory: Path, **columns: Any) -> None:
    """The ledger writes this request's final row."""
    write([row(key, request_id, **columns)], {}, directory)


def row(key: ApiKey, request_id: uuid.UUID, **columns: Any) -> dict[str, Any]:
    usual = {"tenant_id": key.tenant_id, "key_id": key.pk, "mode": "live", "dialect": "chat", "queue_us": 5}
    return {"id": request_id, "state": State.SETTLED, "status": 200, **usual, **columns}


def sums() -> list[tuple[int, int]]:
    """Spent and held of every window, which is what its holds say."""
    for window in BudgetWindow.objects.all():
        held = sum(window.holds.filter(state=Hold.OPEN).values_list("amount_nanos", flat=True))
        assert window.reserved_nanos == held
    return list(BudgetWindow.objects.order_by("pk").values_list("spent_nanos", "reserved_nanos"))


def test_what_fits_is_held_to_the_last_nano_dollar(key: ApiKey) -> None:
    Budget.objects.give(key, "total", DOLLAR)
    assert reserve(ask(key, DOLLAR - 1), ask(key, 2), ask(key, 1), ask(key, 1)) == [True, False, True, False]
    assert sums() == [(0, DOLLAR)]


def test_every_budget_of_key_and_tenant_must_have_room_or_none_is_touched(key: ApiKey, acme: Tenant) -> None:
    Budget.objects.give(acme, "month", 100)
    Budget.objects.give(key, "day", 1000)
    Budget.objects.give(key, "total", 50)
    assert reserve(ask(key, 40), ask(key, 40)) == [True, False]
    assert sums() == [(0, 40)] * 3
    assert Hold.objects.count() == 3


def test_another_tenants_budget_holds_nobody_here(key: ApiKey) -> None:
    other = Tenant.objects.create(slug="mallory", name="Mallory")
    Budget.objects.give(other, "total", 0)
    assert rules(key) == ()
    assert reserve(ask(key, DOLLAR)) == [True]


def test_a_test_key_has_no_budgets(acme: Tenant) -> None:
    Budget.objects.give(acme, "total", 0)
    issue(acme, Mode.TEST)
    assert KeySecret.objects.get().as_caller().budgets == ()


def test_a_refusal_says_how_each_budget_stands(key: ApiKey, acme: Tenant) -> None:
    acme.time_zone = "Europe/Berlin"
    acme.save()
    key.refresh_from_db()
    Budget.objects.give(acme, "month", 100)
    at = datetime(2026, 11, 30, 23, 30, tzinfo=UTC)  # December there
    reserve(ask(key, 30, at=at))
    (verdict,) = Hold.objects.reserve(WORKER, [ask(key, 80, at=at)])
    (standing,) = verdict.standings
    assert (verdict.tokens, verdict.nanos) == (None, 80)
    assert (standing.rule.scope, standing.limit, standing.spent, standing.held, standing.left) == (
        "tenant",
        100,
        0,
        30,
        70,
    )
    assert (standing.first_day, standing.resets_at) == (date(2026, 12, 1), datetime(2026, 12, 31, 23, tzinfo=UTC))


def test_as_many_tokens_as_fit_are_granted_if_they_are_enough(key: ApiKey) -> None:
    Budget.objects.give(key, "total", 10_000)
    sizes = {"token_nanos": 3, "most": 5_000}
    (verdict,) = Hold.objects.reserve(WORKER, [ask(key, 1_000, least=3_001, **sizes)])
    assert verdict.tokens is None
    (verdict,) = Hold.objects.reserve(WORKER, [ask(key, 1_000, least=1_024, **sizes)])
    assert (verdict.tokens, verdict.nanos) == (3_000, 10_000)
    assert sums() == [(0, 10_000)]


def test_asking_twice_with_one_id_holds_once(key: ApiKey) -> None:
    Budget.objects.give(key, "total", 100)
    same = ask(key, 60)
    assert reserve(same) == reserve(same, again=True) == [True]
    assert sums() == [(0, 60)]


def test_asked_anew_by_mistake_it_holds_nothing_more(key: ApiKey) -> None:
    Budget.objects.give(key, "total", 1000)
    same = ask(key, 60)
    reserve(same)
    with pytest.raises(IntegrityError), transaction.atomic():
        reserve(ask(key, 10), same)
    assert sums() == [(0, 60)]


def test_a_failure_in_the_middle_leaves_nothing(key: ApiKey, monkeypatch: pytest.MonkeyPatch) -> None:
    Budget.objects.give(key, "total", 100)
    monkeypatch.setattr("tenants.spending.bulk.insert", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        reserve(ask(key, 60))
    assert sums() == [(0, 0)]


def test_a_final_record_is_charged_its_cost_once_in_every_window(key: ApiKey, acme: Tenant, tmp_path: Path) -> None:
    Budget.objects.give(acme, "month", DOLLAR)
    Budget.objects.give(key, "day", DOLLAR)
    request_id = ids.uuid7()
    reserve(ask(key, 500, request_id=request_id), ask(key, 200, request_id=request_id, part=1))
    assert sums() == [(0, 700)] * 2
    for _ in range(3):
        ended(key, request_id, tmp_path, cost_nanos=321)
    assert sums() == [(321, 0)] * 2
    assert not Hold.objects.exists()


@pytest.mark.parametrize(
    ("columns", "charged"),
    [
        ({"state": State.REFUSED, "queue_us": None}, 0),
        ({"state": State.CANCELLED, "queue_us": None}, 0),
        ({"state": State.INTERRUPTED, "queue_us": None}, 0),
        ({"state": State.FAILED}, 0),
        ({"state": State.INTERRUPTED}, 500),
        ({"state": State.CANCELLED, "usage_source": "bound"}, 500),
        ({"state": State.CANCELLED, "usage_source": "bound", "cost_nanos": 20}, 20),
        ({"state": State.SETTLED, "cost_nanos": 0}, 0),
        ({"state": State.SETTLED, "cost_nanos": 700}, 700),
    ],
)
def test_what_an_end_costs(key: ApiKey, tmp_path: Path, columns: dict[str, Any], charged: int) -> None:
    Budget.objects.give(key, "total", DOLLAR)
    request_id = ids.uuid7()
    reserve(ask(key, 500, request_id=request_id))
    ended(key, request_id, tmp_path, **columns)
    assert sums() == [(charged, 0)]


def test_a_provisional_row_settles_nothing(key: ApiKey, tmp_path: Path) -> None:
    Budget.objects.give(key, "total", DOLLAR)
    request_id = ids.uuid7()
    reserve(ask(key, 500, request_id=request_id))
    ended(key, request_id, tmp_path, state=State.SENT)
    assert sums() == [(0, 500)]


def test_a_cost_belongs_to_the_window_open_at_admission(key: ApiKey, tmp_path: Path) -> None:
    Budget.objects.give(key, "day", DOLLAR)
    yesterday = ask(key, 500, at=timezone.now() - timedelta(days=1))
    reserve(yesterday, ask(key, 300))
    ended(key, yesterday.request_id, tmp_path, cost_nanos=77)
    old, new = BudgetWindow.objects.order_by("first_day")
    assert (old.spent_nanos, old.reserved_nanos, new.spent_nanos, new.reserved_nanos) == (77, 0, 0, 300)


def test_a_limit_below_what_is_spent_refuses_from_then_on(key: ApiKey, tmp_path: Path) -> None:
    budget = Budget.objects.give(key, "total", 1000)
    first = ask(key, 800)
    reserve(first)
    ended(key, first.request_id, tmp_path, cost_nanos=800)
    budget.change(100)
    assert reserve(ask(key, 1)) == [False]
    budget.change(801)
    assert reserve(ask(key, 1)) == [True]


def test_moving_to_another_time_zone_forgets_nothing(key: ApiKey, acme: Tenant) -> None:
    Budget.objects.give(key, "month", 100)
    at = datetime(2026, 11, 15, 12, tzinfo=UTC)
    assert reserve(ask(key, 90, at=at)) == [True]
    acme.time_zone = "Pacific/Auckland"
    acme.save()
    assert reserve(ask(key, 90, at=at)) == [False]


def test_a_removed_budget_holds_nobody_and_settles_what_it_held(key: ApiKey, tmp_path: Path) -> None:
    budget = Budget.objects.give(key, "total", 100)
    first = ask(key, 90)
    reserve(first)
    budget.remove(by="Bob")
    assert rules(key) == ()
    ended(key, first.request_id, tmp_path, cost_nanos=50)
    assert sums() == [(50, 0)]


def test_a_hold_that_was_never_sent_is_released(key: ApiKey) -> None:
    Budget.objects.give(key, "total", 100)
    request_id = ids.uuid7()
    reserve(ask(key, 40, request_id=request_id), ask(key, 50, request_id=request_id, part=1))
    Hold.objects.release([(request_id, 1)])
    assert sums() == [(0, 40)]
    Hold.objects.release([(request_id, 1), (request_id, 0)])
    assert sums() == [(0, 0)]


def test_a_crash_after_it_was_sent_is_charged_at_the_hold(key: ApiKey, tmp_path: Path) -> None:
    Budget.objects.give(key, "total", DOLLAR)
    sent, waiting = ask(key, 500), ask(key, 300)
    reserve(sent, waiting)
    columns = row(key, sent.request_id, queue_us=None, state=State.ADMITTED, held_nanos=500)
    del columns["id"]
    rows = [
        journal.as_row(sent.request_id, {**columns, "state": State.SENT, "queue_us": 9}, ended=False),
        journal.as_row(waiting.request_id, {**columns, "held_nanos": 300}, ended=False),
    ]
    for _ in range(3):
        write(rows, {}, tmp_path)
    assert sums() == [(500, 0)]
    found = RequestRecord.objects.values_list("state", "cost_nanos", "usage_source").order_by("pk")
    assert list(found) == [("interrupted", 500, "bound"), ("interrupted", None, "")]


class TestAHostThatNeverComesBack:
    @pytest.fixture
    def lost(self, key: ApiKey) -> Ask:
        Budget.objects.give(key, "total", DOLLAR)
        lost = ask(key, 500)
        reserve(lost)
        return lost

    def silence(self) -> None:
        Holder.objects.update(seen_at=timezone.now() - timedelta(minutes=6))

    def test_is_left_alone_while_it_is_seen(self, lost: Ask) -> None:
        assert Hold.objects.lapse() == 0
        assert sums() == [(0, 500)]

    def test_is_charged_at_its_holds(self, lost: Ask) -> None:
        self.silence()
        assert Hold.objects.lapse() == 1
        assert Hold.objects.lapse() == 0
        assert sums() == [(500, 0)]
        assert not Holder.objects.exists()

    def test_is_corrected_if_the_record_arrives(self, lost: Ask, key: ApiKey, tmp_path: Path) -> None:
        self.silence()
        Hold.objects.lapse()
        for _ in range(2):
            ended(key, lost.request_id, tmp_path, cost_nanos=123)
        assert sums() == [(123, 0)]
        assert not Hold.objects.exists()

    def test_settles_by_the_record_where_there_is_one(self, lost: Ask, key: ApiKey) -> None:
        RequestRecord.objects.create(**row(key, lost.request_id, state=State.CANCELLED, queue_us=None))
        self.silence()
        assert Hold.objects.lapse() == 1
        assert sums() == [(0, 0)]


def test_whoever_crosses_a_threshold_is_told_of_once(key: ApiKey, acme: Tenant, tmp_path: Path) -> None:
    acme.alert_emails = "bob@acme.example\ncarol@acme.example"
    acme.alert_webhook = "https://acme.example/hook"
    acme.save()
    budget = Budget.objects.give(key, "total", 1000)
    expected = []
    for cost, threshold in [(499, None), (1, 50), (200, None), (290, 80), (10, 100), (500, None)]:
        one = ask(key, 1)
        budget.change(10**6)  # room for the hold, whatever is spent
        assert reserve(one) == [True]
        budget.change(1000)
        ended(key, one.request_id, tmp_path, cost_nanos=cost)
        expected += [threshold] * 3 if threshold else []
        assert sorted(Alert.objects.values_list("threshold", flat=True)) == expected


def test_an_alert_that_cannot_be_put_out_undoes_the_settlement(
    key: ApiKey, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Budget.objects.give(key, "total", 10)
    one = ask(key, 10)
    reserve(one)
    monkeypatch.setattr(type(Alert.objects.all()), "raise_for", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        ended(key, one.request_id, tmp_path, cost_nanos=10)
    assert sums() == [(0, 10)]
    assert not RequestRecord.objects.exists()


def test_a_sum_that_is_not_that_of_its_holds_is_named_and_set_right(
    key: ApiKey, capsys: pytest.CaptureFixture[str]
) -> None:
    Budget.objects.give(key, "total", DOLLAR)
    reserve(ask(key, 300))
    call_command("budgets", "--check")
    BudgetWindow.objects.update(reserved_nanos=301)
    with pytest.raises(CommandError, match="1 windows do not agree"):
        call_command("budgets", "--check")
    call_command("budgets", "--repair")
    assert sums() == [(0, 300)]
    call_command("budgets")
    assert "0.000000300 held of 1.000000000 USD" in capsys.readouterr().out
