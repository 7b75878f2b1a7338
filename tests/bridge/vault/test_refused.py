"""Upstream refuses kept thinking: the request is sent once more without it."""

from __future__ import annotations

import pytest

from tests.bridge.vault.agent import PATH, Agent, Claude
from tests.conftest import Stage

BOUND = "messages.1.content.0: Invalid `signature` in `thinking` block. The block is bound to a different conversation."
COMPLAINTS = [
    BOUND,
    "messages.1.content.0: `thinking` or `redacted_thinking` blocks in the latest assistant message cannot be changed.",
]


@pytest.mark.parametrize("model", ["claude-opus-5", "claude-opus-4-5"])
@pytest.mark.parametrize("complaint", COMPLAINTS)
async def test_a_refused_signature_is_tried_once_without(
    stage: Stage, claude: Claude, complaint: str, model: str
) -> None:
    agent = Agent(stage.client, model=model)
    await agent.step()
    claude.refusals = [complaint]
    await agent.step()
    assert (claude.thoughts(-2), claude.thoughts(-1)) == ([1], [0])
    assert agent.receipts[-1] == "thinking=not_restored(refused)"
    record = (await stage.records())[-1]
    assert (record.attempts, record.receipt, record.state) == (2, agent.receipts[-1], "settled")
    await agent.step()  # and the loop goes on; what was refused is forgotten
    assert claude.thoughts() == [0, 1] or model == "claude-opus-4-5"


async def test_refused_again_is_refused(stage: Stage, claude: Claude) -> None:
    agent = Agent(stage.client)
    await agent.step()
    claude.refusals = [BOUND, BOUND]
    got = await stage.client.post(PATH, {"messages": agent.messages, **agent.more})
    assert got.status == 400 and len(claude.asked) == 3
    assert (await stage.records())[-1].attempts == 2


@pytest.mark.parametrize("complaint", ["max_tokens: too many", "tools.0: Field required"])
async def test_another_complaint_is_the_clients(stage: Stage, claude: Claude, complaint: str) -> None:
    agent = Agent(stage.client)
    await agent.step()
    claude.refusals = [complaint]
    got = await stage.client.post(PATH, {"messages": agent.messages, **agent.more})
    assert got.status == 400 and len(claude.asked) == 2


async def test_a_signature_of_the_clients_own_is_the_clients(stage: Stage, claude: Claude) -> None:
    claude.refusals = [BOUND]
    got = await stage.client.post(PATH, {"messages": [{"role": "user", "content": "Hi"}], **Agent(stage.client).more})
    assert got.status == 400 and len(claude.asked) == 1
