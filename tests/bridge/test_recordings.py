"""What Anthropic's API was recorded to answer: streamed and whole say the same, and a cut is never an end."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from bridge.dialects import chat_answer
from bridge.dialects.chat import AnswerShape
from bridge.dialects.chat_stream import ChatStream
from bridge.errors import ApiError
from bridge.wire.anthropic import Delta, Event, Message, Start
from tests import wire
from tests.chat import CREATED, assembled, assert_agree, chunks, fold
from tests.shared import needs_recordings, recordings, streams

pytestmark = needs_recordings
STREAMS = streams()
SHAPES = {"tools": AnswerShape(), "functions": AnswerShape(legacy=True)}


async def read_all(content: bytes, size: int) -> tuple[list[Event], ApiError | None]:
    """What upstream's reader makes of the bytes, in pieces of this size."""
    pieces = [content[start : start + size] for start in range(0, len(content), size)]
    return await wire.read_all(pieces)


def streamed(events: list[Event], problem: ApiError | None, shape: AnswerShape) -> bytes:
    _, meter = fold([])
    stream = ChatStream(meter.usage, CREATED, True, shape)
    out = b""
    for event in events:
        meter.feed(event)
        out += stream.feed(event)
    return out + (stream.error(problem) if problem else stream.close())


def test_there_are_recordings() -> None:
    assert len(STREAMS) > 100


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", STREAMS)
async def test_the_stream_and_the_whole_answer_agree(name: str, shape: str) -> None:
    events, problem = await read_all(STREAMS[name], 1000)
    folded, meter = fold(events)
    whole = chat_answer.write(folded.message(), meter.usage(), CREATED, SHAPES[shape], meter.service_tier)
    out = streamed(events, problem, SHAPES[shape])
    if problem is None:
        assert_agree(whole, out)
    else:
        assert b"[DONE]" not in out and b'"finish_reason":"' not in out
        assert chunks(out)[-1] == problem.body()


@pytest.mark.parametrize("name", STREAMS)
async def test_however_the_network_cut_it_the_same_comes_out(name: str) -> None:
    shape = AnswerShape()
    expected = streamed(*await read_all(STREAMS[name], 1000), shape)
    assert streamed(*await read_all(STREAMS[name], 7), shape) == expected
    assert streamed(*await read_all(STREAMS[name], len(STREAMS[name]) + 1), shape) == expected


def facts(message: dict[str, Any]) -> dict[str, Any]:
    """What a recorded message says, worked out from it alone."""
    blocks, usage = message["content"], message["usage"]
    counts = ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens")
    return {
        "content": "".join(block["text"] for block in blocks if block["type"] == "text"),
        "reasoning": "".join(block["thinking"] for block in blocks if block["type"] == "thinking"),
        "calls": [(one["id"], one["name"], one["input"]) for one in blocks if one["type"] == "tool_use"],
        "prompt": sum(usage.get(name) or 0 for name in counts),
        "output": usage["output_tokens"],
    }


def whole_ones() -> dict[str, dict[str, Any]]:
    """The recorded answers that were not streamed."""
    found = {name: one["response"].get("body") for name, one in recordings().items()}
    return {name: body for name, body in found.items() if isinstance(body, dict) and body.get("type") == "message"}


@pytest.mark.parametrize("name", whole_ones())
def test_an_answer_that_was_not_streamed_is_told_in_full(name: str) -> None:
    body = whole_ones()[name]
    fields = ("id", "model", "content", "stop_reason", "stop_sequence", "stop_details")
    events = [
        Event("message_start", message=msgspec.convert(body, Start)),
        *(Event("content_block_start", index, content_block=block) for index, block in enumerate(body["content"])),
        Event("message_delta", delta=msgspec.convert({name: body.get(name) for name in fields[3:]}, Delta)),
        Event("message_stop"),
    ]
    folded, meter = fold(events)
    answer = chat_answer.write(folded.message(), meter.usage(), CREATED, AnswerShape())
    direct = Message(*(body.get(name) for name in fields))  # type: ignore[arg-type]
    assert answer["choices"] == chat_answer.write(direct, meter.usage(), CREATED, AnswerShape())["choices"]
    told, expected = answer["choices"][0]["message"], facts(body)
    calls = [
        (call["id"], call["function"]["name"], msgspec.json.decode(call["function"]["arguments"]))
        for call in told.get("tool_calls", [])
    ]
    assert ((told["content"] or ""), told.get("reasoning_content", "")) == (expected["content"], expected["reasoning"])
    assert calls == expected["calls"]
    assert answer["usage"]["prompt_tokens"] == expected["prompt"]
    assert answer["usage"]["completion_tokens"] == expected["output"]
    assert assembled(streamed(events, None, AnswerShape()))["content"] == expected["content"]
