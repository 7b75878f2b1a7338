"""A client of the sandbox for its tests: a clock that only sleepers move, and what the answers mean."""

from __future__ import annotations

import contextlib
import copy
import json
import re
from typing import Any

import httpx

from bridge.sandbox import Sandbox

Json = dict[str, Any]

OPUS, HAIKU = "claude-opus-5-5", "claude-haiku-5-5"
FRAME = re.compile(rb"event: (\w+)\ndata: (\{[^\n]*\})\n\n")


def row(name: str, max_tokens: int = 128_000) -> Json:
    return {
        "id": name,
        "type": "model",
        "display_name": name,
        "created_at": "2026-09-22T00:00:00Z",
        "max_input_tokens": 1_000_000,
        "max_tokens": max_tokens,
    }


class Clock:
    """Time that passes only while someone sleeps."""

    def __init__(self) -> None:
        self.now = 0.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        if seconds:
            self.slept.append(seconds)
        self.now += seconds


def client(clock: Clock) -> httpx.AsyncClient:
    transport = Sandbox([row(OPUS), row(HAIKU, 64_000)], sleep=clock.sleep, clock=clock)
    return httpx.AsyncClient(transport=transport, base_url="https://api.anthropic.com")


def request(text: object = "Hello there", **fields: object) -> Json:
    return {"model": OPUS, "max_tokens": 1024, "messages": [{"role": "user", "content": text}], **fields}


async def whole(api: httpx.AsyncClient, text: object = "Hello there", **fields: object) -> Json:
    response = await api.post("/v1/messages", json=request(text, **fields))
    assert response.status_code == 200, response.text
    message: Json = response.json()
    return message


async def events(api: httpx.AsyncClient, text: object = "Hello there", **fields: object) -> list[Json]:
    response = await api.post("/v1/messages", json=request(text, stream=True, **fields))
    assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
    return frames(response.content)


async def refused(api: httpx.AsyncClient, body: object) -> str:
    response = await api.post("/v1/messages", json=body)
    assert response.status_code == 400
    assert response.json()["error"]["type"] == "invalid_request_error"
    message: str = response.json()["error"]["message"]
    return message


def frames(body: bytes) -> list[Json]:
    """The events of a stream; every byte of it must belong to a well-formed frame whose two names agree."""
    assert FRAME.sub(b"", body) == b""
    found = [(name.decode(), json.loads(data)) for name, data in FRAME.findall(body)]
    assert all(name == event["type"] for name, event in found)
    return [event for _, event in found]


def fold(stream: list[Json]) -> Json:
    """The message that a client makes of a stream, as the SDK does: usage is replaced, not added."""
    message: Json = {}
    for event in copy.deepcopy(stream):
        match event["type"]:
            case "message_start":
                message = event["message"]
            case "content_block_start":
                assert event["index"] == len(message["content"])
                message["content"].append(event["content_block"])
            case "content_block_delta":
                _add(message["content"][event["index"]], event["delta"])
            case "content_block_stop":
                _close(message["content"][event["index"]])
            case "message_delta":
                message |= event["delta"]
                message["usage"] |= event["usage"]
    assert stream[-1] == {"type": "message_stop"}
    return message


def _add(block: Json, delta: Json) -> None:
    (field,) = delta.keys() - {"type"}
    match delta["type"]:
        case "citations_delta":
            block["citations"] = [*block.get("citations", []), delta["citation"]]
        case "signature_delta":
            block["signature"] = delta["signature"]
        case "input_json_delta":
            block["json"] = block.get("json", "") + delta["partial_json"]
        case _:
            block[field] += delta[field]


def _close(block: Json) -> None:
    """The input of a call is JSON once it is complete; what was cut off amounts to nothing."""
    with contextlib.suppress(ValueError):
        block["input"] = json.loads(block.pop("json", ""))


def texts(stream: list[Json]) -> list[str]:
    return [event["delta"]["text"] for event in stream if event.get("delta", {}).get("type") == "text_delta"]


def text_of(message: Json) -> str:
    return "".join(block["text"] for block in message["content"] if block["type"] == "text")
