"""WebSocket mode of the Responses API: who may open one, what it carries, what it remembers, and how it ends."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests import wire
from tests.asgi import Client
from tests.conftest import Stage


async def test_a_request_is_gone_on_from_by_its_id(stage: Stage) -> None:
    talk = stage.client.talk()
    first = (await talk.ask("Hello"))[-1]["response"]
    second = await talk.ask("Go on", previous_response_id=first["id"])
    assert second[-1]["type"] == "response.completed", second
