"""A plain client's tool loop keeps its thinking."""

from __future__ import annotations

import pytest

from tests.bridge.vault.agent import LOOP, PATH, Agent, Claude, kept
from tests.conftest import Stage


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
async def test_a_loop_of_ten_turns_keeps_all_its_thinking(stage: Stage, claude: Claude, stream: bool) -> None:
    agent = Agent(stage.client, stream=stream)
    await agent.steps(10)
    assert claude.thoughts() == [1] * 9
    assert agent.receipts[0] == "" and all("thinking=restored" in receipt for receipt in agent.receipts[1:])
    assert agent.messages[-1]["tool_calls"] == [] and agent.messages[-1]["content"]
    assert all("thinking=restored" in record.receipt for record in (await stage.records())[1:])


@pytest.mark.parametrize("model", ["claude-opus-5-5", "claude-sonnet-5-5", "claude-opus-4-5", "claude-fable-5-2"])
async def test_every_kind_of_model_has_its_thinking_back(stage: Stage, claude: Claude, model: str) -> None:
    agent = Agent(stage.client, model=model)
    await agent.steps(3)
    assert claude.thoughts() == [1, 1] and claude.asked[-1]["thinking"]["type"] in ("adaptive", "enabled")


async def test_several_calls_at_once_are_one_turn(stage: Stage, claude: Claude) -> None:
    agent = Agent(stage.client, "[sandbox:tools count=3] look around")
    await agent.step()
    assert len(agent.messages) == 5 and len(await kept()) == 1
    await agent.step()
    assert claude.thoughts() == [1]


async def test_a_call_that_is_emulated_is_one(stage: Stage, claude: Claude) -> None:
    agent = Agent(stage.client, "look", model="claude-opus-5-5", tool_choice="required")
    await agent.step()
    assert "tool_choice=emulated" in agent.receipts[0] and len(await kept()) == 1
    await agent.step()
    assert claude.thoughts() == [1]


async def test_breakpoints_may_move(stage: Stage, claude: Claude) -> None:
    agent = Agent(stage.client)
    agent.messages[0]["cache_control"] = {"type": "ephemeral"}
    await agent.step()
    del agent.messages[0]["cache_control"]
    agent.messages[-1]["cache_control"] = {"type": "ephemeral"}
    await agent.step()
    assert claude.thoughts() == [1]


async def test_of_several_choices_each_is_kept(stage: Stage, claude: Claude) -> None:
    agent = Agent(stage.client, n=2)
    await agent.step(choice=1)
    assert len(await kept()) == 2
    agent.more["n"] = 1
    await agent.step()
    assert claude.thoughts() == [1]


async def test_it_is_kept_before_the_client_can_know_the_end(stage: Stage) -> None:
    """Another worker may get the results: the last part waits until the row is there."""
    visit = stage.client.open(
        "POST", PATH, {"messages": [{"role": "user", "content": LOOP}], **Agent(stage.client, stream=True).more}
    )
    while b'finish_reason":"tool_calls' not in visit.got.body:
        await visit.some.wait()
        visit.some.clear()
    assert len(await kept()) == 1
    await visit.done()


async def test_the_row_says_nothing_in_the_clear(stage: Stage) -> None:
    agent = Agent(stage.client)
    said = await agent.step()
    (row,) = await kept()
    secret = [said["reasoning_content"], said["thinking_blocks"][0]["signature"], said["tool_calls"][0]["id"]]
    assert not any(text[:12].encode() in bytes(row.sealed) + row.call.encode() for text in secret)
    assert row.size == len(bytes(row.sealed))
