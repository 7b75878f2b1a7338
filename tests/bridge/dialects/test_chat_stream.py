"""The chunks: their order, their shape, and that they say what the whole answer says."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from bridge.dialects import chat
from bridge.dialects.chat_stream import ChatStream
from bridge.errors import ApiError
from bridge.usage import Meter
from bridge.wire.fold import Fold
from tests import wire


def run(parts: list[bytes], include_usage: bool = False, close: bool = True) -> tuple[ChatStream, bytes]:
    meter = Meter(100, 1000)
    stream = ChatStream(meter.usage, created=1234, include_usage=include_usage)
    out = b""
    for event in wire.events(parts):
        meter.feed(event)
        out += stream.feed(event)
    return stream, out + (stream.close() if close else b"")


def chunks(out: bytes) -> list[Any]:
    assert out.endswith(b"\n\n")
    lines = [line for line in out.split(b"\n\n") if line]
    assert all(line.startswith((b"data: ", b": ")) and b"\n" not in line for line in lines)
    return [
        "[DONE]" if line == b"data: [DONE]" else msgspec.json.decode(line[6:])
        for line in lines
        if line.startswith(b"data: ")
    ]


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


CASES = {
    "text": wire.answer("Hello", " there"),
    "nothing": [wire.start(), *wire.end()],
    "thinking": [wire.start(), *wire.thinking_block("Hm."), *wire.text_block("Hi", index=1), *wire.end()],
    "hidden thinking": [wire.start(), *wire.thinking_block(), *wire.text_block("Hi", index=1), *wire.end()],
    "two texts": [wire.start(), *wire.text_block("One"), *wire.text_block(" two", index=1), *wire.end("max_tokens")],
    "refusal": [wire.start(), *wire.text_block("I"), *wire.end("refusal", {"explanation": "No."})],
    "text at the start of a block": [
        wire.start(), wire.event("content_block_start", index=0, content_block={"type": "text", "text": "Hi"}),
        wire.event("content_block_delta", index=0, delta={"type": "text_delta", "text": "!"}), *wire.end(),
    ],
    "unknown things": [
        wire.start(), wire.event("new_event", x=1), *wire.text_block("Hi"),
        wire.event("content_block_delta", index=0, delta={"type": "new_delta", "new": 1}), *wire.end("new_reason"),
    ],
    "quotes and emoji": wire.answer('"\\', "\u2028\u0085", "😀", "\0", "</script>"),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_the_stream_and_the_whole_answer_agree(name: str) -> None:
    fold, meter = Fold(), Meter(100, 1000)
    for event in wire.events(CASES[name]):
        meter.feed(event)
        fold.feed(event)
    whole = chat.write(fold.message(), meter.usage(), 1234)
    *body, usage, _ = chunks(run(CASES[name], include_usage=True)[1])
    deltas = [chunk["choices"][0]["delta"] for chunk in body]
    message = whole["choices"][0]["message"]
    assert "".join(delta.get("content") or "" for delta in deltas) == message["content"]
    assert "".join(delta.get("reasoning_content") or "" for delta in deltas) == message.get("reasoning_content", "")
    assert [delta["refusal"] for delta in deltas if delta.get("refusal")] == (
        [message["refusal"]] if message["refusal"] else []
    )
    assert body[-1]["choices"][0]["finish_reason"] == whole["choices"][0]["finish_reason"]
    assert usage["usage"] == whole["usage"]
    assert [delta for delta in deltas if "role" in delta] == [deltas[0]]


def test_a_stream_that_ends_early_is_an_error() -> None:
    stream, out = run(wire.answer("Hi")[:-1])
    assert chunks(out)[-1]["error"]["code"] == "upstream_truncated"
    assert stream.done and stream.close() == b""


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


def test_a_second_message_start_changes_nothing() -> None:
    out = run([wire.start(), *wire.answer("Hi")])[1]
    assert [chunk["choices"][0]["delta"] for chunk in chunks(out)[:-1] if chunk["choices"][0]["delta"].get("role")] == [
        {"role": "assistant", "content": "", "refusal": None}
    ]


def test_beats_are_comments_and_now_and_then_a_real_chunk() -> None:
    stream, _ = run([wire.start()], close=False)
    assert stream.beat() == b": keep-alive\n\n"
    assert chunks(stream.beat())[0]["choices"] == [{"index": 0, "delta": {}, "logprobs": None, "finish_reason": None}]
    assert stream.beat() == b": keep-alive\n\n"
