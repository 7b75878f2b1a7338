"""A fake Anthropic that is faster than whatever it measures: raw asyncio, llhttp, answers made once.

    python -m bench.upstream PORT

A marker in the prompt says what comes back: `bench-T-D-R` is T text deltas, D milliseconds before the first byte, R
deltas a second (0: all at once). A paced delta is the moment it was written, in microseconds of the monotonic clock,
which is one for all processes of a machine: whoever reads it knows how long it travelled.
"""

from __future__ import annotations

import asyncio
import functools
import json
import re
import sys
import time
from typing import Any

import httptools
import uvloop

_SCRIPT = re.compile(rb"bench-(\d+)-(\d+)-(\d+)")
_STREAM = re.compile(rb'"stream":\s*true')
_USAGE = {"input_tokens": 210, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0, "output_tokens": 1}
_HEAD = b"HTTP/1.1 200 OK\r\nrequest-id: req_bench\r\ncontent-type: %b\r\n"


def event(kind: str, **fields: Any) -> bytes:
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **fields}, separators=(',', ':'))}\n\n".encode()


def delta(text: str) -> bytes:
    return event("content_block_delta", index=0, delta={"type": "text_delta", "text": text})


def chunk(content: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(content), content)


PACED = chunk(delta("@" + "0" * 15 + " ")).replace(b"0" * 15, b"%015d")


def message(**fields: Any) -> dict[str, Any]:
    base = {"id": "msg_01Bench", "type": "message", "role": "assistant", "model": "claude-bench", "content": []}
    return {**base, "stop_reason": None, "stop_sequence": None, "usage": _USAGE, **fields}


START = event("message_start", message=message()) + event(
    "content_block_start", index=0, content_block={"type": "text", "text": ""}
)


@functools.cache
def end(tokens: int) -> bytes:
    closing = {"stop_reason": "end_turn", "stop_sequence": None}
    return (
        event("content_block_stop", index=0)
        + event("message_delta", delta=closing, usage={**_USAGE, "output_tokens": tokens})
        + event("message_stop")
    )


@functools.cache
def burst(tokens: int) -> bytes:
    body = START + b"".join(delta(f" token{n}") for n in range(tokens)) + end(tokens)
    head = _HEAD % b"text/event-stream; charset=utf-8"
    return head + b"transfer-encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)


@functools.cache
def whole(tokens: int) -> bytes:
    text = "".join(f" token{n}" for n in range(tokens))
    usage = {**_USAGE, "output_tokens": tokens}
    answer = message(content=[{"type": "text", "text": text}], stop_reason="end_turn", usage=usage)
    body = json.dumps(answer).encode()
    return _HEAD % b"application/json" + b"content-length: %d\r\n\r\n%b" % (len(body), body)


class Upstream(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: asyncio.Transport = transport  # type: ignore[assignment]
        self.parser = httptools.HttpRequestParser(self)
        self.body: list[bytes] = []
        self.timer: asyncio.TimerHandle | None = None

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)

    def connection_lost(self, error: Exception | None) -> None:
        if self.timer is not None:
            self.timer.cancel()

    def on_body(self, chunk: bytes) -> None:
        self.body.append(chunk)

    def on_message_complete(self) -> None:
        body, self.body = b"".join(self.body), []
        asked = _SCRIPT.search(body)
        tokens, delay, rate = map(int, asked.groups()) if asked else (1, 0, 0)
        answer = self.paced if rate else self.at_once
        streamed = _STREAM.search(body) is not None
        if delay:
            self.timer = asyncio.get_running_loop().call_later(delay / 1000, answer, tokens, rate, streamed)
        else:
            answer(tokens, rate, streamed)

    def at_once(self, tokens: int, rate: int, streamed: bool) -> None:
        self.transport.write(burst(tokens) if streamed else whole(tokens))

    def paced(self, tokens: int, rate: int, streamed: bool) -> None:
        head = _HEAD % b"text/event-stream; charset=utf-8"
        self.transport.write(head + b"transfer-encoding: chunked\r\n\r\n" + chunk(START))
        loop = asyncio.get_running_loop()
        self.tick(loop, loop.time() + 1 / rate, tokens, tokens, 1 / rate)

    def tick(self, loop: asyncio.AbstractEventLoop, due: float, left: int, tokens: int, gap: float) -> None:
        if left == 0:
            self.transport.write(chunk(end(tokens)) + b"0\r\n\r\n")
            return
        self.transport.write(PACED % (time.monotonic_ns() // 1000))
        self.timer = loop.call_at(due, self.tick, loop, due + gap, left - 1, tokens, gap)


async def serve(port: int) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Upstream, "127.0.0.1", port, backlog=8192)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1])))
