"""`n` answers to one request: as many calls side by side, read as one. Anthropic's API gives one answer a call."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Protocol

from bridge.upstream_answer import Passed
from bridge.wire.anthropic import Event, Frame


class Readable(Protocol):
    """An Answer, or what reads like one."""

    @property
    def attempts(self) -> int: ...
    @property
    def upstream_id(self) -> str: ...
    @property
    def done(self) -> bool: ...
    async def read(self) -> list[Event]: ...
    def take(self) -> list[Frame]: ...
    def tap(self, passed: Passed) -> None: ...
    async def aclose(self) -> None: ...


class Choices:
    """Reads several answers as their events come. One that fails is the failure of all."""

    def __init__(self, answers: list[Readable]) -> None:
        self._answers = answers
        self._reads: dict[asyncio.Task[list[Event]], int] = {}
        self.upstream_id = answers[0].upstream_id

    @property
    def attempts(self) -> int:
        return sum(answer.attempts for answer in self._answers)

    @property
    def done(self) -> bool:
        return all(answer.done for answer in self._answers) and not self._reads

    async def read(self) -> list[Event]:
        """The next events, each with the number of its choice. Raises ApiError."""
        reading = set(self._reads.values())
        for number, answer in enumerate(self._answers):
            if number not in reading and not answer.done:
                self._reads[asyncio.create_task(answer.read())] = number
        finished, _ = await asyncio.wait(self._reads, return_when=asyncio.FIRST_COMPLETED)
        events = []
        for task in sorted(finished, key=self._reads.__getitem__):
            number = self._reads.pop(task)
            for event in task.result():
                event.choice = number
                events.append(event)
        return events

    def take(self) -> list[Frame]:
        return []

    def tap(self, passed: Passed) -> None:
        """Never: each piece is to be told of its choice."""

    async def aclose(self) -> None:
        for task in self._reads:
            task.cancel()
        await asyncio.gather(*self._reads, return_exceptions=True)
        await asyncio.gather(*(answer.aclose() for answer in self._answers))


async def open_all(send: Callable[[], Coroutine[Any, Any, Readable]], count: int) -> Choices:
    """Sends `count` times at once. If one fails the others are closed, and its error is raised."""
    tasks = [asyncio.create_task(send()) for _ in range(count)]
    try:
        return Choices(list(await asyncio.gather(*tasks)))
    except BaseException:
        for task in tasks:
            task.cancel()
        for opened in await asyncio.gather(*tasks, return_exceptions=True):
            if not isinstance(opened, BaseException):
                await opened.aclose()
        raise
