"""Anthropic's own API as a test asks it, and what it is told."""

from __future__ import annotations

from typing import Any

import msgspec

from tests.asgi import Got

PATH = "/v1/messages"
COUNT = "/v1/messages/count_tokens"


def hello(text: str = "Hello", **more: Any) -> dict[str, Any]:
    return {"model": "claude-sonnet-5-5", "max_tokens": 50, "messages": [{"role": "user", "content": text}], **more}


def error(got: Got) -> tuple[int, str, str]:
    """Status, type and message of an error, once its shape is as it should be."""
    body = got.json()
    assert set(body) == {"type", "error", "request_id"} and set(body["error"]) == {"type", "message"}
    assert body["type"] == "error" and got.headers["content-type"] == "application/json"
    assert body["request_id"] == got.headers["request-id"] == got.headers["x-request-id"]
    return got.status, body["error"]["type"], body["error"]["message"]


def events(got: Got) -> list[Any]:
    return [msgspec.json.decode(line[6:]) for line in got.body.split(b"\n") if line.startswith(b"data: ")]
