"""A payload as a conversation: the shapes that the console shows.

What makes them of bytes knows the wire, and is handed over at the start: nothing here does.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(slots=True)
class Part:
    """`kind`: text, reasoning, call, result, media or data. What is not text is folded under its title."""

    kind: str
    title: str
    text: str = ""


@dataclass(slots=True)
class Turn:
    role: str
    parts: list[Part] = field(default_factory=list)


Read = Callable[[bytes, bytes], list[Turn]]
_reader: list[Read] = []


def hand_over(read: Read) -> None:
    """Says what makes turns of a request's and an answer's bytes."""
    _reader[:] = [read]


def read(request: bytes, answer: bytes) -> list[Turn]:
    return _reader[0](request, answer)
