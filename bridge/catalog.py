"""The models: what Bridge knows of each (models.toml), which of them a caller may use, and how they are listed."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

from bridge.errors import ApiError
from tenants.money import Factor, PriceRow, Rates, per_token

WEB_SEARCH = 10  # dollars per thousand, with every model (platform.claude.com/docs/en/about-claude/pricing)


UNKNOWN_NAMES = 1000  # that are remembered


@dataclass(frozen=True, slots=True)
class Model:
    """One row of models.toml: limits in tokens, and what a request to it may hold."""

    id: str
    display_name: str
    context_window: int
    max_output_tokens: int
    sampling: str  # "legacy": temperature or top_p; "none": neither
    prefill: bool  # whether a conversation may end with an assistant turn
    mid_conversation_system: bool
    forced_tool_choice: bool
    thinking: tuple[str, ...]
    effort: tuple[str, ...]
    thinks: bool = False  # without being asked to
    aliases: tuple[str, ...] = ()
    created: int = 0
    status: str = "active"
    prices: tuple[PriceRow, ...] = ()
    known: bool = True

    @property
    def names(self) -> frozenset[str]:
        return frozenset((self.id, *self.aliases))


class Catalog:
    """Resolves names to models. The registry is the floor; what upstream reports of models it lists goes on top."""

    def __init__(self, rows: Iterable[Model], newest: Model) -> None:
        self._models = {row.id: row for row in rows}
        self._by_name = {name: row for row in self._models.values() for name in row.names}
        self._newest = newest
        self._unknown: dict[str, Model] = {}

    @property
    def models(self) -> list[Model]:
        """The registry's models, newest first."""
        return sorted(self._models.values(), key=lambda model: -model.created)

    def resolve(self, name: str) -> Model:
        """The model of that name. An unknown one gets the newest generation's rules: upstream decides if it exists."""
        model = self._by_name.get(name) or self._unknown.get(name)
        if model is None:
            if len(self._unknown) >= UNKNOWN_NAMES:  # anybody may ask for anything
                self._unknown.clear()
            model = self._unknown[name] = replace(self._newest, id=name, known=False)
        return model

    def allowed(self, name: str, allow_list: frozenset[str] | None) -> Model:
        """The model, if the key may use it. Refused like one that does not exist: a key sees only its own models."""
        model = self.resolve(name)
        if allow_list is not None and not allow_list & (model.names | {name}):
            raise self.not_found(name, allow_list)
        return model

    def not_found(self, name: str, allow_list: frozenset[str] | None = None) -> ApiError:
        """404 with the nearest name that would work."""
        text = f"The model `{name[:200]}` does not exist or you do not have access to it."
        names = sorted(allow_list or self._by_name)
        near = difflib.get_close_matches(name[:200], names, n=1, cutoff=0.6) or (
            sorted(allow_list) if allow_list else []
        )
        hint = f" Did you mean `{near[0]}`?" if near else " GET /v1/models lists the models of this key."
        return ApiError("model_not_found", text + hint, "model", said=f"model: {name[:200]}")

    def learn(self, listed: Iterable[Mapping[str, Any]]) -> None:
        """Takes the limits that upstream reports for models that the registry does not know."""
        for info in listed:
            name, window, output = info.get("id"), info.get("max_input_tokens"), info.get("max_tokens")
            if isinstance(name, str) and name not in self._by_name and isinstance(output, int) and output > 0:
                window = window if isinstance(window, int) and window > 0 else self._newest.context_window
                self._by_name[name] = replace(self._newest, id=name, context_window=window, max_output_tokens=output)


def load() -> Catalog:
    """The catalog of models.toml. Prices are Decimals: no amount ever passes through a float."""
    content = tomllib.loads(Path(__file__).with_name("models.toml").read_text(), parse_float=Decimal)
    newest = content["newest"] | {"id": "", "display_name": ""}
    return Catalog((_model(row) for row in content["model"]), _model(newest))


def _model(row: Mapping[str, Any]) -> Model:
    released: date | None = row.get("released")
    created = int(datetime(released.year, released.month, released.day, tzinfo=UTC).timestamp()) if released else 0
    return Model(
        id=row["id"],
        display_name=row["display_name"],
        context_window=row["context_window"],
        max_output_tokens=row["max_output_tokens"],
        sampling=row["sampling"],
        prefill=row["prefill"],
        mid_conversation_system=row["mid_conversation_system"],
        forced_tool_choice=row["forced_tool_choice"],
        thinking=tuple(row["thinking"]),
        effort=tuple(row["effort"]),
        thinks=row["thinking_default"] != "off",
        aliases=tuple(row.get("aliases", ())),
        created=created,
        status=row.get("status", "active"),
        prices=tuple(_price(row, price) for price in _listed(row.get("price", []))),
    )


def _listed(price: Any) -> list[Mapping[str, Any]]:
    """A model has one price, or several that begin on a day each."""
    return price if isinstance(price, list) else [price]


def _price(row: Mapping[str, Any], price: Mapping[str, Any]) -> PriceRow:
    """A price of the table; a tier or a multiplier that a model does not have is left out there."""
    day: date = price.get("from", row["released"])
    long, fast = price.get("long_prompt"), price.get("fast")
    factors = {"us": Factor(*[Fraction(price.get("us_multiplier", 1))] * 2)}
    if fast:
        # Cache prices keep their ratio to input's (docs: multipliers stack on the fast price).
        factors["fast"] = Factor(*(Fraction(fast[name]) / Fraction(price[name]) for name in ("input", "output")))
    return PriceRow(
        model=row["id"],
        starts=datetime(day.year, day.month, day.day, tzinfo=UTC),
        rates=Rates.per_million(price),
        long_above=long["above"] if long else None,
        long=Rates.per_million(long) if long else None,
        factors=factors,
        web_search=per_token(price.get("web_search", WEB_SEARCH)) * 1_000,
        origin="built in",
        checked=row["checked"],
    )


def as_info(model: Model) -> dict[str, Any]:
    """The model in the shape of Anthropic's ModelInfo, as `GET /v1/models` upstream would list it."""
    return {
        "id": model.id,
        "type": "model",
        "display_name": model.display_name,
        "created_at": datetime.fromtimestamp(model.created, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "max_input_tokens": model.context_window,
        "max_tokens": model.max_output_tokens,
        "aliases": list(model.aliases),
    }
