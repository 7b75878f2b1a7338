"""Acme keeps its thinking; upstream is the sandbox, which refuses thinking that was changed or stands elsewhere."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from bridge.upstream import Upstream
from tests.bridge.vault.agent import Claude, switch
from tests.conftest import Stage


@pytest.fixture
def claude() -> Claude:
    return Claude()


@pytest.fixture
async def stage(stage: Stage, claude: Claude) -> AsyncIterator[Stage]:
    """Acme wants its thinking kept."""
    stage.app._services.live = Upstream(claude, "http://upstream", {"x-api-key": "sk-ant-secret"})
    await switch(stage, True)
    yield stage
