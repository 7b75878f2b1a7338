"""Requests of a tenant with its own Anthropic key go out with that key, whatever they ask for."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import httpx
import pytest
from asgiref.sync import sync_to_async
from django.conf import settings

from bridge.upstream import Upstream
from tenants.models import ApiKey, Tenant, UpstreamCredential
from tenants.values import Mode
from tests import wire
from tests.asgi import Client
from tests.conftest import Stage

OWN, NEXT, SITES = "sk-ant-" + "api03-acmes-own-ABCD", "sk-ant-" + "api03-acmes-next-WXYZ", "sk-ant-secret"
ASKED = {"model": "claude-opus-5", "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}]}


def listed(*names: str) -> wire.Step:
    data = [{"id": name, "type": "model", "created_at": "2026-01-01T00:00:00Z", "max_tokens": 9} for name in names]
    return lambda _: httpx.Response(200, json={"data": data, "has_more": False, "last_id": None})


@pytest.fixture
async def own(stage: Stage, acme: Tenant) -> UpstreamCredential:
    return await put(stage, acme, OWN)


async def put(stage: Stage, tenant: Tenant, secret: str) -> UpstreamCredential:
    row: UpstreamCredential = await sync_to_async(UpstreamCredential.objects.put)(tenant, secret)
    await stage.app._gate.poll()
    return row


async def refused_as(stage: Stage) -> str:
    news = stage.app._services.tell.__self__._writing  # type: ignore[attr-defined]
    await asyncio.gather(*news.values())
    await stage.app._gate.poll()
    row = await sync_to_async(UpstreamCredential.objects.get)()
    assert bool(row.refused_at) == bool(row.refused_as)
    return row.refused_as


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/chat/completions", ASKED),
        ("/v1/messages", ASKED),
        ("/v1/responses", {"model": "claude-opus-5", "input": "Hi"}),
        ("/v1/messages/count_tokens", ASKED),
    ],
)
async def test_every_request_carries_the_tenants_key(
    stage: Stage, own: UpstreamCredential, path: str, body: dict[str, Any]
) -> None:
    count = path.endswith("count_tokens")
    transport = stage.play(
        httpx.Response(200, json={"input_tokens": 3}) if count else wire.streamed(*wire.answer("Hi"))
    )
    assert (await stage.client.post(path, body)).status == 200
    (request,) = transport.requests
    assert request.headers["x-api-key"] == OWN


async def test_several_choices_and_continuations_carry_it_too(stage: Stage, own: UpstreamCredential) -> None:
    stage.play(lambda _: wire.streamed(*wire.answer("Hi")))
    assert (await stage.client.chat(n=3)).status == 200
    assert {request.headers["x-api-key"] for request in stage.transport.requests} == {OWN}


async def test_other_tenants_and_test_keys_do_not(stage: Stage, own: UpstreamCredential, another_key: Any) -> None:
    def globex() -> str:
        tenant = Tenant.objects.create(slug="globex", name="Globex")
        return ApiKey.objects.issue(tenant, "Mallory's", peppers=settings.KEY_PEPPERS).key.text

    await Client(stage.app, await sync_to_async(globex)()).chat()
    assert [request.headers["x-api-key"] for request in stage.transport.requests] == [SITES]
    await Client(stage.app, (await another_key(Mode.TEST)).text).chat()
    assert len(stage.transport.requests) == 1


async def test_it_works_on_a_site_without_a_key_of_its_own(stage: Stage, own: UpstreamCredential) -> None:
    transport = wire.Transport(lambda _: wire.streamed(*wire.answer("Hi")))
    stage.app._services.live = Upstream(transport, "http://upstream", {"x-api-key": ""})
    assert (await stage.client.chat()).status == 200
    await sync_to_async(UpstreamCredential.objects.all().delete)()
    await stage.app._gate.poll()
    got = await stage.client.chat()
    assert (got.status, got.error["code"]) == (503, "upstream_not_configured")


async def test_a_change_reaches_calls_that_begin_and_leaves_alone_what_runs(
    stage: Stage, acme: Tenant, own: UpstreamCredential
) -> None:
    held: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    first, *rest = wire.answer("Hello")
    stage.play(wire.streamed(first, *rest[:3], held, *rest[3:]), wire.streamed(*wire.answer("Hi")))
    visit = stage.client.open("POST", "/v1/chat/completions", {**ASKED, "stream": True})
    await visit.some.wait()
    await put(stage, acme, NEXT)
    assert (await stage.client.chat()).status == 200
    held.set_result(None)
    got = await visit.done()
    assert got.chunks()[-1] == "[DONE]"
    assert [request.headers["x-api-key"] for request in stage.transport.requests] == [OWN, NEXT]


@pytest.mark.parametrize(
    ("status", "kind", "code"),
    [
        (401, "authentication_error", "upstream_auth_error"),
        (403, "permission_error", "upstream_auth_error"),
        (402, "billing_error", "upstream_billing_error"),
    ],
)
async def test_a_key_that_anthropic_refuses_is_a_503_and_shows_in_the_console(
    stage: Stage, own: UpstreamCredential, status: int, kind: str, code: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    stage.play(wire.failed(status, kind, "org_123 has no such key"))
    got = await stage.client.chat()
    assert (got.status, got.error["code"]) == (503, code)
    assert "of this tenant" in got.error["message"] and "org_123" not in got.error["message"]
    assert (await stage.record()).error_code == code
    assert await refused_as(stage) == code.removesuffix("_error")
    stage.play(lambda _: wire.streamed(*wire.answer("Hi")))
    assert (await stage.client.chat()).status == 200
    assert await refused_as(stage) == "", "it works again"
    assert OWN not in caplog.text and "acmes-own" not in caplog.text


async def test_the_sites_own_trouble_is_not_the_tenants(stage: Stage, own: UpstreamCredential) -> None:
    stage.play(wire.failed(400, "invalid_request_error"))
    await stage.client.chat()
    assert await refused_as(stage) == ""


async def test_a_key_that_cannot_be_decrypted_is_not_replaced_by_the_sites(
    stage: Stage, acme: Tenant, own: UpstreamCredential
) -> None:
    await sync_to_async(UpstreamCredential.objects.update)(sealed=b"1:nonsense")
    await stage.app._gate.poll()
    got = await stage.client.chat()
    assert (got.status, got.error["code"]) == (503, "upstream_auth_error")
    assert stage.transport.requests == []


async def test_each_account_has_a_list_of_models_of_its_own(
    stage: Stage, acme: Tenant, own: UpstreamCredential
) -> None:
    stage.play(listed("claude-of-acme"))
    models = (await stage.client.get("/v1/models")).json()["data"]
    assert [model["id"] for model in models] == ["claude-of-acme"]
    assert stage.transport.requests[0].headers["x-api-key"] == OWN
    await sync_to_async(own.delete)()
    await stage.app._gate.poll()
    stage.play(listed("claude-of-the-site"))
    models = (await stage.client.get("/v1/models")).json()["data"]
    assert [model["id"] for model in models] == ["claude-of-the-site"]
    got = await stage.client.post("/v1/chat/completions", {**ASKED, "model": "claude-of-acm"})
    assert "claude-of-acme" not in got.body.decode(), "nor is it suggested to others"
