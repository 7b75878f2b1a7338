"""A fake Anthropic on raw asyncio that fails on demand and remembers every request: for load and fault tests.

    python -m tests.faults.upstream --port 9912         standard library only, and uvloop if it is there

What happens is a scenario, chosen by a marker in the last user text (`[fault:stall after=3]`) or by the name of the
model (`fault:stall-after-3`, `fault:stall-3`); SCENARIOS has their arguments and defaults. Without either it is `ok`.

    GET    /__ledger            now, total, open_connections, in_flight, requests
           ?since=N             only requests after number N
           ?summary=1           counts by scenario and by end instead of the requests
           ?quiet=S             waits until nothing is in flight, S seconds at most
    DELETE /__ledger            forgets everything, also how often `flaky` has failed

A request has n, marker (`[id:XXXX]` in its text), method, path, headers and key (of secrets the last 4 characters),
body_bytes, model, stream, scenario, arguments, status, what was sent: events, bytes (of body), tokens, and its times:
started, ended_at and closed_at, when it was noticed that the client hung up. ended is null in flight, or finished,
client_closed, aborted (by the scenario). Times are time.time(). The last 100,000 requests are kept.
"""

from __future__ import annotations

import argparse
import asyncio
import gzip
import importlib.util
import json
import math
import re
import resource
import signal
import socket
import struct
import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from functools import partial
from typing import Any
from urllib.parse import parse_qsl

Json = dict[str, Any]
Play = Callable[..., Awaitable[None]]

TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
    529: "overloaded_error",
}
MODELS = ("claude-opus-5-5", "claude-sonnet-5-5", "claude-haiku-5-5")
LIMITS = {"max_input_tokens": 1_000_000, "max_tokens": 128_000, "created_at": "2026-09-22T00:00:00Z"}
SECRETS = ("x-api-key", "authorization", "cookie", "proxy-authorization")
SSE = "text/event-stream; charset=utf-8"
MAX_PINGS = 700.0  # seconds
HTML = b"<html><body><h1>502 Bad Gateway</h1></body></html>"
MARKER = re.compile(r"\[fault:(\w+)((?:\s+\w+=[\w.]+)*)\s*\]")
CORRELATION = re.compile(r"\[id:([^\]\s]+)\]")


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

    def __init__(self, server: Upstream, writer: asyncio.StreamWriter, body: Json, record: Json) -> None:
        self.server, self.writer, self.record, self.chunked = server, writer, record, True
        self.text, self.model, self.stream = (
            last_user_text(body),
            str(body.get("model", "")),
            body.get("stream") is True,
        )
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
        return [start, BLOCK, PING, *[TOKEN] * int(tokens), BLOCK_STOP, end, MESSAGE_STOP]

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
        self.record["tokens"] += sum(event is TOKEN for event in events)
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

    async def fail(self, code: int, failure: Json, **headers: str) -> None:
        await self.json(code, {"type": "error", "error": failure, "request_id": self.request_id}, **headers)

    async def fin(self) -> None:
        self.ended("aborted")
        self.writer.close()

    async def rst(self) -> None:
        await asyncio.sleep(0.05)  # a reset overtakes what the client has not read yet
        self.ended("aborted")
        linger = struct.pack("ii", 1, 0)  # on, for no time: the kernel resets instead of closing
        self.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.writer.transport.abort()

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
    await x.send(sse("error", error=error(529)))
    await x.end()


async def bad_chunk(x: Exchange) -> None:
    await x.write(b"zz\r\nnot a chunk\r\n")
    await x.fin()


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
    await x.fail(int(code), error(int(code)), **headers)


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
    "html502": (lambda x: x.whole(502, HTML, "text/html"), {}),
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


class Reader(asyncio.StreamReader):
    """Notices that the client hung up even while nobody reads."""

    exchange: Exchange | None = None
    task: asyncio.Task[None] | None = None

    def feed_eof(self) -> None:
        super().feed_eof()
        self._gone()

    def set_exception(self, exc: Exception) -> None:
        super().set_exception(exc)
        self._gone()

    def _gone(self) -> None:
        if self.task and self.exchange and self.exchange.record["ended"] is None:
            self.exchange.record["closed_at"] = time.time()
            self.exchange.ended("client_closed")
            self.task.cancel()


async def read_request(reader: Reader) -> tuple[str, str, dict[str, str], bytes]:
    first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").rstrip().split("\r\n")
    method, target, _ = first.split(" ", 2)
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    if "transfer-encoding" not in headers:
        return method, target, headers, await reader.readexactly(int(headers.get("content-length", 0)))
    body = b""
    while size := int(await reader.readline(), 16):
        body += (await reader.readexactly(size + 2))[:-2]
    await reader.readline()
    return method, target, headers, body


class Upstream:
    """The server, as an asynchronous context manager. Port 0 is any; `url` says which it is."""

    def __init__(self, port: int = 0) -> None:
        self.port, self.url, self.in_flight, self.quiet = port, "", 0, asyncio.Event()
        self.tasks: set[asyncio.Task[None] | None] = set()
        self.forget()

    def forget(self) -> None:
        self.total, self.failed = 0, Counter[str]()
        self.requests: deque[Json] = deque(maxlen=100_000)

    async def __aenter__(self) -> Upstream:
        loop = asyncio.get_running_loop()
        self.server = await loop.create_server(
            lambda: asyncio.StreamReaderProtocol(Reader(loop=loop), self.serve, loop),
            "127.0.0.1",
            self.port,
            backlog=4096,
        )
        self.url = f"http://127.0.0.1:{self.server.sockets[0].getsockname()[1]}"
        self.count(0)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.server.close()
        for task in filter(None, self.tasks):
            task.cancel()
        await asyncio.gather(*filter(None, self.tasks), return_exceptions=True)

    def count(self, change: int) -> None:
        self.in_flight += change
        (self.quiet.clear if self.in_flight else self.quiet.set)()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert isinstance(reader, Reader)
        reader.task = asyncio.current_task()
        self.tasks.add(reader.task)
        try:
            while not writer.is_closing():
                await self.answer(reader, writer, *await read_request(reader))
        except (EOFError, asyncio.LimitOverrunError, asyncio.CancelledError, OSError, ValueError):
            pass  # the client hung up or does not speak HTTP, or this server is closing
        finally:
            if reader.exchange:
                reader.exchange.ended("aborted")
            self.tasks.discard(reader.task)
            writer.close()

    async def answer(
        self,
        reader: Reader,
        writer: asyncio.StreamWriter,
        method: str,
        target: str,
        headers: dict[str, str],
        data: bytes,
    ) -> None:
        path, _, query = target.partition("?")
        if path == "/__ledger":
            return await self.report(writer, method, dict(parse_qsl(query)))
        body: object = None
        with suppress(ValueError):
            body = json.loads(data)
        record = self.record(method, target, headers, len(data))
        x = reader.exchange = Exchange(self, writer, body if isinstance(body, dict) else {}, record)
        self.count(1)
        await self.play(x, method, path)
        if headers.get("connection") == "close":
            writer.close()

    def record(self, method: str, target: str, headers: dict[str, str], size: int) -> Json:
        self.total += 1
        shown = {name: f"…{value[-4:]}" if name in SECRETS else value for name, value in headers.items()}
        key = (headers.get("x-api-key") or headers.get("authorization", ""))[-4:]
        record: Json = {"n": self.total, "method": method, "path": target, "headers": shown, "key": key}
        record |= {"body_bytes": size, "started": time.time(), "events": 0, "bytes": 0, "tokens": 0}
        record |= dict.fromkeys(("scenario", "arguments", "status", "ended", "ended_at", "closed_at"))
        self.requests.append(record)
        return record

    async def play(self, x: Exchange, method: str, path: str) -> None:
        rows = {name: {"id": name, "type": "model", "display_name": name, **LIMITS} for name in MODELS}
        match method, path.split("/")[1:]:
            case "POST", ["v1", "messages"]:
                try:
                    x.record["scenario"], x.record["arguments"] = name, args = chosen(x.model, x.text)
                except (LookupError, ValueError) as problem:
                    return await x.fail(400, error(400, repr(problem)))
                return await SCENARIOS[name][0](x, **args)
            case "POST", ["v1", "messages", "count_tokens"]:
                return await x.json(200, {"input_tokens": x.usage["input_tokens"]})
            case "GET", ["v1", "models"]:
                ends = {"first_id": MODELS[0], "last_id": MODELS[-1]}
                return await x.json(200, {"data": list(rows.values()), "has_more": False, **ends})
            case "GET", ["v1", "models", name] if name in rows:
                return await x.json(200, rows[name])
        await x.fail(404, error(404))

    async def report(self, writer: asyncio.StreamWriter, method: str, query: dict[str, str]) -> None:
        if method == "DELETE":
            self.forget()
        with suppress(TimeoutError):
            await asyncio.wait_for(self.quiet.wait(), float(query.get("quiet", 0)))
        report: Json = {
            "now": time.time(),
            "total": self.total,
            "open_connections": len(self.tasks) - 1,  # not this one
            "in_flight": self.in_flight,
        }
        if "summary" in query:
            for name, key in (("scenarios", "scenario"), ("ends", "ended")):
                report[name] = Counter(str(record[key]) for record in self.requests)
        else:
            report["requests"] = [record for record in self.requests if record["n"] > int(query.get("since", 0))]
        body = json.dumps(report).encode()
        writer.write(
            b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body) + body
        )
        await writer.drain()


async def run(port: int, max_seconds: float) -> None:
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    async with Upstream(port) as upstream:
        print(f"listening on {upstream.url}", flush=True)
        with suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), max_seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=9912, help="0: any, printed")
    parser.add_argument("--max-seconds", type=float, default=3600, help="stop by itself after so long")
    options = parser.parse_args()
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    uvloop = importlib.import_module("uvloop") if importlib.util.find_spec("uvloop") else asyncio
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run(options.port, options.max_seconds))


if __name__ == "__main__":
    main()
