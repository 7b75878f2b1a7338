"""A client's connection, as gunicorn's worker holds it: gone when it has ended, without the garbage collector."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import pytest
from gunicorn.config import Config

from bridge.reply import Ready
from proxysite.sending import DIRECT_WRITE
from proxysite.server import BridgeLogger, BridgeProtocol

WHOLE = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\nhi"
HALF = WHOLE[:-1]


@pytest.fixture(autouse=True)
def no_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Answers a whole request."""
    while (message := await receive()).get("more_body"):
        pass
    if message["type"] == "http.request":
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})


def worker() -> SimpleNamespace:
    """What a connection wants of its worker."""
    cfg = Config()
    cfg.set("http_parser", "fast")
    cfg.set("asgi_disconnect_grace_period", 0)  # else a timer holds it for so long
    loop, connections = asyncio.get_running_loop(), weakref.WeakSet[BridgeProtocol]()
    counts = {"nr": 0, "nr_conns": 0, "max_requests": 1000}
    return SimpleNamespace(
        cfg=cfg, log=BridgeLogger(cfg), asgi=app, loop=loop, state={}, alive=True, connections=connections, **counts
    )


@pytest.mark.parametrize(
    ("said", "heard"), [(b"", b""), (HALF, b""), (WHOLE, b"200 OK")], ids=["silent", "half a request", "answered"]
)
async def test_a_client_that_is_gone_leaves_nothing(said: bytes, heard: bytes) -> None:
    served = worker()
    async with await served.loop.create_server(lambda: BridgeProtocol(served), "127.0.0.1", 0) as server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer.write(said)
        assert heard in (await reader.read(1000) if heard else b"")
        async with asyncio.timeout(5):
            while not served.connections:
                await asyncio.sleep(0.01)
            writer.close()
            while served.connections:
                await asyncio.sleep(0.01)


class Streaming:
    """An application that begins an answer and ends it when it may, and what it was told of writing at once."""

    def __init__(self, *headers: tuple[bytes, bytes]) -> None:
        self.headers = list(headers)
        self.begun, self.may_end = asyncio.Event(), asyncio.Event()
        self.ready: Ready = lambda: None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.ready = scope["extensions"][DIRECT_WRITE]
        assert self.ready() is None, "before the answer has begun"
        await send({"type": "http.response.start", "status": 200, "headers": self.headers})
        await send({"type": "http.response.body", "body": b"one", "more_body": True})
        self.begun.set()
        await self.may_end.wait()
        await send({"type": "http.response.body", "body": b"end", "more_body": False})


@asynccontextmanager
async def begun(
    served: SimpleNamespace, request: bytes, app: Streaming
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A client's connection, on which the answer to this request has begun."""
    served.asgi = app
    async with await served.loop.create_server(lambda: BridgeProtocol(served), "127.0.0.1", 0) as server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer.write(request)
        async with asyncio.timeout(5):
            await app.begun.wait()
            yield reader, writer
        writer.close()


async def whole(served: SimpleNamespace, request: bytes, app: Streaming, pieces: list[bytes]) -> bytes:
    """All that a client reads of an answer during which these pieces could be written at once."""
    async with begun(served, request, app) as (reader, _):
        for piece in pieces:
            write = app.ready()
            assert write is not None
            write(piece)
        nothing = not pieces and app.ready() is None
        app.may_end.set()
        heard = await reader.read()
    assert pieces or nothing
    return heard


GET = b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"


async def test_pieces_are_written_in_their_place() -> None:
    heard = await whole(worker(), GET, Streaming(), [b"two", b"", b"three"])
    assert heard.endswith(b"\r\n\r\n3\r\none\r\n3\r\ntwo\r\n5\r\nthree\r\n3\r\nend\r\n0\r\n\r\n")


@pytest.mark.parametrize(
    ("request_", "headers"),
    [(GET, [(b"content-length", b"6")]), (GET.replace(b"1.1", b"1.0"), [])],
    ids=["a known length", "HTTP/1.0"],
)
async def test_nothing_is_written_at_once_in_an_answer_without_chunks(
    request_: bytes, headers: list[tuple[bytes, bytes]]
) -> None:
    assert (await whole(worker(), request_, Streaming(*headers), [])).endswith(b"\r\n\r\noneend")


async def test_nothing_is_written_at_once_to_a_client_that_does_not_read_or_is_gone() -> None:
    served, app = worker(), Streaming()
    async with begun(served, GET, app) as (_, writer):
        (connection,) = served.connections
        connection.pause_writing()
        assert app.ready() is None
        connection.resume_writing()
        assert app.ready() is not None
        writer.close()
        while not connection._closed:
            await asyncio.sleep(0.01)
        assert app.ready() is None
        app.may_end.set()
