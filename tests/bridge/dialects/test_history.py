"""Messages become turns: roles, calls and their results, and the repairs of real histories."""

from __future__ import annotations

from typing import Any

import pytest

from bridge.dialects.history import NO_RESULT
from tests.chat import USER, calls, read, refusal, result, said, turns

ASSISTANT = {"role": "assistant", "content": "Hi"}
CALL = calls(("call_1", "look", '{"at":"x"}'))
USE = {"type": "tool_use", "id": "call_1", "name": "look", "input": {"at": "x"}}


def told(identifier: str, text: str = "done") -> dict[str, Any]:
    return {"type": "tool_result", "tool_use_id": identifier, "content": [{"type": "text", "text": text}]}


def missed(identifier: str) -> dict[str, Any]:
    return {"type": "tool_result", "content": NO_RESULT, "is_error": True, "tool_use_id": identifier}


# --- refused ---


@pytest.mark.parametrize(
    ("messages", "code", "param"),
    [
        ("Hi", "invalid_type", "messages"),
        ([], "empty_array", "messages"),
        (["Hi"], "invalid_type", "messages[0]"),
        ([{}], "missing_required_parameter", "messages[0].role"),
        ([{"role": 5, "content": "Hi"}], "invalid_type", "messages[0].role"),
        ([{"role": "king", "content": "Hi"}], "invalid_value", "messages[0].role"),
        ([USER, {"role": "user"}], "missing_required_parameter", "messages[1].content"),
        ([{"role": "system", "content": None}], "missing_required_parameter", "messages[0].content"),
        ([{"role": "user", "content": "  "}], "invalid_value", "messages"),
        ([{"role": "assistant", "content": None}], "invalid_value", "messages"),
        ([{"role": "tool", "content": "x"}], "missing_required_parameter", "messages[0].tool_call_id"),
        ([{"role": "tool", "tool_call_id": 5, "content": "x"}], "invalid_type", "messages[0].tool_call_id"),
        ([{**ASSISTANT, "audio": {"id": "a"}}], "unsupported_value", "messages[0].audio"),
        ([{**ASSISTANT, "tool_calls": "f"}], "invalid_type", "messages[0].tool_calls"),
        ([{**ASSISTANT, "tool_calls": ["f"]}], "invalid_type", "messages[0].tool_calls[0]"),
        ([{**ASSISTANT, "tool_calls": [{"id": "a"}]}], "invalid_type", "messages[0].tool_calls[0].function"),
        (
            [{**ASSISTANT, "tool_calls": [{"function": {"name": "f"}}]}],
            "missing_required_parameter",
            "messages[0].tool_calls[0].id",
        ),
        ([calls(("a", "", "{}"))], "missing_required_parameter", "messages[0].tool_calls[0].function.name"),
        (
            [{**ASSISTANT, "tool_calls": [{"id": "a", "type": "custom", "custom": {}}]}],
            "missing_required_parameter",
            "messages[0].tool_calls[0].custom.name",
        ),
        ([{**ASSISTANT, "function_call": "f"}], "invalid_type", "messages[0].function_call"),
        ([{**ASSISTANT, "function_call": {"a": 1}}], "missing_required_parameter", "messages[0].function_call.name"),
    ],
)
def test_a_message_that_cannot_be_read_is_a_400_with_its_place(messages: Any, code: str, param: str) -> None:
    assert refusal(messages=messages) == (code, param)


# --- plain turns ---


def test_turns_of_one_role_are_joined() -> None:
    assert turns(USER, USER, {"role": "assistant", "content": "Yes?"}, USER) == [
        said("user", "Hello", "Hello"),
        said("assistant", "Yes?"),
        said("user", "Hello"),
    ]


@pytest.mark.parametrize("empty", ["", " ", "\n", [], [{"type": "text", "text": " "}]])
def test_empty_text_is_left_out_and_named(empty: Any) -> None:
    reading = read(USER, {"role": "assistant", "content": empty}, {"role": "user", "content": "Still there?"})
    assert reading.request["messages"] == [said("user", "Hello", "Still there?")]
    assert str(reading.receipt) == "messages.empty=dropped"


def test_an_answer_echoed_back_is_accepted_in_silence() -> None:
    unsaid = {"refusal": None, "annotations": [], "audio": None, "function_call": None, "tool_calls": []}
    reading = read(USER, {**ASSISTANT, **unsaid}, USER)
    assert reading.request["messages"][1] == said("assistant", "Hi") and not reading.receipt


def test_a_refusal_echoed_back_is_what_the_assistant_said() -> None:
    assert turns(USER, {"role": "assistant", "content": None, "refusal": "No."}, USER)[1] == said("assistant", "No.")
    part = {"type": "refusal", "refusal": "No."}
    assert turns(USER, {"role": "assistant", "content": [part]}, USER)[1] == said("assistant", "No.")


def test_names_and_reasoning_of_messages_are_named_as_ignored() -> None:
    reading = read({**USER, "name": "alice"}, {**ASSISTANT, "reasoning_content": "hm"}, USER)
    assert str(reading.receipt) == "messages.name=ignored, messages.reasoning_content=ignored"


# --- calls and results ---


def test_a_call_and_its_result() -> None:
    reading = read(USER, CALL, result("call_1"), ASSISTANT, USER)
    assert reading.request["messages"] == [
        said("user", "Hello"),
        {"role": "assistant", "content": [USE]},
        {"role": "user", "content": [told("call_1")]},
        said("assistant", "Hi"),
        said("user", "Hello"),
    ]
    assert not reading.receipt


def test_text_before_a_call_stays_before_it() -> None:
    (_, answer, _) = turns(USER, {**CALL, "content": "Looking."}, result("call_1"))
    assert answer["content"] == [{"type": "text", "text": "Looking."}, USE]


@pytest.mark.parametrize("content", ["", None, " ", []])
def test_an_empty_result_has_no_content_at_all(content: Any) -> None:
    assert turns(USER, CALL, result("call_1", content))[2]["content"] == [
        {"type": "tool_result", "tool_use_id": "call_1"}
    ]


def test_a_result_may_hold_images_and_a_tools_name() -> None:
    image = {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}
    reading = read(USER, CALL, {**result("call_1", [{"type": "text", "text": "see"}, image]), "name": "look"})
    assert [block["type"] for block in reading.request["messages"][2]["content"][0]["content"]] == ["text", "image"]
    assert not reading.receipt


def test_a_call_without_a_result_gets_one_that_says_so() -> None:
    reading = read(USER, CALL, {"role": "user", "content": "Well?"})
    assert reading.request["messages"][2]["content"] == [missed("call_1"), {"type": "text", "text": "Well?"}]
    assert str(reading.receipt) == "messages.tool=result_added"
    assert turns(USER, CALL)[-1]["content"] == [missed("call_1")]


def test_results_of_parallel_calls_are_one_turn_in_the_order_of_the_calls() -> None:
    both = calls(("a", "look", "{}"), ("b", "look", "{}"))
    reading = read(USER, both, result("b", "B"), result("a", "A"))
    assert reading.request["messages"][2] == {"role": "user", "content": [told("a", "A"), told("b", "B")]}
    assert not reading.receipt


def test_one_missing_among_parallel_results() -> None:
    both = calls(("a", "look", "{}"), ("b", "look", "{}"))
    assert turns(USER, both, result("b", "B"))[2]["content"] == [missed("a"), told("b", "B")]


def test_what_stands_between_a_call_and_its_results_comes_after_them() -> None:
    both = calls(("a", "look", "{}"), ("b", "look", "{}"))
    found = turns(USER, both, result("a", "A"), {"role": "user", "content": "Hurry."}, result("b", "B"))
    assert found[2]["content"] == [told("a", "A"), told("b", "B"), {"type": "text", "text": "Hurry."}]
    found = turns(USER, CALL, {"role": "system", "content": "Be quick."}, result("call_1"))
    assert [turn["role"] for turn in found] == ["user", "assistant", "user", "system"]


def test_a_result_whose_call_is_gone_is_said_as_text() -> None:
    reading = read(USER, result("gone", "42"), USER)
    assert reading.request["messages"] == [said("user", "Hello", "Result of the tool call gone:", "42", "Hello")]
    assert str(reading.receipt) == "messages.tool=as_text"


def test_a_second_result_of_a_call_is_said_as_text() -> None:
    found = turns(USER, CALL, result("call_1", "one"), result("call_1", "two"))
    assert found[2]["content"] == [
        told("call_1", "one"),
        *said("", "Result of the tool call call_1:", "two")["content"],
    ]


def test_a_result_after_the_next_answer_comes_too_late() -> None:
    found = turns(USER, CALL, USER, ASSISTANT, result("call_1", "late"))
    assert found[2]["content"][0] == missed("call_1")
    assert found[-1] == said("user", "Result of the tool call call_1:", "late")


def test_two_calls_of_a_turn_with_one_id_are_told_apart() -> None:
    both = calls(("x", "look", "{}"), ("x", "find", "{}"))
    found = turns(USER, both, result("x", "one"), result("x", "two"))
    assert [block["id"] for block in found[1]["content"]] == ["x", "x_2"]
    assert found[2]["content"] == [told("x", "one"), told("x_2", "two")]


def test_answers_with_calls_that_follow_each_other_are_one_turn() -> None:
    found = turns(USER, calls(("a", "look", "{}")), calls(("b", "look", "{}")), result("a", "A"), result("b", "B"))
    assert [block["id"] for block in found[1]["content"]] == ["a", "b"]
    assert found[2]["content"] == [told("a", "A"), told("b", "B")] and len(found) == 3


def test_a_foreign_id_becomes_legal_alike_for_the_call_and_its_result() -> None:
    for foreign in ("functions.look:0", "call|1", "é" * 200, "x" * 300):
        found = turns(USER, calls((foreign, "look", "{}")), result(foreign))
        identifier = found[1]["content"][0]["id"]
        assert found[2]["content"][0] == told(identifier)
        assert identifier.replace("_", "").replace("-", "").isalnum() and identifier.isascii() and len(identifier) <= 64


def test_unlike_foreign_ids_stay_unlike() -> None:
    found = turns(USER, calls(("a.b", "look", "{}"), ("a:b", "look", "{}")), result("a:b", "two"), result("a.b", "one"))
    first, second = (block["id"] for block in found[1]["content"])
    assert first != second and found[2]["content"] == [told(first, "one"), told(second, "two")]


def test_a_foreign_name_becomes_legal_and_is_known_again() -> None:
    reading = read(USER, calls(("a", "ns.look", "{}")), result("a"))
    name = reading.request["messages"][1]["content"][0]["name"]
    assert name.startswith("ns_look_") and reading.form.names.original(name) == "ns.look"


# --- arguments ---


@pytest.mark.parametrize(
    ("arguments", "given", "receipt"),
    [
        ('{"a":1}', {"a": 1}, ""),
        ({"a": 1}, {"a": 1}, ""),
        ("", {}, ""),
        (" ", {}, ""),
        (None, {}, ""),
        ('{"a":', {"arguments": '{"a":'}, "tool_calls.arguments=repaired"),
        ("[1]", {"arguments": [1]}, "tool_calls.arguments=repaired"),
        ("5", {"arguments": 5}, "tool_calls.arguments=repaired"),
        ([1], {"arguments": [1]}, "tool_calls.arguments=repaired"),
        ('{"a":"\\ud83d"}', {"arguments": '{"a":"\\ud83d"}'}, "tool_calls.arguments=repaired"),
        ('{"a":' * 70 + "1" + "}" * 70, {"arguments": '{"a":' * 70 + "1" + "}" * 70}, "tool_calls.arguments=repaired"),
        ('{"a":123456789012345678901}', {"a": 123456789012345678901}, ""),
    ],
)
def test_arguments_are_an_object_and_broken_json_is_kept_as_text(arguments: Any, given: Any, receipt: str) -> None:
    reading = read(USER, calls(("a", "look", arguments)), result("a"))
    assert reading.request["messages"][1]["content"][0]["input"] == given and str(reading.receipt) == receipt


def test_a_free_text_call_is_one_with_an_input() -> None:
    call = {"id": "a", "type": "custom", "custom": {"name": "patch", "input": "*** Begin"}}
    found = turns(USER, {"role": "assistant", "tool_calls": [call]}, result("a"))
    assert found[1]["content"] == [{"type": "tool_use", "id": "a", "name": "patch", "input": {"input": "*** Begin"}}]


# --- the API of 2023 ---


def test_function_calls_of_2023_are_paired_by_their_order() -> None:
    call = {"role": "assistant", "content": None, "function_call": {"name": "look", "arguments": "{}"}}
    said_by = {"role": "function", "name": "look"}
    found = turns(USER, call, {**said_by, "content": "one"}, call, {**said_by, "content": "two"})
    assert [turn["content"][0]["type"] for turn in found[1:]] == ["tool_use", "tool_result"] * 2
    assert found[2]["content"] == [told(found[1]["content"][0]["id"], "one")]
    assert found[4]["content"] == [told(found[3]["content"][0]["id"], "two")]


def test_a_function_call_without_its_result_does_not_take_the_next_ones() -> None:
    call = {"role": "assistant", "content": None, "function_call": {"name": "look", "arguments": "{}"}}
    found = turns(USER, call, USER, call, {"role": "function", "name": "look", "content": "two"})
    first, second = (turn["content"][0]["id"] for turn in found if turn["role"] == "assistant")
    assert found[2]["content"][0] == missed(first) and found[4]["content"] == [told(second, "two")]


def test_a_functions_result_without_its_call_is_said_as_text() -> None:
    reading = read(USER, {"role": "function", "name": "look", "content": "42"})
    assert reading.request["messages"][0]["content"][-1] == {"type": "text", "text": "42"}
    assert str(reading.receipt) == "messages.tool=as_text"


# --- Anthropic's own shapes, as some clients send them for Claude ---


def test_calls_and_results_as_blocks() -> None:
    use = {"type": "tool_use", "id": "t.1", "name": "a.b", "input": {"x": 1}}
    given = {"type": "tool_result", "tool_use_id": "t.1", "content": "done"}
    hello = {"type": "text", "text": "And?"}
    found = turns(USER, {"role": "assistant", "content": [use]}, {"role": "user", "content": [hello, given]})
    (call,), (answer, text) = found[1]["content"], found[2]["content"]
    assert call["id"] == answer["tool_use_id"] != "t.1" and call["name"].startswith("a_b_")
    assert text == hello and answer["type"] == "tool_result"


def test_a_result_block_without_its_call_is_said_as_text() -> None:
    given = {"type": "tool_result", "tool_use_id": "t1", "content": "42"}
    reading = read({"role": "user", "content": [given]})
    assert reading.request["messages"] == [said("user", "Result of the tool call t1:", "42")]
    assert str(reading.receipt) == "messages.tool=as_text"


# --- thinking ---

SIGNED = {"type": "thinking", "thinking": "Hm.", "signature": "c2ln"}
HIDDEN = {"type": "redacted_thinking", "data": "eA=="}


def test_signed_thinking_goes_back_first_and_unchanged() -> None:
    (_, answer, _) = turns(USER, {**CALL, "content": "So.", "thinking_blocks": [SIGNED, HIDDEN]}, result("call_1"))
    assert answer["content"] == [SIGNED, HIDDEN, {"type": "text", "text": "So."}, USE]


@pytest.mark.parametrize(
    "unsound",
    [
        {"type": "thinking", "thinking": "Hm."},
        "x",
        {**SIGNED, "signature": ""},
        None,
        {"signature": "s"},
        {**SIGNED, "thinking": 5},
        {"type": "image", "signature": "s"},
        {"type": "redacted_thinking"},
    ],
)
def test_thinking_that_is_not_signed_is_left_out(unsound: Any) -> None:
    (_, answer, _) = turns(USER, {**ASSISTANT, "thinking_blocks": [unsound]}, USER)
    assert answer == said("assistant", "Hi")
    assert turns(USER, {**ASSISTANT, "thinking_blocks": unsound}, USER)[1] == said("assistant", "Hi")
