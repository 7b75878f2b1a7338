"""A fake Anthropic on raw asyncio that fails on demand and remembers every request: for load and fault tests.

    python -m tests.faults.upstream --port 9912         standard library only, and uvloop if it is there

What happens is a scenario, chosen by a marker in the last user text (`[fault:stall after=3]`) or by the name of the
model (`fault:stall-after-3`, `fault:stall-3`). Without either it is `ok`. scenarios.py has them, with their arguments.

    GET    /__ledger            now, total, open_connections, in_flight, requests
           ?since=N             only requests after number N
           ?summary=1           counts by scenario and by end instead of the requests
           ?quiet=S             waits until nothing is in flight, S seconds at most
    DELETE /__ledger            forgets everything, also how often `flaky` has failed

`[say:WORD]` makes the answer of that word, `[quote]` has errors quote the key that came with the request.

A request has n, marker (`[id:XXXX]` in its text), method, path, headers and key (of secrets the last 4 characters),
body_bytes, model, stream, scenario, arguments, status, what was sent: events, bytes (of body), tokens, and its times:
started, ended_at and closed_at, when it was noticed that the client hung up. ended is null in flight, or finished,
client_closed, aborted (by the scenario). Times are time.time(). The last 100,000 requests are kept.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.util
import json
import resource
import signal
import time
from collections import Counter, deque
from contextlib import suppress
from urllib.parse import parse_qsl

from tests.faults.scenarios import SCENARIOS, Exchange, Json, chosen, error

MODELS = ("claude-opus-5-5", "claude-sonnet-5-5", "claude-haiku-5-5")
LIMITS = {"max_input_tokens": 1_000_000, "max_tokens": 128_000, "created_at": "2026-09-22T00:00:00Z"}
LARGE = 1 << 20  # bytes
SECRETS = ("x-api-key", "authorization", "cookie", "proxy-authorization")


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


async def read_request(reader: Reader, writer: asyncio.StreamWriter) -> tuple[str, str, dict[str, str], bytes]:
    first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").rstrip().split("\r\n")
    method, target, _ = first.split(" ", 2)
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    if headers.get("expect") == "100-continue":
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    if "transfer-encoding" not in headers:
        return method, target, headers, await reader.readexactly(int(headers.get("content-length", 0)))
    body = b""
    while size := int(await reader.readline(), 16):
        body += (await reader.readexactly(size + 2))[:-2]
    await reader.readline()
    return method, target, headers, body


def without_image(data: bytes) -> bytes:
    """Without what is in a large image: parsing it would hold up every other answer."""
    start = data.find(b'"data":"') + 8
    end = data.find(b'"', start)
    return data[:start] + data[end:] if start > 8 and end - start > LARGE else data


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
                await self.answer(reader, writer, *await read_request(reader, writer))
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
        record = self.record(method, target, headers, len(data))
        body: object = None
        with suppress(ValueError):
            body = json.loads(without_image(data))
        key = headers.get("x-api-key", "")
        x = reader.exchange = Exchange(self, writer, body if isinstance(body, dict) else {}, record, key)
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
