"""A request becomes one its model accepts, and the receipt says how."""

from __future__ import annotations

from typing import Any

import pytest

from bridge import catalog
from bridge.adapt import adapt
from bridge.emulate import ForcedTool
from bridge.receipt import Receipt

CATALOG = catalog.load()
NEW, OLD = "claude-opus-5-5", "claude-sonnet-4-5"


def said(role: str, *texts: str) -> dict[str, Any]:
    return {"role": role, "content": [{"type": "text", "text": text} for text in texts]}


def adapted(name: str, *messages: Any, **more: Any) -> tuple[dict[str, Any], str]:
    request = {"messages": list(messages) or [said("user", "Hi")], **more}
    receipt = Receipt()
    adapt(request, CATALOG.resolve(name), receipt)
    return request, str(receipt)


@pytest.mark.parametrize(("name", "most"), [(NEW, 128_000), (OLD, 64_000), ("claude-unheard-of", 128_000)])
def test_without_a_limit_the_models_own_is_sent(name: str, most: int) -> None:
    assert adapted(name) == ({"messages": [said("user", "Hi")], "max_tokens": most}, "")


def test_a_limit_above_the_models_is_clamped_and_named() -> None:
    request, receipt = adapted(OLD, max_tokens=100_000)
    assert (request["max_tokens"], receipt) == (64_000, "max_tokens=clamped(64000)")


@pytest.mark.parametrize(
    ("name", "given", "sent", "receipt"),
    [
        (NEW, {"temperature": 0.5, "top_p": 0.5}, {}, "temperature=dropped, top_p=dropped"),
        (NEW, {"temperature": 1, "top_p": 1}, {}, ""),
        (NEW, {"temperature": 0}, {}, "temperature=dropped"),
        (NEW, {"top_k": 1}, {}, "top_k=dropped"),
        (OLD, {"temperature": 0.5}, {"temperature": 0.5}, ""),
        (OLD, {"temperature": 1.5}, {"temperature": 1}, "temperature=clamped(1)"),
        (OLD, {"top_p": 0.5}, {"top_p": 0.5}, ""),
        (OLD, {"temperature": 0, "top_p": 0.5}, {"temperature": 0}, "top_p=dropped"),
        ("claude-unheard-of", {"temperature": 0.5}, {}, "temperature=dropped"),
    ],
)
def test_sampling_goes_where_it_is_accepted(name: str, given: Any, sent: Any, receipt: str) -> None:
    request, line = adapted(name, **given)
    assert {key: request[key] for key in ("temperature", "top_p", "top_k") if key in request} == sent
    assert line == receipt


CONVERSATION = (said("user", "Hi"), said("system", "Now French."), said("assistant", "Salut"), said("user", "Bye"))


def test_a_system_turn_is_native_where_the_model_reads_it() -> None:
    request, receipt = adapted(NEW, *CONVERSATION)
    assert request["messages"] == list(CONVERSATION) and receipt == ""


def test_elsewhere_it_is_a_note_in_its_place() -> None:
    request, receipt = adapted(OLD, *CONVERSATION)
    note = "<system-message>\nNow French.\n</system-message>"
    assert request["messages"] == [said("user", "Hi", note), said("assistant", "Salut"), said("user", "Bye")]
    assert receipt == "messages.system=inlined"


def test_where_the_api_does_not_take_one_it_is_a_note_too() -> None:
    request, receipt = adapted(
        NEW, said("user", "Hi"), said("assistant", "Yo"), said("system", "Now."), said("user", "Bye")
    )
    assert [turn["role"] for turn in request["messages"]] == ["user", "assistant", "user"]
    assert receipt == "messages.system=inlined"


def test_an_assistant_turn_at_the_end_is_continued() -> None:
    request, receipt = adapted(NEW, said("user", "Hi"), said("assistant", "I was "))
    assert request["messages"][-1] == said("user", "Continue.") and receipt == "messages.prefill=emulated"


def test_or_is_a_prefill_where_that_exists_without_white_space_at_its_end() -> None:
    request, receipt = adapted(OLD, said("user", "Hi"), said("assistant", "I was "))
    assert request["messages"][-1] == said("assistant", "I was") and receipt == ""


# --- sampling beside thinking ---


@pytest.mark.parametrize(
    ("given", "sent", "receipt"),
    [
        ({"temperature": 0.5}, {}, "temperature=dropped(thinking)"),
        ({"temperature": 1.5}, {}, "temperature=dropped(thinking)"),
        ({"temperature": 1}, {"temperature": 1}, ""),
        ({"top_p": 0.5}, {}, "top_p=dropped(thinking)"),
        ({"top_p": 0.95}, {"top_p": 0.95}, ""),
        ({"top_k": 5}, {}, "top_k=dropped(thinking)"),
    ],
)
@pytest.mark.parametrize("name", [OLD, "claude-opus-4-6"])
def test_while_a_model_thinks_sampling_is_what_it_allows(name: str, given: Any, sent: Any, receipt: str) -> None:
    request, line = adapted(name, output_config={"effort": "high"}, **given)
    assert {key: request[key] for key in ("temperature", "top_p", "top_k") if key in request} == sent
    assert line == receipt


def test_while_it_does_not_sampling_is_free() -> None:
    request, line = adapted(OLD, thinking={"type": "disabled"}, temperature=0.5, top_k=5)
    assert (request["temperature"], request["top_k"], line) == (0.5, 5, "")


# --- forced calls ---

SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}
CLOSED = {**SCHEMA, "additionalProperties": False}
LOOK, FIND = {"name": "look", "input_schema": SCHEMA}, {"name": "find", "input_schema": SCHEMA}
SEARCH = {"type": "web_search_20250305", "name": "web_search"}
RECURSIVE = {
    "name": "tree",
    "input_schema": {
        "type": "object",
        "properties": {"a": {"$ref": "#/$defs/A"}},
        "$defs": {"A": {"type": "object", "properties": {"a": {"$ref": "#/$defs/A"}}}},
    },
}
DEFINED = {
    "name": "defined",
    "input_schema": {"type": "object", "properties": {"a": {"$ref": "#/$defs/A"}}, "$defs": {"A": SCHEMA}},
}
# Which models refuse a forced call (anthropic.md 1.2), by hand.
REFUSING = {
    "claude-fable-5-2", "claude-mythos-5-2", "claude-opus-5-5", "claude-sonnet-5-5", "claude-fable-5-1",
    "claude-mythos-5-1",
}  # fmt: skip


def forced(name: str, choice: dict[str, Any], *tools: Any, **more: Any) -> tuple[dict[str, Any], Any, str]:
    request = {"messages": [said("user", "Hi")], "tools": list(tools), "tool_choice": choice, **more}
    receipt = Receipt()
    rewriters = adapt(request, CATALOG.resolve(name), receipt)
    return request, rewriters, str(receipt)


@pytest.mark.parametrize("model", CATALOG.models, ids=lambda model: model.id)
@pytest.mark.parametrize("choice", [{"type": "any"}, {"type": "tool", "name": "look"}])
def test_a_forced_call_on_every_model(model: Any, choice: dict[str, Any]) -> None:
    request, rewriters, receipt = forced(model.id, choice, LOOK)
    if model.id in REFUSING:
        assert request["tool_choice"] == {"type": "none"} and request["tools"] == [LOOK]
        assert request["output_config"]["format"] == {"type": "json_schema", "schema": CLOSED}
        assert [type(one) for one in rewriters] == [ForcedTool] and receipt == "tool_choice=emulated"
    else:
        assert (request["tool_choice"], rewriters, receipt) == (choice, [], "")
        assert "output_config" not in request


@pytest.mark.parametrize("choice", [{"type": "auto"}, {"type": "none"}])
def test_a_free_choice_is_free_everywhere(choice: dict[str, Any]) -> None:
    request, rewriters, receipt = forced(NEW, choice, LOOK)
    assert (request["tool_choice"], rewriters, receipt) == (choice, [], "")


def test_the_named_one_of_several_gives_the_form() -> None:
    request, _, _ = forced(NEW, {"type": "tool", "name": "find"}, LOOK, FIND, SEARCH)
    assert request["output_config"]["format"]["schema"] == CLOSED and len(request["tools"]) == 3


def test_some_of_several_is_a_choice_of_forms() -> None:
    request, _, receipt = forced(NEW, {"type": "any", "disable_parallel_tool_use": True}, LOOK, FIND, SEARCH)
    options = request["output_config"]["format"]["schema"]["anyOf"]
    assert [option["properties"] for option in options] == [
        {"tool": {"const": name}, "arguments": CLOSED} for name in ("look", "find")
    ]
    assert all(option["additionalProperties"] is False for option in options)
    assert (request["tool_choice"], receipt) == ({"type": "none"}, "tool_choice=emulated")


def test_definitions_of_several_move_to_the_root_under_names_of_their_own() -> None:
    other = {
        "name": "other",
        "input_schema": {"type": "object", "properties": {"b": {"$ref": "#/definitions/A"}},
                         "definitions": {"A": {"type": "string"}}},
    }  # fmt: skip
    request, rewriters, receipt = forced(NEW, {"type": "any"}, LOOK, DEFINED, other)
    form = request["output_config"]["format"]["schema"]
    assert form["$defs"] == {"t1_A": CLOSED, "t2_A": {"type": "string"}}
    look, defined, others = (option["properties"]["arguments"] for option in form["anyOf"])
    assert look == CLOSED and all("$defs" not in option for option in (defined, others))
    assert defined["properties"] == {"a": {"$ref": "#/$defs/t1_A"}}
    assert others["properties"] == {"b": {"$ref": "#/$defs/t2_A"}}
    assert (len(rewriters), receipt) == (1, "tool_choice=emulated")


def test_a_choice_of_more_than_the_api_compiles_is_asked_for_in_words() -> None:
    wide = {"type": "object", "properties": {f"p{number}": {"type": "string"} for number in range(13)}}
    tools = [{"name": name, "input_schema": wide} for name in ("one", "two")]
    assert forced(NEW, {"type": "any"}, tools[0])[2] == "tool_choice=emulated"
    assert forced(NEW, {"type": "any"}, *tools)[2] == "tool_choice=prompted"


def test_tools_that_cannot_be_called_are_not_strict() -> None:
    request, _, _ = forced(NEW, {"type": "any"}, {**LOOK, "strict": True}, {**FIND, "strict": True})
    assert all("strict" not in tool for tool in request["tools"])


@pytest.mark.parametrize(
    ("choice", "tools", "named"),
    [
        ({"type": "tool", "name": "tree"}, [LOOK, RECURSIVE], "tree"),
        ({"type": "any"}, [LOOK, RECURSIVE], "look or tree"),
    ],
)
def test_what_has_no_form_is_asked_for_in_words(choice: Any, tools: Any, named: str) -> None:
    request, rewriters, receipt = forced(NEW, choice, *tools, system=[{"type": "text", "text": "Be kind."}])
    assert request["system"][0]["text"] == "Be kind."
    assert request["system"][1]["text"] == f"Answer with a call of the tool {named} and nothing else."
    assert (request["tool_choice"], rewriters, receipt) == ({"type": "auto"}, [], "tool_choice=prompted")
    assert "output_config" not in request


@pytest.mark.parametrize("choice", [{"type": "any"}, {"type": "tool", "name": "web_search"}])
def test_a_search_that_must_happen_is_asked_for_in_words(choice: Any) -> None:
    request, _, receipt = forced(NEW, choice, SEARCH)
    assert request["system"][0]["text"] == "Answer with a call of the tool web_search and nothing else."
    assert receipt == "tool_choice=prompted"


def test_asking_in_words_still_means_one_at_a_time() -> None:
    choice = {"type": "tool", "name": "tree", "disable_parallel_tool_use": True}
    assert forced(NEW, choice, RECURSIVE)[0]["tool_choice"] == {"type": "auto", "disable_parallel_tool_use": True}


def test_an_effort_stays_beside_the_form_of_a_forced_call() -> None:
    request, _, _ = forced(NEW, {"type": "any"}, LOOK, output_config={"effort": "low"})
    assert set(request["output_config"]) == {"effort", "format"}


# --- system turns, in full ---


@pytest.mark.parametrize("model", CATALOG.models, ids=lambda model: model.id)
def test_a_system_turn_on_every_model(model: Any) -> None:
    reading = {  # anthropic.md 1.6, by hand; Sonnet 5 accepts and ignores them
        "claude-fable-5-2", "claude-mythos-5-2", "claude-opus-5-5", "claude-sonnet-5-5", "claude-haiku-5-5",
        "claude-fable-5-1", "claude-mythos-5-1", "claude-opus-5", "claude-fable-5", "claude-mythos-5",
        "claude-opus-4-8",
    }  # fmt: skip
    request, receipt = adapted(model.id, *CONVERSATION)
    native = [turn["role"] for turn in request["messages"]] == ["user", "system", "assistant", "user"]
    assert native == (model.id in reading) and receipt == ("" if native else "messages.system=inlined")


def test_a_system_turn_at_the_end_waits_for_the_answer() -> None:
    request, receipt = adapted(NEW, said("user", "Hi"), said("system", "Now French."))
    assert [turn["role"] for turn in request["messages"]] == ["user", "system"] and receipt == ""


def test_a_system_turn_before_everything_is_a_note() -> None:
    request, receipt = adapted(NEW, said("system", "One.", "Two."), said("user", "Hi"))
    note = "<system-message>\nOne.\n\nTwo.\n</system-message>"
    assert request["messages"] == [said("user", note, "Hi")] and receipt == "messages.system=inlined"


# --- the last turn ---


@pytest.mark.parametrize("model", CATALOG.models, ids=lambda model: model.id)
def test_a_prefill_on_every_model(model: Any) -> None:
    known = {"claude-opus-4-5-20251101", "claude-haiku-4-5-20251001", "claude-sonnet-4-5-20250929"}
    request, receipt = adapted(model.id, said("user", "Hi"), said("assistant", "I "))
    prefilled = request["messages"][-1] == said("assistant", "I")
    assert prefilled == (model.id in known) and receipt == ("" if prefilled else "messages.prefill=emulated")


@pytest.mark.parametrize(
    "more", [{"output_config": {"format": {"type": "json_schema", "schema": {}}}}, {"output_config": {"effort": "low"}}]
)
def test_a_prefill_does_not_go_with_a_form_or_with_thinking(more: dict[str, Any]) -> None:
    request, receipt = adapted(OLD, said("user", "Hi"), said("assistant", "I "), **more)
    assert request["messages"][-1] == said("user", "Continue.") and receipt == "messages.prefill=emulated"


def test_thinking_alone_is_no_prefill() -> None:
    thought = {"type": "thinking", "thinking": "Hm.", "signature": "s"}
    request, _ = adapted(OLD, said("user", "Hi"), {"role": "assistant", "content": [thought]})
    assert request["messages"][-1] == said("user", "Continue.")


# --- cache breakpoints ---

MARK = {"cache_control": {"type": "ephemeral"}}


def marks(request: dict[str, Any]) -> list[bool]:
    """Where breakpoints are, in the order of the prefix; the automatic one is the last."""
    turns = [block for turn in request["messages"] for block in turn["content"]]
    places = [*request.get("tools", []), *request.get("system", []), *turns, request]
    return ["cache_control" in place for place in places]


def marked(count: int, **more: Any) -> tuple[dict[str, Any], str]:
    content = [{"type": "text", "text": str(number), **MARK} for number in range(count)]
    return adapted(NEW, {"role": "user", "content": content}, **more)


def test_four_breakpoints_stay() -> None:
    request, receipt = marked(4)
    assert (marks(request), receipt) == ([True] * 4 + [False], "")


def test_of_more_the_last_four_stay() -> None:
    request, receipt = marked(6)
    assert (marks(request), receipt) == ([False] * 2 + [True] * 4 + [False], "cache_control=limited(4)")


def test_tools_and_the_system_prompt_come_first_in_the_prefix() -> None:
    request, _ = marked(3, tools=[{**LOOK, **MARK}], system=[{"type": "text", "text": "s", **MARK}])
    assert marks(request) == [False, True, True, True, True, False]


def test_automatic_caching_takes_one_of_the_four() -> None:
    content = [{"type": "text", "text": str(number), **MARK} for number in range(4)]
    last = {"type": "text", "text": "last"}
    request, receipt = adapted(NEW, {"role": "user", "content": [*content, last]}, **MARK)
    assert (marks(request), receipt) == ([False, True, True, True, False, True], "cache_control=limited(4)")


def test_automatic_caching_where_a_breakpoint_stands_already_is_that_one() -> None:
    request, receipt = marked(4, cache_control={"type": "ephemeral", "ttl": "1h"})
    assert (marks(request), receipt) == ([True] * 4 + [False], "")


def lives(*wanted: str, automatic: str = "") -> tuple[list[str | None], str]:
    """What becomes of breakpoints that are to live so long, in the order of the prefix; "" has none."""
    marks = {
        "": {},
        "default": MARK,
        **{ttl: {"cache_control": {"type": "ephemeral", "ttl": ttl}} for ttl in ("5m", "1h")},
    }
    content = [{"type": "text", "text": "x", **marks[ttl]} for ttl in wanted]
    top = {"cache_control": {"type": "ephemeral", "ttl": automatic}} if automatic else {}
    request, receipt = adapted(NEW, {"role": "user", "content": content}, **top)
    found = [block.get("cache_control") for block in (*request["messages"][0]["content"], request)]
    return [mark.get("ttl", "default") if mark else None for mark in found], receipt


@pytest.mark.parametrize(
    ("wanted", "automatic", "sent", "receipt"),
    [
        (("1h", "1h", "5m", "default"), "", ["1h", "1h", "5m", "default", None], ""),
        (("5m", "1h"), "", ["5m", "default", None], "cache_control=shortened(5m)"),
        (("1h", "default", "1h", ""), "1h", ["1h", "default", "default", None, "default"],
         "cache_control=shortened(5m)"),
        (("1h", ""), "5m", ["1h", None, "5m"], ""),
        (("5m", "1h", "1h", "1h", "1h"), "", [None, "1h", "1h", "1h", "1h", None], "cache_control=limited(4)"),
    ],
)  # fmt: skip
def test_an_hour_comes_before_five_minutes(wanted: Any, automatic: str, sent: Any, receipt: str) -> None:
    assert lives(*wanted, automatic=automatic) == (sent, receipt)


def test_breakpoints_inside_results_count_too() -> None:
    inner = [{"type": "text", "text": str(number), **MARK} for number in range(4)]
    use = {"type": "tool_use", "id": "a", "name": "f", "input": {}}
    told = {"type": "tool_result", "tool_use_id": "a", "content": inner, **MARK}
    turns = said("user", "Hi"), {"role": "assistant", "content": [use]}, {"role": "user", "content": [told]}
    request, receipt = adapted(NEW, *turns)
    (result,) = request["messages"][2]["content"]
    assert ["cache_control" in block for block in (*result["content"], result)] == [False, True, True, True, True]
    assert receipt == "cache_control=limited(4)"
