"""Money, exactly: prices in whole pico-dollars per token, bills summed in those and rounded up once to nano-dollars.

No amount is ever a float. A price in dollars per million tokens is as many millions of pico-dollars per token, so that
six decimals of a dollar stay whole; Haiku 5.5's cache write times 1.1 is no whole nano-dollar, but it is a whole
number of these.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any, NamedTuple

from tenants.values import Usage

PICOS_PER_NANO = 1_000
NANOS_PER_DOLLAR = 1_000_000_000
CLASSES = ("input", "cache_write_5m", "cache_write_1h", "cache_read", "output")
INPUT_CLASSES = CLASSES[:4]
NO_TERMS: frozenset[str] = frozenset()

Line = dict[str, Any]


def usd(nanos: int) -> str:
    """Nano-dollars as dollars with nine decimals, as `GET /v1/key` and exports say them: "1.500000000"."""
    sign, size = ("-", -nanos) if nanos < 0 else ("", nanos)
    return f"{sign}{size // NANOS_PER_DOLLAR}.{size % NANOS_PER_DOLLAR:09}"


def to_nanos(dollars: Decimal | int | str) -> int:
    """Dollars as nano-dollars. Raises ValueError for what is no number or finer than a nano-dollar."""
    return _whole(dollars, NANOS_PER_DOLLAR, "a nano-dollar")


def per_token(dollars_per_million: Decimal | int | str) -> int:
    """Dollars per million tokens as pico-dollars per token. Raises ValueError for more than six decimals."""
    return _whole(dollars_per_million, 1_000_000, "a pico-dollar per token")


def _whole(amount: Decimal | int | str, scale: int, unit: str) -> int:
    try:
        scaled = Fraction(amount) * scale
    except (ValueError, ZeroDivisionError, OverflowError) as error:
        raise ValueError(f"{amount} is not an amount of dollars") from error
    if scaled.denominator != 1 or scaled < 0:
        raise ValueError(f"{amount} is not a whole number of units of {unit}")
    return scaled.numerator


class Factor(NamedTuple):
    """What a term (fast, us) makes of the price of every input class, and of output's."""

    input: Fraction
    output: Fraction


@dataclass(frozen=True, slots=True)
class Rates:
    """Pico-dollars per token by class."""

    input: int
    cache_write_5m: int
    cache_write_1h: int
    cache_read: int
    output: int

    @classmethod
    def per_million(cls, dollars: Mapping[str, Any]) -> Rates:
        """From dollars per million tokens by class. Raises ValueError."""
        return cls(**{name: per_token(dollars[name]) for name in CLASSES})

    def times(self, factor: Factor) -> Rates:
        """Multiplied, and rounded up where that is no whole pico-dollar."""
        inputs = {name: _up(getattr(self, name) * factor.input) for name in INPUT_CLASSES}
        return Rates(**inputs, output=_up(self.output * factor.output))


def _up(amount: Fraction) -> int:
    return -(-amount.numerator // amount.denominator)


@dataclass(frozen=True, slots=True)
class Bill:
    """What a record costs, and from what. `nanos` is None when a part of it has no price; its line says why."""

    nanos: int | None
    lines: list[Line]

    @classmethod
    def of(cls, lines: Iterable[Line]) -> Bill:
        """The sum of lines, rounded up once; lines of the same class and price are one."""
        told = list(lines)
        if len({line["class"] for line in told}) < len(told):
            told = _merged(told)
        picos = [line["pico"] for line in told]
        nanos = None if None in picos else -(-sum(picos) // PICOS_PER_NANO)
        return cls(nanos, told)


_SAME = ("class", "model", "terms", "pico_per_token", "why")


def _merged(lines: list[Line]) -> list[Line]:
    merged: dict[tuple[Any, ...], Line] = {}
    for line in lines:
        kept = merged.setdefault(tuple(line.get(name) for name in _SAME), {**line, "tokens": 0, "pico": 0})
        kept["tokens"] += line.get("tokens", 0)
        kept["pico"] = None if line["pico"] is None else kept["pico"] + line["pico"]
    return list(merged.values())


@dataclass(frozen=True, slots=True)
class Tariff:
    """What one model's tokens cost under given terms. Prompts above `long_above` tokens pay `long` for everything."""

    model: str
    rates: Rates
    long_above: int | None = None
    long: Rates | None = None
    web_search: int = 0  # pico-dollars for each
    terms: frozenset[str] = NO_TERMS
    origin: str = ""  # where the price comes from, in words

    def at(self, prompt: int) -> Rates:
        """The rates of a request with so many input tokens of all classes."""
        return self.long if self.long and self.long_above is not None and prompt > self.long_above else self.rates

    @property
    def dearest_input(self) -> int:
        """The most that an input token can cost, whatever its class and however long the prompt."""
        dearest: int = max(
            getattr(rates, name) for rates in (self.rates, self.long or self.rates) for name in INPUT_CLASSES
        )
        return dearest

    @property
    def output(self) -> int:
        """The most that an output token can cost."""
        return max(self.rates.output, (self.long or self.rates).output)

    def lines(self, usage: Usage) -> list[Line]:
        """One line per class that was used: tokens, pico-dollars per token, and their product."""
        rates = self.at(usage.prompt)
        terms = ", ".join([*sorted(self.terms), *(["long prompt"] if rates is not self.rates else [])])
        used = [(name, getattr(usage, name), getattr(rates, name)) for name in CLASSES]
        used.append(("web_search", usage.web_searches, self.web_search))
        return [
            {
                "class": name,
                "model": self.model,
                **({"terms": terms} if terms and name != "web_search" else {}),
                "tokens": count,  # searches, in the line of these
                "pico_per_token": price,
                "pico": count * price,
            }
            for name, count, price in used
            if count
        ]

    def bill(self, usage: Usage) -> Bill:
        """What this usage costs, all of it on this tariff."""
        return Bill.of(line for piece in usage.pieces for line in self.lines(piece))


@dataclass(frozen=True, slots=True)
class PriceRow:
    """A model's prices from a moment on: built in, or a site's own."""

    model: str
    starts: datetime
    rates: Rates
    long_above: int | None = None
    long: Rates | None = None
    factors: Mapping[str, Factor] = field(default_factory=dict)  # by term: fast, us
    web_search: int = 0
    origin: str = ""
    checked: date | None = None

    def tariff(self, terms: frozenset[str] = NO_TERMS) -> Tariff | None:
        """The price under these terms; None if one of them has no price here."""
        rates, long = self.rates, self.long
        for term in terms:
            factor = self.factors.get(term)
            if factor is None:
                return None
            rates, long = rates.times(factor), long and long.times(factor)
        return Tariff(self.model, rates, self.long_above, long, self.web_search, terms, self.origin)


def current(rows: Iterable[PriceRow], at: datetime) -> PriceRow | None:
    """The row that has begun last by then."""
    begun = [row for row in rows if row.starts <= at]
    if len(begun) < 2:
        return begun[0] if begun else None
    return max(begun, key=lambda row: row.starts)
