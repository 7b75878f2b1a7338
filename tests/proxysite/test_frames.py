"""gunicorn's WebSocket as Bridge runs it: what arrives is bounded, and a refusal says why."""

from __future__ import annotations

import asyncio
import logging
import struct
from typing import Any

import pytest
from django.test import override_settings

from proxysite.frames import BridgeWebSocket

MASK = b"\x01\x80\xff\x10"


class Transport:
    """What was written; `unread`: how much of it the client has not taken."""

    def __init__(self) -> None:
        self.written, self.unread, self.aborted, self.closed = b"", 0, False, False

    def write(self, data: bytes) -> None:
        self.written += data

    def get_write_buffer_size(self) -> int:
        return self.unread

    def abort(self) -> None:
        self.aborted = True

    def close(self) -> None:
        self.closed = True

    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...


def frame(payload: bytes, opcode: int = 1, length: int | None = None) -> bytes:
    """A client's, masked byte by byte; `length`: as it says, if that is not what comes."""
    masked = bytes(byte ^ MASK[place % 4] for place, byte in enumerate(payload))
    size = length or len(payload)
    if size < 126:
        head = bytes([0x80 | size])
    else:
        head = b"\xfe" + struct.pack("!H", size) if size < 65536 else b"\xff" + struct.pack("!Q", size)
    return bytes([0x80 | opcode]) + head + MASK + masked


PING = frame(b"", opcode=9)


class Opened:
    """A connection whose application takes messages until it ends."""

    def __init__(self, refusal: bool = False) -> None:
        self.transport, self.got, self.refusal = Transport(), asyncio.Queue[Any](), refusal
        key = (b"sec-websocket-key", b"dGhlIHNhbXBsZSBub25jZQ==")
        log = logging.getLogger("tests.frames")
        self.socket = BridgeWebSocket(self.transport, {"headers": [key]}, self._app, log, 0)
        self.task = asyncio.create_task(self.socket.run())

    async def _app(self, scope: Any, receive: Any, send: Any) -> None:
        assert (await receive())["type"] == "websocket.connect"
        if self.refusal:
            head = [(b"content-type", b"application/json"), (b"content-length", b"2")]
            await send({"type": "websocket.http.response.start", "status": 401, "headers": head})
            await send({"type": "websocket.http.response.body", "body": b"{}"})
            return
        await send({"type": "websocket.accept"})
        message = None
        while message is None or message["type"] != "websocket.disconnect":
            message = await receive()
            self.got.put_nowait(message)

    async def next(self) -> Any:
        async with asyncio.timeout(5):
            return await self.got.get()

    async def ended(self) -> None:
        self.socket.feed_eof()
        await self.task


async def test_a_refused_handshake_gets_the_applications_answer() -> None:
    opened = Opened(refusal=True)
    await opened.task
    lines = opened.transport.written.split(b"\r\n")
    assert lines[0] == b"HTTP/1.1 401 Unauthorized" and lines[-2:] == [b"", b"{}"]
    assert b"connection: close" in lines and opened.transport.closed


@pytest.mark.parametrize("size", [0, 1, 2, 3, 4, 5, 1001, 70_003])
async def test_a_message_arrives_as_it_was(size: int) -> None:
    opened, sent = Opened(), bytes(place % 128 for place in range(size))
    opened.socket.feed_data(frame(sent))
    assert (await opened.next())["text"].encode() == sent
    await opened.ended()


async def test_unfinished_messages_are_bounded_for_all_connections_together() -> None:
    first, second = Opened(), Opened()
    with override_settings(MAX_BUFFERED_BYTES=150_000):
        for opened in (first, second):
            opened.socket.feed_data(frame(b"x" * 100_000, length=200_000))
    assert (first.transport.aborted, second.transport.aborted) == (False, True)
    await first.ended()
    await second.ended()
    assert BridgeWebSocket.held == 0


async def test_what_was_read_counts_no_more() -> None:
    opened = Opened()
    opened.socket.feed_data(frame(b"x" * 100_000))
    await opened.next()
    assert BridgeWebSocket.held == 0
    await opened.ended()


async def test_a_message_that_is_begun_and_does_not_come_ends_the_connection() -> None:
    opened = Opened()
    with override_settings(BODY_SECONDS=0.01, SLOWEST_BODY=10**9):
        opened.socket.feed_data(frame(b"x", length=100_000))
        assert (await opened.next())["type"] == "websocket.disconnect"
    await opened.task


async def test_pings_of_a_client_that_does_not_read_are_not_answered() -> None:
    opened = Opened()
    opened.socket.feed_data(PING + frame(b"x" * 70_000))
    await opened.next()
    before = opened.transport.written
    assert b"\x8a\x00" in before
    opened.transport.unread = 1_000_000
    opened.socket.feed_data(PING + frame(b"x" * 70_000))
    await opened.next()
    assert opened.transport.written == before
    await opened.ended()
