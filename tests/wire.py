"""Anthropic's side of a test: events as bytes, and a transport that answers with them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import msgspec

from bridge.errors import ApiError
from bridge.upstream_answer import Answer, Deadlines
from bridge.wire.anthropic import Event, decode_event


def event(kind: str, **fields: Any) -> bytes:
    """One event as Anthropic frames it."""
    return b"event: " + kind.encode() + b"\ndata: " + msgspec.json.encode({"type": kind, **fields}) + b"\n\n"


def start(model: str = "claude-sonnet-5-5", **usage: Any) -> bytes:
    message = {
        "id": "msg_01Test",
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": [],
        "stop_reason": None,
        "usage": {"input_tokens": 11, "output_tokens": 1, **usage},
    }
    return event("message_start", message=message)


def text_block(*texts: str, index: int = 0) -> list[bytes]:
    return [
        event("content_block_start", index=index, content_block={"type": "text", "text": ""}),
        *(event("content_block_delta", index=index, delta={"type": "text_delta", "text": text}) for text in texts),
        event("content_block_stop", index=index),
    ]


def thinking_block(text: str = "", index: int = 0) -> list[bytes]:
    deltas = [{"type": "thinking_delta", "thinking": text}] if text else []
    deltas.append({"type": "signature_delta", "signature": "c2ln"})
    return [
        event("content_block_start", index=index, content_block={"type": "thinking", "thinking": "", "signature": ""}),
        *(event("content_block_delta", index=index, delta=delta) for delta in deltas),
        event("content_block_stop", index=index),
    ]


def tool_block(*pieces: str, index: int = 0, identifier: str = "toolu_1", name: str = "look") -> list[bytes]:
    """A call whose arguments come in these pieces."""
    block = {"type": "tool_use", "id": identifier, "name": name, "input": {}}
    deltas = [{"type": "input_json_delta", "partial_json": piece} for piece in pieces]
    return [
        event("content_block_start", index=index, content_block=block),
        *(event("content_block_delta", index=index, delta=delta) for delta in deltas),
        event("content_block_stop", index=index),
    ]


def end(stop_reason: str = "end_turn", stop_details: dict[str, Any] | None = None, **usage: Any) -> list[bytes]:
    delta = {"stop_reason": stop_reason, "stop_sequence": None, "stop_details": stop_details}
    return [event("message_delta", delta=delta, usage={"output_tokens": 7, **usage}), event("message_stop")]


def answer(*texts: str) -> list[bytes]:
    """A plain answer, event by event."""
    return [start(), event("ping"), *text_block(*texts), *end()]


def events(parts: list[bytes]) -> list[Event]:
    """The same, decoded."""
    return [decode_event(part.split(b"data: ", 1)[1].strip()) for part in parts]


class Stream(httpx.AsyncByteStream):
    """A body in pieces. An exception among them is raised there; a future is waited for. Whoever taps it leaves `take`
    until it is closed, for a test to give pieces to while the reader waits."""

    def __init__(self, pieces: list[Any]) -> None:
        self.pieces = pieces
        self.take: Callable[[bytes], bool] | None = None
        self.closed = asyncio.Event()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self.pieces:
            if isinstance(piece, BaseException):
                raise piece
            if isinstance(piece, asyncio.Future):
                await piece
            else:
                yield piece

    def tap(self, take: Callable[[bytes], bool]) -> None:
        self.take = take

    async def aclose(self) -> None:
        self.take = None
        self.closed.set()


Step = httpx.Response | Exception | Callable[[httpx.Request], httpx.Response]


class Transport(httpx.AsyncBaseTransport):
    """Answers each request with the next step, the last one again and again; keeps what was asked."""

    def __init__(self, *steps: Step) -> None:
        self.steps = list(steps)
        self.requests: list[httpx.Request] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        step = self.steps.pop(0) if len(self.steps) > 1 else self.steps[0]
        if isinstance(step, Exception):
            raise step
        return step(request) if callable(step) else step

    def sent(self, index: int = -1) -> Any:
        return msgspec.json.decode(self.requests[index].content)


def streamed(*pieces: Any, **headers: str) -> httpx.Response:
    """200 with these pieces as its event stream."""
    head = {"content-type": "text/event-stream; charset=utf-8", "request-id": "req_01Test", **headers}
    return httpx.Response(200, headers=head, stream=Stream(list(pieces)))


def reply(status: int, body: bytes = b"", **headers: str) -> Callable[[httpx.Request], httpx.Response]:
    """Any other answer, made anew for each request (a body is read once)."""
    head = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda _: httpx.Response(status, headers=head, stream=Stream([body]))


def failed(
    status: int, kind: str = "", message: str = "no", **headers: str
) -> Callable[[httpx.Request], httpx.Response]:
    """Anthropic's error."""
    return reply(status, msgspec.json.encode({"type": "error", "error": {"type": kind, "message": message}}), **headers)


BEGINNING = b"".join([start(), *text_block("Hel")[:2]])
# What may come after the beginning of an answer, instead of its end.
BREAKS: dict[str, list[Any]] = {
    "cut": [httpx.ReadError("gone")],
    "cut within an event": [event("content_block_stop", index=0)[:20], httpx.ReadError("gone")],
    "clean end": [],
    "error event": [event("error", error={"type": "overloaded_error", "message": "Overloaded, org_12ab"})],
    "nonsense": [b"data: {nonsense\n\n"],
    "second beginning": [start(), *text_block("Hello"), *end()],
    "not text": [b'data: {"type":"content_block_delta","delta":{"text":"\xff"}}\n\n'],
    "too large": [b"data: " + b"x" * (9 * 1024 * 1024)],
}


def broken(name: str) -> httpx.Response:
    """An answer that begins, and breaks in this way."""
    return streamed(BEGINNING, *BREAKS[name])


async def read_all(pieces: list[bytes]) -> tuple[list[Event], ApiError | None]:
    """The events that upstream's reader delivers of a body in these pieces, and what stopped it before the end."""
    answer, read = Answer(streamed(*pieces), 1, Deadlines()), list[Event]()
    try:
        await answer.begin()
        while not answer.done:
            read += await answer.read()
    except ApiError as problem:
        return read, problem
    finally:
        await answer.aclose()
    return read, None
