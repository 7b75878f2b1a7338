"""A load generator that checks every answer: closed loop at a fixed concurrency, or streams that live side by side.

    python -m bench.load URL KEY MODEL SCRIPT CONCURRENCY SECONDS [--stream] [--rate N] [--ramp SECONDS] [--body N]

Prints a line when all connections are at it, one when the time is over, then one JSON object of what came between:
requests and chunks a second, percentiles in milliseconds of the whole time, of the first token and of what each paced
chunk took from upstream's write to here, and what was wrong with an answer, by kind.
`--rate`: so many requests a second over all connections, for latency below saturation. `--ramp`: they begin one after
the other in this time, so that no two streams are at the same place. `--body`: bytes of history.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import time
from collections import Counter
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import httptools
import uvloop

ENDS = (b"data: [DONE]", b'data: {"type":"message_stop"}')
_MOMENT = re.compile(rb"@(\d{15}) ")


@dataclass
class Seen:
    """What all connections saw. Times in seconds."""

    total: list[float] = field(default_factory=list)
    first: list[float] = field(default_factory=list)
    lag: list[float] = field(default_factory=list)
    chunks: int = 0
    errors: Counter[str] = field(default_factory=Counter)

    def forget(self) -> None:
        """All but what was wrong."""
        self.total, self.first, self.lag, self.chunks = [], [], [], 0


class Client(asyncio.Protocol):
    """One connection: a request, its answer checked, the next."""

    def __init__(self, request: bytes, stream: bool, tokens: int, seen: Seen, until: float) -> None:
        self.request, self.stream, self.tokens, self.seen, self.until = request, stream, tokens, seen, until
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.pause = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: asyncio.Transport = transport  # type: ignore[assignment]
        self.parser = httptools.HttpResponseParser(self)
        self.due = time.monotonic()
        self.send()

    def send(self) -> None:
        self.started = time.monotonic()
        self.first = 0.0
        self.chunks = 0
        self.tail = b""
        self.transport.write(self.request)

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)

    def on_body(self, body: bytes) -> None:
        if self.stream:
            now = time.monotonic()
            moments = _MOMENT.findall(body)
            self.seen.lag.extend([now - int(moment) / 1e6 for moment in moments])
            content = len(moments) or _contents(body)
            if content and not self.first:
                self.first = now
            self.chunks += content
        self.tail = (self.tail + body)[-200 if self.stream else -100_000 :]

    def on_message_complete(self) -> None:
        now = time.monotonic()
        problem = self.problem()
        if problem:
            self.seen.errors[problem] += 1
        elif now < self.until:
            self.seen.total.append(now - self.started)
            self.seen.chunks += self.chunks
            if self.first:
                self.seen.first.append(self.first - self.started)
        if now >= self.until or not self.parser.should_keep_alive():
            self.end()
        elif self.pause:
            self.due += self.pause
            asyncio.get_running_loop().call_later(max(self.due - now, 0), self.send)
        else:
            self.send()

    def problem(self) -> str:
        status = self.parser.get_status_code()
        if status != 200:
            return f"status {status}: {self.tail[:160]!r}"
        if self.stream:
            whole = self.tail.rstrip().endswith(ENDS) and self.chunks == self.tokens
            return "" if whole else f"stream of {self.chunks} chunks"
        return "" if b'"usage"' in self.tail and b"token" in self.tail else "answer without usage or text"

    def connection_lost(self, error: Exception | None) -> None:
        if not self.over.done() and time.monotonic() < self.until:
            self.seen.errors["connection lost"] += 1
        self.end()

    def end(self) -> None:
        if not self.over.done():
            self.over.set_result(None)
        self.transport.close()


def _contents(body: bytes) -> int:
    """How many pieces of text, in either API's words."""
    return body.count(b'"content":"') - body.count(b'"content":""') + body.count(b'"text_delta"')


def message(url: str, key: str, model: str, script: str, stream: bool, size: int, headers: list[str]) -> bytes:
    """The request, whole: a system prompt and five turns of 1.3 KB, or more of them."""
    parts = urlsplit(url)
    turn = "Please look at the following and say what you think of it, in a sentence or two. " * 3
    roles = ["user", "assistant"]
    turns = [{"role": roles[n % 2], "content": turn} for n in range(max(5, size // len(turn) // 2 * 2 + 1))]
    messages = [{"role": "system", "content": f"You are a helpful assistant. ({script})"}, *turns]
    body = json.dumps({"model": model, "messages": messages, "stream": stream, "max_tokens": 256}).encode()
    head = (
        f"POST {parts.path} HTTP/1.1\r\nhost: {parts.netloc}\r\nauthorization: Bearer {key}\r\n"
        f"content-type: application/json\r\ncontent-length: {len(body)}\r\n"
    )
    head += "".join(f"{header}\r\n" for header in headers)
    return head.encode() + b"\r\n" + body


def percentiles(values: list[float]) -> dict[str, float]:
    ordered = sorted(values)
    at = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "max": 1.0}
    return {name: round(ordered[min(int(len(ordered) * q), len(ordered) - 1)] * 1000, 3) for name, q in at.items()}


async def run(options: argparse.Namespace) -> dict[str, object]:
    loop = asyncio.get_running_loop()
    seen = Seen()
    request = message(
        options.url, options.key, options.model, options.script, options.stream, options.body, options.header
    )
    parts = urlsplit(options.url)
    tokens = int(options.script.split("-")[1])
    until = time.monotonic() + options.ramp + options.seconds
    gap = 1 / options.rate if options.rate else options.ramp / options.concurrency
    clients = []
    for number in range(options.concurrency):
        client = Client(request, options.stream, tokens, seen, until)
        clients.append(client)
        if options.rate:
            client.pause = options.concurrency / options.rate
        await loop.create_connection(lambda made=client: made, parts.hostname, parts.port)
        if gap:
            await asyncio.sleep(gap)
        elif number % 20 == 19:  # spread, as real callers are
            await asyncio.sleep(0.01)
    print("at it", flush=True)
    seen.forget()
    began = time.monotonic()
    loop.call_at(loop.time() + until - began, lambda: print("enough", flush=True))
    await asyncio.wait([client.over for client in clients], timeout=options.seconds + 30)
    unfinished = sum(not client.over.done() for client in clients)
    if unfinished:
        seen.errors["unfinished"] += unfinished
    elapsed = until - began
    return {
        "seconds": elapsed,
        "requests": len(seen.total),
        "requests_per_second": round(len(seen.total) / elapsed, 1),
        "chunks_per_second": round(seen.chunks / elapsed),
        "total_ms": percentiles(seen.total) if seen.total else {},
        "first_token_ms": percentiles(seen.first) if seen.first else {},
        "lag_ms": percentiles(seen.lag) if seen.lag else {},
        "errors": dict(seen.errors),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("url")
    parser.add_argument("key")
    parser.add_argument("model")
    parser.add_argument("script", help="bench-TOKENS-DELAY-RATE, for bench/upstream.py")
    parser.add_argument("concurrency", type=int)
    parser.add_argument("seconds", type=float)
    parser.add_argument("--stream", action="store_true")
    parser.add_argument("--rate", type=float, default=0.0)
    parser.add_argument("--ramp", type=float, default=0.0)
    parser.add_argument("--body", type=int, default=0)
    parser.add_argument("--header", action="append", default=[])
    print(json.dumps(uvloop.run(run(parser.parse_args()))))


if __name__ == "__main__":
    main()
