"""What the one road gives back: an answer, whole or streamed, not yet HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

Write = Callable[[bytes], None]
Ready = Callable[[], Write | None]  # what writes to the client at once; None while it has to be waited for


@dataclass(slots=True)
class Reply:
    """A whole answer, encoded."""

    body: bytes
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Events:
    """A streamed answer: its parts, each of whole events, and `beat` for what to send in a long silence. Whoever sends
    the parts may `tap` them: what comes while the next one is awaited is then written at once where that can be done,
    without a turn of the task that awaits it."""

    parts: AsyncIterator[bytes]
    beat: Callable[[], bytes]
    headers: dict[str, str] = field(default_factory=dict)
    tap: Callable[[Ready], None] | None = None
