"""The whole answer: its keys, calls, sources, thinking, refusals and how it ends."""

from __future__ import annotations

from typing import Any

import pytest

from bridge.dialects import chat_answer
from bridge.dialects.chat import AnswerShape
from bridge.dialects.names import Names
from bridge.wire.anthropic import Message
from tenants.values import Usage
from tests import wire
from tests.chat import message, whole

LEGACY = AnswerShape(legacy=True)
CUSTOM = AnswerShape(custom=frozenset({"patch"}))


def call(arguments: str, identifier: str = "toolu_1", name: str = "look") -> dict[str, Any]:
    return {"id": identifier, "type": "function", "function": {"name": name, "arguments": arguments}}


def finish(parts: list[bytes], shape: AnswerShape | None = None) -> Any:
    return whole(parts, shape)["choices"][0]["finish_reason"]


def test_a_whole_answer_has_every_required_key() -> None:
    usage = Usage(input=5, cache_write_5m=2, cache_write_1h=1, cache_read=20, output=9, reasoning=4)
    content = [{"type": "text", "text": "Hello there"}]
    made = Message("msg_01Test", "claude-sonnet-5-5", content, "end_turn", None, None)
    assert chat_answer.write(made, usage, 1234, AnswerShape()) == {
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
    ("upstream", "told"),
    [("standard", "default"), ("priority", "priority"), ("batch", "flex"), ("new", "default"), (None, "default")],
)
def test_the_service_tier(upstream: Any, told: str) -> None:
    assert whole([wire.start(service_tier=upstream), *wire.end()])["service_tier"] == told


# --- how it ends ---


@pytest.mark.parametrize(
    ("stop_reason", "finish_reason"),
    [
        ("end_turn", "stop"), ("stop_sequence", "stop"), ("max_tokens", "length"), ("refusal", "content_filter"),
        ("model_context_window_exceeded", "length"), ("pause_turn", "stop"), ("tool_use", "tool_calls"),
        ("new_thing", "stop"), (None, "stop"),
    ],
)  # fmt: skip
def test_finish_reasons(stop_reason: Any, finish_reason: str) -> None:
    assert finish([wire.start(), *wire.text_block("Hi"), *wire.end(stop_reason)]) == finish_reason


@pytest.mark.parametrize(
    ("stop_reason", "finish_reason"),
    [("tool_use", "tool_calls"), ("end_turn", "tool_calls"), ("max_tokens", "length"), ("refusal", "content_filter")],
)
def test_with_calls_it_ends_on_them_unless_it_was_cut(stop_reason: str, finish_reason: str) -> None:
    parts = [wire.start(), *wire.tool_block("{}"), *wire.end(stop_reason)]
    assert finish(parts) == finish_reason
    assert finish(parts, LEGACY) == finish_reason.replace("tool_calls", "function_call")


def test_a_refusal_says_why() -> None:
    details = {"type": "refusal", "category": "cyber", "explanation": "Not that."}
    told = message([wire.start(), *wire.end("refusal", details)])
    assert (told["content"], told["refusal"]) == ("", "Not that.")


@pytest.mark.parametrize("details", [None, {}, {"explanation": None}, {"explanation": ""}, {"explanation": 5}])
def test_or_that_there_is_no_reason(details: Any) -> None:
    assert message([wire.start(), *wire.end("refusal", details)])["refusal"] == "The model declined to answer."


# --- text ---


def test_an_answer_of_nothing_is_an_empty_text() -> None:
    assert message([wire.start(), *wire.end()])["content"] == ""


def test_texts_are_joined_without_anything_between() -> None:
    assert message([wire.start(), *wire.text_block("One"), *wire.text_block(" two", index=1), *wire.end()])[
        "content"
    ] == ("One two")


def test_unknown_blocks_are_not_text() -> None:
    odd = wire.event("content_block_start", index=0, content_block={"type": "new_block", "text": "?"})
    assert message([wire.start(), odd, *wire.text_block("Hi", index=1), *wire.end()])["content"] == "Hi"


# --- calls ---


def test_a_call_without_text_has_no_content() -> None:
    told = message([wire.start(), *wire.tool_block('{"at":', '"x"}'), *wire.end("tool_use")])
    assert told["content"] is None and told["tool_calls"] == [call('{"at":"x"}')]


def test_no_calls_means_no_key() -> None:
    assert "tool_calls" not in message(wire.answer("Hi"))


@pytest.mark.parametrize("pieces", [(), ("",), ("{}",)])
def test_no_arguments_are_an_empty_object(pieces: tuple[str, ...]) -> None:
    assert message([wire.start(), *wire.tool_block(*pieces), *wire.end("tool_use")])["tool_calls"] == [call("{}")]


def test_arguments_that_were_cut_are_told_as_they_came() -> None:
    told = message([wire.start(), *wire.tool_block('{"at":', '"x'), *wire.end("max_tokens")])
    assert told["tool_calls"] == [call('{"at":"x')]


def test_input_that_is_complete_at_the_start() -> None:
    block = {"type": "tool_use", "id": "toolu_1", "name": "look", "input": {"at": "x"}}
    parts = [wire.event("content_block_start", index=0, content_block=block)]
    parts.append(wire.event("content_block_stop", index=0))
    assert message([wire.start(), *parts, *wire.end("tool_use")])["tool_calls"] == [call('{"at":"x"}')]


@pytest.mark.parametrize("kind", ["server_tool_use", "mcp_tool_use", "web_search_tool_result", "tool_use_2027"])
def test_what_anthropic_ran_itself_is_no_call(kind: str) -> None:
    block = {"type": kind, "id": "srvtoolu_1", "name": "web_search", "input": {"query": "x"}, "content": []}
    started = wire.event("content_block_start", index=0, content_block=block)
    parts = [wire.start(), started, *wire.text_block("Hi", index=1), *wire.end()]
    assert "tool_calls" not in message(parts) and finish(parts) == "stop"


def test_a_name_is_told_as_the_client_gave_it() -> None:
    names = Names()
    legal = names.legal("ns.look")
    parts = [wire.start(), *wire.tool_block("{}", name=legal), *wire.end("tool_use")]
    assert message(parts, AnswerShape(names))["tool_calls"][0]["function"]["name"] == "ns.look"


def test_a_free_text_call_is_told_as_one() -> None:
    parts = [wire.start(), *wire.tool_block('{"input":"*** Begin"}', name="patch"), *wire.end("tool_use")]
    assert message(parts, CUSTOM)["tool_calls"] == [
        {"id": "toolu_1", "type": "custom", "custom": {"name": "patch", "input": "*** Begin"}}
    ]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [("", ""), ("{}", ""), ('{"input":""}', ""), ('{"other":1}', '{"other":1}'), ("[1]", "[1]"), ('{"input":"x', None)],
)
def test_a_free_text_call_without_its_text_loses_nothing(arguments: str, text: str | None) -> None:
    parts = [wire.start(), *wire.tool_block(arguments, name="patch"), *wire.end("tool_use")]
    assert message(parts, CUSTOM)["tool_calls"][0]["custom"]["input"] == (arguments if text is None else text)


def test_the_call_of_2023() -> None:
    told = message([wire.start(), *wire.text_block("Hm."), *wire.tool_block("{}", index=1), *wire.end()], LEGACY)
    assert told["function_call"] == {"name": "look", "arguments": "{}"} and "tool_calls" not in told


# --- sources ---


def cited(text: str, *citations: Any, index: int = 0) -> list[bytes]:
    block = wire.text_block(text, index=index)
    notes = [
        wire.event("content_block_delta", index=index, delta={"type": "citations_delta", "citation": citation})
        for citation in citations
    ]
    return [block[0], *notes, *block[1:]]


PAGE = {"type": "web_search_result_location", "url": "https://example.com", "title": "Example", "cited_text": "x"}


def test_sources_are_told_with_the_part_of_the_text_they_stand_for() -> None:
    untitled = {"type": "web_search_result_location", "url": "https://example.org", "title": None}
    parts = [wire.start(), *wire.text_block("See: "), *cited("naïve😀", PAGE, untitled, index=1), *wire.end()]
    place = {"start_index": 5, "end_index": 11}
    assert message(parts)["annotations"] == [
        {"type": "url_citation", "url_citation": {**place, "title": "Example", "url": "https://example.com"}},
        {"type": "url_citation", "url_citation": {**place, "title": "", "url": "https://example.org"}},
    ]


def test_sources_without_an_address_have_no_equivalent() -> None:
    location = {"type": "char_location", "document_index": 0, "cited_text": "x"}
    assert message([wire.start(), *cited("Hi", location), *wire.end()])["annotations"] == []


# --- thinking ---


def test_thinking_is_reasoning_content_and_its_signed_blocks_go_along() -> None:
    told = message([wire.start(), *wire.thinking_block("Hm."), *wire.text_block("Hi", index=1), *wire.end()])
    assert (told["content"], told["reasoning_content"]) == ("Hi", "Hm.")
    assert told["thinking_blocks"] == [{"type": "thinking", "thinking": "Hm.", "signature": "c2ln"}]


def test_hidden_thinking_is_only_blocks() -> None:
    redacted = {"type": "redacted_thinking", "data": "eA=="}
    started = wire.event("content_block_start", index=0, content_block=redacted)
    told = message([wire.start(), started, *wire.thinking_block(index=1), *wire.end()])
    assert "reasoning_content" not in told
    assert told["thinking_blocks"] == [redacted, {"type": "thinking", "thinking": "", "signature": "c2ln"}]


def test_thinking_that_was_cut_before_its_signature_is_not_sent_back() -> None:
    told = message([wire.start(), *wire.thinking_block("Hm.")[:2], *wire.end("max_tokens")])
    assert told["reasoning_content"] == "Hm." and "thinking_blocks" not in told
