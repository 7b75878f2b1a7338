"""What is known of models."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from bridge import catalog
from bridge.errors import ApiError
from tenants.money import CLASSES

CATALOG = catalog.load()
ROWS = tomllib.loads(Path(catalog.__file__).with_name("models.toml").read_text())["model"]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["id"])
def test_every_row_says_where_it_is_from_and_when(row: dict[str, object]) -> None:
    assert row["source"] and row["checked"] and row["released"]


def test_prices_never_pass_through_a_float() -> None:
    for row in (row for model in CATALOG.models for row in model.prices):
        assert {type(getattr(row.rates, name)) for name in CLASSES} == {int}
    assert CATALOG.resolve("claude-haiku-5-5").prices[0].rates.cache_write_5m == 125_000


def test_an_alias_is_its_model_and_an_unknown_name_gets_the_newest_rules() -> None:
    assert CATALOG.resolve("claude-haiku-4-5").id == "claude-haiku-4-5-20251001"
    unknown = CATALOG.resolve("claude-next")
    assert (unknown.id, unknown.sampling, unknown.prefill, unknown.known) == ("claude-next", "none", False, False)


@pytest.mark.parametrize("name", ["claude-haiku-4-5", "claude-haiku-4-5-20251001"])
@pytest.mark.parametrize("listed", ["claude-haiku-4-5", "claude-haiku-4-5-20251001"])
def test_an_allow_list_may_use_either_name(name: str, listed: str) -> None:
    assert CATALOG.allowed(name, frozenset({listed})).id == "claude-haiku-4-5-20251001"


def test_a_model_that_is_not_allowed_looks_like_one_that_does_not_exist() -> None:
    with pytest.raises(ApiError) as caught:
        CATALOG.allowed("claude-opus-5", frozenset({"claude-haiku-5-5"}))
    assert (caught.value.status, caught.value.code) == (404, "model_not_found")
    assert "claude-haiku-5-5" in caught.value.message


def test_the_nearest_name_is_suggested() -> None:
    assert "Did you mean `claude-opus-5-5`" in CATALOG.not_found("claude-opus-5.5").message
    assert "GET /v1/models" in CATALOG.not_found("gpt-4o").message


def test_upstream_may_teach_the_limits_of_models_the_registry_does_not_know() -> None:
    learning = catalog.load()
    learning.learn(
        [
            {"id": "claude-next", "max_tokens": 7, "max_input_tokens": 9},
            {"id": "claude-opus-5", "max_tokens": 1},
            {"id": 5},
        ]
    )
    assert (learning.resolve("claude-next").max_output_tokens, learning.resolve("claude-next").context_window) == (7, 9)
    assert learning.resolve("claude-opus-5").max_output_tokens == 128_000
