"""What upstream charges: the built-in price table and the site's own on top of it, asked by model, moment and terms.

Sources: platform.claude.com/docs/en/about-claude/pricing; docs/prices.md says how a bill comes about.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from bridge import catalog
from bridge.catalog import Catalog
from tenants.money import NO_TERMS, Bill, Line, PriceRow, Tariff, current
from tenants.values import Usage

_DATED = re.compile(r"-\d{8}$")  # claude-haiku-5-5-20261007 is claude-haiku-5-5 on a day


class Prices:
    """The prices that hold. Asking costs no database: a site's own are handed over by `override` when they change."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._built_in = {model.id: model.prices for model in catalog.models}
        self._overrides: dict[str, list[PriceRow]] = {}
        self._tariffs: dict[tuple[int, frozenset[str]], Tariff | None] = {}

    def override(self, rows: Iterable[PriceRow]) -> None:
        """Takes the site's own prices, all of them. From its first day on, such a price wins over the built-in ones."""
        overrides: dict[str, list[PriceRow]] = {}
        for row in rows:
            overrides.setdefault(self._id(row.model), []).append(row)
        self._overrides, self._tariffs = overrides, {}

    def row(self, name: str, at: datetime) -> PriceRow | None:
        """The price of the model of that name at that moment."""
        model = self._id(name)
        own = self._overrides.get(model)
        return (current(own, at) if own else None) or current(self._built_in.get(model, ()), at)

    def tariff(self, name: str, at: datetime, terms: frozenset[str] = NO_TERMS) -> Tariff | None:
        """What the model's tokens cost then, under these terms (fast, us); None where that is not known."""
        return self._tariff(self.row(name, at), terms)

    def bill(self, usage: Usage, name: str, at: datetime) -> Bill:
        """What this usage costs that was asked of the model of that name: each piece at the price of the model that it
        came from. A name for the answering model that nobody has priced is taken for another name of the asked one."""
        return Bill.of(line for piece in usage.pieces for line in self._lines(piece, usage.model, name, at))

    def _lines(self, piece: Usage, answered: str, asked: str, at: datetime) -> list[Line]:
        model = piece.model or asked
        row = self.row(model, at)
        if row is None and model == answered:
            model, row = asked, self.row(asked, at)
        if piece.free:
            return [_without_price("free", piece, model, 0, piece.free)]
        tariff = self._tariff(row, piece.terms)
        if tariff is None:
            under = f" ({', '.join(sorted(piece.terms))})" if piece.terms else ""
            return [_without_price("unpriced", piece, model, None, f"No price is known for {model}{under}.")]
        return tariff.lines(piece)

    def _tariff(self, row: PriceRow | None, terms: frozenset[str]) -> Tariff | None:
        if row is None:
            return None
        key = id(row), terms
        if key not in self._tariffs:
            self._tariffs[key] = row.tariff(terms)
        return self._tariffs[key]

    def _id(self, name: str) -> str:
        if name in self._built_in:
            return name
        found = self._catalog.resolve(name)
        return found.id if found.known else self._catalog.resolve(_DATED.sub("", name)).id


def _without_price(kind: str, piece: Usage, model: str, pico: int | None, why: str) -> Line:
    return {"class": kind, "model": model, "tokens": piece.prompt + piece.output, "pico": pico, "why": why}


def built_in() -> list[PriceRow]:
    """Every price of models.toml, newest model first."""
    return [row for model in catalog.load().models for row in model.prices]


def asked_terms(request: dict[str, Any]) -> frozenset[str]:
    """The terms with a price of their own that a request names."""
    named = {"fast": request.get("speed"), "us": request.get("inference_geo")}
    return frozenset(term for term, value in named.items() if value == term)


def dearest_terms(request: dict[str, Any]) -> frozenset[str]:
    """Those that it may be billed under: where it says nothing of the region, the workspace upstream may."""
    return asked_terms(request) | (set() if request.get("inference_geo") == "global" else {"us"})
