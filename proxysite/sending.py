"""Sends a stream, breaks its long silences, and gives up on a client that takes nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from functools import partial
from typing import Any

from bridge.reply import Ready, Write
from bridge.responses import EventStream

Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

DIRECT_WRITE = "bridge.write"  # a server's extension of the scope, a Ready: its way to write without waiting
BEAT_SECONDS = 15.0
STUCK_SECONDS = 300.0  # slow readers take nothing for a while too: the kernel gives them megabytes at a time


async def send_stream(send: Send, response: EventStream, stuck: Callable[[], None], ready: Ready | None) -> None:
    """`stuck` is called once a client has taken nothing for minutes, though it has not hung up. `ready`: the
    server's DIRECT_WRITE, if it has one."""
    parts = aiter(response)
    beats = _Beats(send, response.beat, stuck)
    if ready is not None and response.tap is not None:
        response.tap(partial(beats.heeding, ready))
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

    def __init__(self, send: Send, beat: Callable[[], bytes], stuck: Callable[[], None]) -> None:
        self._send, self._beat, self._stuck = send, beat, stuck
        self._loop = asyncio.get_running_loop()
        self.busy = False
        self._last = self._loop.time()
        self._task: asyncio.Task[None] | None = None
        self._timer = self._loop.call_later(BEAT_SECONDS, self._tick)

    def rest(self) -> None:
        """Something was sent just now."""
        self.busy, self._last = False, self._loop.time()

    def heeding(self, ready: Ready) -> Write | None:
        """`ready`, with something to write. (While a beat waits for the client, so would this.)"""
        self._last = self._loop.time()
        return ready()

    def stop(self) -> None:
        self._timer.cancel()
        if self._task is not None:
            self._task.cancel()

    def _tick(self) -> None:
        silence = self._loop.time() - self._last
        if silence >= STUCK_SECONDS:
            self._stuck()
            return
        if silence >= BEAT_SECONDS:
            if not self.busy:
                self._task = self._loop.create_task(self._send_beat())
            silence = 0.0
        self._timer = self._loop.call_later(BEAT_SECONDS - silence, self._tick)

    async def _send_beat(self) -> None:
        self.busy = True
        await self._send({"type": "http.response.body", "body": self._beat(), "more_body": True})
        self.rest()
