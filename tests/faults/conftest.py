"""A fake Anthropic in this process, and a client of it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest

from tests.faults.upstream import Upstream


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    async with Upstream() as server:
        yield server


@pytest.fixture
async def client(upstream: Upstream) -> AsyncIterator[httpx.AsyncClient]:
    headers = {"x-api-key": "sk-ant-secret-abcd"}
    async with httpx.AsyncClient(base_url=upstream.url, headers=headers, trust_env=False, timeout=20) as client:
        yield client
