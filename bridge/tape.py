"""What was sent and received of one request, taken down as it passes, for a key whose payloads are kept."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from uuid import UUID

from tenants.payloads import SEARCHED_BYTES
from tenants.values import Caller, Capture, Taped

Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


class Tape:
    """Runs from a request's admission to the last byte of its answer; keeps no more of that than `limit` bytes."""

    __slots__ = ("_answer", "_capture", "_content_type", "_digest", "_kept", "_limit", "_request", "_size", "_status",
                 "_wanted", "end_user")  # fmt: skip

    def __init__(self, capture: Capture, limit: int) -> None:
        self._capture, self._limit = capture, limit
        self._answer: list[bytes] = []
        self._kept = self._size = self._status = 0
        self._content_type = ""
        self._digest = hashlib.sha256()
        self._wanted: bool | None = None
        self._request = b"", 0, ""  # what is kept of it, its size, its SHA-256 if that is only a beginning
        self.end_user: str | None = None

    def wanted(self, whole: bool) -> bool:
        """Whether it is to be kept, decided once: when the request is settled, or its client is gone."""
        if self._wanted is None:
            self._wanted = not (whole and self._capture.errors_only)
        return self._wanted

    def asked(self, body: bytes) -> None:
        """The request's body: all of it if it is to be kept or searched whole, for it stays in memory until the end."""
        whole = max(self._limit, SEARCHED_BYTES if self._capture.patterns else 0)
        if len(body) <= whole:
            self._request = body, len(body), ""
        else:
            self._request = body[: self._limit], len(body), hashlib.sha256(body).hexdigest()

    def hearing(self, send: Send) -> Send:
        """Sends, and takes down what went out."""

        async def send_and_hear(message: MutableMapping[str, Any]) -> None:
            await send(message)
            if message["type"] == "http.response.start":
                self._status = message["status"]
                self._content_type = dict(message["headers"]).get(b"content-type", b"").decode("latin-1")
            else:
                self._hear(message.get("body", b""))

        return send_and_hear

    def taped(self, request_id: UUID, caller: Caller) -> Taped:
        request, request_size, request_sha256 = self._request
        return Taped(
            id=request_id,
            tenant_id=caller.tenant_id,
            key_id=caller.key_id,
            end_user=self.end_user,
            patterns=self._capture.patterns,
            request=request,
            request_size=request_size,
            request_sha256=request_sha256,
            answer=b"".join(self._answer),
            answer_size=self._size,
            answer_sha256=self._digest.hexdigest(),
            status=self._status,
            content_type=self._content_type,
        )

    def _hear(self, part: bytes) -> None:
        self._size += len(part)
        self._digest.update(part)
        if room := self._limit - self._kept:
            kept = part[:room]
            self._answer.append(kept)
            self._kept += len(kept)
