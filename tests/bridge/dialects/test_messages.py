"""The house language: what is read, what passes, how errors are shaped, and what a stream of events amounts to."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from bridge.dialects import betas
from bridge.dialects.messages import MESSAGES, PING, Relay, WholeMessage
from bridge.errors import KINDS, ApiError
from bridge.speech import Asked
from bridge.sse import FrameParser, Parser
from bridge.wire.anthropic import Frame, decode_event
from bridge.wire.whole import RawFold, parsed
from tests import wire

HELLO = {"model": "claude-opus-5", "max_tokens": 9, "messages": [{"role": "user", "content": "Hello"}]}


def asked(body: Any, **headers: str) -> Asked:
    return Asked(body, lambda name: headers.get(name.replace("-", "_"), ""), "req-1")


# --- Reading --------------------------------------------------------------------------------------------------------


def test_every_field_passes_as_it_came() -> None:
    body = {**HELLO, "temperature": 3, "of_tomorrow": {"a": [None, 1.50]}, "metadata": {"user_id": "u1"}}
    before = msgspec.json.encode(body)
    question = MESSAGES.read(asked(body))
    assert msgspec.json.encode(question.fit(None, "someone")) == before  # type: ignore[arg-type]
    assert (question.alias, question.streamed, question.end_user) == ("claude-opus-5", False, "u1")
    assert not question.receipt


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"model": None}, "model: Field required"),
        ({"model": 5}, "model: Input should be a valid string"),
        ({"model": " "}, "model: String should have at least 1 character"),
        ({"max_tokens": None}, "max_tokens: Field required"),
        ({"max_tokens": "9"}, "max_tokens: Input should be a valid integer"),
        ({"max_tokens": True}, "max_tokens: Input should be a valid integer"),
        ({"max_tokens": -1}, "max_tokens: Input should be greater than or equal to 0"),
        ({"messages": None}, "messages: Field required"),
        ({"messages": "Hello"}, "messages: Input should be a valid list"),
        ({"stream": "yes"}, "stream: Input should be a valid boolean"),
        ({"stream": 0}, "stream: Input should be a valid boolean"),
    ],
)
def test_what_bridge_must_know_is_checked_in_the_words_of_the_api(change: dict[str, Any], text: str) -> None:
    with pytest.raises(ApiError) as caught:
        MESSAGES.read(asked({**HELLO, **change}))
    assert (caught.value.status, caught.value.message) == (400, text)


@pytest.mark.parametrize("body", [[], "Hello", None, 5])
def test_a_body_that_is_no_object_is_a_400(body: Any) -> None:
    with pytest.raises(ApiError, match="JSON object"):
        MESSAGES.read(asked(body))


def test_a_request_to_count_needs_neither_a_limit_nor_a_stream() -> None:
    body = {"model": "claude-opus-5", "messages": []}
    assert MESSAGES.read_count(asked(body)).fit(None, "") is body  # type: ignore[arg-type]


@pytest.mark.parametrize("metadata", [None, "x", [], {"user_id": None}, {"user_id": 7}, {}])
def test_an_odd_user_is_nobody_here_and_for_the_api_to_judge(metadata: Any) -> None:
    question = MESSAGES.read(asked({**HELLO, "metadata": metadata}))
    assert question.end_user == ""
    assert question.fit(None, "")["metadata"] == metadata  # type: ignore[arg-type]


# --- Headers --------------------------------------------------------------------------------------------------------


def test_a_version_that_exists_is_passed_on_and_another_is_a_400() -> None:
    assert MESSAGES.read(asked(HELLO)).headers == {}
    for version in ("2023-06-01", "2026-10-21"):
        assert MESSAGES.read(asked(HELLO, anthropic_version=version)).headers == {"anthropic-version": version}
    with pytest.raises(ApiError, match='anthropic-version: "2022-01-01" is not a valid version'):
        MESSAGES.read(asked(HELLO, anthropic_version="2022-01-01"))


def test_known_betas_pass_once_each_and_in_order() -> None:
    names = "interleaved-thinking-2025-05-14, context-1m-2025-08-07,interleaved-thinking-2025-05-14,"
    headers = MESSAGES.read(asked(HELLO, anthropic_beta=names)).headers
    assert headers == {"anthropic-beta": "interleaved-thinking-2025-05-14,context-1m-2025-08-07"}


@pytest.mark.parametrize("name", ["made-up-2030-01-01", "x\u00e9\r\ny", *(family for family, _ in betas.REFUSED)])
def test_any_other_beta_is_refused_by_name(name: str) -> None:
    with pytest.raises(ApiError, match="Unexpected value") as caught:
        betas.read(f"context-1m-2025-08-07,{name}")
    assert caught.value.status == 400


def test_no_beta_is_both_passed_and_refused() -> None:
    passed = tuple(family for family, _ in betas.PASSED)
    assert not [family for family, _ in betas.REFUSED if family.startswith(passed)]


# --- Errors ---------------------------------------------------------------------------------------------------------

_NAMES = {
    400: "invalid_request_error", 401: "authentication_error", 403: "permission_error", 404: "not_found_error",
    405: "invalid_request_error", 408: "timeout_error", 413: "request_too_large", 415: "invalid_request_error",
    429: "rate_limit_error", 500: "api_error", 502: "api_error", 503: "api_error", 504: "timeout_error",
    529: "overloaded_error",
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_error_has_anthropics_shape_and_a_type_that_fits_its_status(kind: str) -> None:
    problem = ApiError(kind, "so it is")
    body = MESSAGES.error(problem, "req-1")
    expected = "overloaded_error" if kind == "overloaded_here" else _NAMES[MESSAGES.status(problem)]
    assert body == {"type": "error", "error": {"type": expected, "message": "so it is"}, "request_id": "req-1"}


def test_upstreams_own_words_are_what_these_clients_read() -> None:
    problem = ApiError("model_not_found", "The model `x` does not exist.", said="model: x")
    assert MESSAGES.error(problem, "")["error"] == {"type": "not_found_error", "message": "model: x"}


# --- Streams --------------------------------------------------------------------------------------------------------


def frames(parts: list[bytes]) -> list[Frame]:
    return [Frame(part, part.split(b"data: ", 1)[1].strip()) for part in parts]


def test_a_stream_is_relayed_byte_for_byte_and_is_done_at_its_end() -> None:
    parts = [
        *wire.answer("Hello")[:-1],
        b'event:  of_tomorrow\r\ndata: {"type":"of_tomorrow" , "x": 1.0}\r\n\r\n',
        wire.event("message_stop"),
    ]
    relay = Relay("req-1")
    sent = [relay.feed([decode_event(frame.data)], [frame]) for frame in frames(parts)]
    assert sent == parts
    assert (relay.done, relay.message_id, relay.stop_reason) == (True, "msg_01Test", "end_turn")


def test_the_last_word_of_a_broken_stream_is_an_error_event() -> None:
    relay = Relay("req-1")
    name, data, *_ = relay.error(ApiError("upstream_truncated", "cut")).split(b"\n")
    assert name == b"event: error" and relay.done
    assert msgspec.json.decode(data.removeprefix(b"data: ")) == {
        "type": "error", "error": {"type": "api_error", "message": "cut"}, "request_id": "req-1",
    }  # fmt: skip


def test_a_silence_is_broken_by_a_ping() -> None:
    assert Parser().feed(Relay("").beat()) == [b'{"type": "ping"}']
    assert decode_event(Parser().feed(PING)[0]).type == "ping"


STREAM = b"".join(wire.answer("Hello", " there")) + b': a comment\n\ndata: {"type":"x"}\r\n\r\ndata: end\r\r'


@pytest.mark.parametrize("size", [1, 2, 3, 5, 64, 10_000])
def test_frames_are_the_same_bytes_however_the_network_cut_them(size: int) -> None:
    parser, plain = FrameParser(), Parser()
    datas: list[bytes] = []
    raws: list[bytes] = []
    for start in range(0, len(STREAM), size):
        datas += parser.feed(STREAM[start : start + size])
        raws += parser.raws
    assert datas == plain.feed(STREAM) + plain.finish()
    assert b"".join(raws) == STREAM and len(raws) == len(datas)


def test_the_end_completes_a_frame_that_has_no_empty_line() -> None:
    parser = FrameParser()
    assert parser.feed(b"data: one\n\ndata: two\n") == [b"one"]
    assert (parser.finish(), parser.raws) == ([b"two"], [b"data: two\n\n"])
    assert parser.finish() == []


# --- Whole messages -------------------------------------------------------------------------------------------------


def folded(*events: dict[str, Any]) -> Any:
    fold = RawFold()
    for event in events:
        fold.feed(event)
    return fold.message()


def begun(**more: Any) -> dict[str, Any]:
    message = {"id": "msg_1", "type": "message", "role": "assistant", "model": "m", "content": [], "stop_reason": None}
    return {"type": "message_start", "message": {**message, "usage": {"input_tokens": 3, "output_tokens": 1}, **more}}


def block(index: int, start: dict[str, Any], *deltas: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {"type": "content_block_start", "index": index, "content_block": start},
        *({"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas),
        {"type": "content_block_stop", "index": index},
    ]


def ended(usage: dict[str, Any], top: dict[str, Any] | None = None, **delta: Any) -> list[dict[str, Any]]:
    return [{"type": "message_delta", "delta": delta, "usage": usage, **(top or {})}, {"type": "message_stop"}]


CALL = {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {}, "caller": {"type": "direct"}}


def test_a_stream_with_everything_amounts_to_the_whole_message() -> None:
    cited = {"type": "char_location", "cited_text": "a", "of_tomorrow": 1}
    message = folded(
        begun(diagnostics=None, usage={"input_tokens": 3, "output_tokens": 1, "service_tier": "standard",
              "cache_creation": {"ephemeral_5m_input_tokens": 2, "of_tomorrow": 5}, "inference_geo": "us"}),
        {"type": "ping"},
        *block(0, {"type": "thinking", "thinking": "", "signature": ""},
               {"type": "thinking_delta", "thinking": "Let me", "estimated_tokens": 4},
               {"type": "thinking_delta", "thinking": " see"}, {"type": "signature_delta", "signature": "c2ln"}),
        *block(1, {"type": "redacted_thinking", "data": "xyz"}),
        *block(2, {"type": "text", "text": ""}, {"type": "text_delta", "text": "Hel"},
               {"type": "text_delta", "text": "lo"}, {"type": "citations_delta", "citation": cited}),
        *block(3, CALL, {"type": "input_json_delta", "partial_json": ""},
               {"type": "input_json_delta", "partial_json": '{"a": [1, '},
               {"type": "input_json_delta", "partial_json": '2]}'}),
        *block(4, {"type": "web_search_tool_result", "tool_use_id": "t", "content": [{"url": "u"}]}),
        {"type": "of_tomorrow", "x": 1},
        *ended({"output_tokens": 9, "input_tokens": None, "output_tokens_details": {"thinking_tokens": 4},
                "server_tool_use": {"web_search_requests": 1}}, {"context_management": {"applied_edits": []}},
               stop_reason="tool_use", stop_sequence=None, stop_details=None, container={"id": "c1"}),
    )  # fmt: skip
    assert message == {
        "id": "msg_1", "type": "message", "role": "assistant", "model": "m", "diagnostics": None,
        "content": [
            {"type": "thinking", "thinking": "Let me see", "signature": "c2ln"},
            {"type": "redacted_thinking", "data": "xyz"},
            {"type": "text", "text": "Hello", "citations": [cited]},
            {**CALL, "input": {"a": [1, 2]}},
            {"type": "web_search_tool_result", "tool_use_id": "t", "content": [{"url": "u"}]},
        ],
        "stop_reason": "tool_use", "stop_sequence": None, "stop_details": None, "container": {"id": "c1"},
        "context_management": {"applied_edits": []},
        "usage": {
            "input_tokens": 3, "output_tokens": 9, "service_tier": "standard", "inference_geo": "us",
            "cache_creation": {"ephemeral_5m_input_tokens": 2, "of_tomorrow": 5},
            "output_tokens_details": {"thinking_tokens": 4}, "server_tool_use": {"web_search_requests": 1},
        },
    }  # fmt: skip


def test_a_refusal_keeps_its_details() -> None:
    details = {"type": "refusal", "category": "cyber", "explanation": None, "of_tomorrow": 1}
    message = folded(begun(), *ended({"output_tokens": 0}, stop_reason="refusal", stop_details=details))
    assert (message["stop_reason"], message["stop_details"], message["content"]) == ("refusal", details, [])


def test_blocks_and_deltas_of_tomorrow_are_kept_as_well_as_can_be() -> None:
    start = {"type": "hologram", "shape": "", "points": [1], "light": {"a": 1}, "size": 2}
    deltas = [{"type": "hologram_delta", "shape": "cu", "points": [2]},
              {"type": "hologram_delta", "shape": "be", "light": {"b": 2}, "size": 3, "new": None}]  # fmt: skip
    message = folded(begun(), *block(0, start, *deltas), *ended({}))
    assert message["content"] == [
        {"type": "hologram", "shape": "cube", "points": [1, 2], "light": {"a": 1, "b": 2}, "size": 3, "new": None}
    ]


def test_a_summary_replaces_and_the_model_that_answered_in_the_end_is_named() -> None:
    message = folded(
        begun(),
        *block(0, {"type": "compaction", "content": None}, {"type": "compaction_delta", "content": "All of it."}),
        *block(1, {"type": "fallback", "from": {"model": "m"}, "to": {"model": "n"}}),
    )
    assert message["model"] == "n" and message["content"][0]["content"] == "All of it."


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"a": 1}', {"a": 1}),
        ('{"a": 1', {"a": 1}),
        ('{"a": [1, {"b": "x"', {"a": [1, {"b": "x"}]}),
        ('{"a": "x", "b": "cut of', {"a": "x"}),
        ('{"a": "x, {y", "b": tru', {"a": "x, {y"}),
        ('{"a": "quo\\"te", "b', {"a": 'quo"te'}),
        ('{"a": {"b": "cut', {"a": {}}),
        ('{"a', {}),
        ("{", {}),
        ("nonsense", {}),
        ('{"a": "\\', {}),
    ],
)
def test_an_input_that_was_cut_off_keeps_what_was_complete(text: str, value: Any) -> None:
    assert parsed(text) == value


def test_an_input_without_any_delta_stays_as_it_began() -> None:
    message = folded(begun(), *block(0, {**CALL, "input": {"a": 1}}), *block(1, CALL), *ended({}))
    assert [found["input"] for found in message["content"]] == [{"a": 1}, {}]


def test_deltas_of_a_block_that_never_began_change_nothing() -> None:
    message = folded(begun(), *block(0, {"type": "text", "text": ""})[2:], {"type": "content_block_delta", "index": 4,
                     "delta": {"type": "text_delta", "text": "x"}}, *ended({}))  # fmt: skip
    assert message["content"] == []


def test_no_message_at_all_is_an_error() -> None:
    whole = WholeMessage()
    whole.feed([], frames([wire.event("message_stop")]))
    with pytest.raises(ApiError, match="held no message"):
        whole.write()
