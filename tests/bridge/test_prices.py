"""What upstream charges: the built-in table, dates, terms, and the site's own prices."""

from __future__ import annotations

from datetime import UTC, date, datetime
from fractions import Fraction

import pytest

from bridge import catalog
from bridge.prices import Prices, asked_terms, dearest_terms
from tenants.money import Factor, PriceRow, Rates
from tenants.values import Usage

NOW = datetime(2026, 11, 22, tzinfo=UTC)
CATALOG = catalog.load()


@pytest.fixture
def prices() -> Prices:
    return Prices(CATALOG)


def own(model: str = "claude-opus-5", starts: datetime = NOW, **dollars: int) -> PriceRow:
    listed = {"input": 1, "cache_write_5m": 2, "cache_write_1h": 3, "cache_read": 0, "output": 5, **dollars}
    return PriceRow(model, starts, Rates.per_million(listed), factors={"us": Factor(Fraction(1), Fraction(1))})


def test_a_model_that_nobody_has_priced_has_no_price(prices: Prices) -> None:
    assert prices.tariff("claude-next", NOW) is None
    bill = prices.bill(Usage(input=5), "claude-next", NOW)
    assert bill.nanos is None and bill.lines[0]["why"] == "No price is known for claude-next."


def test_a_model_had_no_price_before_it_was_released(prices: Prices) -> None:
    assert prices.tariff("claude-haiku-5-5", datetime(2026, 10, 6, 23, 59, tzinfo=UTC)) is None
    assert prices.tariff("claude-haiku-5-5", datetime(2026, 10, 7, tzinfo=UTC))


def test_a_term_that_a_model_does_not_offer_has_no_price(prices: Prices) -> None:
    bill = prices.bill(Usage(output=1, terms=frozenset({"fast"})), "claude-sonnet-5-5", NOW)
    assert bill.nanos is None and "(fast)" in bill.lines[0]["why"]


@pytest.mark.parametrize("name", ["claude-haiku-4-5", "claude-haiku-4-5-20251001", "claude-haiku-5-5-20261007"])
def test_every_name_of_a_model_has_its_price(prices: Prices, name: str) -> None:
    assert prices.tariff(name, NOW)


def test_a_price_change_counts_from_its_day(prices: Prices) -> None:
    before, after = datetime(2026, 10, 6, 23, 59, 59, tzinfo=UTC), datetime(2026, 10, 7, tzinfo=UTC)
    read = [prices.bill(Usage(cache_read=1_000_000), "claude-sonnet-5-5", at).nanos for at in (before, after)]
    assert read == [200_000_000, 100_000_000]


def test_a_long_prompt_of_haiku_reprices_everything(prices: Prices) -> None:
    tariff = prices.tariff("claude-haiku-5-5", NOW)
    assert tariff is not None
    short = tariff.bill(Usage(input=60_000, cache_read=40_000, output=1_000))
    long = tariff.bill(Usage(input=60_000, cache_read=40_001, output=1_000))
    assert short.nanos == 60_000 * 100 + 40_000 * 10 + 1_000 * 500
    assert long.nanos == 60_000 * 500 + 40_001 * 50 + 1_000 * 2_500
    assert {line["terms"] for line in long.lines} == {"long prompt"}


def test_fast_doubles_and_home_is_a_tenth_more(prices: Prices) -> None:
    usage = Usage(input=1_000_000, cache_read=1_000_000, output=1_000_000, terms=frozenset({"fast", "us"}))
    assert prices.bill(usage, "claude-opus-5-5", NOW).nanos == (8_000_000_000 + 400_000_000 + 40_000_000_000) * 11 // 10


def test_the_model_that_answered_is_billed(prices: Prices) -> None:
    assert prices.bill(Usage(output=1_000, model="claude-opus-4-8"), "claude-fable-5", NOW).nanos == 25_000_000


def test_a_name_that_only_upstream_knows_is_taken_for_the_model_that_was_asked(prices: Prices) -> None:
    assert prices.bill(Usage(output=1_000, model="opus-5-build-7"), "claude-opus-5", NOW).nanos == 25_000_000


def test_a_site_price_wins_from_its_first_day(prices: Prices) -> None:
    prices.override([own(starts=NOW)])
    assert prices.bill(Usage(output=1), "claude-opus-5", NOW).nanos == 5_000
    assert prices.bill(Usage(output=1), "claude-opus-5", datetime(2026, 11, 21, tzinfo=UTC)).nanos == 25_000


def test_a_site_price_makes_an_unknown_model_priced_and_taking_it_back_undoes_that(prices: Prices) -> None:
    prices.override([own("claude-next")])
    assert prices.tariff("claude-next", NOW)
    prices.override([])
    assert prices.tariff("claude-next", NOW) is None


def test_a_site_price_under_an_alias_is_the_models(prices: Prices) -> None:
    prices.override([own("claude-haiku-4-5")])
    assert prices.bill(Usage(output=1), "claude-haiku-4-5-20251001", NOW).nanos == 5_000


def test_a_request_names_its_terms_and_where_it_does_not_the_workspace_may_name_the_region() -> None:
    cases: list[tuple[dict[str, str], set[str], set[str]]] = [
        ({}, set(), {"us"}),
        ({"inference_geo": "global", "speed": "fast"}, {"fast"}, {"fast"}),
        ({"inference_geo": "us", "speed": "standard"}, {"us"}, {"us"}),
    ]
    assert [(asked_terms(request), dearest_terms(request)) for request, *_ in cases] == [(a, d) for _, a, d in cases]


@pytest.mark.parametrize("model", CATALOG.models, ids=lambda model: model.id)
def test_every_built_in_price_was_checked_and_its_classes_are_in_order(model: catalog.Model) -> None:
    assert model.prices
    for row in model.prices:
        rates = row.rates
        assert row.checked and row.checked >= date(2026, 11, 1)
        assert rates.cache_read < rates.input < rates.cache_write_5m < rates.cache_write_1h <= rates.output
        assert row.web_search == 10_000_000_000
