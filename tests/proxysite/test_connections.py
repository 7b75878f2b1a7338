"""A client's connection, as gunicorn's worker holds it: gone when it has ended, without the garbage collector."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from gunicorn.config import Config

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
