"""A small HTTP/1.1 client on asyncio's protocols, as an httpx transport: what calls upstream on the hot path.

One request at a time per connection, kept-alive connections used again last in first out. What it does not do: HTTP/2,
proxies, redirects, cookies, content codings (none is asked for). Parsing is llhttp's, through httptools, in its strict
mode. Why not aiohttp or httpcore: docs/decisions/0004-upstream.md.

    Http1Transport.handle_async_request   connects or takes an idle connection, sends, returns when the head is here
    the response's stream                 reads the body as it comes, many pieces of one packet at once; closing it
                                          gives the connection back after a whole answer, else cuts it at once; `tap`
                                          gives small pieces away on the spot, without waking who reads
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections import defaultdict
from collections.abc import Awaitable, Callable
from typing import NamedTuple

import aiohappyeyeballs
import httptools
import httpx

IDLE_SECONDS = 55.0  # Anthropic's edge and most load balancers close after 60 or more
IDLE_CONNECTIONS = 1000
HEAD_BYTES = 64 * 1024
PIECE_BYTES = 4096  # of a body at most that are given away on the spot: with more, waking its reader costs little
HIGH_WATER = 256 * 1024  # bytes of a body that nobody has read: above, the socket is left alone until all are read
HAPPY_EYEBALLS_SECONDS = 0.25
Tap = Callable[[bytes], bool]  # takes a piece of a body, or says that it is to be read
_KEEPALIVE = (("TCP_KEEPIDLE", 60), ("TCP_KEEPINTVL", 60), ("TCP_KEEPCNT", 5))


class Origin(NamedTuple):
    """Where a connection goes."""

    scheme: str
    host: str
    port: int


class Http1Transport(httpx.AsyncBaseTransport):
    """A pool without a limit of its own: whoever calls it caps what is in flight."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self._tls = tls  # made when it is needed first: reading the certificate authorities takes a while
        self._idle: dict[Origin, list[_Connection]] = defaultdict(list)
        self._closed = False

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Raises httpx.TransportError. A kept-alive connection that upstream closed under the request, before any
        byte of an answer, is replaced once: that happens in the ordinary course of things (RFC 9112 §9.3.1)."""
        message = (_head(request), await request.aread())
        timeouts = request.extensions.get("timeout", {})
        url = request.url
        host = url.raw_host.decode("ascii")
        origin = Origin(url.scheme, host, url.port or (443 if url.scheme == "https" else 80))
        silence: float | None = timeouts.get("read")
        connection = self._take(origin)
        if connection is not None:
            with contextlib.suppress(_Stale):
                return await connection.exchange(message, silence, request)
        connection = await self._connect(origin, timeouts.get("connect"))
        return await connection.exchange(message, silence, request)

    async def aclose(self) -> None:
        self._closed = True
        for connections in self._idle.values():
            while connections:
                connections.pop().cut()

    def _take(self, origin: Origin) -> _Connection | None:
        """The connection used last, if it is young enough: then the others are older."""
        idle = self._idle[origin]
        oldest = asyncio.get_running_loop().time() - IDLE_SECONDS
        while idle:
            connection = idle.pop()
            if connection.usable and connection.rested > oldest:
                return connection
            connection.cut()
        return None

    def _put(self, origin: Origin, connection: _Connection) -> None:
        if self._closed or len(self._idle[origin]) >= IDLE_CONNECTIONS:
            connection.cut()
        else:
            self._idle[origin].append(connection)

    def _lost(self, origin: Origin, connection: _Connection) -> None:
        with contextlib.suppress(ValueError):
            self._idle[origin].remove(connection)

    async def _connect(self, origin: Origin, seconds: float | None) -> _Connection:
        """A new connection. Raises httpx.ConnectError or ConnectTimeout."""
        loop = asyncio.get_running_loop()
        tls = None
        if origin.scheme == "https":
            tls = self._tls = self._tls or httpx.create_ssl_context()
        try:
            async with asyncio.timeout(seconds):
                found = await loop.getaddrinfo(origin.host, origin.port, type=socket.SOCK_STREAM)
                plain = await aiohappyeyeballs.start_connection(found, happy_eyeballs_delay=HAPPY_EYEBALLS_SECONDS)
                try:
                    _keep_alive(plain)
                    _, connection = await loop.create_connection(
                        lambda: _Connection(
                            loop,
                            rest=lambda rested: self._put(origin, rested),
                            lost=lambda gone: self._lost(origin, gone),
                        ),
                        sock=plain,
                        ssl=tls,
                        server_hostname=origin.host if tls else None,
                    )
                except BaseException:
                    plain.close()
                    raise
        except TimeoutError as error:
            raise httpx.ConnectTimeout("no connection in time") from error
        except OSError as error:  # ssl.SSLError is one
            raise httpx.ConnectError(type(error).__name__) from error
        return connection


class _Stale(Exception):
    """A connection that had been kept was closed before it answered anything."""


class _Connection(asyncio.Protocol):
    """One connection, and the exchange that it is in, if any. llhttp calls the `on_…` methods."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, rest: Callable[[_Connection], None], lost: Callable[[_Connection], None]
    ) -> None:
        self._loop, self._rest, self._lost = loop, rest, lost
        self._transport: asyncio.Transport = None  # type: ignore[assignment]  # until connection_made
        self._parser = httptools.HttpResponseParser(self)
        self._used = False
        self._open = True
        self.rested = 0.0
        self._begin(None)

    def _begin(self, silence: float | None) -> None:
        """Forgets the last exchange."""
        self._silence = silence
        self._headers: list[tuple[bytes, bytes]] = []
        self._head_bytes = 0
        self._status = 0  # of the final answer, once its head is complete
        self._framed = False  # the head says where the body ends; else the end of the connection does
        self._complete = self._keep = self._heard = self._surplus = False
        self._chunks: list[bytes] = []
        self._size = 0
        self._paused = False
        self._error: Exception | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._tap: Tap | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._busy = False

    # --- for the transport above

    @property
    def usable(self) -> bool:
        return self._open and not self._busy and not self._transport.is_closing()

    @property
    def read_out(self) -> bool:
        return self._complete and not self._chunks

    async def exchange(
        self, message: tuple[bytes, bytes], silence: float | None, request: httpx.Request
    ) -> httpx.Response:
        """Sends a request and waits for the head of its answer. Raises httpx.TransportError or _Stale."""
        kept, self._used = self._used, True
        self._begin(silence)
        self._busy = True
        try:
            self._transport.writelines(message)
            while not self._status:
                if self._error is not None:
                    raise _Stale if kept and not self._heard else self._error
                await self._news()
        except BaseException:
            self.cut()
            raise
        return httpx.Response(self._status, headers=self._headers, stream=_Body(self), request=request)

    async def read(self) -> bytes:
        """What has come of the body since the last time. Raises httpx.TransportError, StopAsyncIteration at its end."""
        while not self._chunks:
            if self._error is not None:
                raise self._error
            if self._complete:
                raise StopAsyncIteration
            await self._news()
        chunks, self._chunks, self._size = self._chunks, [], 0
        if self._paused:
            self._paused = False
            self._transport.resume_reading()
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    def tap(self, tap: Tap) -> None:
        """From here on small pieces are given to `tap`, until the exchange is over. What it raises is what is read."""
        self._tap = tap

    def release(self) -> None:
        """The exchange is over for whoever asked: the connection is kept if there is nothing left on it."""
        self._tap = None  # it holds whoever asked
        if not self._busy:
            return
        clean = self._complete and self._keep and not self._surplus and not self._transport.get_write_buffer_size()
        if not clean or not self._open or self._transport.is_closing():
            self.cut()
            return
        self._stop_timer()
        if self._paused:
            self._transport.resume_reading()
        self._busy = False
        self.rested = self._loop.time()
        self._rest(self)

    def cut(self) -> None:
        """Closes at once, whatever is on its way."""
        self._stop_timer()
        self._busy = self._open = False
        if self._transport is not None:
            self._transport.abort()

    # --- for asyncio

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        if not self._busy:  # nobody asked: whatever it is, it is not the answer to the next request
            self.cut()
            return
        self._heard = True
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._fail(httpx.RemoteProtocolError(f"not the answer of an HTTP/1.1 server ({type(error).__name__})"))
            return
        if not self._status:
            self._head_bytes += len(data)
            if self._head_bytes > HEAD_BYTES:
                self._fail(httpx.RemoteProtocolError("the head of the answer is too large"))
                return
        if self._size > HIGH_WATER and not self._paused:
            self._paused = True
            self._transport.pause_reading()
        if self._tap is None or not self._tapped(self._tap):
            self._wake()

    def _tapped(self, tap: Tap) -> bool:
        """Whether what came is taken. Only while its reader waits for it: nothing may overtake what a reader holds."""
        waiter, chunks = self._waiter, self._chunks
        if waiter is None or waiter.done() or self._complete or not 0 < self._size <= PIECE_BYTES:
            return False
        try:
            if not tap(chunks[0] if len(chunks) == 1 else b"".join(chunks)):
                return False
        except Exception as error:
            self._chunks, self._size = [], 0
            self._fail(error)
            return True
        self._chunks, self._size = [], 0
        self._waiting_since = self._loop.time()
        return True

    def connection_lost(self, error: Exception | None) -> None:
        self._open = False
        self._parser = None  # type: ignore[assignment]  # it holds this object, and what nobody has read with it
        self._lost(self)
        if not self._busy or self._complete or self._error is not None:
            return
        if self._status and not self._framed and error is None:
            self._complete = True  # a body without a length ends with its connection
            self._wake()
        else:
            self._fail(httpx.RemoteProtocolError("the connection was closed before the answer was complete"))

    # --- for llhttp

    def on_message_begin(self) -> None:
        if self._complete:
            self._surplus = True

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._complete:
            self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if status < 200:  # 100, 103: the answer itself follows
            self._headers = []
        elif not self._complete:
            self._framed = any(name in (b"content-length", b"transfer-encoding") for name, _ in self._headers)
            self._status = status

    def on_body(self, chunk: bytes) -> None:
        if not self._complete:
            self._chunks.append(chunk)
            self._size += len(chunk)

    def on_message_complete(self) -> None:
        if self._status and not self._complete:
            self._complete = True
            self._keep = self._parser.should_keep_alive()

    # --- waiting

    def _news(self) -> asyncio.Future[None]:
        """Done when something came, or the silence has lasted too long (one timer per exchange, set again when it
        rings: a timer per chunk would cost more than the chunk)."""
        if self._timer is None and self._silence is not None:
            self._timer = self._loop.call_later(self._silence, self._ring)
        self._waiting_since = self._loop.time()
        self._waiter = waiter = self._loop.create_future()
        return waiter

    def _ring(self) -> None:
        self._timer = None
        if self._silence is None or self._complete or self._error is not None:
            return
        # Silence is upstream's only while somebody listens: a slow reader of ours must not count as it.
        heeded = self._waiter is not None and not self._waiter.done()
        since = self._waiting_since if heeded else self._loop.time()
        left = since + self._silence - self._loop.time()
        if left <= 0.001:
            self._fail(httpx.ReadTimeout("upstream is silent"))
        else:
            self._timer = self._loop.call_later(left, self._ring)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _wake(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def _fail(self, error: Exception) -> None:
        """What came before the failure is still read; then it is met."""
        self._error = error
        self._wake()
        self._transport.abort()


class _Body(httpx.AsyncByteStream):
    """The body of an answer, iterated without a generator in between."""

    def __init__(self, connection: _Connection) -> None:
        self._connection: _Connection | None = connection

    @property
    def ended(self) -> bool:
        """Whether all of it has come, and has been read."""
        return self._connection is None or self._connection.read_out

    def tap(self, tap: Tap) -> None:
        """While somebody waits for the next piece, it is given to `tap`; what that does not take is read."""
        if self._connection is not None:
            self._connection.tap(tap)

    def __aiter__(self) -> _Body:
        return self

    def __anext__(self) -> Awaitable[bytes]:
        if self._connection is None:
            raise StopAsyncIteration
        return self._connection.read()

    async def aclose(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.release()


def _head(request: httpx.Request) -> bytes:
    """The request line and headers. Raises httpx.LocalProtocolError for a value that would end its line."""
    lines = [b"%b %b HTTP/1.1" % (request.method.encode("ascii"), request.url.raw_path)]
    lines += [b"%b: %b" % header for header in request.headers.raw]
    head = b"\r\n".join(lines) + b"\r\n\r\n"
    if head.count(b"\n") != len(lines) + 1 or head.count(b"\r") != len(lines) + 1 or b"\0" in head:
        raise httpx.LocalProtocolError("a header is not valid")
    return head


def _keep_alive(plain: socket.socket) -> None:
    """Notices within minutes that a silent network lost the other side (as Anthropic's own SDK does)."""
    plain.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _KEEPALIVE:
        if hasattr(socket, name):  # Linux's names; macOS has one of them
            plain.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
