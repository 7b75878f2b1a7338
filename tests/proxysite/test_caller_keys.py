"""ALLOW_CALLER_KEYS: who brings a key of Anthropic's own is let through with it, on record, and it is kept nowhere."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.apps import apps
from django.conf import settings
from django.core import serializers
from django.test import override_settings

from tenants.models import ApiKey, Tenant
from tests import wire
from tests.asgi import Client, Got
from tests.conftest import Stage

THEIRS, OTHERS = "sk-ant-" + "api03-a-callers-own-key", "sk-ant-" + "api03-another-ones-key"
ASKED = {"model": "claude-opus-5", "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}]}


@pytest.fixture
def allowed(stage: Stage) -> Any:
    with override_settings(ALLOW_CALLER_KEYS=True):
        yield


async def ask(stage: Stage, key: str = THEIRS, path: str = "/v1/messages") -> Got:
    return await Client(stage.app).post(path, ASKED, x_api_key=key)


async def test_as_long_as_it_is_not_allowed_such_a_key_is_a_clear_401(stage: Stage) -> None:
    for path in ("/v1/messages", "/v1/chat/completions"):
        got = await ask(stage, path=path)
        assert got.status == 401 and "callers-own" not in got.body.decode()
    assert stage.transport.requests == [] and await stage.records() == []
    assert not await Tenant.objects.filter(slug="caller-keys").aexists()


@pytest.mark.parametrize("path", ["/v1/messages", "/v1/chat/completions"])
async def test_the_callers_key_goes_upstream_and_nothing_else(stage: Stage, allowed: None, path: str) -> None:
    assert (await ask(stage, path=path)).status == 200
    assert [request.headers["x-api-key"] for request in stage.transport.requests] == [THEIRS]
    assert "authorization" not in stage.transport.requests[0].headers


async def test_it_is_recorded_under_a_tenant_of_its_own_with_a_pseudonym(stage: Stage, allowed: None) -> None:
    for key in (THEIRS, THEIRS, OTHERS):
        await ask(stage, key)
    records = await stage.records()
    tenant = await Tenant.objects.aget(slug="caller-keys")
    assert {record.tenant_id for record in records} == {tenant.pk}
    first, second, third = (record.key_hint for record in records)
    assert first == second != third and first.startswith("caller-")


async def test_the_key_is_kept_and_told_nowhere(
    stage: Stage, allowed: None, caplog: pytest.LogCaptureFixture, tmp_path: Any
) -> None:
    caplog.set_level(logging.DEBUG)
    await ask(stage)
    stage.play(wire.failed(500))
    await ask(stage)
    assert len(await stage.records()) == 2
    tables = await sync_to_async(
        lambda: [serializers.serialize("json", model._default_manager.all()) for model in apps.get_models()]
    )()
    journal = b"".join(path.read_bytes() for path in settings.JOURNAL_DIR.rglob("*") if path.is_file())
    for text in (*tables, caplog.text, journal.decode("latin-1")):
        assert "callers-own" not in text
    caller = await stage.app._gate.guest(THEIRS)
    assert "callers-own" not in repr(caller)


async def test_a_key_that_anthropic_refuses_is_the_callers_own_affair(stage: Stage, allowed: None) -> None:
    stage.play(wire.failed(401, "authentication_error"))
    got = await ask(stage)
    assert got.status == 401 and "the API key that you sent" in got.json()["error"]["message"]
    assert (await stage.record()).state == "failed"


async def test_suspending_that_tenant_ends_it_for_everyone(stage: Stage, allowed: None) -> None:
    assert (await ask(stage)).status == 200
    await sync_to_async(lambda: Tenant.objects.get(slug="caller-keys").suspend("enough"))()
    await stage.app._gate.poll()
    got = await ask(stage)
    assert got.status == 401 and "suspended" in got.json()["error"]["message"]


async def test_a_key_of_ours_beside_it_wins(stage: Stage, allowed: None) -> None:
    got = await stage.client.post("/v1/messages", ASKED, x_api_key=THEIRS)
    assert got.status == 200
    assert [request.headers["x-api-key"] for request in stage.transport.requests] == ["sk-ant-secret"]


@pytest.mark.parametrize(
    "key", ["sk-ant-", "sk-ant-short", "sk-ant-" + "x" * 300, "sk-ant-api03-with space", "sk-proj-abc"]
)
async def test_what_only_looks_like_one_is_nobodys(stage: Stage, allowed: None, key: str) -> None:
    assert (await ask(stage, key)).status == 401
    assert stage.transport.requests == []


async def test_the_row_they_share_has_no_secret_to_rotate(stage: Stage, allowed: None) -> None:
    await ask(stage)
    row = await sync_to_async(lambda: ApiKey.objects.get(tenant__slug="caller-keys"))()
    assert not await sync_to_async(lambda: row.can_rotate)()
