"""What the one road gives back: an answer, whole or streamed, not yet HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field


@dataclass(slots=True)
class Reply:
    """A whole answer, encoded."""

    body: bytes
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Events:
    """A streamed answer: its parts, each of whole events, and `beat` for what to send in a long silence."""

    parts: AsyncIterator[bytes]
    beat: Callable[[], bytes]
    headers: dict[str, str] = field(default_factory=dict)
