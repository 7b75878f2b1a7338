"""Pieces of an answer that the HTTP/1.1 client gives away on the spot, while whoever reads it waits."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

import httpx
import pytest

from bridge import upstream_http1
from bridge.upstream_http1 import Http1Transport
from tests.raw_server import CHUNKED, Visit, always, answer, post, serving


@pytest.fixture
async def transport() -> AsyncIterator[Http1Transport]:
    transport = Http1Transport()
    yield transport
    await transport.aclose()


class Taken:
    """A tap: keeps what it is given, unless it is told to refuse it or to fail."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self.refuses = self.fails = False

    def __call__(self, piece: bytes) -> bool:
        if self.fails:
            raise ZeroDivisionError
        if not self.refuses:
            self.pieces.append(piece)
        return not self.refuses


@dataclass
class Tapped:
    """A body with a tap, its connection and the server's side."""

    taken: Taken
    chunks: AsyncIterator[bytes]
    connection: upstream_http1._Connection
    visit: Visit

    def read(self) -> asyncio.Task[bytes]:
        async def read() -> bytes:
            return await anext(self.chunks)

        return asyncio.create_task(read())

    async def waiting(self) -> asyncio.Task[bytes]:
        reading = self.read()
        await until(lambda: self.connection._waiter is not None)
        return reading


@pytest.fixture
async def tapped(transport: Http1Transport) -> AsyncIterator[Tapped]:
    async def talk(visit: Visit) -> None:
        await visit.request()
        visit.say(CHUNKED)
        await visit.reader.read()

    async with serving(talk) as server:
        response = await transport.handle_async_request(post(server))
        assert isinstance(response.stream, upstream_http1._Body) and response.stream._connection is not None
        taken = Taken()
        response.stream.tap(taken)
        yield Tapped(taken, aiter(response.stream), response.stream._connection, server.visits[0])
        await response.aclose()


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not true():
            await asyncio.sleep(0.001)


def piece(content: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(content), content)


async def test_what_the_tap_refuses_is_read(tapped: Tapped) -> None:
    tapped.taken.refuses = True
    reading = await tapped.waiting()
    tapped.visit.say(piece(b"one"))
    assert await reading == b"one"


async def test_what_the_tap_raises_is_read_and_ends_the_exchange(tapped: Tapped) -> None:
    tapped.taken.fails = True
    reading = await tapped.waiting()
    tapped.visit.say(piece(b"one"))
    with pytest.raises(ZeroDivisionError):
        await reading
    await tapped.visit.gone.wait()


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(piece(b"x" * (upstream_http1.PIECE_BYTES + 1)), id="large"),
        pytest.param(piece(b"last") + b"0\r\n\r\n", id="the last"),
    ],
)
async def test_only_small_pieces_are_given_away(tapped: Tapped, content: bytes) -> None:
    reading = await tapped.waiting()
    tapped.visit.say(content)
    assert await reading and not tapped.taken.pieces


async def test_nothing_overtakes_what_nobody_has_read_yet(tapped: Tapped) -> None:
    for count, content in enumerate((b"one", b"two"), 1):
        tapped.visit.say(piece(content))
        await until(lambda count=count: len(tapped.connection._chunks) == count)  # type: ignore[misc]
    assert await tapped.read() == b"onetwo" and not tapped.taken.pieces


async def test_pieces_are_given_away_while_the_reader_waits(tapped: Tapped) -> None:
    reading = await tapped.waiting()
    for count, content in enumerate((b"one", b"two"), 1):
        tapped.visit.say(piece(content))
        await until(lambda count=count: len(tapped.taken.pieces) == count)  # type: ignore[misc]
    tapped.visit.say(piece(b"three") + piece(b"four"))
    await until(lambda: len(tapped.taken.pieces) == 3)
    tapped.visit.say(piece(b"five") + b"0\r\n\r\n")
    assert await reading == b"five" and tapped.taken.pieces == [b"one", b"two", b"threefour"]
    with pytest.raises(StopAsyncIteration):
        await tapped.read()


async def test_a_piece_that_was_given_away_ends_a_silence(tapped: Tapped) -> None:
    reading = await tapped.waiting()
    tapped.connection._waiting_since -= 60
    tapped.visit.say(piece(b"one"))
    await until(lambda: bool(tapped.taken.pieces))
    tapped.connection._ring()
    assert not reading.done()
    tapped.connection._waiting_since -= 60
    tapped.connection._ring()
    with pytest.raises(httpx.ReadTimeout):
        await reading


async def test_a_tap_is_let_go_of_with_the_exchange(transport: Http1Transport) -> None:
    async with serving(always(CHUNKED + piece(b"one") + b"0\r\n\r\n")) as server:
        taken = Taken()
        response = await transport.handle_async_request(post(server))
        response.stream.tap(taken)  # type: ignore[union-attr]
        await response.aread()
        await response.aclose()
        assert sys.getrefcount(taken) == 2
        assert await answer(transport, post(server)) == (200, b"one") and not taken.pieces
