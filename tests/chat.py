"""Chat Completions in a test: requests read, answers folded whole, streams run and put together again."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from bridge.dialects import chat, chat_answer
from bridge.dialects.chat import AnswerShape
from bridge.dialects.chat_stream import ChatStream
from bridge.errors import ApiError
from bridge.usage import Meter
from bridge.wire.anthropic import Event
from bridge.wire.fold import Fold
from tenants.values import Usage, UsageSource
from tests import wire

MODEL = "claude-opus-5"
CREATED = 1234
MOST = Usage(input=100, output=1000, source=UsageSource.BOUND)
USER = {"role": "user", "content": "Hello"}


def read(*messages: Any, **more: Any) -> chat.Reading:
    return chat.read({"model": MODEL, "messages": list(messages) or [USER], **more})


def turns(*messages: Any) -> Any:
    return read(*messages).request["messages"]


def said(role: str, *texts: str) -> dict[str, Any]:
    return {"role": role, "content": [{"type": "text", "text": text} for text in texts]}


def refusal(*messages: Any, **more: Any) -> tuple[str | None, str | None]:
    """The code and the parameter of the 400 that this request gets."""
    with pytest.raises(ApiError) as caught:
        chat.read({"model": MODEL, "messages": list(messages) or [USER], **more})
    assert caught.value.status == 400
    return caught.value.code, caught.value.param


def function(name: str = "look", parameters: Any = None, **more: Any) -> dict[str, Any]:
    """A function tool as OpenAI has it."""
    fields = {"name": name, **({} if parameters is None else {"parameters": parameters}), **more}
    return {"type": "function", "function": fields}


def calls(*given: tuple[str, str, Any], **more: Any) -> dict[str, Any]:
    """An assistant's message that calls tools: (id, name, arguments) each."""
    made = [
        {"id": identifier, "type": "function", "function": {"name": name, "arguments": arguments}}
        for identifier, name, arguments in given
    ]
    return {"role": "assistant", "content": None, "tool_calls": made, **more}


def result(identifier: str, content: Any = "done") -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": identifier, "content": content}


def fold(events: list[Event]) -> tuple[Fold, Meter]:
    folded, meter = Fold(), Meter(MOST)
    for event in events:
        meter.feed(event)
        folded.feed(event)
    return folded, meter


def whole(parts: list[bytes], shape: AnswerShape | None = None) -> dict[str, Any]:
    """The whole answer to these events."""
    folded, meter = fold(wire.events(parts))
    return chat_answer.write(folded.message(), meter.usage(), CREATED, shape or AnswerShape(), meter.service_tier)


def message(parts: list[bytes], shape: AnswerShape | None = None) -> dict[str, Any]:
    found: dict[str, Any] = whole(parts, shape)["choices"][0]["message"]
    return found


def run(
    parts: list[bytes], include_usage: bool = False, close: bool = True, shape: AnswerShape | None = None
) -> tuple[ChatStream, bytes]:
    """The streamed answer to these events."""
    meter = Meter(MOST)
    stream = ChatStream(meter.usage, CREATED, include_usage, shape or AnswerShape())
    out = b""
    for event in wire.events(parts):
        meter.feed(event)
        out += stream.feed(event)
    return stream, out + (stream.close() if close else b"")


def chunks(out: bytes) -> list[Any]:
    """What a client reads: the chunks, and `[DONE]`."""
    assert out.endswith(b"\n\n")
    lines = [line for line in out.split(b"\n\n") if line]
    assert all(line.startswith((b"data: ", b": ")) and b"\n" not in line for line in lines)
    return [
        "[DONE]" if line == b"data: [DONE]" else msgspec.json.decode(line[6:])
        for line in lines
        if line.startswith(b"data: ")
    ]


def deltas(parts: list[bytes], shape: AnswerShape | None = None) -> list[Any]:
    """The deltas of a stream that ends well, without the role and the finish."""
    *body, done = chunks(run(parts, shape=shape)[1])
    assert done == "[DONE]"
    return [chunk["choices"][0]["delta"] for chunk in body][1:-1]


def assembled(out: bytes) -> dict[str, Any]:
    """What the chunks amount to, put together as the SDKs do, which are strict: see openai.md 1.4."""
    *body, done = chunks(out)
    assert done == "[DONE]"
    usage = body.pop()["usage"] if not body[-1]["choices"] else None
    choices = [chunk["choices"][0] for chunk in body]
    made: dict[str, Any] = {"content": "", "calls": [], "finish_reason": choices[-1]["finish_reason"], "usage": usage}
    assert [choice["finish_reason"] for choice in choices[:-1]] == [None] * (len(choices) - 1)
    assert [number for number, choice in enumerate(choices) if "role" in choice["delta"]] == [0]
    for choice in choices:
        for name, value in choice["delta"].items():
            if name in ("content", "reasoning_content"):
                made[name] = made.get(name, "") + value
            elif name == "tool_calls":
                _add_call(made["calls"], value)
            elif name == "function_call":
                _add_function(made.setdefault("function_call", {"arguments": ""}), value)
            elif name not in ("role", "refusal") or made.get(name) is None:
                assert name in ("role", "refusal") or name not in made, "a list in more than one delta"
                made[name] = value
    return made


def _add_call(made: list[Any], pieces: list[Any]) -> None:
    (piece,) = pieces
    assert piece["index"] <= len(made), "calls are numbered as calls"
    if piece["index"] == len(made):
        assert piece["type"] == "function" and piece["id"] and "name" in piece["function"]
        made.append({"id": piece["id"], "name": piece["function"]["name"], "arguments": ""})
    else:
        assert set(piece) == {"index", "function"} and set(piece["function"]) == {"arguments"}
    made[piece["index"]]["arguments"] += piece["function"]["arguments"]


def _add_function(made: dict[str, Any], piece: dict[str, Any]) -> None:
    assert "name" not in piece or "name" not in made
    made.update({name: value for name, value in piece.items() if name == "name"})
    made["arguments"] += piece["arguments"]


def assert_agree(answer: dict[str, Any], out: bytes) -> None:
    """The whole answer and the stream (with usage) say the same."""
    made, told = assembled(out), answer["choices"][0]["message"]
    assert made["content"] == (told["content"] or "")
    assert made.get("reasoning_content", "") == told.get("reasoning_content", "")
    assert made["refusal"] == told["refusal"]
    assert made.get("annotations", []) == told["annotations"]
    assert made.get("thinking_blocks", []) == told.get("thinking_blocks", [])
    assert made["finish_reason"] == answer["choices"][0]["finish_reason"]
    assert made["usage"] == answer["usage"]
    assert len(made["calls"]) == len(told.get("tool_calls", []))
    for ours, theirs in zip(made["calls"], told.get("tool_calls", []), strict=True):
        _assert_same_call(ours, theirs)
    if "function_call" in told or "function_call" in made:
        ours, theirs = made["function_call"], told["function_call"]
        assert (ours["name"], _value(ours["arguments"])) == (theirs["name"], _value(theirs["arguments"]))


def _assert_same_call(streamed: dict[str, Any], call: dict[str, Any]) -> None:
    """A stream has no free-text calls (clients break on them): there they are functions with one `input`."""
    arguments = streamed["arguments"]
    if call["type"] == "function":
        told = call["function"]
        assert _value(arguments) == _value(told["arguments"])
    else:
        told = call["custom"]
        value = _value(arguments)
        text = value.get("input", "" if value == {} else None) if isinstance(value, dict) else None
        assert told["input"] == text if text is not None else _value(told["input"]) == value
    assert (streamed["id"], streamed["name"]) == (call["id"], told["name"])


def _value(arguments: str) -> Any:
    try:
        return msgspec.json.decode(arguments)
    except msgspec.DecodeError:
        return arguments
