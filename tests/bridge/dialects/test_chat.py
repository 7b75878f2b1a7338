"""Chat Completions in, Messages out; and the whole answer back."""

from __future__ import annotations

from typing import Any

import pytest

from bridge.dialects import chat
from bridge.dialects.params import PARAMS, Verdict
from bridge.errors import ApiError
from bridge.wire.fold import Fold
from tenants.values import Usage
from tests import wire

USER = {"role": "user", "content": "Hello"}


def read(*messages: Any, **more: Any) -> chat.Reading:
    return chat.read({"model": "claude-opus-5", "messages": list(messages) or [USER], **more})


def turns(*messages: Any) -> Any:
    return read(*messages).request["messages"]


def said(role: str, *texts: str) -> dict[str, Any]:
    return {"role": role, "content": [{"type": "text", "text": text} for text in texts]}


def refusal(**body: Any) -> tuple[str | None, str | None]:
    with pytest.raises(ApiError) as caught:
        chat.read(body)
    assert caught.value.status == 400
    return caught.value.code, caught.value.param


def part(content: dict[str, Any]) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": [content]}]}


# --- refused ---


@pytest.mark.parametrize(
    ("change", "code", "param"),
    [
        ({"model": None}, "missing_required_parameter", "model"),
        ({"model": 5}, "invalid_type", "model"),
        ({"model": " "}, "invalid_value", "model"),
        ({"messages": None}, "missing_required_parameter", "messages"),
        ({"messages": "Hi"}, "invalid_type", "messages"),
        ({"messages": []}, "empty_array", "messages"),
        ({"messages": ["Hi"]}, "invalid_type", "messages[0]"),
        ({"messages": [{}]}, "missing_required_parameter", "messages[0].role"),
        ({"messages": [{"role": "king", "content": "Hi"}]}, "invalid_value", "messages[0].role"),
        ({"messages": [USER, {"role": "user"}]}, "missing_required_parameter", "messages[1].content"),
        ({"messages": [{"role": "user", "content": 5}]}, "invalid_type", "messages[0].content"),
        ({"messages": [{"role": "user", "content": ["Hi"]}]}, "invalid_type", "messages[0].content[0]"),
        (part({"text": "Hi"}), "missing_required_parameter", "messages[0].content[0].type"),
        (part({"type": "text"}), "missing_required_parameter", "messages[0].content[0].text"),
        (part({"type": "text", "text": 5}), "invalid_type", "messages[0].content[0].text"),
        (part({"type": "image_url", "image_url": {}}), "unsupported_parameter", "messages[0].content[0]"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "unsupported_parameter", "messages[0].role"),
        ({"messages": [{"role": "assistant", "tool_calls": [1]}]}, "unsupported_parameter", "messages[0].tool_calls"),
        ({"messages": [{"role": "user", "content": "  "}]}, "invalid_value", "messages"),
        ({"max_tokens": 0}, "integer_below_min_value", "max_tokens"),
        ({"max_tokens": "9"}, "invalid_type", "max_tokens"),
        ({"max_tokens": True}, "invalid_type", "max_tokens"),
        ({"max_completion_tokens": 1.5}, "invalid_type", "max_completion_tokens"),
        ({"temperature": 2.1}, "decimal_above_max_value", "temperature"),
        ({"temperature": -0.1}, "decimal_below_min_value", "temperature"),
        ({"top_p": "1"}, "invalid_type", "top_p"),
        ({"stop": 5}, "invalid_type", "stop"),
        ({"stop": ["a", 5]}, "invalid_type", "stop[1]"),
        ({"stream": "yes"}, "invalid_type", "stream"),
        ({"stream": True, "stream_options": 5}, "invalid_type", "stream_options"),
        ({"stream": True, "stream_options": {"include_usage": 1}}, "invalid_type", "stream_options.include_usage"),
        ({"n": 2}, "unsupported_parameter", "n"),
        ({"n": True}, "unsupported_parameter", "n"),
        ({"tools": [{"type": "function"}]}, "unsupported_parameter", "tools"),
        ({"tool_choice": "required"}, "unsupported_parameter", "tool_choice"),
        ({"response_format": {"type": "json_object"}}, "unsupported_parameter", "response_format"),
        ({"logprobs": True}, "unsupported_parameter", "logprobs"),
        ({"audio": {}}, "unsupported_parameter", "audio"),
        ({"modalities": ["text", "audio"]}, "unsupported_parameter", "modalities"),
    ],
)  # fmt: skip
def test_what_cannot_be_honoured_is_a_400_with_its_place(change: dict[str, Any], code: str, param: str) -> None:
    assert refusal(**{"model": "claude-opus-5", "messages": [USER], **change}) == (code, param)


@pytest.mark.parametrize("body", [None, [], "text", 5, True])
def test_a_body_that_is_no_object_is_a_400(body: Any) -> None:
    with pytest.raises(ApiError) as caught:
        chat.read(body)
    assert caught.value.code == "invalid_type"


# --- the table ---


@pytest.mark.parametrize("name", PARAMS)
def test_null_means_absent_for_every_parameter_that_may_be(name: str) -> None:
    if name not in ("model", "messages"):
        assert str(read(**{name: None}).receipt) == ""


@pytest.mark.parametrize("param", PARAMS.values(), ids=lambda param: param.name)
def test_harmless_values_are_accepted_in_silence(param: Any) -> None:
    for value in param.harmless:
        assert str(read(**{param.name: value}).receipt) == ""


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("seed", 7),
        ("frequency_penalty", 0.5),
        ("logit_bias", {"1": 2}),
        ("metadata", {"a": "b"}),
        ("min_p", 0.1),
        ("x", {}),
    ],
)
def test_a_hint_without_an_equivalent_is_named_on_the_receipt(name: str, value: Any) -> None:
    assert str(read(**{name: value}).receipt) == f"{name}=ignored"


def test_every_verdict_is_one_the_reader_knows() -> None:
    assert {param.verdict for param in PARAMS.values()} <= set(Verdict)


def test_a_hostile_parameter_name_cannot_break_a_header() -> None:
    reading = read(**{"a\r\nset-cookie: x": 1, "é" * 100: 1, **{f"p{n}": 1 for n in range(100)}})
    line = str(reading.receipt)
    assert line.isascii() and "\n" not in line and ":" not in line
    assert line.endswith("more=62")


# --- translated ---


def test_a_plain_request() -> None:
    reading = read(
        max_tokens=50, temperature=0.5, top_p=0.9, stop="END", stream=True, stream_options={"include_usage": True}
    )
    assert reading.request == {
        "model": "claude-opus-5",
        "messages": [said("user", "Hello")],
        "max_tokens": 50,
        "stop_sequences": ["END"],
        "temperature": 0.5,
        "top_p": 0.9,
    }
    assert (reading.stream, reading.include_usage) == (True, True)


def test_the_model_may_come_from_the_url_and_the_body_wins() -> None:
    assert chat.read({"messages": [USER]}, "from-url").request["model"] == "from-url"
    assert chat.read({"messages": [USER], "model": "mine"}, "from-url").request["model"] == "mine"


def test_max_completion_tokens_wins_and_a_whole_decimal_is_an_integer() -> None:
    assert read(max_tokens=5, max_completion_tokens=9.0).request["max_tokens"] == 9


def test_leading_system_and_developer_messages_become_the_system_prompt() -> None:
    reading = read({"role": "system", "content": "Be kind."}, {"role": "developer", "content": "Be brief."}, USER)
    assert reading.request["system"] == said("", "Be kind.", "Be brief.")["content"]
    assert reading.request["messages"] == [said("user", "Hello")]


def test_a_later_system_message_stays_where_it_is() -> None:
    assert [turn["role"] for turn in turns(USER, {"role": "system", "content": "Now French."})] == ["user", "system"]


def test_a_conversation_of_system_messages_only_is_asked_as_a_user() -> None:
    reading = read({"role": "system", "content": "Say hi."})
    assert reading.request["messages"] == [said("user", "Say hi.")] and "system" not in reading.request
    assert str(reading.receipt) == "messages.system=as_user"


def test_text_parts_of_every_spelling_are_text() -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "input_text", "text": "b"}, {"type": "output_text", "text": "c"}]
    assert turns({"role": "user", "content": parts}) == [said("user", "a", "b", "c")]


def test_turns_of_one_role_are_joined() -> None:
    assert turns(USER, USER, {"role": "assistant", "content": "Yes?"}, USER) == [
        said("user", "Hello", "Hello"),
        said("assistant", "Yes?"),
        said("user", "Hello"),
    ]


def test_empty_text_is_left_out_and_named() -> None:
    reading = read(USER, {"role": "assistant", "content": " "}, {"role": "user", "content": "Still there?"})
    assert reading.request["messages"] == [said("user", "Hello", "Still there?")]
    assert str(reading.receipt) == "messages.empty=dropped"


def test_an_answer_echoed_back_is_accepted() -> None:
    echoed = {
        "role": "assistant",
        "content": "Hi",
        "refusal": None,
        "annotations": [],
        "audio": None,
        "function_call": None,
        "tool_calls": [],
    }
    reading = read(USER, echoed, USER)
    assert reading.request["messages"][1] == said("assistant", "Hi") and not reading.receipt


def test_a_refusal_echoed_back_is_what_the_assistant_said() -> None:
    assert turns(USER, {"role": "assistant", "content": None, "refusal": "No."}, USER)[1] == said("assistant", "No.")


def test_names_and_reasoning_of_messages_are_named_as_ignored() -> None:
    reading = read({**USER, "name": "alice"}, {"role": "assistant", "content": "Hi", "reasoning_content": "hm"}, USER)
    assert str(reading.receipt) == "messages.name=ignored, messages.reasoning_content=ignored"


def test_stop_sequences_of_white_space_are_dropped_and_named() -> None:
    reading = read(stop=["\n", "END"])
    assert reading.request["stop_sequences"] == ["END"] and str(reading.receipt) == "stop=dropped(whitespace)"
    assert "stop_sequences" not in read(stop="\n").request


@pytest.mark.parametrize(
    ("fields", "expected"), [({"user": "u"}, "u"), ({"user": "u", "safety_identifier": "s"}, "s"), ({}, "")]
)
def test_the_end_user(fields: dict[str, Any], expected: str) -> None:
    assert read(**fields).end_user == expected


def test_an_end_user_that_is_an_object_is_taken_as_text() -> None:
    assert read(user={"id": 5}).end_user == "{'id': 5}"


# --- the answer ---


def write(*parts: bytes, usage: Usage | None = None) -> dict[str, Any]:
    fold = Fold()
    for event in wire.events(list(parts)):
        fold.feed(event)
    return chat.write(fold.message(), usage or Usage(), created=1234)


def test_a_whole_answer_has_every_required_key() -> None:
    usage = Usage(input=5, cache_write_5m=2, cache_write_1h=1, cache_read=20, output=9, reasoning=4)
    answer = write(*wire.answer("Hello", " there"), usage=usage)
    assert answer == {
        "id": "chatcmpl-01Test",
        "object": "chat.completion",
        "created": 1234,
        "model": "claude-sonnet-5-5",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "Hello there", "refusal": None, "annotations": []},
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": {
            "prompt_tokens": 28,
            "completion_tokens": 9,
            "total_tokens": 37,
            "prompt_tokens_details": {"cached_tokens": 20, "cache_write_tokens": 3, "audio_tokens": 0},
            "completion_tokens_details": {
                "reasoning_tokens": 4,
                "audio_tokens": 0,
                "accepted_prediction_tokens": 0,
                "rejected_prediction_tokens": 0,
            },
            "cache_creation_input_tokens": 3,
            "cache_read_input_tokens": 20,
        },
        "service_tier": "default",
        "system_fingerprint": None,
    }


@pytest.mark.parametrize(
    ("stop_reason", "finish_reason"),
    [
        ("end_turn", "stop"), ("stop_sequence", "stop"), ("max_tokens", "length"), ("refusal", "content_filter"),
        ("model_context_window_exceeded", "length"), ("pause_turn", "stop"), ("tool_use", "tool_calls"),
        ("new_thing", "stop"),
    ],
)  # fmt: skip
def test_finish_reasons(stop_reason: str, finish_reason: str) -> None:
    answer = write(wire.start(), *wire.text_block("Hi"), *wire.end(stop_reason))
    assert answer["choices"][0]["finish_reason"] == finish_reason


def test_a_refusal_says_why() -> None:
    details = {"type": "refusal", "category": "cyber", "explanation": "Not that."}
    message = write(wire.start(), *wire.end("refusal", details))["choices"][0]["message"]
    assert (message["content"], message["refusal"]) == ("", "Not that.")
    unexplained = write(wire.start(), *wire.end("refusal"))["choices"][0]["message"]
    assert unexplained["refusal"] == "The model declined to answer."


def test_thinking_is_reasoning_content_and_unknown_blocks_are_not_text() -> None:
    odd = wire.event("content_block_start", index=1, content_block={"type": "new_block", "text": "?"})
    answer = write(wire.start(), *wire.thinking_block("Hm."), odd, *wire.text_block("Hi", index=2), *wire.end())
    message = answer["choices"][0]["message"]
    assert (message["content"], message["reasoning_content"]) == ("Hi", "Hm.")
