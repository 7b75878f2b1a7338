"""The chunks: their order, their shape, and that they say what the whole answer says."""

from __future__ import annotations

from typing import Any

import pytest

from bridge.dialects.chat import AnswerShape
from bridge.dialects.names import Names
from bridge.errors import ApiError
from tests import wire
from tests.chat import assert_agree, chunks, deltas, run, whole

LEGACY = AnswerShape(legacy=True)
CUSTOM = AnswerShape(custom=frozenset({"patch"}))
NAMES = Names()
NAMED = AnswerShape(NAMES)
PAGE = {"type": "web_search_result_location", "url": "https://example.com", "title": "Example"}


def block(content: dict[str, Any], index: int = 0) -> list[bytes]:
    """A block that is complete from the start."""
    started = wire.event("content_block_start", index=index, content_block=content)
    return [started, wire.event("content_block_stop", index=index)]


def cited(text: str, index: int = 0) -> list[bytes]:
    plain = wire.text_block(text, index=index)
    note = wire.event("content_block_delta", index=index, delta={"type": "citations_delta", "citation": PAGE})
    return [*plain[:-1], note, plain[-1]]


SEARCH = block({"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {}})
SEARCHED = [
    SEARCH[0],
    wire.event("content_block_delta", index=0, delta={"type": "input_json_delta", "partial_json": '{"query":"x"}'}),
    SEARCH[1],
    *block({"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": []}, 1),
]

# --- cut and broken ---


def test_a_stream_that_ends_early_is_an_error() -> None:
    stream, out = run(wire.answer("Hi")[:-1])
    last = chunks(out)[-1]
    assert last["error"]["code"] == "upstream_truncated" and "choices" not in last
    assert stream.done and stream.close() == b"" and b"[DONE]" not in out


@pytest.mark.parametrize("kept", range(len(wire.answer("Hi", "!")) - 1))
def test_wherever_it_is_cut_there_is_no_end(kept: int) -> None:
    out = run(wire.answer("Hi", "!")[:kept])[1]
    assert b"[DONE]" not in out and b'"finish_reason":"' not in out


def test_an_error_is_the_last_word_and_closes_the_stream() -> None:
    stream, _ = run(wire.answer("Hi")[:3], close=False)
    (chunk,) = chunks(stream.error(ApiError("overloaded", "Busy.")))
    assert chunk == {
        "error": {
            "message": "Busy.",
            "type": "service_unavailable_error",
            "param": None,
            "code": "server_is_overloaded",
        }
    }
    assert stream.close() == b""


def test_an_end_without_a_beginning_is_no_end() -> None:
    out = run(wire.end())[1]
    assert [list(chunk) for chunk in chunks(out)] == [["error"]]


# --- the chunks ---


def test_a_plain_stream_chunk_by_chunk() -> None:
    _, out = run(wire.answer("Hel", "lo"))
    base = {
        "id": "chatcmpl-01Test", "object": "chat.completion.chunk", "created": 1234, "model": "claude-sonnet-5-5",
        "service_tier": "default", "system_fingerprint": None,
    }  # fmt: skip

    def chunk(delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
        return {**base, "choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}]}

    assert chunks(out) == [
        chunk({"role": "assistant", "content": "", "refusal": None}),
        chunk({"content": "Hel"}),
        chunk({"content": "lo"}),
        chunk({}, "stop"),
        "[DONE]",
    ]


def test_the_usage_chunk_is_last_and_all_before_it_say_null() -> None:
    _, out = run(wire.answer("Hi"), include_usage=True)
    *body, usage, done = chunks(out)
    assert done == "[DONE]" and all(chunk["usage"] is None for chunk in body)
    assert usage["choices"] == [] and usage["usage"]["total_tokens"] == 18
    assert {key: usage[key] for key in ("id", "created", "model")} == {
        key: body[0][key] for key in ("id", "created", "model")
    }


def test_without_include_usage_no_chunk_has_the_key() -> None:
    assert all("usage" not in chunk for chunk in chunks(run(wire.answer("Hi"))[1])[:-1])


def test_no_chunk_has_an_error_key() -> None:
    assert all("error" not in chunk for chunk in chunks(run(wire.answer("Hi"))[1])[:-1])


def test_a_call_is_told_in_pieces_with_its_id_and_name_once() -> None:
    first = {"id": "toolu_1", "type": "function", "function": {"name": "look", "arguments": ""}}
    assert deltas([wire.start(), *wire.tool_block("", '{"at":', '"x"}'), *wire.end("tool_use")]) == [
        {"tool_calls": [{"index": 0, **first}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": '{"at":'}}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": '"x"}'}}]},
    ]


def test_calls_are_numbered_as_calls_and_not_as_blocks() -> None:
    parts = [
        wire.start(), *wire.thinking_block("Hm."), *wire.text_block("So.", index=1), *wire.tool_block("{}", index=2),
        *wire.text_block("And.", index=3), *wire.tool_block("{}", index=4, identifier="toolu_2"), *wire.end("tool_use"),
    ]  # fmt: skip
    numbers = [delta["tool_calls"][0]["index"] for delta in deltas(parts) if "tool_calls" in delta]
    assert numbers == [0, 0, 1, 1]


@pytest.mark.parametrize("pieces", [(), ("",), ("", "")])
def test_no_arguments_are_an_empty_object(pieces: tuple[str, ...]) -> None:
    told = deltas([wire.start(), *wire.tool_block(*pieces), *wire.end("tool_use")])
    assert [delta["tool_calls"][0]["function"]["arguments"] for delta in told] == ["", "{}"]


def test_input_that_is_complete_at_the_start_is_told_at_once() -> None:
    use = {"type": "tool_use", "id": "toolu_1", "name": "look", "input": {"at": "x"}}
    (told,) = deltas([wire.start(), *block(use), *wire.end("tool_use")])
    assert told["tool_calls"][0]["function"] == {"name": "look", "arguments": '{"at":"x"}'}


def test_what_anthropic_runs_itself_is_no_call() -> None:
    assert deltas([wire.start(), *SEARCHED, *wire.text_block("Hi", index=2), *wire.end()]) == [{"content": "Hi"}]


def test_a_free_text_call_is_a_function_in_a_stream() -> None:
    told = deltas([wire.start(), *wire.tool_block('{"input":"x"}', name="patch"), *wire.end("tool_use")], CUSTOM)
    assert told[0]["tool_calls"][0]["type"] == "function"
    assert told[1]["tool_calls"][0]["function"]["arguments"] == '{"input":"x"}'


def test_the_call_of_2023() -> None:
    assert deltas([wire.start(), *wire.tool_block("{}"), *wire.end("tool_use")], LEGACY) == [
        {"function_call": {"name": "look", "arguments": ""}},
        {"function_call": {"arguments": "{}"}},
    ]


def test_lists_come_once_and_last() -> None:
    parts = [
        wire.start(), *wire.thinking_block("Hm."), *block({"type": "redacted_thinking", "data": "eA=="}, 1),
        *cited("One", 2), *cited("Two", 3), *wire.end(),
    ]  # fmt: skip
    *_, sources, signed = deltas(parts)
    assert [note["url_citation"]["start_index"] for note in sources["annotations"]] == [0, 3]
    assert [note["url_citation"]["end_index"] for note in sources["annotations"]] == [3, 6]
    assert [one["type"] for one in signed["thinking_blocks"]] == ["thinking", "redacted_thinking"]


def test_a_refusal_comes_before_the_end() -> None:
    parts = [wire.start(), *wire.text_block("I"), *wire.end("refusal", {"explanation": "No."})]
    assert deltas(parts) == [{"content": "I"}, {"refusal": "No."}]


def test_a_second_message_start_changes_nothing() -> None:
    out = run([wire.start(), *wire.answer("Hi")])[1]
    assert sum("role" in chunk["choices"][0]["delta"] for chunk in chunks(out)[:-1]) == 1


def test_beats_are_comments_and_now_and_then_a_real_chunk() -> None:
    stream, _ = run([wire.start()], close=False)
    assert stream.beat() == b": keep-alive\n\n"
    assert chunks(stream.beat())[0]["choices"] == [{"index": 0, "delta": {}, "logprobs": None, "finish_reason": None}]
    assert stream.beat() == b": keep-alive\n\n"


def test_before_the_first_event_every_beat_is_a_comment() -> None:
    stream, _ = run([], close=False)
    assert {stream.beat() for _ in range(4)} == {b": keep-alive\n\n"}


# --- whole and streamed ---

CASES: dict[str, tuple[list[bytes], AnswerShape | None]] = {
    "text": (wire.answer("Hello", " there"), None),
    "nothing": ([wire.start(), *wire.end()], None),
    "thinking": ([wire.start(), *wire.thinking_block("Hm."), *wire.text_block("Hi", index=1), *wire.end()], None),
    "hidden thinking": ([wire.start(), *wire.thinking_block(), *wire.text_block("Hi", index=1), *wire.end()], None),
    "thinking that was cut": ([wire.start(), *wire.thinking_block("Hm.")[:2], *wire.end("max_tokens")], None),
    "redacted thinking": ([wire.start(), *block({"type": "redacted_thinking", "data": "eA=="}), *wire.end()], None),
    "two texts": (
        [wire.start(), *wire.text_block("One"), *wire.text_block(" two", index=1), *wire.end("max_tokens")], None,
    ),
    "refusal": ([wire.start(), *wire.text_block("I"), *wire.end("refusal", {"explanation": "No."})], None),
    "refusal of nothing": ([wire.start(), *wire.end("refusal")], None),
    "text at the start of a block": (
        [
            wire.start(), wire.event("content_block_start", index=0, content_block={"type": "text", "text": "Hi"}),
            wire.event("content_block_delta", index=0, delta={"type": "text_delta", "text": "!"}), *wire.end(),
        ],
        None,
    ),
    "unknown things": (
        [
            wire.start(), wire.event("new_event", x=1), *wire.text_block("Hi"),
            wire.event("content_block_delta", index=0, delta={"type": "new_delta", "new": 1}), *wire.end("new_reason"),
        ],
        None,
    ),
    "quotes and emoji": (wire.answer('"\\', "\u2028\u0085", "😀", "\0", "</script>"), None),
    "a call": ([wire.start(), *wire.tool_block('{"at":', '"x"}'), *wire.end("tool_use")], None),
    "a call without arguments": ([wire.start(), *wire.tool_block(), *wire.end("tool_use")], None),
    "a call that was cut": ([wire.start(), *wire.tool_block('{"at":', '"x'), *wire.end("max_tokens")], None),
    "a call at the end of a turn": ([wire.start(), *wire.tool_block("{}"), *wire.end("end_turn")], None),
    "calls in parallel": (
        [
            wire.start(), *wire.text_block("So."), *wire.tool_block('{"a":1}', index=1),
            *wire.tool_block('{"b":2}', index=2, identifier="toolu_2"), *wire.end("tool_use"),
        ],
        None,
    ),
    "input at the start": (
        [
            wire.start(), *block({"type": "tool_use", "id": "toolu_1", "name": "look", "input": {"a": 1}}),
            *wire.end("tool_use"),
        ],
        None,
    ),
    "a foreign name": (
        [wire.start(), *wire.tool_block("{}", name=NAMES.legal("ns.look")), *wire.end("tool_use")], NAMED,
    ),
    "a free-text call": (
        [wire.start(), *wire.tool_block('{"input":"*** Begin"}', name="patch"), *wire.end("tool_use")], CUSTOM,
    ),
    "a call of 2023": ([wire.start(), *wire.tool_block('{"a":1}'), *wire.end("tool_use")], LEGACY),
    "sources": ([wire.start(), *SEARCHED, *cited("One", 2), *cited(" two", 3), *wire.end()], None),
    "a search and a call": (
        [wire.start(), *SEARCHED, *wire.tool_block('{"a":1}', index=2), *wire.end("tool_use")], None,
    ),
    "what is said in a block of a new kind": (
        [
            wire.start(), wire.event("content_block_start", index=0, content_block={"type": "new_block"}),
            wire.event("content_block_delta", index=0, delta={"type": "text_delta", "text": "?"}),
            wire.event("content_block_delta", index=0, delta={"type": "thinking_delta", "thinking": "?"}),
            *wire.text_block("Hi", index=1), *wire.end(),
        ],
        None,
    ),
    "what is said in deltas of a new kind": (
        [
            wire.start(), *wire.text_block("Hi")[:-1],
            wire.event("content_block_delta", index=0, delta={"type": "new_delta", "text": "?", "thinking": "?"}),
            wire.event("content_block_stop", index=0), *wire.tool_block("{}", index=1)[:-1],
            wire.event("content_block_delta", index=1, delta={"type": "new_delta", "partial_json": "?"}),
            wire.event("content_block_stop", index=1), *wire.end(),
        ],
        None,
    ),
    "what is said in no block": (
        [
            wire.start(), wire.event("content_block_delta", index=4, delta={"type": "text_delta", "text": "?"}),
            *wire.text_block("Hi"), *wire.end(),
        ],
        None,
    ),
    "two calls of 2023": (
        [wire.start(), *wire.tool_block("{}"), *wire.tool_block('{"b":1}', index=1), *wire.end("tool_use")], LEGACY,
    ),
    "a free-text call that was cut": (
        [wire.start(), *wire.tool_block('{"input":"*** B', name="patch"), *wire.end("max_tokens")], CUSTOM,
    ),
    "numbers of every size": (
        [wire.start(), *wire.tool_block('{"a":[1e300,-0.5,123456789012345678901]}'), *wire.end("tool_use")], None,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_the_stream_and_the_whole_answer_agree(name: str) -> None:
    parts, shape = CASES[name]
    assert_agree(whole(parts, shape), run(parts, include_usage=True, shape=shape)[1])
