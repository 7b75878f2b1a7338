"""A tape holds no more in memory than is kept of an answer, and only hears what was sent."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from bridge.tape import Tape
from tenants import ids
from tenants.values import Caller, Capture, Mode, Taped


async def ignore(message: Any) -> None:
    """A client that takes everything."""


async def broken(message: Any) -> None:
    raise OSError("gone")


def part(body: bytes) -> dict[str, Any]:
    return {"type": "http.response.body", "body": body, "more_body": True}


def taped(tape: Tape) -> Taped:
    return tape.taped(ids.uuid7(), Caller(ids.uuid7(), 1, 1, "acme", "bot", "hint", Mode.LIVE))


async def test_of_a_long_answer_the_beginning_is_held_and_the_whole_is_counted() -> None:
    tape = Tape(Capture(), 10)
    send = tape.hearing(ignore)
    for _ in range(5):
        await send(part(b"1234567"))
    found = taped(tape)
    assert (found.answer, found.answer_size) == (b"1234567123", 35)
    assert found.answer_sha256 == hashlib.sha256(b"1234567" * 5).hexdigest()


async def test_what_could_not_be_sent_was_not_sent() -> None:
    tape = Tape(Capture(), 10)
    with pytest.raises(OSError, match="gone"):
        await tape.hearing(broken)(part(b"unheard"))
    assert taped(tape).answer_size == 0
