"""Our price table says what genai-prices says, which others keep; where it does not, the reason stands here."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import genai_prices
import pytest

from bridge import catalog
from bridge.prices import Prices
from tenants.values import Usage

MODELS = {model.id: model for model in catalog.load().models}
PRICES = Prices(catalog.load())
# Models or terms on which the two are known to differ.
UNLISTED = {
    "claude-mythos-5-1": "restricted; genai-prices 0.2.3 does not list it",
    "claude-mythos-5": "restricted; genai-prices 0.2.3 does not list it",
}
FAST = frozenset({"fast"})
USAGES = {
    "short": Usage(input=50_001, cache_write_5m=3_003, cache_read=7_007, output=1_001),
    "of an hour": Usage(input=50_001, cache_write_1h=3_003, output=1_001),
    "long": Usage(input=150_001, cache_write_5m=3_003, cache_read=7_007, output=1_001),
    "searched": Usage(input=1_001, output=1, web_searches=7),
}


def theirs(model: str, usage: Usage, at: datetime, **context: str) -> Decimal:
    """Their price in dollars: `input_tokens` is the whole prompt there, and cache writes of both kinds are one."""
    counts: dict[str, Any] = {"input_tokens": usage.prompt, "output_tokens": usage.output}
    counts["cache_write_tokens"] = usage.cache_write_5m + usage.cache_write_1h
    counts["cache_write_1h_tokens"] = usage.cache_write_1h
    counts |= {"cache_read_tokens": usage.cache_read, "web_searches": usage.web_searches}
    found = genai_prices.calc_price(
        genai_prices.Usage(**{name: count for name, count in counts.items() if count}),
        model_ref=model,
        provider_id="anthropic",
        genai_request_timestamp=at,
        price_context=context or None,
    )
    return found.total_price


def ours(model: str, usage: Usage, at: datetime) -> Decimal:
    bill = PRICES.bill(usage, model, at)
    return Decimal(sum(line["pico"] for line in bill.lines)) / 10**12


@pytest.mark.parametrize("usage", USAGES)
@pytest.mark.parametrize("model", [model for model in MODELS if model not in UNLISTED])
def test_the_two_tables_agree(model: str, usage: str) -> None:
    at = datetime.combine(MODELS[model].prices[-1].checked or datetime.now(UTC), datetime.min.time(), UTC)
    assert ours(model, USAGES[usage], at) == theirs(model, USAGES[usage], at)


@pytest.mark.parametrize("model", [model for model in MODELS if "fast" in MODELS[model].prices[-1].factors])
def test_they_agree_on_fast(model: str) -> None:
    at = datetime(2026, 11, 22, tzinfo=UTC)
    fast = USAGES["short"].but(terms=FAST)
    assert ours(model, fast, at) == theirs(model, fast, at, speed="fast")


def test_before_a_price_change_they_keep_only_what_came_after() -> None:
    """Sonnet 5.5's cache reads were cut from 0.20 to 0.10 on 7 October 2026 (release notes); they list the latter."""
    day = MODELS["claude-sonnet-5-5"].prices[-1].starts
    before = day - timedelta(seconds=1)
    read = Usage(cache_read=1_000_000)
    assert ours("claude-sonnet-5-5", read, day) == theirs("claude-sonnet-5-5", read, day) == Decimal("0.1")
    assert (ours("claude-sonnet-5-5", read, before), theirs("claude-sonnet-5-5", read, before)) == (
        Decimal("0.2"),
        Decimal("0.1"),
    )


@pytest.mark.parametrize("model", UNLISTED)
def test_what_they_do_not_list_is_still_unlisted(model: str) -> None:
    with pytest.raises(LookupError):
        theirs(model, USAGES["short"], datetime(2026, 11, 22, tzinfo=UTC))
