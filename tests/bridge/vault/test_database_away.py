"""Without a database, or with a slow one, the loop goes on."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from django.db import OperationalError

from tenants.vault import Vault
from tests.bridge.vault.agent import Agent, Claude, kept
from tests.conftest import Stage


async def test_without_the_database_the_loop_goes_on_without_thinking(
    stage: Stage, claude: Claude, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: Any) -> None:
        raise OperationalError("away")

    agent = Agent(stage.client)
    await agent.step()
    with monkeypatch.context() as patch:
        patch.setattr(Vault, "_open", away)
        patch.setattr(Vault, "_write", away)
        await agent.step()
    assert claude.thoughts() == [0]
    await agent.step()
    assert claude.thoughts() == [1, 0]
    await agent.step()
    assert claude.thoughts() == [1, 0, 1]


async def test_an_answer_does_not_wait_long_for_a_slow_database(
    stage: Stage, claude: Claude, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tenants.vault.WRITE_SECONDS", 0.01)
    go = asyncio.Event()
    database, vault = stage.app._database, stage.app._vault

    async def slow(unit: Any) -> Any:
        await go.wait()
        return await database(unit)

    agent = Agent(stage.client)
    monkeypatch.setattr(vault, "_database", slow)
    await agent.step()
    assert await kept() == []
    go.set()
    await vault.aclose()
    assert len(await kept()) == 1
    await agent.step()
    assert claude.thoughts() == [1]
