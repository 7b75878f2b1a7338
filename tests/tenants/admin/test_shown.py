"""How values read: money, durations, ages."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from tenants.admin import shown


@pytest.mark.parametrize(
    ("nanos", "text"),
    [
        (None, "—"),
        (0, "$0.000000"),
        (1, "$0.000000001"),
        (999, "$0.000000999"),
        (1_000, "$0.000001"),
        (1_234_567, "$0.001234"),
        (41_200_000_000, "$41.200000"),
        (1_234_567_000_000_000, "$1,234,567.000000"),
    ],
)
def test_money_is_dollars(nanos: int | None, text: str) -> None:
    assert shown.money(nanos) == text


def test_exact_money_leaves_nothing_out() -> None:
    assert shown.exact_money(41_200_000_001) == "$41.200000001"
    assert shown.exact_money(None) == "—"


@pytest.mark.parametrize(
    ("picos", "text"), [(137_500, "$0.1375"), (10_000, "$0.01"), (2_000_000, "$2.00"), (1, "$0.000001")]
)
def test_a_price_reads_as_in_a_price_list(picos: int, text: str) -> None:
    assert shown.per_million(picos) == text


def test_a_bill_shows_each_line_with_its_price_and_its_sum() -> None:
    line = {"class": "cache_read", "model": "m", "terms": "fast", "tokens": 1_200, "pico_per_token": 10_000}
    search = {"class": "web_search", "tokens": 3, "pico_per_token": 10**10, "pico": 3 * 10**10}
    unpriced = {"class": "unpriced", "tokens": 5, "pico": None, "why": "No price is known for <b>."}
    page = shown.cost_lines([{**line, "pico": 12_000_000}, search, unpriced])
    for text in ("cache read", "1,200", "$0.01", "$0.000012000000", "$10 per thousand", "$0.030000000000", "&lt;b&gt;"):
        assert text in page


@pytest.mark.parametrize("bill", [None, [], {"a": 1}, [1], "x"])
def test_what_is_no_bill_is_shown_as_it_is(bill: object) -> None:
    assert "<table" not in shown.cost_lines(bill)


@pytest.mark.parametrize(
    ("microseconds", "text"),
    [
        (None, "—"),
        (0, "0.0 ms"),
        (850, "0.8 ms"),
        (812_345, "812 ms"),
        (1_240_000, "1.24 s"),
        (125_000_000, "2 min 05 s"),
    ],
)
def test_durations_have_the_unit_one_would_say(microseconds: int | None, text: str) -> None:
    assert shown.duration(microseconds) == text


@pytest.mark.parametrize(
    ("age", "text"),
    [
        (timedelta(seconds=5), "5 s ago"),
        (timedelta(minutes=3, seconds=1), "3 min ago"),
        (timedelta(hours=30, seconds=1), "30 h ago"),
        (timedelta(days=9, seconds=1), "9 days ago"),
        (-timedelta(days=9, minutes=1), "in 9 days"),
    ],
)
def test_ages_are_one_word(age: timedelta, text: str) -> None:
    assert f">{text}<" in shown.ago(timezone.now() - age)


def test_an_old_moment_is_a_date() -> None:
    assert f"{timezone.now() - timedelta(days=90):%d %b %Y}" in shown.ago(timezone.now() - timedelta(days=90))
    assert shown.ago(None, "never") == "never"


@pytest.mark.parametrize(
    ("nanos", "text"),
    [
        (0, "$0.00"),
        (1, "$0.0000000010"),
        (1_234, "$0.0000012"),
        (4_999_999, "$0.0050"),
        (5_000_000, "$0.01"),
        (999_999_999, "$1.00"),
        (1_234_567_890_000_000, "$1,234,567.89"),
    ],
)
def test_spend_reads_at_a_glance(nanos: int, text: str) -> None:
    assert shown.spend(nanos) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (999_999, "999,999"), (1_000_000, "1.00 M"), (12_345_678, "12.3 M"), (2_500_000_000, "2.50 B")],
)
def test_large_numbers_are_compact(value: int, text: str) -> None:
    assert shown.compact(value) == text
