"""The sandbox, as its tests ask it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest

from tests.bridge.sandbox_client import Clock, client


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def api(clock: Clock) -> AsyncIterator[httpx.AsyncClient]:
    async with client(clock) as api:
        yield api
