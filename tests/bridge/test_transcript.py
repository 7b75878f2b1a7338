"""Payloads of every dialect as turns: what was said, called and answered; media folded; nothing makes it fail."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bridge.transcript import read
from tenants.transcripts import Turn

PIXEL = "iVBORw0KGgo" * 100


def turns(request: Any, answer: Any = b"") -> list[Turn]:
    return read(*(one if isinstance(one, bytes) else json.dumps(one).encode() for one in (request, answer)))


def told(found: list[Turn]) -> list[tuple[str, str, str, str]]:
    return [
        (turn.role, part.kind, part.title, part.text) for turn in found for part in turn.parts if part.kind != "data"
    ]


def sse(*events: Any) -> bytes:
    return b"".join(b"event: x\ndata: " + json.dumps(event).encode() + b"\n\n" for event in events)


def test_a_chat_with_tools_and_an_image() -> None:
    call = {"id": "call_1", "type": "function", "function": {"name": "look", "arguments": '{"at":"sky"}'}}
    image = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}}
    found = told(
        turns(
            {
                "model": "m",
                "messages": [
                    {"role": "system", "content": "Be brief."},
                    {"role": "user", "content": [{"type": "text", "text": "What is this?"}, image]},
                    {"role": "assistant", "content": None, "tool_calls": [call]},
                    {"role": "tool", "tool_call_id": "call_1", "content": "blue"},
                ],
            },
            {"choices": [{"message": {"role": "assistant", "content": "Sky.", "reasoning_content": "Hm"}}]},
        )
    )
    assert found == [
        ("system", "text", "", "Be brief."),
        ("user", "text", "", "What is this?"),
        ("user", "media", "image/png, 825 bytes", ""),
        ("assistant", "call", "calls look call_1", '{"at":"sky"}'),
        ("tool", "result", "result call_1", "blue"),
        ("assistant", "reasoning", "reasoning", "Hm"),
        ("assistant", "text", "", "Sky."),
    ]


def test_a_chat_stream_is_put_together() -> None:
    first = {"tool_calls": [{"index": 0, "id": "c1", "function": {"name": "look", "arguments": '{"a"'}}]}
    deltas: list[Any] = [{"content": "Hel"}, {"content": "lo"}, first]
    deltas.append({"tool_calls": [{"index": 0, "function": {"arguments": ":1}"}}]})
    answer = b"".join(
        b"data: " + json.dumps({"choices": [{"index": 0, "delta": one}]}).encode() + b"\n\n" for one in deltas
    )
    assert told(turns(b"", answer + b"data: [DONE]\n\n")) == [
        ("assistant", "text", "", "Hello"),
        ("assistant", "call", "calls look c1", '{"a":1}'),
    ]


def test_a_native_stream_that_was_cut() -> None:
    answer = sse(
        {"type": "message_start", "message": {"id": "msg_1"}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "thinking", "thinking": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": "Hm"}},
        {"type": "content_block_start", "index": 1, "content_block": {"type": "tool_use", "name": "look", "input": {}}},
        {"type": "content_block_delta", "index": 1, "delta": {"partial_json": '{"at":'}},
        {"type": "content_block_delta", "index": 1, "delta": {"partial_json": '"sky"}'}},
    )
    request = {"system": [{"type": "text", "text": "S"}], "messages": [{"role": "user", "content": "Q"}]}
    assert told(turns(request, answer + b'event: x\ndata: {"type":"content_bl')) == [
        ("system", "text", "", "S"),
        ("user", "text", "", "Q"),
        ("assistant", "reasoning", "reasoning", "Hm"),
        ("assistant", "call", "calls look", '{"at":"sky"}'),
    ]


def test_responses() -> None:
    request = {
        "instructions": "I",
        "input": [
            {"role": "user", "content": [{"type": "input_text", "text": "Q"}]},
            {"type": "function_call", "call_id": "c1", "name": "look", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "c1", "output": "blue"},
        ],
    }
    item = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Sky."}]}
    answer = sse(
        {"type": "response.output_text.delta", "delta": "Sky."}, {"type": "response.output_item.done", "item": item}
    )
    assert told(turns(request, answer)) == [
        ("system", "text", "", "I"),
        ("user", "text", "", "Q"),
        ("assistant", "call", "calls look c1", "{}"),
        ("tool", "result", "result c1", "blue"),
        ("assistant", "text", "", "Sky."),
    ]


def test_an_address_is_text_and_an_error_is_told() -> None:
    image = {"type": "image", "source": {"type": "url", "url": "https://mallory.example/pixel.png"}}
    found = told(turns({"messages": [{"role": "user", "content": [image]}]}, {"error": {"type": "e", "message": "no"}}))
    assert found == [
        ("user", "media", "image at an address", "https://mallory.example/pixel.png"),
        ("error", "text", "e", "no"),
    ]


@pytest.mark.parametrize(
    "body",
    [
        b"\xff not JSON",
        b"[]",
        b"1",
        b'{"messages": 7}',
        b'{"messages": [[{"type": 7}]]}',
        b"data: {nonsense\n\n",
        b"[" * 9,
    ],
)
def test_nothing_makes_it_fail(body: bytes) -> None:
    assert read(body, body) is not None
