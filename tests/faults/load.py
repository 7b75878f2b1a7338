"""A load client: asks for many answers at once, hangs up where it is told, and notes what each request saw."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import socket
import struct
import time
from collections.abc import AsyncIterator, Coroutine, Iterable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal, TypeVar

import uvloop

T = TypeVar("T")
_BROKEN = (OSError, EOFError, asyncio.LimitOverrunError, ValueError, RuntimeError)  # the last is a closed uvloop handle
CHAT, RESPONSES, MESSAGES = "/v1/chat/completions", "/v1/responses", "/v1/messages"
# How the last event of a stream begins that is whole, and of one that failed.
ENDS = {
    CHAT: (b"data: [DONE]", b'data: {"error":'),
    RESPONSES: (b"event: response.completed\n", b"event: response.failed\n"),
    MESSAGES: (b"event: message_stop\n", b"event: error\n"),
}
AGAIN_SECONDS = 0.1
SMALL_BUFFER = 4096  # bytes: all that the kernel takes for whoever does not read
MODEL = "claude-sonnet-5-5"
PATIENCE = 30.0  # seconds that a request may take in all
_numbers = itertools.count(1)


class End(StrEnum):
    """How a request ended, as its client saw it."""

    DONE = "done"  # the whole answer: JSON, or a stream up to [DONE]
    ERROR = "error"  # a status of 400 and more, or an error event at the proper end of a stream
    MUTE = "mute"  # the proper end of a stream that had neither
    CUT = "cut"  # the connection ended within an answer
    LEFT = "left"  # the client hung up
    UNANSWERED = "unanswered"  # the connection ended without any answer
    HUNG = "hung"  # there was no end for as long as the client had patience


@dataclass(slots=True)
class Leave:
    """Where a client hangs up.

    body    after this share of the request's body          chunks   after so many chunks of the answer
    wait    so many seconds after the request               deaf     the same, without reading anything of the answer
    slow    the same, reading a little of it each second
    """

    where: Literal["body", "wait", "chunks", "deaf", "slow"]
    value: float
    reset: bool = False  # RST instead of FIN


@dataclass(slots=True)
class Ask:
    """One request. `name` is its user, and its marker in the fake Anthropic's ledger."""

    text: str = "hi"  # a marker for the fake Anthropic, if it is not to answer as usual
    stream: bool = True
    leave: Leave | None = None
    header: str = ""  # one more, as in "name: value"
    path: str = CHAT
    name: str = field(default_factory=lambda: f"u{os.getpid()}-{next(_numbers)}")

    def body(self) -> bytes:
        return json.dumps({**self.fields(), "stream": self.stream}).encode()

    def fields(self) -> dict[str, Any]:
        text = f"[id:{self.name}] {self.text}"
        message = {"role": "user", "content": text}
        if self.path == RESPONSES:
            return {"model": MODEL, "max_output_tokens": 512, "input": text, "user": self.name}
        user: dict[str, Any] = {"metadata": {"user_id": self.name}} if self.path == MESSAGES else {"user": self.name}
        return {"model": MODEL, "max_tokens": 512, "messages": [message], **user}


@dataclass(slots=True)
class Seen:
    """What became of it. Times are time.time(), 0 for what did not happen."""

    ask: Ask
    end: End = End.UNANSWERED
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    sent: float = 0.0
    answered: float = 0.0
    ended: float = 0.0
    gap: float = 0.0  # seconds, the longest between two chunks

    @property
    def id(self) -> str:
        return self.headers.get("x-request-id", "")

    @property
    def seconds(self) -> float:
        return self.ended - self.sent


class _Left(Exception):
    """The client hangs up here."""


class Client:
    """One client: a connection that is kept as long as it can be, and opened again after."""

    def __init__(self, port: int, key: str, patience: float = PATIENCE) -> None:
        self._port, self._key, self._patience = port, key, patience
        self._writer: asyncio.StreamWriter | None = None

    async def ask(self, ask: Ask) -> Seen:
        """Sends one request and follows its answer to whatever end. Raises nothing."""
        seen = Seen(ask, sent=time.time())
        try:
            async with asyncio.timeout(self._patience):
                await self.connect()
                await self._exchange(ask, seen)
        except _Left:
            seen.end, seen.ended = End.LEFT, time.time()
            await self.close(reset=ask.leave is not None and ask.leave.reset)
        except TimeoutError:
            seen.end = End.HUNG
            await self.close()
        except _BROKEN:
            seen.end = End.CUT if seen.status else End.UNANSWERED
            await self.close()
        else:
            if seen.headers.get("connection", "").lower() == "close":
                await self.close()
        seen.ended = seen.ended or time.time()
        return seen

    async def connect(self) -> None:
        if self._writer is None:
            self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port, limit=1 << 20)
            self._writer.transport.set_write_buffer_limits(0)  # `say` waits until it is empty

    async def close(self, reset: bool = False) -> None:
        writer, self._writer = self._writer, None
        if writer is None:
            return
        if reset:
            hang_up_hard(writer)
        writer.close()
        with contextlib.suppress(*_BROKEN):
            await writer.wait_closed()

    async def say(self, data: bytes) -> None:
        """Returns when the kernel has it: a reset would throw away what this process still holds."""
        assert self._writer is not None
        self._writer.write(data)
        await self._writer.drain()

    async def get(self, path: str) -> tuple[int, bytes]:
        """Status and body of a small answer. Raises what a broken connection raises."""
        await self.connect()
        await self.say(self._head("GET", path, 0))
        seen = Seen(Ask())
        await self._answer(seen, None)
        return seen.status, seen.body

    async def _exchange(self, ask: Ask, seen: Seen) -> None:
        body, leave = ask.body(), ask.leave
        if leave is None:
            more = [ask.header] if ask.header else []
            await self.say(self._head("POST", ask.path, len(body), *more) + body)
            return await self._answer(seen, None)
        # When it asks for the body the server has taken the request; whoever hangs up before that is nobody yet.
        await self.say(self._head("POST", ask.path, len(body), "expect: 100-continue"))
        await self._reader.readuntil(b" 100 Continue\r\n\r\n")
        share = leave.value if leave.where == "body" else 1.0
        await self.say(body[: int(len(body) * share)])
        if leave.where == "body":
            raise _Left
        seen.sent = time.time()
        if leave.where in ("deaf", "slow"):
            await self._hardly_listen(leave)
            raise _Left
        if leave.where == "chunks":
            return await self._answer(seen, int(leave.value))
        try:
            async with asyncio.timeout(leave.value):
                await self._answer(seen, None)
        except TimeoutError:
            raise _Left from None

    async def _hardly_listen(self, leave: Leave) -> None:
        assert self._writer is not None
        sock, transport = self._writer.get_extra_info("socket"), self._reader._transport  # type: ignore[attr-defined]
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_BUFFER)
        transport.pause_reading()
        end = time.monotonic() + leave.value
        while (left := end - time.monotonic()) > 0:
            await asyncio.sleep(min(left, 1))
            if leave.where == "slow":
                transport.resume_reading()
                await asyncio.sleep(0.001)
                transport.pause_reading()

    async def _answer(self, seen: Seen, most: int | None) -> None:
        first, *lines = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1").rstrip().split("\r\n")
        seen.answered, seen.status = time.time(), int(first.split()[1])
        seen.headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        received: list[bytes] = []
        last = seen.answered
        try:
            async for chunk in self._chunks(seen.headers):
                received.append(chunk)
                seen.gap, last = max(seen.gap, (now := time.time()) - last), now
                if len(received) == most:
                    raise _Left
        finally:
            seen.body = b"".join(received)
        seen.end = _judged(seen)

    async def _chunks(self, headers: dict[str, str]) -> AsyncIterator[bytes]:
        if headers.get("transfer-encoding") != "chunked":
            yield await self._reader.readexactly(int(headers.get("content-length", 0)))
            return
        while size := int(await self._reader.readuntil(b"\r\n"), 16):
            yield (await self._reader.readexactly(size + 2))[:-2]
        await self._reader.readexactly(2)

    def _head(self, method: str, path: str, length: int, *more: str) -> bytes:
        lines = (f"{method} {path} HTTP/1.1", "host: localhost", f"authorization: Bearer {self._key}", *more)
        return "\r\n".join((*lines, "content-type: application/json", f"content-length: {length}", "", "")).encode()


def hang_up_hard(writer: asyncio.StreamWriter) -> None:
    """Makes the end of the connection a reset, if the other side has not ended it already."""
    if not writer.is_closing():
        linger = struct.pack("ii", 1, 0)  # on, for no time: the kernel resets instead of closing
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    writer.transport.abort()


def _judged(seen: Seen) -> End:
    """The end of an answer that is complete as far as HTTP goes."""
    if seen.status >= 400:
        return End.ERROR
    if not seen.ask.stream:
        return End.DONE
    last = seen.body.removesuffix(b"\n\n").rpartition(b"\n\n")[2]
    whole, failed = ENDS[seen.ask.path]
    if last.startswith(whole):
        return End.DONE
    return End.ERROR if last.startswith(failed) else End.MUTE


async def swarm(port: int, key: str, asks: Iterable[Ask], at_once: int, patience: float = PATIENCE) -> list[Seen]:
    """All of them, so many at once; each of the clients takes the next one when it is done with its last; where nobody
    was there, a moment later."""
    waiting, seen = iter(asks), list[Seen]()

    async def work(client: Client) -> None:
        try:
            for ask in waiting:
                seen.append(await client.ask(ask))
                if seen[-1].end is End.UNANSWERED:
                    await asyncio.sleep(AGAIN_SECONDS)
        finally:
            await client.close()

    await asyncio.gather(*(work(Client(port, key, patience)) for _ in range(at_once)))
    return seen


@contextlib.asynccontextmanager
async def under_load(port: int, key: str, asks: Iterable[Ask], at_once: int) -> AsyncIterator[list[Seen]]:
    """A swarm for as long as this is open; when it has been left, all that was seen is in the list."""
    over, seen = asyncio.Event(), list[Seen]()
    load = asyncio.create_task(swarm(port, key, itertools.takewhile(lambda _: not over.is_set(), asks), at_once))
    try:
        yield seen
    finally:
        over.set()
        seen += await load


def run(work: Coroutine[Any, Any, T]) -> T:
    """Its result, in a loop of its own."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(work)


def percentile(values: Iterable[float], share: float) -> float:
    """The value that this share of them does not exceed; 0 of none."""
    ordered = sorted(values)
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)] if ordered else 0.0


def counted(values: Iterator[str]) -> str:
    """'done 20, left 3': how often there was each."""
    counts: dict[str, int] = {}
    for value in values:
        counts[value] = counts.get(value, 0) + 1
    return ", ".join(f"{name} {count:,}" for name, count in sorted(counts.items())) or "none"
