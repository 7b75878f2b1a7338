"""Items of a conversation: in their order, thinking where it stood, and every mistake at its place."""

from __future__ import annotations

from typing import Any

import pytest

from bridge.dialects.sealing import pack
from tests.chat import said
from tests.responses import read, refusal, turns
from tests.sealing import PlainSeal

USER = {"role": "user", "content": "Hello"}
SIGNED = {"type": "thinking", "thinking": "Hm.", "signature": "c2ln"}
THOUGHT = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": pack([SIGNED], PlainSeal())}
CALL = {"type": "function_call", "call_id": "a", "name": "look", "arguments": "{}"}
RESULT = {"type": "function_call_output", "call_id": "a", "output": "seen"}


def kinds(*items: Any) -> list[list[str]]:
    """The blocks of each turn, by their type."""
    return [[block["type"] for block in turn["content"]] for turn in turns(*items, seal=PlainSeal())]


def test_thinking_stands_where_it_stood() -> None:
    words = {"role": "assistant", "content": "So."}
    assert kinds(USER, THOUGHT, words, THOUGHT, CALL, RESULT) == [
        ["text"],
        ["thinking", "text", "thinking", "tool_use"],
        ["tool_result"],
    ]


@pytest.mark.parametrize("after", [[], [USER], [{"role": "developer", "content": "Go on"}, USER]])
def test_thinking_that_nothing_follows_is_left_out_and_said_so(after: list[Any]) -> None:
    reading = read(USER, {"role": "assistant", "content": "So."}, THOUGHT, *after, seal=PlainSeal())
    found = [block["type"] for turn in reading.request["messages"] for block in turn["content"]]
    assert "thinking" not in found
    assert str(reading.receipt) == "input.reasoning=dropped"


@pytest.mark.parametrize("sealed", [None, 5, "", "brg1.", "brg1.acme:5b5d", "brg1.acme:7b", "brg2.acme:5b5d"])
def test_what_is_no_thinking_of_ours_is_left_out(sealed: Any) -> None:
    reading = read(USER, {**THOUGHT, "encrypted_content": sealed}, CALL, RESULT, seal=PlainSeal())
    assert [block["type"] for block in reading.request["messages"][1]["content"]] == ["tool_use"]
    assert str(reading.receipt) == "input.reasoning=dropped"


def test_a_history_is_repaired_as_a_chats_is() -> None:
    assert turns(USER, {**CALL, "arguments": "{bad"}, USER) == [
        said("user", "Hello"),
        {
            "role": "assistant",
            "content": [{"type": "tool_use", "id": "a", "name": "look", "input": {"arguments": "{bad"}}],
        },
        {
            "role": "user",
            "content": [
                {
                    "type": "tool_result",
                    "tool_use_id": "a",
                    "content": "No result was provided for this call.",
                    "is_error": True,
                },
                {"type": "text", "text": "Hello"},
            ],
        },
    ]


@pytest.mark.parametrize(
    ("item", "code", "param"),
    [
        ("x", "invalid_type", "input[1]"),
        ({"role": 5, "content": "x"}, "invalid_type", "input[1].role"),
        ({"role": "tool", "content": "x"}, "invalid_value", "input[1].role"),
        ({"type": "message", "content": "x"}, "missing_required_parameter", "input[1].role"),
        ({"role": "user"}, "missing_required_parameter", "input[1].content"),
        ({"role": "user", "content": [{"type": "odd"}]}, "invalid_value", "input[1].content[0].type"),
        ({"role": "user", "content": [{"type": "input_audio"}]}, "unsupported_value", "input[1].content[0]"),
        ({"type": 5}, "invalid_type", "input[1].type"),
        ({**CALL, "call_id": None}, "missing_required_parameter", "input[1].call_id"),
        ({**CALL, "name": ""}, "missing_required_parameter", "input[1].name"),
        ({**RESULT, "call_id": None}, "missing_required_parameter", "input[1].call_id"),
        ({**RESULT, "output": [{"type": "odd"}]}, "invalid_value", "input[1].output[0].type"),
        ({"type": "additional_tools", "tools": 5}, "invalid_type", "input[1].tools"),
        ({"type": "additional_tools", "tools": [5]}, "invalid_type", "input[1].tools[0]"),
        ({"id": "msg_1"}, "unsupported_value", "input[1].id"),
    ],
)
def test_a_mistake_is_refused_at_its_place(item: Any, code: str, param: str) -> None:
    assert refusal(USER, item) == (code, param)


@pytest.mark.parametrize(
    ("tools", "code", "param"),
    [
        (5, "invalid_type", "tools"),
        ([5], "invalid_type", "tools[0]"),
        ([{"type": "function"}], "missing_required_parameter", "tools[0].function"),
        ([{"type": "function", "name": ""}], "invalid_value", "tools[0].name"),
        ([{"type": "function", "name": "a", "parameters": 5}], "invalid_type", "tools[0].parameters"),
        ([{"type": "namespace"}], "missing_required_parameter", "tools[0].name"),
        ([{"type": "namespace", "name": "n", "tools": 5}], "invalid_type", "tools[0].tools"),
        ([{"type": "namespace", "name": "n", "tools": [{}]}], "missing_required_parameter", "tools[0].tools[0].name"),
        ([{"type": "function", "name": "a"}] * 2, "invalid_value", "tools"),
    ],
)
def test_a_tool_that_is_none_is_refused_at_its_place(tools: Any, code: str, param: str) -> None:
    assert refusal(tools=tools) == (code, param)


def test_the_first_definition_of_a_tool_counts_where_items_define_it_again() -> None:
    again = {"type": "additional_tools", "tools": [{"type": "function", "name": "look", "description": "Second"}] * 2}
    reading = read(USER, again, tools=[{"type": "function", "name": "look", "description": "First"}])
    assert [tool["description"] for tool in reading.request["tools"]] == ["First"]
