"""The real transports, against a server of raw bytes: what it does not understand is an error at once."""

from __future__ import annotations

import asyncio

import httpx
import pytest

from bridge.upstream_network import network_transport
from tests.raw_server import CHUNKED, Visit, post, serving


@pytest.mark.parametrize("broken", [b"zz\r\nno size\r\n", b"4\r\nfour, and no end", b"-1\r\n"])
@pytest.mark.parametrize("name", ["http1", "aiohttp"])
async def test_a_broken_chunk_ends_the_answer_though_the_connection_stays(name: str, broken: bytes) -> None:
    over = asyncio.Event()

    async def talk(visit: Visit) -> None:
        await visit.request()
        visit.say(CHUNKED + b"5\r\nfirst\r\n")
        await over.wait()
        visit.say(broken)
        await visit.reader.read()

    transport = network_transport(name)
    async with serving(talk) as server, asyncio.timeout(10):
        response = await transport.handle_async_request(post(server))
        chunks = response.aiter_raw()
        assert await anext(chunks) == b"first"
        over.set()
        with pytest.raises(httpx.TransportError):
            while await anext(chunks):
                pass
        await response.aclose()
    await transport.aclose()
