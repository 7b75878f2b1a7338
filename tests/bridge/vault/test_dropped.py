"""What upstream would refuse is not put back, and what could never be put back is not kept."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tenants.vault import Vault
from tests import wire
from tests.bridge.vault.agent import LOOP, TOOLS, Agent, Claude, kept
from tests.conftest import Stage

EDITS: dict[str, Any] = {
    "an earlier text": lambda agent: agent.messages[0].update(content=LOOP + "!"),
    "an earlier result": lambda agent: agent.messages[2].update(content="something else"),
    "the system prompt": lambda agent: agent.messages.insert(0, {"role": "system", "content": "Be brief."}),
    "the tools": lambda agent: agent.more.update(tools=TOOLS[:1]),
}


@pytest.mark.parametrize("edit", EDITS)
async def test_what_comes_after_an_edit_is_dropped(stage: Stage, claude: Claude, edit: str) -> None:
    agent = Agent(stage.client)
    await agent.steps(3)
    EDITS[edit](agent)
    await agent.step()
    assert claude.thoughts() == ([1, 0, 0] if edit == "an earlier result" else [0, 0, 0])
    assert len(claude.asked) == 4, "upstream was not even asked"


async def test_another_model_gets_none_of_it(stage: Stage, claude: Claude) -> None:
    agent = Agent(stage.client)
    await agent.step()
    agent.more["model"] = "claude-sonnet-5-5"
    await agent.step()
    assert claude.thoughts() == [0] and "restored" not in agent.receipts[-1]


async def test_calls_that_were_taken_apart_get_none_of_it(stage: Stage, claude: Claude) -> None:
    agent = Agent(stage.client, "[sandbox:tools count=2] look around")
    await agent.step()
    agent.messages[1]["tool_calls"].pop()
    agent.messages.pop()
    await agent.step()
    assert claude.thoughts() == [0]


async def test_what_another_version_kept_is_not_there(
    stage: Stage, claude: Claude, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = Agent(stage.client)
    await agent.step()

    async def found(self: Vault, caller: Any, calls: list[str]) -> dict[str, bytes]:
        return dict.fromkeys(calls, msgspec.msgpack.encode({"version": 9}))

    monkeypatch.setattr(Vault, "find", found)
    await agent.step()
    assert claude.thoughts() == [0]


async def test_what_anthropics_own_tools_were_thought_around_is_not_kept(stage: Stage) -> None:
    search = wire.event(
        "content_block_start", index=1, content_block={"type": "server_tool_use", "id": "srvtoolu_1", "name": "x"}
    )
    stop = wire.event("content_block_stop", index=1)
    parts = [wire.start(), *wire.thinking_block("Hm."), search, stop, *wire.tool_block("{}", index=2)]
    stage.play(lambda _: wire.streamed(*parts, *wire.end("tool_use")))
    await Agent(stage.client, model="claude-sonnet-5-5", web_search_options={}).step()
    assert await kept() == []


@pytest.mark.parametrize("reason", ["max_tokens", "end_turn", "refusal"])
async def test_an_answer_that_ended_otherwise_is_not_kept(stage: Stage, reason: str) -> None:
    answer = [wire.start(), *wire.thinking_block("Hm."), *wire.tool_block("{}", index=1), *wire.end(reason)]
    stage.play(lambda _: wire.streamed(*answer))
    await Agent(stage.client, model="claude-sonnet-5-5").step()
    assert await kept() == []


async def test_what_another_model_thought_is_not_kept(stage: Stage) -> None:
    """(the API may answer with another one)"""
    answer = [
        wire.start("claude-opus-5"),
        *wire.thinking_block("Hm."),
        *wire.tool_block("{}", index=1),
        *wire.end("tool_use"),
    ]
    stage.play(lambda _: wire.streamed(*answer))
    await Agent(stage.client, model="claude-sonnet-5-5").step()
    assert await kept() == []
