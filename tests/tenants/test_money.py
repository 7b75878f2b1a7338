"""Money: whole numbers all the way, rounded up once."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenants.money import Bill, Factor, Rates, Tariff, per_token, to_nanos, usd
from tenants.values import Usage

RATES = Rates(input=100_000, cache_write_5m=125_000, cache_write_1h=200_000, cache_read=10_000, output=500_000)


@pytest.mark.parametrize("amount", ["0.0000000001", "1e-10", "-1", "one", "", "nan", "inf", "1/3"])
def test_what_is_no_whole_nano_dollar_is_refused(amount: str) -> None:
    with pytest.raises(ValueError, match="is not"):
        to_nanos(amount)


@pytest.mark.parametrize(
    ("amount", "nanos"), [("1", 10**9), ("0.000000001", 1), (Decimal("2.5"), 2_500_000_000), (0, 0)]
)
def test_dollars_are_whole_nano_dollars(amount: str, nanos: int) -> None:
    assert to_nanos(amount) == nanos


@pytest.mark.parametrize(
    ("nanos", "text"), [(0, "0.000000000"), (1, "0.000000001"), (1_500_000_000, "1.500000000"), (-1, "-0.000000001")]
)
def test_dollars_have_nine_decimals(nanos: int, text: str) -> None:
    assert usd(nanos) == text


@given(st.integers(0, 10**18))
def test_no_nano_dollar_is_lost_in_writing(nanos: int) -> None:
    assert to_nanos(usd(nanos)) == nanos


def test_a_price_finer_than_a_pico_dollar_per_token_is_refused() -> None:
    assert per_token("0.000001") == 1
    with pytest.raises(ValueError, match="pico-dollar"):
        per_token("0.0000001")


def test_a_factor_rounds_up_to_a_whole_pico_dollar() -> None:
    tenth_more = Factor(Fraction("1.1"), Fraction("1.1"))
    assert RATES.times(tenth_more).cache_write_5m == 137_500
    assert Rates(1, 1, 1, 1, 1).times(tenth_more) == Rates(2, 2, 2, 2, 2)


def test_a_bill_is_rounded_up_once_and_not_by_line() -> None:
    tariff = Tariff("m", Rates(1, 1, 1, 1, 1))
    assert tariff.bill(Usage(input=1, cache_read=1, output=1)).nanos == 1
    assert tariff.bill(Usage(input=1_000)).nanos == 1
    assert tariff.bill(Usage(input=1_001)).nanos == 2
    assert tariff.bill(Usage()) == Bill(0, [])


def test_reasoning_is_part_of_output_and_not_billed_twice() -> None:
    assert Tariff("m", RATES).bill(Usage(output=10, reasoning=10)).nanos == 5_000


@given(st.lists(st.tuples(*[st.integers(0, 10**7)] * 6), min_size=1, max_size=4))
def test_the_lines_sum_up_to_the_bill(counts: list[tuple[int, ...]]) -> None:
    parts = [Usage(*five, web_searches=searches) for *five, searches in counts]
    bill = Tariff("m", RATES, 100_000, RATES.times(Factor(Fraction(5), Fraction(5))), 10**10).bill(Usage.total(parts))
    assert sum(line["pico"] for line in bill.lines) == sum(
        line["tokens"] * line["pico_per_token"] for line in bill.lines
    )
    assert bill.nanos == -(-sum(line["pico"] for line in bill.lines) // 1_000)


def test_parts_are_priced_each_on_its_own() -> None:
    """Two short prompts are no long one."""
    tariff = Tariff("m", RATES, 100_000, RATES.times(Factor(Fraction(5), Fraction(5))))
    part = Usage(input=60_000)
    assert tariff.bill(Usage.total([part, part])).nanos == 2 * (tariff.bill(part).nanos or 0)
    assert len(tariff.bill(Usage.total([part, part])).lines) == 1


def test_a_part_without_a_price_leaves_the_whole_without_one() -> None:
    lines = [{"class": "input", "tokens": 1, "pico_per_token": 1, "pico": 1}, {"class": "unpriced", "pico": None}]
    assert Bill.of(lines).nanos is None and len(Bill.of(lines).lines) == 2
