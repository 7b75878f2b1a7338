"""Days of usage: the sums of the records, no more and no less, whatever is replayed."""

from __future__ import annotations

import json
import random
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from io import StringIO
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from django.core.management import CommandError, call_command
from django.db import OperationalError, connection
from django.db.models import Sum

from tenants import ids, journal, ledger
from tenants.journal import Journal
from tenants.models import ApiKey, RequestRecord, Tenant, UsageDay
from tenants.usage import COUNTED, SUMMED, bucket, quantile
from tenants.values import OPEN_STATES, State
from tests.conftest import issue

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


def at(moment: datetime) -> UUID:
    """An id made at that moment."""
    return UUID(int=ids.floor(moment).int | random.getrandbits(62))


def row(key: ApiKey, moment: datetime = NOON, **columns: Any) -> dict[str, Any]:
    settled = {"state": State.SETTLED, "status": 200, "model": "claude-opus-5", "mode": "live", "dialect": "chat"}
    return {"id": at(moment), "tenant_id": key.tenant_id, "key_id": str(key.pk), **settled, **columns}


def store(*rows: dict[str, Any]) -> None:
    ledger.write(list(rows), {}, Path("/nonexistent"))


def assert_equal_to_the_records() -> None:
    finals = RequestRecord.objects.exclude(state__in=OPEN_STATES)
    of_records = finals.aggregate(requests=Sum("count", default=0), **{name: Sum(name, default=0) for name in SUMMED})
    of_days = UsageDay.objects.summed()[0]
    assert {name: of_days[name] for name in of_records} == of_records


def test_nothing_is_counted_when_the_records_are_not_stored(key: ApiKey, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: Any) -> None:
        raise OperationalError("away")

    monkeypatch.setattr("tenants.ledger.KeySecret.objects.touch", away)
    with pytest.raises(OperationalError):
        store(row(key))
    assert not RequestRecord.objects.exists() and not UsageDay.objects.exists()


def test_records_are_not_stored_when_they_cannot_be_counted(key: ApiKey, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: Any) -> None:
        raise OperationalError("away")

    monkeypatch.setattr("tenants.ledger.UsageDay.objects.add", away)
    with pytest.raises(OperationalError):
        store(row(key))
    assert not RequestRecord.objects.exists()


def test_a_record_is_counted_when_it_becomes_final_and_never_again(key: ApiKey) -> None:
    final = row(key, output_tokens=5, cost_nanos=7)
    store({**final, "state": State.SENT, "output_tokens": 3, "cost_nanos": 3})
    assert not UsageDay.objects.exists()
    for _ in range(3):
        store(final)
    store({**final, "state": State.INTERRUPTED, "output_tokens": 9})
    day = UsageDay.objects.get()
    assert (day.requests, day.output_tokens, day.cost_nanos, day.errors) == (1, 5, 7, 0)


def test_a_day_is_the_utc_day_of_admission_for_each_key_and_model(key: ApiKey) -> None:
    midnight = NOON.replace(hour=0)
    store(row(key, midnight - timedelta(milliseconds=1)), row(key, midnight), row(key, midnight, model="claude-x"))
    found = UsageDay.objects.order_by("day", "model").values_list("day", "model", "requests")
    assert list(found) == [
        (date(2026, 11, 19), "claude-opus-5", 1),
        (date(2026, 11, 20), "claude-opus-5", 1),
        (date(2026, 11, 20), "claude-x", 1),
    ]


def test_ends_are_told_apart_and_refusals_recorded_together_count_as_many(key: ApiKey) -> None:
    states = [State.SETTLED, State.FAILED, State.INTERRUPTED, State.CANCELLED]
    store(*(row(key, state=state) for state in states), row(key, state=State.REFUSED, count=40))
    day = UsageDay.objects.get()
    assert {name: getattr(day, name) for name in COUNTED} == {
        "requests": 44,
        "refusals": 40,
        "errors": 2,
        "cancelled": 1,
        "unpriced": 0,
    }


def test_use_without_a_price_is_said_to_be_unpriced(key: ApiKey) -> None:
    store(row(key, input_tokens=1), row(key, input_tokens=1, cost_nanos=1), row(key, input_tokens=1, mode="test"))
    assert UsageDay.objects.get().unpriced == 1


def test_random_records_in_random_batches_add_up(key: ApiKey, acme: Tenant) -> None:
    chance = random.Random(4)
    issue(acme)
    keys = list(ApiKey.objects.all())
    rows = [
        row(
            chance.choice(keys),
            NOON - timedelta(hours=chance.randrange(72)),
            model=chance.choice(["", "claude-a", "claude-b"]),
            state=chance.choice(list(State)),
            count=chance.choice([1, 1, 1, 7]),
            **{name: chance.randrange(10**6) for name in SUMMED},
        )
        for _ in range(300)
    ]
    while rows:
        batch = chance.sample(rows, min(len(rows), chance.randrange(1, 60)))
        store(*batch)
        store(*chance.sample(batch, len(batch) // 2))  # replayed
        rows = [each for each in rows if each not in batch]
    assert_equal_to_the_records()
    assert UsageDay.objects.summed()[0]["cost_nanos"] > 10**6


def test_a_segment_that_is_found_three_times_counts_once(key: ApiKey, tmp_path: Path) -> None:
    book = Journal(tmp_path)
    columns = {name: value for name, value in row(key).items() if name not in ("id", "state", "status")}
    for number in range(20):
        entry = book.admit(ids.uuid7(), **columns)
        entry.sent(input_tokens=5)
        if number % 3:
            entry.close(state=State.SETTLED, status=200, output_tokens=number, cost_nanos=number)
    book._segment.hand_over()
    for _ in range(3):
        for orphan in journal.orphans(tmp_path):
            ledger.write(orphan.rows, {}, tmp_path)
            orphan.release()
        day = UsageDay.objects.get()
        assert (day.requests, day.errors, day.output_tokens) == (20, 7, sum(n for n in range(20) if n % 3))
    assert_equal_to_the_records()


def test_workers_that_write_at_the_same_time_lose_nothing(key: ApiKey) -> None:
    def work(seed: int) -> None:
        chance = random.Random(seed)
        try:
            for _ in range(10):
                store(*(row(key, model=f"claude-{chance.randrange(5)}", cost_nanos=1) for _ in range(10)))
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(work, seed) for seed in range(4)]:
            done.result()
    assert_equal_to_the_records()
    assert UsageDay.objects.summed()[0]["cost_nanos"] == 400


def test_quantiles_are_right_to_within_ten_percent() -> None:
    times: dict[str, int] = {}
    for microseconds in range(1000, 101_000, 100):
        times[bucket(microseconds)] = times.get(bucket(microseconds), 0) + 1
    assert quantile(times, 0.5) == pytest.approx(51_000, rel=0.1)
    assert quantile(times, 0.95) == pytest.approx(96_000, rel=0.1)
    assert quantile({}, 0.5) is None


def test_times_are_counted_of_what_was_answered(key: ApiKey) -> None:
    store(row(key, total_us=2**20, first_token_us=0), row(key, total_us=2**20), row(key, total_us=5, state="failed"))
    day = UsageDay.objects.get()
    assert (day.total_times, day.first_token_times) == ({"80": 2}, {"0": 1})


def usage(*args: str) -> str:
    out = StringIO()
    call_command("usage", *args, stdout=out)
    return out.getvalue()


@pytest.mark.django_db
@pytest.mark.parametrize("args", [["nobody"], ["acme", "--since", "yesterday"]])
def test_the_command_says_what_it_does_not_understand(acme: Tenant, args: list[str]) -> None:
    with pytest.raises(CommandError, match=r"nobody|accepts a day"):
        usage(*args)


def test_the_command_adds_up_days_models_and_keys(key: ApiKey) -> None:
    store(
        row(key, cost_nanos=1_500_000_001, input_tokens=1000),
        row(key, NOON - timedelta(days=1), model="claude-x", cost_nanos=1),
        row(key, NOON - timedelta(days=9), cost_nanos=5),
    )
    told = json.loads(usage("acme", "--since", "2026-11-19", "--until", "2026-11-20", "--json"))
    assert told["total"]["cost_usd"] == "1.500000002"
    assert [(day["day"], day["requests"]) for day in told["days"]] == [("2026-11-19", 1), ("2026-11-20", 1)]
    assert [model["model"] for model in told["models"]] == ["claude-opus-5", "claude-x"]
    assert [(each["name"], each["key"]) for each in told["keys"]] == [("a key", str(key.pk))]
    text = usage("acme")
    assert "2026-11-11" in text and text.splitlines()[-1].split()[0] == "Total" and "1.500000007" in text
