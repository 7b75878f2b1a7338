"""Kept thinking is put back where it stood in the answer."""

from __future__ import annotations

from typing import Any

import pytest

from tests import wire
from tests.bridge.vault.agent import Agent
from tests.conftest import Stage


def thought(index: int) -> list[bytes]:
    return wire.thinking_block(f"thought {index}", index)


async def restored(stage: Stage, *blocks: list[bytes], said: str | None = "") -> list[Any]:
    """The assistant's turn of the second request, after an answer of these blocks: what stands where. `said`: what the
    client brings back for the text; "": what it was."""
    answer = [wire.start(), *(part for block in blocks for part in block), *wire.end("tool_use")]
    transport = stage.play(lambda _: wire.streamed(*answer))
    agent = Agent(stage.client, model="claude-sonnet-5-5")
    await agent.step()
    agent.messages[1]["content"] = agent.messages[1]["content"] if said == "" else said
    await agent.step()
    turn = transport.sent()["messages"][1]["content"]
    return [block.get("thinking") or block.get("text") or block.get("id") or block["data"] for block in turn]


async def test_between_the_calls_that_it_led_to(stage: Stage) -> None:
    first, second = wire.tool_block("{}", index=1, identifier="a"), wire.tool_block("{}", index=3, identifier="b")
    assert await restored(stage, thought(0), first, thought(2), second) == ["thought 0", "a", "thought 2", "b"]


async def test_between_the_texts_that_a_chat_joins(stage: Stage) -> None:
    blocks = [thought(0), wire.text_block("One. ", index=1), thought(2), wire.text_block("Two.", index=3)]
    call = wire.tool_block("{}", index=4)
    assert await restored(stage, *blocks, call) == ["thought 0", "One. ", "thought 2", "Two.", "toolu_1"]


@pytest.mark.parametrize(
    ("said", "turn"),
    [
        (None, ["thought 0", "thought 2", "toolu_1"]),
        ("Other words", ["thought 0", "Other words", "thought 2", "toolu_1"]),
    ],
)
async def test_around_what_the_client_says_instead(stage: Stage, said: str | None, turn: list[str]) -> None:
    blocks = [thought(0), wire.text_block("One. ", index=1), thought(2), wire.text_block("Two.", index=3)]
    assert await restored(stage, *blocks, wire.tool_block("{}", index=4), said=said) == turn


async def test_before_words_that_the_client_puts_in(stage: Stage) -> None:
    turn = await restored(stage, thought(0), wire.tool_block("{}", index=1), said="I look.")
    assert turn == ["thought 0", "I look.", "toolu_1"]


async def test_a_text_is_not_cut_where_a_piece_would_be_blank(stage: Stage) -> None:
    blocks = [thought(0), wire.text_block("\n\n", index=1), thought(2), wire.text_block("Two.", index=3)]
    turn = await restored(stage, *blocks, wire.tool_block("{}", index=4))
    assert turn == ["thought 0", "\n\nTwo.", "thought 2", "toolu_1"]


async def test_redacted_thinking_is_thinking(stage: Stage) -> None:
    block = {"type": "redacted_thinking", "data": "c2VhbGVk"}
    redacted = [
        wire.event("content_block_start", index=0, content_block=block),
        wire.event("content_block_stop", index=0),
    ]
    assert await restored(stage, redacted, wire.tool_block("{}", index=1)) == ["c2VhbGVk", "toolu_1"]
