"""Servers of raw bytes, and how a transport asks them."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import httpx

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"

Talk = Callable[["Visit"], Awaitable[None]]


@dataclass(eq=False)
class Visit:
    """One connection as the server sees it."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    gone: asyncio.Event = field(default_factory=asyncio.Event)

    async def request(self) -> bytes:
        """The next request, with its body."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        length = next((int(line[15:]) for line in head.lower().split(b"\r\n") if line[:15] == b"content-length:"), 0)
        return head + await self.reader.readexactly(length)

    def say(self, content: bytes) -> None:
        self.writer.write(content)


@dataclass(eq=False)
class Server:
    url: str
    visits: list[Visit]


@asynccontextmanager
async def serving(talk: Talk, tls: ssl.SSLContext | None = None) -> AsyncIterator[Server]:
    """A server on which every connection is one talk."""
    visits: list[Visit] = []

    async def met(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        visit = Visit(reader, writer)
        visits.append(visit)
        try:
            await talk(visit)
        except (EOFError, OSError):
            pass
        finally:
            visit.gone.set()
            writer.close()

    server = await asyncio.start_server(met, "127.0.0.1", 0, ssl=tls)
    try:
        scheme = "https" if tls else "http"
        yield Server(f"{scheme}://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1/messages", visits)
    finally:
        server.close()
        for visit in visits:
            visit.writer.transport.abort()


def post(server: Server, body: bytes = b"{}", read: float = 30, **headers: str) -> httpx.Request:
    timeouts = {"timeout": {"connect": 5, "read": read}}
    return httpx.Request("POST", server.url, content=body, headers=headers, extensions=timeouts)


async def answer(transport: httpx.AsyncBaseTransport, request: httpx.Request) -> tuple[int, bytes]:
    """Status and whole body; the connection goes back."""
    async with asyncio.timeout(10):
        response = await transport.handle_async_request(request)
        try:
            return response.status_code, b"".join([chunk async for chunk in response.stream])  # type: ignore[union-attr]
        finally:
            await response.aclose()


def always(content: bytes) -> Talk:
    """Answers every request with these bytes and keeps the connection."""

    async def talk(visit: Visit) -> None:
        while True:
            await visit.request()
            visit.say(content)

    return talk


def once(content: bytes) -> Talk:
    """Answers one request with these bytes and closes."""

    async def talk(visit: Visit) -> None:
        await visit.request()
        visit.say(content)

    return talk
