"""Known keys that do not get in: which rule it was, and what to do."""

from __future__ import annotations

from datetime import timedelta
from ipaddress import ip_network
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.conf import settings
from django.test import override_settings
from django.utils import timezone

from tenants.models import ApiKey, Tenant
from tests.asgi import Client, Got, chat
from tests.conftest import Stage

HERE, OFFICE = "127.0.0.1", "203.0.113.0/24"


async def ask(stage: Stage, key: Any, path: str = "/v1/chat/completions", **headers: str) -> Got:
    return await Client(stage.app, key.text).post(path, chat(), **headers)


async def test_a_key_is_used_from_its_networks_only(stage: Stage, another_key: Any) -> None:
    inside, outside = await another_key(networks=[HERE]), await another_key(networks=[OFFICE])
    assert (await ask(stage, inside)).status == 200
    got = await ask(stage, outside)
    assert (got.status, got.error["code"], got.error["type"]) == (403, "ip_not_authorized", "invalid_request_error")
    assert "the request came from 127.0.0.1" in got.error["message"] and "networks" in got.error["message"]
    assert got.headers["x-should-retry"] == "false"
    assert len(stage.transport.requests) == 1


async def test_a_refusal_by_address_is_on_record_with_its_rule(stage: Stage, another_key: Any) -> None:
    await ask(stage, await another_key(networks=[OFFICE]))
    record = await stage.record()
    assert (record.state, record.status, record.error_code) == ("refused", 403, "ip_not_authorized")
    assert record.refusal is not None
    assert {**record.refusal, "message": ""} == {
        "message": "", "param": None, "rule": "networks", "level": "key", "address": HERE,
    }  # fmt: skip


async def test_anthropics_clients_are_told_in_their_own_shape(stage: Stage, another_key: Any) -> None:
    key = await another_key(networks=[OFFICE])
    got = await Client(stage.app, key.text).post("/v1/messages", {"model": "claude-opus-5"})
    assert got.status == 403 and got.json()["type"] == "error" and got.json()["error"]["type"] == "permission_error"


@pytest.mark.parametrize("path", ["/v1/models", "/v1/key"])
async def test_nothing_at_all_is_told_to_the_wrong_address(stage: Stage, another_key: Any, path: str) -> None:
    key = await another_key(networks=[OFFICE])
    assert (await Client(stage.app, key.text).get(path)).status == 403


async def test_what_anyone_says_about_where_it_comes_from_is_not_believed(stage: Stage, another_key: Any) -> None:
    key = await another_key(networks=[OFFICE])
    assert (await ask(stage, key, x_forwarded_for="203.0.113.9")).status == 403


@pytest.mark.parametrize(
    ("forwarded", "status"),
    [
        ("203.0.113.9", 200),
        ("::ffff:203.0.113.9", 200),
        ("198.51.100.1", 403),
        ("203.0.113.9, 198.51.100.1", 403),  # the last that is not a proxy's: what is before it, the client made up
        ("198.51.100.1, 203.0.113.9, 127.0.0.1", 200),
        ("", 403),  # the proxy did not say
        ("unknown", 403),
    ],
)
async def test_behind_a_proxy_the_forwarded_address_counts_and_never_the_proxys_own(
    stage: Stage, another_key: Any, forwarded: str, status: int
) -> None:
    key = await another_key(networks=[OFFICE, HERE])
    headers = {"x_forwarded_for": forwarded} if forwarded else {}
    with override_settings(TRUSTED_PROXIES=[ip_network(HERE)]):
        assert (await ask(stage, key, **headers)).status == status


async def test_a_change_of_networks_is_heard_by_the_next_poll(stage: Stage, another_key: Any) -> None:
    key = await another_key()
    assert (await ask(stage, key)).status == 200
    await sync_to_async(ApiKey.objects.filter(name="a key").update)(networks=[OFFICE])
    await stage.app._gate.poll()
    assert (await ask(stage, key)).status == 403


async def test_an_old_secret_past_its_end_says_that_the_key_was_rotated(stage: Stage, another_key: Any) -> None:
    old = await another_key()

    def rotate() -> Any:
        row = ApiKey.objects.get(secrets__public_id=old.public_id)
        new = row.rotate(timedelta(hours=1), settings.KEY_PEPPERS)
        row.secrets.filter(public_id=old.public_id).update(expires_at=timezone.now())
        return new

    new = await sync_to_async(rotate)()
    await stage.app._gate.poll()
    got = await ask(stage, old)
    assert (got.status, got.error["code"]) == (401, "invalid_api_key")
    assert "was rotated; this secret of it ended at 20" in got.error["message"] and old.hint in got.error["message"]
    assert (await ask(stage, new)).status == 200
    refused = (await stage.records())[0]
    assert refused.refusal is not None and refused.refusal["rule"] == "rotated" and refused.refusal["ended"]


async def test_an_expired_key_says_when_it_ended(stage: Stage, another_key: Any) -> None:
    got = await ask(stage, await another_key(expires_at=timezone.now() - timedelta(hours=1)))
    assert got.status == 401 and "has expired, at 20" in got.error["message"]


async def test_a_suspended_tenant_is_told_apart_from_a_revoked_key(
    stage: Stage, acme: Tenant, another_key: Any
) -> None:
    key = await another_key()
    await sync_to_async(acme.suspend)("unpaid", by="alice")
    await stage.app._gate.poll()
    got = await ask(stage, key)
    assert got.status == 401 and "has been suspended. Its tenant" in got.error["message"]
    assert "unpaid" not in got.error["message"]
    assert ((await stage.record()).refusal or {})["level"] == "tenant"


async def test_the_tags_of_a_key_are_on_its_records(stage: Stage, another_key: Any) -> None:
    await ask(stage, await another_key(tags={"team": "search"}))
    await stage.client.chat()
    assert [record.tags for record in await stage.records()] == [{"team": "search"}, None]
