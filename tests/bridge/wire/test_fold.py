"""Pieces of a text that follow each other may be told as one."""

from __future__ import annotations

import pytest

from bridge.wire.anthropic import Delta, Event
from bridge.wire.fold import merged


def text(piece: str | None, index: int = 0, choice: int = 0) -> Event:
    return Event("content_block_delta", index, delta=Delta("text_delta", text=piece), choice=choice)


STOP = Event("content_block_stop")


@pytest.mark.parametrize(
    "apart",
    [
        [text("a"), text("b", index=1)],
        [text("a"), text("b", choice=1)],
        [text("a"), STOP, text("b")],
        [text("a"), Event("content_block_delta", delta=Delta("thinking_delta", thinking="b"))],
        [Event("content_block_delta", delta=Delta("signature_delta", signature=part)) for part in "ab"],
        [Event("content_block_delta", delta=None), text("b")],
    ],
)
def test_what_is_not_one_text_stays_apart(apart: list[Event]) -> None:
    assert merged(apart) == apart


def test_pieces_of_one_text_become_one() -> None:
    assert merged([text("Hel"), text(None), text("lo"), STOP]) == [text("Hello"), STOP]


@pytest.mark.parametrize(("kind", "name"), [("thinking_delta", "thinking"), ("input_json_delta", "partial_json")])
def test_so_do_pieces_of_thinking_and_of_arguments(kind: str, name: str) -> None:
    pieces = [Event("content_block_delta", delta=Delta(kind, **{name: piece})) for piece in ("1", "2", "3")]
    assert merged(pieces) == [Event("content_block_delta", delta=Delta(kind, **{name: "123"}))]
