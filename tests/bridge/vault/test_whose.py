"""Kept thinking is for the key that it was kept for, and for nobody else."""

from __future__ import annotations

from typing import Any

import pytest
from asgiref.sync import sync_to_async

from tenants.models import Tenant
from tests.asgi import Client
from tests.bridge.vault.agent import Agent, Claude, kept
from tests.conftest import Stage, issue


@pytest.fixture
async def mallory(stage: Stage) -> Client:
    """A key of another tenant's, which keeps its thinking too."""
    other = await Tenant.objects.acreate(slug="other", name="Other", thinking_vault=True)
    return Client(stage.app, (await sync_to_async(issue)(other)).text)


async def test_another_tenant_that_knows_the_ids_gets_nothing(stage: Stage, claude: Claude, mallory: Client) -> None:
    agent = Agent(stage.client)
    await agent.steps(2)
    agent.client = mallory
    await agent.step()
    assert claude.thoughts() == [0, 0] and "restored" not in agent.receipts[-1]


async def test_a_row_that_is_moved_to_another_tenant_does_not_open(
    stage: Stage, claude: Claude, mallory: Client
) -> None:
    agent = Agent(stage.client)
    await agent.step()
    await Agent(mallory).step()
    ours, theirs = await kept()
    ours.tenant_id, ours.key_id = theirs.tenant_id, theirs.key_id
    await ours.asave()
    agent.client = mallory
    await agent.step()
    assert claude.thoughts() == [0]


async def test_another_key_of_the_tenants_gets_nothing(stage: Stage, claude: Claude, another_key: Any) -> None:
    agent = Agent(stage.client)
    await agent.step()
    agent.client = Client(stage.app, (await another_key()).text)
    await agent.step()
    assert claude.thoughts() == [0]
