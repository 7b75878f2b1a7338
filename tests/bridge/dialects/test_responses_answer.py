"""Messages events become a response: its items, in order, whole and as numbered events; and what breaks it says so."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bridge.errors import ApiError, internal
from tests import wire
from tests.chat import CREATED
from tests.responses import REQUEST_ID, assembled, assert_agree, events, kinds, made, output, read, run, streamed, whole
from tests.sealing import PlainSeal

CUT = ApiError("upstream_truncated", "The stream from upstream ended before the answer did.")
LOOK = {"type": "function", "name": "look"}
PATCH = {"type": "custom", "name": "patch"}


# --- the response ---


def test_every_field_that_a_strict_reader_wants_is_there() -> None:
    shape = read(
        instructions="Be brief.", max_output_tokens=9, metadata={"a": "b"}, temperature=0.5, tools=[LOOK],
        reasoning={"effort": "low", "summary": "auto"}, prompt_cache_key="k", safety_identifier="s",
    ).form  # fmt: skip
    assert whole(wire.answer("Hi"), shape) == {
        "id": "resp_01Test", "object": "response", "created_at": CREATED, "completed_at": CREATED + 5,
        "status": "completed", "incomplete_details": None, "error": None, "model": "claude-sonnet-5-5",
        "previous_response_id": None, "instructions": "Be brief.",
        "output": [{"id": "msg_01Test_0", "type": "message", "status": "completed", "role": "assistant",
                    "content": [{"type": "output_text", "text": "Hi", "annotations": [], "logprobs": []}]}],
        "tools": [{"type": "function", "name": "look", "description": None, "parameters": None, "strict": False}],
        "tool_choice": "auto", "truncation": "disabled", "parallel_tool_calls": True,
        "text": {"format": {"type": "text"}, "verbosity": "medium"}, "top_p": 1, "presence_penalty": 0,
        "frequency_penalty": 0, "top_logprobs": 0, "temperature": 0.5,
        "reasoning": {"effort": "low", "summary": "auto"}, "max_output_tokens": 9, "max_tool_calls": None,
        "store": False, "background": False, "service_tier": "default", "metadata": {"a": "b"},
        "safety_identifier": "s", "prompt_cache_key": "k",
        "usage": {"input_tokens": 11, "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
                  "output_tokens": 7, "output_tokens_details": {"reasoning_tokens": 0}, "total_tokens": 18},
    }  # fmt: skip


def test_all_input_is_counted_cached_or_not() -> None:
    parts = [wire.start(cache_read_input_tokens=90, cache_creation_input_tokens=5), *wire.text_block("x"), *wire.end()]
    assert whole(parts)["usage"]["input_tokens"] == 106
    assert whole(parts)["usage"]["input_tokens_details"] == {"cached_tokens": 90, "cache_write_tokens": 5}


@pytest.mark.parametrize(
    ("stop", "status", "reason"),
    [
        ("end_turn", "completed", None),
        ("stop_sequence", "completed", None),
        ("new_reason", "completed", None),
        ("max_tokens", "incomplete", "max_output_tokens"),
        ("model_context_window_exceeded", "incomplete", "max_output_tokens"),
        ("refusal", "incomplete", "content_filter"),
    ],
)
def test_how_it_stopped(stop: str, status: str, reason: str | None) -> None:
    response = whole([wire.start(), *wire.text_block("Hi"), *wire.end(stop)])
    assert response["status"] == status
    assert response["incomplete_details"] == ({"reason": reason} if reason else None)
    assert (response["completed_at"] is None) == (status == "incomplete")
    assert response["output"][0]["status"] == status


# --- items ---


def test_a_refusal_alone_is_a_message() -> None:
    (item,) = output([wire.start(), *wire.end("refusal", {"explanation": "No."})])
    assert item["content"] == [{"type": "refusal", "refusal": "No."}]


def test_words_before_and_after_a_call_are_two_messages() -> None:
    parts = [wire.start(), *wire.text_block("a"), *wire.tool_block("{}", index=1), *wire.text_block("b", index=2)]
    items = output([*parts, *wire.end()])
    assert [item["type"] for item in items] == ["message", "function_call", "message"]
    assert len({item["id"] for item in items}) == 3


def test_a_call_of_a_program_has_its_arguments_from_the_start() -> None:
    block = {"type": "tool_use", "id": "toolu_1", "name": "look", "input": {"at": "x"}}
    parts = [wire.start(), wire.event("content_block_start", index=0, content_block=block), *wire.end("tool_use")]
    assert output(parts)[0]["arguments"] == '{"at":"x"}'
    assert_agree(whole(parts), streamed(parts))


def test_thinking_without_a_signature_is_shown_and_not_sealed() -> None:
    block = {"type": "thinking", "thinking": "Hm.", "signature": ""}
    parts = [wire.start(), wire.event("content_block_start", index=0, content_block=block), *wire.end()]
    thought = output(parts, read(seal=PlainSeal()).form)[0]
    assert (thought["summary"][0]["text"], thought["encrypted_content"]) == ("Hm.", None)


def test_thinking_that_is_not_shown_is_sealed_all_the_same() -> None:
    parts = [wire.start(), *wire.thinking_block(), *wire.text_block("Hi", index=1), *wire.end()]
    thought = output(parts, read(seal=PlainSeal()).form)[0]
    assert thought["summary"] == [] and thought["encrypted_content"].startswith("brg1.acme:")


def test_sealed_thinking_comes_back_as_it_was_and_only_to_its_tenant() -> None:
    shape = read(seal=PlainSeal()).form
    parts = [wire.start(), *wire.thinking_block("Hm."), *wire.tool_block("{}", index=1), *wire.end("tool_use")]
    history = [{"role": "user", "content": "Look"}, *output(parts, shape)]
    history.append({"type": "function_call_output", "call_id": "toolu_1", "output": "seen"})
    ours = read(*history, seal=PlainSeal())
    assert ours.request["messages"][1]["content"][0] == {"type": "thinking", "thinking": "Hm.", "signature": "c2ln"}
    assert str(ours.receipt) == ""
    others = read(*history, seal=PlainSeal("mallory"))
    assert [block["type"] for block in others.request["messages"][1]["content"]] == ["tool_use"]
    assert str(others.receipt) == "input.reasoning=dropped"


@pytest.mark.parametrize("text", ["*** Begin\n", 'a"b\\c/\u2028', "😀\t", "", "x" * 300, "\\u0041", "\\\\"])
@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
@pytest.mark.parametrize("escaped", [True, False])
def test_free_text_is_told_as_it_comes_wherever_it_is_split(text: str, size: int, escaped: bool) -> None:

    arguments = json.dumps({"input": text}, ensure_ascii=escaped)
    pieces = [arguments[start : start + size] for start in range(0, len(arguments), size)]
    parts = [wire.start(), *wire.tool_block(*pieces, name="patch"), *wire.end("tool_use")]
    shape = read(tools=[PATCH]).form
    told = streamed(parts, shape)
    assert assembled(told)[0]["input"] == text
    deltas = [event["delta"] for event in told if event["type"] == "response.custom_tool_call_input.delta"]
    assert "".join(deltas) == text
    if len(text) > 100 and size < 10:
        assert len(deltas) > 20, "not held back"


@pytest.mark.parametrize("arguments", ['{"text":"x"}', '{"a":1,"input":"x"}', "[1]", '{"input":5}'])
def test_free_text_in_another_form_is_not_lost(arguments: str) -> None:
    parts = [wire.start(), *wire.tool_block(arguments, name="patch"), *wire.end("tool_use")]
    shape = read(tools=[PATCH]).form
    assert "x" in output(parts, shape)[0]["input"] or output(parts, shape)[0]["input"] == arguments
    assert_agree(whole(parts, shape), streamed(parts, shape))


def test_names_are_the_clients_own() -> None:
    shape = read(tools=[{"type": "function", "name": "a.b"}]).form
    legal = shape.names.legal("a.b")
    parts = [wire.start(), *wire.tool_block("{}", name=legal), *wire.end("tool_use")]
    assert output(parts, shape)[0]["name"] == "a.b"


def test_a_search_that_failed_says_so() -> None:
    used = {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {}}
    error = {"type": "web_search_tool_result_error", "error_code": "max_uses_exceeded"}
    found = {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": error}
    blocks = [wire.event("content_block_start", index=n, content_block=one) for n, one in enumerate((used, found))]
    parts = [wire.start(), *blocks, *wire.text_block("Sorry.", index=2), *wire.end()]
    assert output(parts)[0]["status"] == "failed"
    assert_agree(whole(parts), streamed(parts))


def test_other_tools_of_anthropics_and_unknown_blocks_are_no_items() -> None:
    code = {"type": "server_tool_use", "id": "srvtoolu_1", "name": "code_execution", "input": {}}
    blocks = [
        wire.event("content_block_start", index=0, content_block=code),
        wire.event("content_block_start", index=1, content_block={"type": "of_2027"}),
    ]
    (item,) = output([wire.start(), *blocks, *wire.text_block("Hi", index=2), *wire.end()])
    assert item["type"] == "message"


# --- the stream ---


def test_nothing_is_complete_before_upstream_says_so() -> None:
    stream, out = run(wire.answer("Hi")[:-1])
    assert not stream.done and "completed" not in kinds(events(out))


@pytest.mark.parametrize("parts", [[], [wire.event("ping")], [wire.start()], wire.answer("Hi")[:-3]])
def test_a_broken_stream_says_what_broke_and_then_that_it_failed(parts: list[bytes]) -> None:
    stream, out = run(parts, broken=CUT)
    told = events(out)
    assert stream.done and kinds(told)[:2] == ["created", "in_progress"]
    error, failed = told[-2:]
    assert error["type"] == "error"
    assert (error["code"], error["message"], error["param"]) == ("upstream_truncated", CUT.message, None)
    assert error["error"] == CUT.body()["error"]
    assert failed["type"] == "response.failed"
    assert (failed["response"]["status"], failed["response"]["completed_at"]) == ("failed", None)
    assert failed["response"]["error"] == {"code": "server_error", "message": CUT.message}
    assembled(told)


def test_a_stream_that_never_began_is_named_after_its_request() -> None:
    told = events(run([], broken=internal())[1])
    assert told[0]["response"]["id"] == f"resp_{REQUEST_ID.replace('-', '')}"


def test_a_failed_response_holds_what_was_complete() -> None:
    parts = [wire.start(), *wire.tool_block("{}"), *wire.text_block("Hel", index=1)[:2]]
    failed = events(run(parts, broken=CUT)[1])[-1]["response"]
    assert [item["type"] for item in failed["output"]] == ["function_call"]


def test_too_many_requests_are_known_by_their_code() -> None:
    failed = events(run([wire.start()], broken=ApiError("rate_limited", "Please try again in 3s."))[1])[-1]
    assert failed["response"]["error"] == {"code": "rate_limit_exceeded", "message": "Please try again in 3s."}


def test_a_silence_is_filled_with_an_event_once_there_is_something_to_be_in_progress() -> None:
    stream, out = run([])
    assert stream.beat() == b": keep-alive\n\n"
    stream, out = run([wire.start()])
    beats = events(out + stream.beat() + stream.beat())
    assert kinds(beats) == ["created", "in_progress", "in_progress", "in_progress"]


def test_nothing_of_the_beginning_is_told_twice() -> None:
    parts = [wire.start(), wire.start(), *wire.text_block("Hi"), *wire.end(), wire.event("message_stop")]
    assert kinds(streamed(parts)).count("created") == 1
    assert kinds(streamed(parts)).count("completed") == 1


@pytest.mark.parametrize(
    "event",
    [
        {"index": 3, "delta": {"type": "text_delta", "text": "x"}},
        {"index": 0, "delta": {"type": "input_json_delta", "partial_json": "{"}},
    ],
)
def test_a_delta_of_no_block_or_of_another_kind_is_not_the_answers(event: dict[str, Any]) -> None:
    first = wire.text_block("Hi")
    parts = [wire.start(), *first[:-1], wire.event("content_block_delta", **event), first[-1], *wire.end()]
    assert output(parts)[0]["content"][0]["text"] == "Hi"
    assert_agree(whole(parts), streamed(parts))


def test_a_response_can_be_asked_for_at_any_time() -> None:
    response, meter = made()
    for event in wire.events([wire.start(), *wire.text_block("Hi")]):
        meter.feed(event)
        response.feed(event)
    assert (response.resource()["status"], response.resource()["usage"]) == ("in_progress", None)
