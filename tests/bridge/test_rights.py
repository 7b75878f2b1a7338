"""What a key changes about its requests: aliases, strictness, automatic caching."""

from __future__ import annotations

from typing import Any

import pytest
from asgiref.sync import sync_to_async

from tenants.models import ModelAlias, Tenant
from tests import wire
from tests.asgi import Client, chat
from tests.conftest import Stage


async def alias(stage: Stage, name: str, target: str, tenant: Tenant | None = None) -> None:
    await sync_to_async(ModelAlias.objects.create)(name=name, target=target, tenant=tenant)
    await stage.app._gate.poll()


async def test_an_alias_is_sent_as_its_model_and_told_on_the_receipt(stage: Stage, acme: Tenant) -> None:
    await alias(stage, "gpt-4o", "claude-opus-5-5")
    got = await stage.client.post("/v1/chat/completions", {**chat(), "model": "gpt-4o"})
    assert got.status == 200 and got.headers["x-bridge-compat"] == "model=alias(claude-opus-5-5)"
    assert stage.transport.sent()["model"] == "claude-opus-5-5"
    record = await stage.record()
    assert (record.alias, record.model) == ("gpt-4o", "claude-opus-5-5")


async def test_the_tenants_own_alias_wins_and_others_do_not_see_it(stage: Stage, acme: Tenant) -> None:
    other = await sync_to_async(Tenant.objects.create)(slug="other", name="Other")
    await alias(stage, "gpt-4o", "claude-opus-5")
    await alias(stage, "gpt-4o", "claude-haiku-5-5", acme)
    await alias(stage, "theirs", "claude-opus-5", other)
    await stage.client.post("/v1/chat/completions", {**chat(), "model": "gpt-4o"})
    assert stage.transport.sent()["model"] == "claude-haiku-5-5"
    stage.play(wire.reply(500))
    ids = [model["id"] for model in (await stage.client.get("/v1/models?limit=1000")).json()["data"]]
    assert "gpt-4o" in ids and "theirs" not in ids


async def test_an_alias_is_listed_and_can_be_looked_up(stage: Stage, acme: Tenant) -> None:
    await alias(stage, "gpt-4o", "claude-haiku-4-5")
    stage.play(wire.reply(500))
    listed = (await stage.client.get("/v1/models")).json()["data"][0]
    assert (listed["id"], listed["alias_of"]) == ("gpt-4o", "claude-haiku-4-5-20251001")
    assert (await stage.client.get("/v1/models/gpt-4o")).json() == listed


async def test_the_allow_list_counts_for_what_an_alias_means(stage: Stage, acme: Tenant, another_key: Any) -> None:
    await alias(stage, "cheap", "claude-haiku-5-5")
    await alias(stage, "dear", "claude-opus-5-5")
    client = Client(stage.app, (await another_key(allowed_models=["claude-haiku-5-5"])).text)
    assert (await client.post("/v1/chat/completions", {**chat(), "model": "cheap"})).status == 200
    assert (await client.post("/v1/chat/completions", {**chat(), "model": "dear"})).status == 404


@pytest.mark.parametrize("lost", [{"seed": 1}, {"temperature": 0.5}, {"unheard_of": True}])
async def test_a_strict_key_refuses_what_would_be_lost(stage: Stage, another_key: Any, lost: dict[str, Any]) -> None:
    client = Client(stage.app, (await another_key(compat="strict")).text)
    got = await client.chat(**lost)
    assert (got.status, got.error["code"], got.error["param"]) == (400, "unsupported_parameter", next(iter(lost)))
    assert stage.transport.requests == []
    assert (await client.chat(max_tokens=5, temperature=1)).status == 200


LONG = "word " * 4000


async def test_a_long_prompt_is_cached_by_itself(stage: Stage) -> None:
    got = await stage.client.chat(LONG)
    assert stage.transport.sent()["cache_control"] == {"type": "ephemeral"}
    assert got.headers["x-bridge-compat"] == "cache_control=automatic"
    await stage.client.chat("short")
    assert "cache_control" not in stage.transport.sent()


async def test_not_when_the_client_placed_its_own_breakpoints_or_the_key_says_no(
    stage: Stage, another_key: Any
) -> None:
    part = {"type": "text", "text": LONG, "cache_control": {"type": "ephemeral"}}
    await stage.client.post("/v1/chat/completions", {**chat(), "messages": [{"role": "user", "content": [part]}]})
    assert "cache_control" not in stage.transport.sent()
    await Client(stage.app, (await another_key(auto_cache=False)).text).chat(LONG)
    assert "cache_control" not in stage.transport.sent()
