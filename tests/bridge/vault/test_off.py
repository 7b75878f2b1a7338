"""Where thinking is not kept, nothing is stored and nothing is looked up."""

from __future__ import annotations

from typing import Any

import pytest
from asgiref.sync import sync_to_async

from tenants.models import KeptThinking, Tenant
from tenants.vault import Vault
from tests.bridge.vault.agent import Agent, Claude, kept, switch
from tests.conftest import Stage


async def test_off_nothing_is_stored_and_nothing_is_looked_up(
    stage: Stage, claude: Claude, monkeypatch: pytest.MonkeyPatch
) -> None:
    await switch(stage, False)
    for name in ("find", "keep", "forget"):
        monkeypatch.setattr(Vault, name, None)
    agent = Agent(stage.client)
    await agent.steps(3)
    assert await kept() == [] and claude.thoughts() == [0, 0]
    assert not any("restored" in receipt for receipt in agent.receipts)


async def test_it_is_off_until_a_tenant_turns_it_on() -> None:
    assert Tenant(slug="new").thinking_vault is False


async def test_turned_off_what_was_kept_is_gone_at_once(stage: Stage) -> None:
    await Agent(stage.client).steps(2)
    assert len(await kept()) == 2
    await switch(stage, False)
    assert await kept() == []


async def test_a_site_without_hours_keeps_nothing_whatever_its_tenants_say(stage: Stage, claude: Claude) -> None:
    stage.app._services.vault = Vault(stage.app._database, {1: b"x" * 32}, 0)
    await Agent(stage.client).steps(2)
    assert await kept() == [] and claude.thoughts() == [0]


async def test_a_request_without_calls_in_its_history_is_not_looked_up(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Vault, "find", None)
    await Agent(stage.client).step()


@pytest.mark.parametrize("more", [{"reasoning_effort": "none"}, {"model": "claude-opus-4-6", "reasoning_effort": None}])
async def test_where_nothing_is_thought_nothing_is_looked_up(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, more: dict[str, Any]
) -> None:
    agent = Agent(stage.client)
    await agent.step()
    monkeypatch.setattr(Vault, "find", None)
    agent.more |= more
    await agent.step()


async def test_a_client_that_sends_thinking_back_needs_no_vault(stage: Stage, claude: Claude) -> None:
    agent = Agent(stage.client)
    said = await agent.step()
    await sync_to_async(KeptThinking.objects.all().delete)()
    agent.messages[1]["thinking_blocks"] = said["thinking_blocks"]
    await agent.step()
    assert claude.thoughts() == [1] and await kept() == [] and "restored" not in agent.receipts[-1]
