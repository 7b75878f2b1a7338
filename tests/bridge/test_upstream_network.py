"""The real transports, against a server of raw bytes: what it does not understand is an error at once."""

from __future__ import annotations

import asyncio

import httpx
import pytest

from bridge.upstream_network import network_transport

HEAD = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"


@pytest.mark.parametrize("broken", [b"zz\r\nno size\r\n", b"4\r\nfour, and no end", b"-1\r\n"])
@pytest.mark.parametrize("name", ["http1", "aiohttp"])
async def test_a_broken_chunk_ends_the_answer_though_the_connection_stays(name: str, broken: bytes) -> None:
    over, writers = asyncio.Event(), list[asyncio.StreamWriter]()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        await reader.readuntil(b"\r\n\r\n")
        writer.write(HEAD + b"5\r\nfirst\r\n")
        await writer.drain()
        await over.wait()
        writer.write(broken)

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    transport = network_transport(name)
    request = httpx.Request("GET", f"http://127.0.0.1:{port}/", extensions={"timeout": {"connect": 5, "read": 60}})
    response = await transport.handle_async_request(request)
    chunks = response.aiter_raw()
    async with asyncio.timeout(10):
        assert await anext(chunks) == b"first"
        over.set()
        with pytest.raises(httpx.TransportError):
            while await anext(chunks):
                pass
    await response.aclose()
    await transport.aclose()
    server.close()
    for writer in writers:
        writer.close()
