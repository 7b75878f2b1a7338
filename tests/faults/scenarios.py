"""What the fake Anthropic can be told to do: its events, and a function for each way to answer or to fail."""

from __future__ import annotations

import asyncio
import gzip
import json
import math
import re
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from typing import Any, Protocol

from tests.faults.load import hang_up_hard

Json = dict[str, Any]
Play = Callable[..., Awaitable[None]]

TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
    529: "overloaded_error",
}
SSE = "text/event-stream; charset=utf-8"
MAX_PINGS = 700.0  # seconds
HTML = b"<html><body><h1>502 Bad Gateway</h1></body></html>"
MARKER = re.compile(r"\[fault:(\w+)((?:\s+\w+=[\w.]+)*)\s*\]")
CORRELATION = re.compile(r"\[id:([^\]\s]+)\]")
SAY = re.compile(r"\[say:(\w+)\]")  # a word of the answer, instead of tok
QUOTE = "[quote]"  # errors quote the key that came with the request, as no Anthropic would


class Host(Protocol):
    """The server that an exchange belongs to."""

    url: str
    failed: Counter[str]  # how often `flaky` has failed, by text

    def count(self, change: int) -> None: ...


def sse(kind: str, **fields: object) -> bytes:
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **fields}, separators=(',', ':'))}\n\n".encode()


def delta(text: str) -> bytes:
    return sse("content_block_delta", index=0, delta={"type": "text_delta", "text": text})


def error(code: int, message: str = "A scripted failure") -> Json:
    return {"type": TYPES.get(code, "api_error"), "message": message}


TOKEN, PING = delta(" tok"), sse("ping")
BLOCK = sse("content_block_start", index=0, content_block={"type": "text", "text": ""})
BLOCK_STOP, MESSAGE_STOP = sse("content_block_stop", index=0), sse("message_stop")
HOLOGRAMS = (
    sse("hologram_start", index=0, hologram={"depth": 3}),
    b": a comment\n\n",
    sse("content_block_delta", index=0, delta={"type": "hologram_delta", "glow": 1}),
    sse("content_block_start", index=1, content_block={"type": "hologram", "size": 1}, novelty=True),
    sse("content_block_stop", index=1),
)


class Exchange:
    """One request and what is sent for it: the vocabulary of the scenarios."""

    def __init__(self, server: Host, writer: asyncio.StreamWriter, body: Json, record: Json, key: str = "") -> None:
        self.server, self.writer, self.record, self.chunked, self.key = server, writer, record, True, key
        self.text, self.model, self.stream = (
            last_user_text(body),
            str(body.get("model", "")),
            body.get("stream") is True,
        )
        self.token = delta(f" {word[1]}") if (word := SAY.search(self.text)) else TOKEN
        self.request_id = f"req_fault{record['n']:012d}"
        self.usage = {"input_tokens": max(1, math.ceil(len(self.text.encode()) / 4)), "output_tokens": 1}
        record |= {"marker": (CORRELATION.findall(self.text) or [None])[0], "model": self.model, "stream": self.stream}

    def message(self, content: Iterable[Json] = (), **more: object) -> Json:
        name = f"msg_fault{self.record['n']:012d}"  # always as long, so that a cut at a byte is always the same cut
        message = {"id": name, "type": "message", "role": "assistant", "model": self.model, "content": list(content)}
        return {**message, "stop_reason": None, "stop_sequence": None, "usage": self.usage, **more}

    def events(self, tokens: float = 32) -> list[bytes]:
        """A whole answer: three events, one for each token, three events."""
        stop = {"stop_reason": "end_turn", "stop_sequence": None}
        end = sse("message_delta", delta=stop, usage={"output_tokens": int(tokens)})
        start = sse("message_start", message=self.message())
        return [start, BLOCK, PING, *[self.token] * int(tokens), BLOCK_STOP, end, MESSAGE_STOP]

    async def write(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def head(self, status: int = 200, kind: str = SSE, length: int | None = None, **headers: str) -> None:
        """Status and headers. A body without a length is chunked, unless the connection is to close after it."""
        self.chunked = length is None and "connection" not in headers
        framing = {"transfer-encoding": "chunked"} if self.chunked else {}
        framing |= {} if length is None else {"content-length": str(length)}
        headers |= {"content-type": kind, "request-id": self.request_id, **framing}
        lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
        self.record["status"] = status
        await self.write(f"HTTP/1.1 {status} Scripted\r\n{lines}\r\n".encode())

    async def send(self, *events: bytes) -> None:
        """Events, each in a chunk of its own, all in one write."""
        self.record["events"] += len(events)
        self.record["tokens"] += sum(event is self.token for event in events)
        await self.send_bytes(*events)

    async def send_bytes(self, *pieces: bytes) -> None:
        self.record["bytes"] += sum(map(len, pieces))
        chunks = [b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces if piece] if self.chunked else pieces
        await self.write(b"".join(chunks))

    async def end(self) -> None:
        await self.write(b"0\r\n\r\n" if self.chunked else b"")
        self.ended("finished")

    async def whole(self, status: int, body: bytes, kind: str, **headers: str) -> None:
        await self.head(status, kind, len(body), **headers)
        await self.send_bytes(body)
        await self.end()

    async def json(self, status: int, body: Json, **headers: str) -> None:
        await self.whole(status, json.dumps(body).encode(), "application/json", **headers)

    def failure(self, code: int) -> Json:
        return error(code, f"A scripted failure with {self.key}") if QUOTE in self.text else error(code)

    async def fail(self, code: int, failure: Json, **headers: str) -> None:
        await self.json(code, {"type": "error", "error": failure, "request_id": self.request_id}, **headers)

    async def fin(self) -> None:
        self.ended("aborted")
        self.writer.close()

    async def rst(self) -> None:
        await asyncio.sleep(0.05)  # a reset overtakes what the client has not read yet
        self.ended("aborted")
        hang_up_hard(self.writer)

    async def silence(self) -> None:
        await asyncio.get_running_loop().create_future()

    def ended(self, how: str) -> None:
        """Counts once: what happens to the connection afterwards is no part of this request."""
        if self.record["ended"] is None:
            self.record |= {"ended": how, "ended_at": time.time()}
            self.server.count(-1)


async def ok(x: Exchange, tokens: float, rate: float = 0, first: float = 0) -> None:
    """So many tokens at so many a second (0: at once), the first event after so many seconds; JSON if not streamed."""
    if not x.stream:
        await asyncio.sleep(first + (tokens / rate if rate else 0))
        return await whole_json(x, tokens)
    await x.head()
    await asyncio.sleep(first)
    events, sent, clock = x.events(tokens), 3, asyncio.get_running_loop().time
    started, last = clock(), len(events) - 3
    await x.send(*events[:3])
    while rate and sent < last:
        await asyncio.sleep(started + (sent - 2) / rate - clock())
        due = min(last, max(sent + 1, 3 + int((clock() - started) * rate)))
        await x.send(*events[sent:due])  # what a late loop owes goes in one write, so the rate holds under load
        sent = due
    await x.send(*events[sent:])
    await x.end()


async def whole_json(x: Exchange, tokens: float) -> None:
    content = [{"type": "text", "text": " tok" * int(tokens)}]
    usage = x.usage | {"output_tokens": int(tokens)}
    await x.json(200, x.message(content, stop_reason="end_turn", usage=usage))


async def broken(finale: Play, x: Exchange, after: float) -> None:
    """The first events of an answer, then the finale."""
    await x.head()
    await x.send(*x.events()[: int(after)])
    await finale(x)


async def odd(extra: Callable[..., Iterable[bytes]], x: Exchange, after: float, **args: float) -> None:
    """A good answer with something odd after so many events."""
    events = x.events()
    await x.head()
    await x.send(*events[: int(after)], *extra(**args), *events[int(after) :])
    await x.end()


async def overloaded(x: Exchange) -> None:
    await x.send(sse("error", error=x.failure(529)))
    await x.end()


async def bad_chunk(x: Exchange) -> None:
    await x.write(b"zz\r\nnot a chunk\r\n")
    await x.fin()


async def endless_pings(x: Exchange) -> None:
    while True:
        await x.send(PING)
        await asyncio.sleep(0.1)


async def pings(x: Exchange, every: float, seconds: float) -> None:
    """Nothing but pings, then a clean end without an answer."""
    await x.head()
    for _ in range(int(min(seconds, MAX_PINGS) / max(every, 0.001))):
        await x.send(PING)
        await asyncio.sleep(every)
    await x.end()


async def drip(x: Exchange, tokens: float, every: float) -> None:
    """A good answer, byte by byte."""
    await x.head()
    for event in x.events(tokens):
        for byte in event:
            await x.send_bytes(bytes((byte,)))
            await asyncio.sleep(every)
        x.record["events"] += 1
    await x.end()


async def eof(x: Exchange, after: float, chunked: float) -> None:
    """The connection ends early; with chunked=0 that is the only end the body has, so nothing tells it is early."""
    await (x.head() if chunked else x.head(connection="close"))
    await x.send(*x.events()[: int(after)])
    await x.fin()


async def short_length(x: Exchange, after: float) -> None:
    events = x.events()
    await x.head(length=sum(map(len, events)))
    await x.send(*events[: int(after)])
    await x.fin()


async def cut_bytes(x: Exchange, at: float, tokens: float) -> None:
    """Exactly so many bytes of the body, then the end of the connection, even where the body is complete."""
    await x.head()
    await x.send_bytes(b"".join(x.events(tokens))[: int(at)])
    await x.fin()


async def status(x: Exchange, code: float, retry: float) -> None:
    headers = {"retry_after": f"{retry:g}"} if retry >= 0 else {}
    await x.fail(int(code), x.failure(int(code)), **headers)


async def flaky(x: Exchange, times: float, code: float, retry: float) -> None:
    """An error for the first requests with this very text, then a good answer."""
    x.server.failed[x.text] += 1
    await (status(x, code, retry) if x.server.failed[x.text] <= times else ok(x, 32))


async def gzipped(x: Exchange, bomb: float) -> None:
    """A good answer, compressed though nobody asked for it; a bomb is a comment of so many blanks before it."""
    body = b":" + b" " * int(bomb) + b"\n\n" + b"".join(x.events())
    await x.whole(200, gzip.compress(body), SSE, content_encoding="gzip")


SCENARIOS: dict[str, tuple[Play, dict[str, float]]] = {
    "ok": (ok, {"tokens": 32, "rate": 0, "first": 0}),
    "whole_json": (whole_json, {"tokens": 32}),
    # slow or silent
    "refuse": (Exchange.fin, {}),
    "hang": (Exchange.silence, {}),
    "headers_then_hang": (partial(broken, Exchange.silence), {"after": 0}),
    "stall": (partial(broken, Exchange.silence), {"after": 3}),
    "ping_stall": (partial(broken, endless_pings), {"after": 3}),
    "pings": (pings, {"every": 1, "seconds": MAX_PINGS}),
    "drip": (drip, {"tokens": 4, "every": 0.01}),
    # cut
    "error_event": (partial(broken, overloaded), {"after": 3}),
    "first_error": (partial(broken, overloaded), {"after": 0}),
    "empty": (partial(broken, Exchange.end), {"after": 0}),
    "eof": (eof, {"after": 3, "chunked": 1}),
    "rst": (partial(broken, Exchange.rst), {"after": 3}),
    "short_length": (short_length, {"after": 3}),
    "bad_chunk": (partial(broken, bad_chunk), {"after": 3}),
    "cut_bytes": (cut_bytes, {"at": 500, "tokens": 32}),
    # strange
    "malformed_json": (
        partial(odd, lambda: [b'event: content_block_delta\ndata: {"type":"content_\n\n']),
        {"after": 3},
    ),
    "unknown_events": (partial(odd, lambda: HOLOGRAMS), {"after": 4}),
    "huge_event": (partial(odd, lambda bytes: [delta("x" * int(bytes))]), {"bytes": 9_000_000, "after": 3}),
    "non_utf8": (partial(odd, lambda: [TOKEN.replace(b"tok", b"\xff\xfe\x80")]), {"after": 4}),
    # other answers
    "status": (status, {"code": 529, "retry": -1}),
    "flaky": (flaky, {"times": 1, "code": 529, "retry": -1}),
    "html200": (lambda x: x.whole(200, HTML, "text/html"), {}),
    "html502": (lambda x: x.whole(502, HTML, "text/html"), {}),
    "huge_head": (lambda x: x.whole(200, b"".join(x.events()), SSE, filler="x" * 1_000_000), {}),
    "redirect": (lambda x: x.whole(307, b"", "text/plain", location=f"{x.server.url}/redirected"), {}),
    "gzip": (gzipped, {"bomb": 0}),
}


def chosen(model: str, text: str) -> tuple[str, dict[str, float]]:
    """The scenario and its arguments. LookupError or ValueError: there is none such."""
    name, words = "ok", list[str]()
    if marker := MARKER.search(text):
        name, words = marker[1], re.split(r"[\s=]+", marker[2].strip()) if marker[2] else []
    elif model.startswith("fault:"):
        name, *words = model.removeprefix("fault:").split("-")
    args = dict(SCENARIOS[name][1])
    places, given = iter(list(args)), iter(words)
    for word in given:  # "after-3", or just "3" for the next argument in the order of the table
        key, value = (word, next(given, "")) if word in args else (next(places, ""), word)
        if key not in args:
            raise LookupError(f"{name} does not take {word!r}")
        args[key] = float(value)
    return name, args


def last_user_text(body: Json) -> str:
    try:
        content = [turn["content"] for turn in body["messages"] if turn["role"] == "user"][-1]
        return content if isinstance(content, str) else "\n".join(block.get("text", "") for block in content)
    except (LookupError, TypeError, AttributeError):
        return ""  # no such request
