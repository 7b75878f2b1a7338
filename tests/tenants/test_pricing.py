"""The site's own prices: validated, dated, audited, and heard by every worker."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.core.exceptions import ValidationError
from django.utils import timezone

from tenants import pricing
from tenants.models import AuditEvent, Installation, ModelPrice
from tenants.values import Usage
from tests import wire
from tests.conftest import Stage

DOLLARS = {"input": 1, "cache_write_5m": 2, "cache_write_1h": 3, "cache_read": "0.137500", "output": 5}


def price(model: str = "claude-opus-5-5", **more: Any) -> ModelPrice:
    amounts = {name: Decimal(amount) for name, amount in {**DOLLARS, **more.pop("dollars", {})}.items()}
    return ModelPrice(model=model, **{"starts_at": timezone.now() - timedelta(days=1), **amounts, **more})


@pytest.mark.parametrize(
    "wrong",
    [
        {"dollars": {"input": -1}},
        {"dollars": {"output": "0.0000001"}},
        {"dollars": {"output": "1000000"}},
        {"long_above": 5},
        {"long_multiplier": Decimal(5)},
        {"fast_multiplier": Decimal("0.5")},
        {"us_multiplier": Decimal("0.9")},
        {"model": ""},
    ],
)
def test_a_price_that_makes_no_sense_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        price(**wrong).full_clean(validate_unique=False, validate_constraints=False)


def test_a_price_is_whole_pico_dollars() -> None:
    row = price(long_above=100, long_multiplier=Decimal(5), fast_multiplier=Decimal(2)).as_row()
    assert (row.rates.input, row.rates.cache_read, row.web_search) == (1_000_000, 137_500, 10**10)
    tariff = row.tariff(frozenset({"fast", "us"}))
    assert tariff and tariff.bill(Usage(output=1)).nanos == 11_000
    assert tariff.bill(Usage(input=101, output=1)).nanos == (101 * 1_000 + 5_000) * 11


def test_fast_without_a_multiplier_is_not_offered() -> None:
    assert price().as_row().tariff(frozenset({"fast"})) is None


@pytest.mark.django_db
def test_a_change_is_counted_and_on_the_trail() -> None:
    Installation.objects.all().delete()  # not even a site that nobody has started loses the first change
    before = Installation.current_revision()
    row = price()
    row.save()
    row.delete()
    assert Installation.current_revision() == before + 2
    told = list(AuditEvent.objects.filter(action__startswith="price.").order_by("seq").values_list("action", flat=True))
    assert told == ["price.created", "price.deleted"]


@pytest.mark.django_db
def test_what_holds_is_the_own_price_once_it_has_begun() -> None:
    now = datetime(2026, 11, 22, tzinfo=UTC)
    price(starts_at=now).save()
    price("claude-next", starts_at=now).save()
    earlier = {row.model: row.origin for row in pricing.effective(now - timedelta(seconds=1))}
    later = {row.model: row.origin for row in pricing.effective(now)}
    assert (earlier["claude-opus-5-5"], "claude-next" in earlier) == ("built in", False)
    assert (later["claude-opus-5-5"], later["claude-next"]) == ("site's own", "site's own")
    assert len(later) == len(earlier) + 1 > 15


async def test_every_worker_takes_a_new_price_from_its_next_poll(stage: Stage) -> None:
    stage.play(lambda _: wire.streamed(*wire.answer("Hi")))
    await stage.client.chat()
    own = price("claude-sonnet-5-5", dollars={"input": 1_000, "output": 0})
    await sync_to_async(own.save)()
    await stage.app._gate.poll()
    await stage.client.chat()
    await sync_to_async(own.delete)()
    await stage.app._gate.poll()
    await stage.client.chat()
    built_in, changed, again = [record.cost_nanos for record in await stage.records()]
    assert changed == 11 * 1_000_000
    assert built_in == again == 11 * 2_000 + 7 * 10_000
