"""Many rows at once: what is written by the short way reads back as if the ORM had written it."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import IntegrityError, transaction
from django.utils import timezone

from tenants import bulk, ids
from tenants.models import ApiKey, RequestRecord, UsageDay
from tenants.values import State, UsageSource

pytestmark = pytest.mark.django_db

FULL: dict[str, Any] = {
    "state": State.SETTLED,
    "status": 200,
    "dialect": "chat",
    "streamed": True,
    "alias": "caf\u00e9 \U0001f9ea 'quoted' \"twice\" \\ % %s \u2028",
    "usage_source": UsageSource.BOUND,
    "cost_nanos": 2**63 - 1,
    "input_tokens": 2**40,
    "cost_lines": [{"class": "input", "why": "50 % 'off' \\u0041", "nested": {"deep": [1, None, 1.5]}}],
    "tags": {"team": "\u540d"},
    "replay_of": ids.uuid7(),
    "upstream_id": "req_1",
    "remote_address": "2001:db8::1",
    "total_us": 0,
}
EMPTY: dict[str, Any] = dict.fromkeys(("cost_nanos", "cost_lines", "tags", "upstream_id", "remote_address"))


def record(key: ApiKey, **columns: Any) -> RequestRecord:
    return RequestRecord(tenant_id=key.tenant_id, key_id=str(key.pk), mode="live", **columns)


def told(pk: Any) -> dict[str, Any]:
    (values,) = RequestRecord.objects.filter(pk=pk).values()
    return values


def orm(record: RequestRecord) -> dict[str, Any]:
    """How the ORM would have stored it."""
    with transaction.atomic():
        record.save(force_insert=True)
        values = told(record.pk)
        transaction.set_rollback(True)
    return values


@pytest.mark.parametrize("columns", [FULL, EMPTY, {**FULL, **EMPTY}], ids=["full", "empty", "both"])
def test_an_inserted_row_is_what_the_orm_would_have_written(key: ApiKey, columns: dict[str, Any]) -> None:
    one = record(key, **columns)
    expected = orm(one)
    bulk.insert([vars(one)], RequestRecord)
    assert told(one.pk) == expected


@pytest.mark.parametrize(("first", "then"), [(EMPTY, FULL), (FULL, EMPTY), (FULL, FULL)])
def test_an_overwritten_row_too(key: ApiKey, first: dict[str, Any], then: dict[str, Any]) -> None:
    one, other = record(key, **first), record(key, **first)
    changed = record(key, **then, id=one.pk)
    expected, untouched = orm(changed), orm(other)
    bulk.insert([vars(one), vars(other)], RequestRecord)
    bulk.update([vars(changed)], RequestRecord)
    assert (told(one.pk), told(other.pk)) == (expected, untouched)


def test_a_row_that_is_not_there_is_not_made_by_overwriting(key: ApiKey) -> None:
    bulk.update([vars(record(key, **FULL))], RequestRecord)
    bulk.update([], RequestRecord)
    bulk.insert([], RequestRecord)
    assert not RequestRecord.objects.exists()


def test_rows_that_are_there_are_not_inserted_again_and_nor_is_what_came_with_them(key: ApiKey) -> None:
    one, other = record(key), record(key)
    bulk.insert([vars(one)], RequestRecord)
    with pytest.raises(IntegrityError), transaction.atomic():
        bulk.insert([vars(other), vars(one)], RequestRecord)
    assert RequestRecord.objects.count() == 1


def test_numbers_that_the_database_counts_up_are_left_to_it(key: ApiKey) -> None:
    days = [
        UsageDay(tenant_id=key.tenant_id, key_id=key.pk, day=timezone.now().date(), model=model, total_times={"4": 2})
        for model in ("one", "two")
    ]
    bulk.insert(map(vars, days), UsageDay)
    stored = list(UsageDay.objects.order_by("model"))
    assert [day.model for day in stored] == ["one", "two"]
    stored[1].requests, stored[1].total_times = 2**50, {"7": 1}
    bulk.update([vars(stored[1])], UsageDay)
    assert list(UsageDay.objects.order_by("model").values_list("requests", "total_times")) == [
        (0, {"4": 2}),
        (2**50, {"7": 1}),
    ]
