"""gunicorn's WebSocket as Bridge runs it: refusals of a handshake that say why, and bounds for what arrives.

gunicorn holds a message until it is whole. Here that is bounded for all connections together and in time, as bodies
are at the door; and large messages do not stop the worker while they are unmasked.
"""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import Any

from django.conf import settings
from gunicorn.asgi import websocket

HEADER_BYTES = 2  # a frame's first: until they are there, nothing has begun
UNREAD_BYTES = 64 * 1024  # sent and not taken: no more pings are answered


class BridgeWebSocket(websocket.WebSocketProtocol):  # type: ignore[misc]
    """One connection. `held`: bytes of unfinished messages, of all connections of this worker."""

    held = 0

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.scope["extensions"] = {"websocket.http.response": {}}
        self._counted = 0
        self._over = False

    @property
    def unheard(self) -> bool:
        """Whether the client has not answered that this side closes, as one does that is still sending."""
        return bool(self._close_sent and not self._close_received)

    async def run(self) -> None:
        try:
            await super().run()
        finally:
            self._over = True
            self._buffer.clear()
            self._fragments_size = 0
            self._count()

    def feed_data(self, data: bytes) -> None:
        if self._over:
            return
        super().feed_data(data)
        self._count()
        if BridgeWebSocket.held > settings.MAX_BUFFERED_BYTES:
            self.transport.abort()

    def _count(self) -> None:
        held = len(self._buffer) + self._fragments_size
        BridgeWebSocket.held += held - self._counted
        self._counted = held

    async def _read_exact(self, n: int) -> bytes | None:
        """Raises TimeoutError, which ends the connection, for a frame that is begun and does not come."""
        seconds = None if n == HEADER_BYTES else settings.BODY_SECONDS + n / settings.SLOWEST_BODY
        async with asyncio.timeout(seconds):
            data: bytes | None = await super()._read_exact(n)
        self._count()
        return data

    def _unmask(self, payload: bytes, masking_key: bytes) -> bytes:
        """At once: byte by byte, as gunicorn does it, 32 MB take seconds."""
        mask = (masking_key * (len(payload) // 4 + 1))[: len(payload)]
        return (int.from_bytes(payload) ^ int.from_bytes(mask)).to_bytes(len(payload))

    async def _send_frame(self, opcode: int, payload: bytes) -> None:
        if opcode == websocket.OPCODE_PONG and self.transport.get_write_buffer_size() > UNREAD_BYTES:
            return
        await super()._send_frame(opcode, payload)

    async def _send(self, message: dict[str, Any]) -> None:
        if message["type"] == "websocket.http.response.start":
            self._refusal = message
        elif message["type"] == "websocket.http.response.body":
            self._refuse(self._refusal["status"], self._refusal["headers"], message["body"])
        else:
            await super()._send(message)

    def _refuse(self, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
        """As `_deny`, with the application's words."""
        self._denied = self.closed = True
        self._close_event.set()
        first = f"HTTP/1.1 {status} {HTTPStatus(status).phrase}".encode()
        lines = [first, *(name + b": " + value for name, value in headers), b"connection: close", b"", body]
        self.transport.write(b"\r\n".join(lines))
        self.transport.close()
