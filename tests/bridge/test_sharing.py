"""What is scarce is shared by tenants: a greedy one waits, and is told why; the others go on."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from asgiref.sync import sync_to_async

from tenants.fairness import Fairness
from tenants.models import Tenant
from tenants.values import Mode
from tests import wire
from tests.asgi import Client, chat
from tests.conftest import Stage, issue


@pytest.fixture
async def mallory(stage: Stage) -> Client:
    """A client of another tenant."""
    other = await sync_to_async(Tenant.objects.create)(slug="other", name="Other")
    return Client(stage.app, (await sync_to_async(issue)(other)).text)


def begun(stage: Stage) -> Any:
    stage.play(lambda _: wire.streamed(*wire.answer("Hi")[:4], asyncio.get_running_loop().create_future()))
    return stage.client.open("POST", "/v1/chat/completions", chat(stream=True))


async def test_a_full_worker_keeps_room_for_whoever_comes_next(stage: Stage, mallory: Client, another_key: Any) -> None:
    stage.app._services.fairness = Fairness(4)
    limited = Client(stage.app, (await another_key(rpm=9)).text)
    assert (await mallory.chat()).status == 200
    visits = [begun(stage) for _ in range(3)]
    for visit in visits:
        await visit.some.wait()
    stage.play(lambda _: wire.streamed(*wire.answer("Hi")))
    got = await limited.chat()
    assert (got.status, got.error["code"], got.headers["retry-after"]) == (429, "rate_limit_exceeded", "1")
    assert "3 requests are running, and 3 of them are the tenant acme's, whose part is 2 now" in got.error["message"]
    limits = (await limited.get("/v1/key")).json()["limits"]
    assert limits[0]["remaining"] == 9, "a refusal takes nothing"
    assert (await mallory.chat()).status == 200
    for visit in visits:
        visit.hang_up()
        await visit.done()
    assert (await limited.chat()).status == 200
    assert stage.app._services.fairness._running == {}
    refused = [record for record in await stage.records() if record.state == "refused"]
    assert refused[0].refusal is not None and refused[0].refusal["rule"] == "fair_share"


async def test_when_the_quota_is_used_up_the_greedy_wait(stage: Stage, mallory: Client, another_key: Any) -> None:
    for client, times in ((stage.client, 5), (mallory, 1)):
        for _ in range(times):
            assert (await client.chat()).status == 200
    stage.play(wire.failed(429, "rate_limit_error", retry_after="30"))
    assert (await mallory.chat()).status == 429
    stage.play(lambda _: wire.streamed(*wire.answer("Hi")))
    got = await stage.client.chat()
    assert got.status == 429 and "quota is used up for now, and the tenant acme used 90" in got.error["message"]
    assert int(got.headers["retry-after"]) in (29, 30)
    assert stage.transport.requests == []
    assert (await mallory.chat()).status == 200
    assert (await Client(stage.app, (await another_key(Mode.TEST)).text).chat()).status == 200, "rehearsals go on"
