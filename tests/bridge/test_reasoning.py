"""Thinking and effort, as they are asked for and as each model takes them."""

from __future__ import annotations

from typing import Any

import pytest

from bridge import catalog
from bridge.adapt import adapt
from bridge.dialects.reading import EFFORTS
from bridge.receipt import Receipt

CATALOG = catalog.load()
IDS = [model.id for model in CATALOG.models]
TEXT = {"role": "user", "content": [{"type": "text", "text": "Hi"}]}
SHOWN = {"type": "adaptive", "display": "summarized"}

# What each model takes (anthropic.md 1.2), by hand: how it thinks, what "none" becomes, its levels of effort.
FULL = ("low", "medium", "high", "xhigh", "max")
FACTS: dict[str, tuple[str, str | None, tuple[str, ...]]] = {
    "claude-fable-5-2": ("adaptive", None, FULL),
    "claude-mythos-5-2": ("adaptive", None, FULL),
    "claude-opus-5-5": ("adaptive", None, FULL),
    "claude-sonnet-5-5": ("adaptive", "between_tools", FULL),
    "claude-haiku-5-5": ("adaptive", "disabled", FULL),
    "claude-fable-5-1": ("adaptive", None, FULL),
    "claude-mythos-5-1": ("adaptive", None, FULL),
    "claude-opus-5": ("adaptive", "disabled", FULL),
    "claude-sonnet-5": ("adaptive", "disabled", FULL),
    "claude-fable-5": ("adaptive", None, FULL),
    "claude-mythos-5": ("adaptive", None, FULL),
    "claude-opus-4-8": ("adaptive", "disabled", FULL),
    "claude-opus-4-7": ("adaptive", "disabled", FULL),
    "claude-opus-4-6": ("adaptive", "disabled", ("low", "medium", "high", "max")),
    "claude-sonnet-4-6": ("adaptive", "disabled", ("low", "medium", "high", "max")),
    "claude-opus-4-5-20251101": ("enabled", "disabled", ("low", "medium", "high")),
    "claude-haiku-4-5-20251001": ("enabled", "disabled", ()),
    "claude-sonnet-4-5-20250929": ("enabled", "disabled", ()),
}
BUDGETS = {"minimal": 4096, "low": 4096, "medium": 10_240, "high": 24_576, "xhigh": 32_768, "max": 49_152}


def thought(name: str, messages: Any = None, **fields: Any) -> tuple[Any, Any, str]:
    """`thinking`, the effort and the receipt that come of a request."""
    request = {"messages": messages or [TEXT], **fields}
    receipt = Receipt()
    adapt(request, CATALOG.resolve(name), receipt)
    return request.get("thinking"), request.get("output_config", {}).get("effort"), str(receipt)


def effort(level: str) -> dict[str, Any]:
    return {"output_config": {"effort": level}}


def test_there_is_a_fact_for_every_model() -> None:
    assert set(FACTS) == set(IDS)


@pytest.mark.parametrize("name", IDS)
def test_who_asks_for_nothing_gets_the_models_default(name: str) -> None:
    assert thought(name) == (None, None, "")


@pytest.mark.parametrize("name", IDS)
@pytest.mark.parametrize("level", [level for level in EFFORTS if level != "none"])
def test_every_effort_on_every_model(name: str, level: str) -> None:
    kind, _, levels = FACTS[name]
    thinking, sent, receipt = thought(name, **effort(level))
    wanted = "low" if level == "minimal" else level
    assert thinking == (SHOWN if kind == "adaptive" else {"type": "enabled", "budget_tokens": BUDGETS[level]})
    if not levels:
        assert (sent, receipt) == (None, "")
    elif wanted in levels:
        assert (sent, receipt) == (wanted, "")
    else:  # never more than was asked for
        lower = [one for one in levels if FULL.index(one) < FULL.index(wanted)][-1]
        assert (sent, receipt) == (lower, f"reasoning_effort=clamped({lower})")


@pytest.mark.parametrize("name", IDS)
def test_no_effort_is_no_thinking_or_as_little_as_can_be(name: str) -> None:
    off = FACTS[name][1]
    if off is None:
        assert thought(name, **effort("none")) == (None, "low", "reasoning_effort=low(always thinks)")
    else:
        receipt = "" if off == "disabled" else "reasoning_effort=between_tools"
        assert thought(name, **effort("none")) == ({"type": off}, None, receipt)


@pytest.mark.parametrize("name", IDS)
@pytest.mark.parametrize("kind", ["adaptive", "enabled", "disabled", "between_tools", "new", None])
def test_anthropics_own_parameter_on_every_model(name: str, kind: Any) -> None:
    model = CATALOG.resolve(name)
    given = {"type": kind, **({"budget_tokens": 2048} if kind == "enabled" else {})}
    thinking, sent, receipt = thought(name, thinking=given)
    if kind in model.thinking:
        assert (thinking, sent, receipt) == (given, None, "")
    elif kind == "disabled":
        assert (thinking, sent, receipt) == thought(name, **effort("none"))
    elif "adaptive" in model.thinking:
        assert (thinking, receipt) == (SHOWN, "thinking=adapted")
        assert sent == ("low" if kind == "enabled" else "high")
    else:
        assert (thinking, receipt) == ({"type": "enabled", "budget_tokens": 10_240}, "thinking=adapted")


@pytest.mark.parametrize(
    ("budget", "level"),
    [(1024, "low"), (4096, "medium"), (16_384, "high"), (32_768, "xhigh"), (None, "high"), ("x", "high")],
)
def test_a_number_of_tokens_amounts_to_an_effort(budget: Any, level: str) -> None:
    assert thought("claude-opus-5-5", thinking={"type": "enabled", "budget_tokens": budget})[1] == level


def test_an_effort_beside_thinking_counts_more_than_a_number() -> None:
    given = {"type": "enabled", "budget_tokens": 1024}
    assert thought("claude-opus-5-5", thinking=given, **effort("max"))[1] == "max"


@pytest.mark.parametrize("name", ["claude-haiku-5-5", "claude-opus-5", "claude-sonnet-5-5"])
@pytest.mark.parametrize("level", ["xhigh", "max"])
def test_without_thinking_the_highest_efforts_are_not_possible(name: str, level: str) -> None:
    off = {"type": FACTS[name][1]}
    assert thought(name, thinking=off, **effort(level)) == (off, "high", "reasoning_effort=clamped(high)")
    assert thought(name, thinking=off, **effort("low")) == (off, "low", "")


# --- models that want a number ---

OLD = "claude-sonnet-4-5"


@pytest.mark.parametrize(("most", "budget"), [(64_000, 24_576), (20_000, 19_999), (1025, 1024)])
def test_a_budget_lies_below_the_limit(most: int, budget: int) -> None:
    assert thought(OLD, max_tokens=most, **effort("high"))[0] == {"type": "enabled", "budget_tokens": budget}


def test_without_room_to_think_there_is_no_thinking() -> None:
    assert thought(OLD, max_tokens=1024, **effort("high")) == (None, None, "thinking=dropped")


def test_a_budget_below_the_least_is_raised() -> None:
    thinking, _, _ = thought(OLD, thinking={"type": "enabled", "budget_tokens": 5})
    assert thinking == {"type": "enabled", "budget_tokens": 1024}


@pytest.mark.parametrize("budget", [None, "x"])
def test_a_budget_that_is_no_number_is_made_one(budget: Any) -> None:
    thinking, _, _ = thought(OLD, thinking={"type": "enabled", "budget_tokens": budget})
    assert thinking == {"type": "enabled", "budget_tokens": 24_576}


@pytest.mark.parametrize("choice", [{"type": "any"}, {"type": "tool", "name": "f"}])
def test_a_forced_call_comes_without_thinking(choice: dict[str, Any]) -> None:
    tools = [{"name": "f", "input_schema": {"type": "object", "properties": {}}}]
    assert thought(OLD, tools=tools, tool_choice=choice, **effort("high")) == (None, None, "thinking=dropped")


CALL = {"type": "tool_use", "id": "a", "name": "f", "input": {}}
TOLD = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "a"}]}
SIGNED = {"type": "thinking", "thinking": "", "signature": "s"}


def test_a_tool_loop_that_began_without_thinking_goes_on_without() -> None:
    loop = [TEXT, {"role": "assistant", "content": [CALL]}, TOLD]
    assert thought(OLD, loop, **effort("high")) == (None, None, "thinking=dropped")


@pytest.mark.parametrize("first", [SIGNED, {"type": "redacted_thinking", "data": "x"}])
def test_one_that_began_with_it_goes_on_with_it(first: dict[str, Any]) -> None:
    loop = [TEXT, {"role": "assistant", "content": [first, CALL]}, TOLD]
    assert thought(OLD, loop, **effort("high"))[0] == {"type": "enabled", "budget_tokens": 24_576}


def test_a_model_that_decides_itself_needs_no_thinking_in_its_history() -> None:
    loop = [TEXT, {"role": "assistant", "content": [CALL]}, TOLD]
    assert thought("claude-opus-5", loop, **effort("high")) == (SHOWN, "high", "")


def test_a_form_stays_where_the_effort_is_taken_out() -> None:
    request = {"messages": [TEXT], "output_config": {"effort": "none", "format": {"type": "json_schema"}}}
    adapt(request, CATALOG.resolve("claude-opus-5"), Receipt())
    assert request["output_config"] == {"format": {"type": "json_schema"}}


def test_a_model_nobody_has_heard_of_thinks_as_the_newest_do() -> None:
    assert thought("claude-unheard-of", **effort("high")) == (SHOWN, "high", "")
