"""Sends a stream, and breaks its long silences."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from bridge.responses import EventStream

Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

BEAT_SECONDS = 15.0


async def send_stream(send: Send, response: EventStream) -> None:
    parts = aiter(response)
    beats = _Beats(send, response.beat)
    try:
        async for part in parts:
            if part:
                beats.busy = True
                await send({"type": "http.response.body", "body": part, "more_body": True})
                beats.rest()
    finally:
        beats.stop()
        await parts.aclose()  # type: ignore[attr-defined]
    await send({"type": "http.response.body", "body": b"", "more_body": False})


class _Beats:
    """Breaks long silences: one timer per stream, set again every 15 s, not once per chunk."""

    def __init__(self, send: Send, beat: Callable[[], bytes]) -> None:
        self._send, self._beat = send, beat
        self._loop = asyncio.get_running_loop()
        self.busy = False
        self._last = self._loop.time()
        self._task: asyncio.Task[None] | None = None
        self._timer = self._loop.call_later(BEAT_SECONDS, self._tick)

    def rest(self) -> None:
        """Something was sent just now."""
        self.busy, self._last = False, self._loop.time()

    def stop(self) -> None:
        self._timer.cancel()
        if self._task is not None:
            self._task.cancel()

    def _tick(self) -> None:
        silence = self._loop.time() - self._last
        if silence >= BEAT_SECONDS and not self.busy:
            self._task = self._loop.create_task(self._send_beat())
            silence = 0.0
        self._timer = self._loop.call_later(max(BEAT_SECONDS - silence, 0.1), self._tick)

    async def _send_beat(self) -> None:
        await self._send({"type": "http.response.body", "body": self._beat(), "more_body": True})
        self.rest()
