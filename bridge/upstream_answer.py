"""A streamed answer of upstream's, event by event: whole to its `message_stop`, or an error.

Answer.read        the next events, as many as arrived together, up to `message_stop`; else ApiError
Answer.take        the bytes that they came in, for those who relay them
Answer.tap         pieces of the answer as they arrive, without waking whoever waits in `read`
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from functools import partial

import aiohttp
import httpx
import msgspec

from bridge import errors, sse
from bridge.errors import ApiError
from bridge.wire.anthropic import PARTS, Event, Frame, decode_event, decode_parts

Passed = Callable[[list[Event]], bool]  # sends events on, or says that they are to be read
BROKEN = (httpx.TransportError, aiohttp.ClientError, OSError, EOFError)


@dataclass(frozen=True, slots=True)
class Deadlines:
    """Seconds. `silence`: no bytes at all; `progress`: nothing but pings; `total`: the whole answer."""

    connect: float = 5.0
    first_event: float = 60.0
    silence: float = 90.0
    progress: float = 600.0
    total: float = 1800.0


class Answer:
    """A streamed answer from its first event on."""

    def __init__(
        self,
        response: httpx.Response,
        attempts: int,
        deadlines: Deadlines,
        parser: sse.Parser | sse.FrameParser | None = None,
    ) -> None:
        self.attempts = attempts
        self.upstream_id = response.headers.get("request-id", "")
        self.on_close: Callable[[], None] | None = None
        self._response = response
        self._deadlines = deadlines
        self._parser = parser or sse.Parser()
        self._relayed = isinstance(self._parser, sse.FrameParser)
        self._begun = False
        self._frames: list[Frame] = []
        # The stream itself: httpx's own iterators add two generators to every chunk.
        self._chunks: AsyncIterator[bytes] = aiter(response.stream)  # type: ignore[arg-type]
        self._first: list[Event] = []
        self._failure: ApiError | None = None
        self.done = False
        self._progress = time.monotonic()
        self._latest = self._progress + deadlines.total

    async def begin(self) -> None:
        """Reads up to the first real event. An `error` there still has its HTTP status. Raises ApiError."""
        kind = self._response.headers.get("content-type", "")
        if not kind.startswith("text/event-stream"):
            raise ApiError("upstream_malformed", "Upstream answered with something that is not an event stream.")
        while not self._first:
            self._first = await self._read()

    async def read(self) -> list[Event]:
        """The next events. After `message_stop` it is `done`; every other end raises ApiError."""
        batch, self._first = self._first or await self._read(), []
        self.done = bool(batch) and batch[-1].type == "message_stop"
        return batch

    def take(self) -> list[Frame]:
        """What was read since the last time, as it came; pings too. Nothing unless frames were asked for."""
        frames, self._frames = self._frames, []
        return frames

    def tap(self, passed: Passed) -> None:
        """From here on, what comes while somebody waits in `read` is given to `passed` first, if it is nothing but
        parts of the answer before its end; what that does not take is read. Not with every transport."""
        tap = getattr(self._response.stream, "tap", None)
        if tap is not None and isinstance(self._parser, sse.Parser):
            tap(partial(self._tapped, self._parser.whole, passed))

    async def aclose(self) -> None:
        """Lets go of the connection: back to the pool after a whole answer, else closed, which stops upstream."""
        release, self.on_close = self.on_close, None
        if release is not None:
            release()
        try:
            # The end of the body follows the last event, in its own packet at worst.
            if self.done and not getattr(self._response.stream, "ended", False):
                async with asyncio.timeout(0.5):
                    async for _ in self._chunks:
                        pass
        except (TimeoutError, *BROKEN):
            pass
        finally:
            await self._response.aclose()

    async def _read(self) -> list[Event]:
        if self._failure is not None:
            raise self._failure
        try:
            chunk = await anext(self._chunks)
        except StopAsyncIteration:
            return self._last_events()
        except httpx.ReadTimeout:
            raise ApiError("upstream_stalled", "Upstream stopped sending.", retry=False) from None
        except BROKEN as error:
            raise ApiError("upstream_truncated", "The connection to upstream broke.") from error
        try:
            events = self._events(self._parser.feed(chunk))
        except sse.EventTooLarge:
            raise ApiError("upstream_malformed", "Upstream sent an event that is too large.") from None
        now = time.monotonic()
        if events:
            self._progress = now
        elif now - self._progress > self._deadlines.progress:
            raise ApiError("upstream_stalled", "Upstream sent nothing but pings.", retry=False)
        if now > self._latest:
            raise ApiError("upstream_timeout", "The answer took longer than this gateway allows.", retry=False)
        return events

    def _tapped(self, whole: Callable[[bytes], list[bytes] | None], passed: Passed, chunk: bytes) -> bool:
        datas = whole(chunk)
        events = decode_parts(datas) if datas and not self.done else None
        now = time.monotonic()
        if not events or events[-1].type == "message_stop" or now > self._latest or not passed(events):
            return False
        self._progress = now
        return True

    def _last_events(self) -> list[Event]:
        """What only the end of the body completed; nothing, or half an event, is a cut."""
        try:
            events = self._events(self._parser.finish())
        except ApiError as error:
            raise _truncated() if error.kind == "upstream_malformed" else error
        if not events:
            raise _truncated()
        return events

    def _events(self, datas: list[bytes]) -> list[Event]:
        """Decodes. A failure among them is met on the next read, after what came before it has been delivered."""
        events: list[Event] = []
        if not self._begun and not self._relayed:
            events, datas = self._looked_at(datas[:1], events), datas[1:]
        usual = decode_parts(datas) if self._begun and not self._relayed else None
        return self._looked_at(datas, events) if usual is None else events + usual if events else usual

    def _looked_at(self, datas: list[bytes], events: list[Event]) -> list[Event]:
        """`events` and these, decoded one by one."""
        raws = self._parser.raws if isinstance(self._parser, sse.FrameParser) else ()
        for position, data in enumerate(datas):
            try:
                event = decode_event(data)
                self._failure = self._out_of_place(event)
            except (msgspec.DecodeError, UnicodeDecodeError):
                self._failure = ApiError("upstream_malformed", "Upstream sent an event that is not valid.")
            if self._failure is not None:
                if not events:
                    raise self._failure
                break
            if raws:
                self._frames.append(Frame(raws[position], data))
            if event.type != "ping":
                events.append(event)
            if event.type == "message_stop":
                break
        return events

    def _out_of_place(self, event: Event) -> ApiError | None:
        """The failure that an event is, if it is one. Nothing of an answer may come before its beginning: what follows
        could not be told apart from a whole one. And it begins once: what has been streamed of one answer cannot be
        taken back for another (two streams in one were recorded from a proxy that retried)."""
        if event.type == "error":
            return errors.from_event(
                event.error.type if event.error else "", event.error.message if event.error else ""
            )
        if event.type == "message_start" and event.message is not None:
            if self._begun:
                return ApiError("upstream_malformed", "Upstream began a second answer within the first.")
            self._begun = True
        elif not self._begun and (event.type in PARTS or event.type == "message_start"):
            return ApiError("upstream_malformed", "Upstream sent a part of an answer before its beginning.")
        return None


def _truncated() -> ApiError:
    return ApiError("upstream_truncated", "The stream from upstream ended before the answer did.")
