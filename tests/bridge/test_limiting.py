"""Rate limits as a client meets them: headers on every answer, refusals that say what would fit, and their records."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.test import override_settings

from bridge.upstream import Upstream
from tenants.limits import Unit
from tenants.models import Tenant
from tests import wire
from tests.asgi import Client, Got, chat
from tests.conftest import Stage

MESSAGE = {"model": "claude-sonnet-5-5", "max_tokens": 100, "messages": [{"role": "user", "content": "Hello"}]}


@pytest.fixture
def limited(stage: Stage, another_key: Any) -> Any:
    async def make(**limits: Any) -> Client:
        return Client(stage.app, (await another_key(**limits)).text)

    return make


def told(got: Got) -> dict[str, str]:
    return {name[12:]: value for name, value in got.headers.items() if name.startswith("x-ratelimit-")}


async def limits_of(client: Client) -> dict[tuple[str, str], tuple[int, int]]:
    found = (await client.get("/v1/key")).json()["limits"]
    return {(each["scope"], each["unit"]): (each["limit"], each["remaining"]) for each in found}


async def test_a_key_without_limits_hears_of_none(stage: Stage) -> None:
    got = await stage.client.chat()
    assert got.status == 200 and told(got) == {}
    assert await limits_of(stage.client) == {}


@pytest.mark.parametrize("stream", [False, True])
async def test_every_answer_says_what_is_left(stage: Stage, limited: Any, stream: bool) -> None:
    client = await limited(rpm=60, tpm=100_000)
    got = await client.chat(stream=stream, max_tokens=1000)
    limits = told(got)
    assert (limits["limit-requests"], limits["remaining-requests"]) == ("60", "59")
    assert limits["reset-requests"] in ("1s", "999ms")
    assert limits["limit-tokens"] == "100000" and 98_900 < int(limits["remaining-tokens"]) < 99_000
    remaining = (await limits_of(client))[("key", "tokens")][1]
    assert 100_000 - 18 <= remaining < 100_000 - 1, "settled to what it was, and filling up"


async def test_the_request_over_the_limit_is_refused_and_told_why(stage: Stage, limited: Any) -> None:
    client = await limited(rpm=2)
    assert [(await client.chat()).status for _ in range(2)] == [200, 200]
    got = await client.chat()
    assert (got.status, got.error["code"], got.error["type"]) == (429, "rate_limit_exceeded", "rate_limit_error")
    text = "Rate limit reached for requests per minute (RPM) of this key: limit 2, 0 left, 1 needed; retry in 30 s."
    assert got.error["message"] == text
    assert got.headers["retry-after"] == "30" and 29_000 < int(got.headers["retry-after-ms"]) <= 30_000
    assert "x-should-retry" not in got.headers
    assert (told(got)["remaining-requests"], told(got)["reset-requests"][:2]) == ("0", "59")
    record = (await stage.records())[-1]
    assert (record.state, record.status, record.error_code) == ("refused", 429, "rate_limit_exceeded")
    assert record.refusal is not None and record.refusal["retry_seconds"] == pytest.approx(30, abs=1)
    assert {name: record.refusal[name] for name in ("rule", "scope", "unit", "limit", "remaining", "needed")} == {
        "rule": "rate_limit", "scope": "key", "unit": "requests", "limit": 2, "remaining": 0, "needed": 1,
    }  # fmt: skip


async def test_tokens_say_what_would_fit(limited: Any) -> None:
    client = await limited(tpm=1000)
    got = await client.chat("word " * 100, max_tokens=4000)
    assert got.status == 429 and got.headers["x-should-retry"] == "false" and "retry-after" not in got.headers
    assert "limit 1,000, 1,000 left" in got.error["message"] and "never fits" in got.error["message"]
    fits = int(got.error["message"].split("max_tokens ≤ ")[1].split(" ")[0])
    assert (await client.chat("word " * 100, max_tokens=fits)).status == 200


async def test_what_would_fit_now_does(limited: Any) -> None:
    client = await limited(tpm=1000)
    visit = await running(client, max_tokens=500)
    got = await client.chat(max_tokens=900)
    assert got.status == 429 and int(got.headers["retry-after"]) in range(20, 30)
    fits = int(got.error["message"].split("max_tokens ≤ ")[1].split(" ")[0])
    assert (await client.chat(max_tokens=fits + 50)).status == 429
    assert (await client.chat(max_tokens=fits)).status == 200
    visit.hang_up()
    await visit.done()


async def test_no_more_of_an_answer_than_usual_is_taken_in_advance(limited: Any) -> None:
    client = await limited(tpm=5000)
    assert (await client.chat()).status == 200, "without max_tokens it is the model's most: 4,096 are counted"


async def test_each_choice_counts(limited: Any) -> None:
    client = await limited(tpm=5000)
    got = await client.chat(max_tokens=2000, n=3)
    assert got.status == 429 and "6,000 for the answer" in got.error["message"]


async def running(client: Client, **more: Any) -> Any:
    """A streamed answer that does not end by itself."""
    services, begun = client.app._services, wire.answer("Hello")[:4]
    transport = wire.Transport(lambda _: wire.streamed(*begun, asyncio.get_running_loop().create_future()))
    before, services.live = services.live, Upstream(transport, "http://upstream", {})
    visit = client.open("POST", "/v1/chat/completions", chat(stream=True, **more))
    await visit.some.wait()
    services.live = before
    return visit


@pytest.mark.parametrize("end", ["hang up", "drain"])
async def test_a_place_is_free_when_its_call_ends_however_it_does(stage: Stage, limited: Any, end: str) -> None:
    client = await limited(concurrency=1)
    visit = await running(client)
    got = await client.chat()
    assert got.status == 429 and got.headers["retry-after"] == "1"
    assert "requests at once of this key: limit 1, 0 left" in got.error["message"]
    assert (await limits_of(client))[("key", "concurrency")] == (1, 0)
    if end == "hang up":
        visit.hang_up()
    else:
        stage.app._api.drain()
    await visit.done()
    assert (await limits_of(client))[("key", "concurrency")] == (1, 1)
    stage.play(wire.failed(400, "invalid_request_error", "odd"))
    assert [(await client.chat()).status for _ in range(3)] == [400, 400, 400], "a failure gives its place back"


async def test_a_client_that_hung_up_early_keeps_its_estimate_and_no_more(stage: Stage, limited: Any) -> None:
    client = await limited(tpm=10_000)
    response = wire.streamed(asyncio.get_running_loop().create_future())
    transport = stage.play(response)
    visit = client.open("POST", "/v1/chat/completions", chat())
    while not transport.requests:
        await asyncio.sleep(0)
    visit.hang_up()
    await visit.done()
    remaining = (await limits_of(client))[("key", "tokens")][1]
    assert 5_800 < remaining < 5_950


async def test_the_tenant_s_limit_is_for_all_its_keys(stage: Stage, acme: Tenant, limited: Any) -> None:
    await sync_to_async(Tenant.objects.filter(pk=acme.pk).update)(rpm=3)
    first, second = await limited(rpm=50), await limited()
    assert [(await client.chat()).status for client in (first, second, first)] == [200] * 3
    got = await second.chat()
    assert got.status == 429 and "of the tenant acme: limit 3, 0 left" in got.error["message"]
    assert told(await first.chat())["limit-requests"] == "3", "the tightest is told"
    assert (await limits_of(first))[("key", "requests")] == (50, 48), "a refusal takes nothing of the key's"


async def test_the_site_s_defaults_hold_for_keys_without_their_own(limited: Any) -> None:
    defaults = {
        scope: {Unit.REQUESTS: 5 if scope == "key" else 0, Unit.TOKENS: 0, Unit.CONCURRENCY: 0}
        for scope in ("key", "tenant")
    }
    with override_settings(DEFAULT_LIMITS=defaults):
        plain, own, free = await limited(), await limited(rpm=7), await limited(rpm=0)
        assert told(await plain.chat())["limit-requests"] == "5"
        assert told(await own.chat())["limit-requests"] == "7"
        assert told(await free.chat()) == {}


async def test_dark_limits_refuse_nothing_and_note_what_they_would(stage: Stage, limited: Any) -> None:
    client = await limited(rpm=1, dark_limits=True)
    got = [await client.chat() for _ in range(3)]
    assert [each.status for each in got] == [200] * 3 and told(got[0]) == {}
    records = await stage.records()
    assert [record.state for record in records] == ["settled"] * 3
    assert records[0].refusal is None
    assert records[2].refusal is not None and records[2].refusal["dark"] and records[2].refusal["limit"] == 1


async def test_a_whole_site_can_be_dark(limited: Any) -> None:
    with override_settings(LIMITS="dark"):
        client = await limited(rpm=1)
        assert [(await client.chat()).status for _ in range(2)] == [200, 200]


async def test_native_clients_are_told_in_their_own_words(stage: Stage, limited: Any) -> None:
    client = await limited(rpm=1, tpm=9000)
    got = await client.post("/v1/messages", MESSAGE)
    assert got.headers["anthropic-ratelimit-requests-limit"] == "1"
    assert got.headers["anthropic-ratelimit-requests-remaining"] == "0"
    assert got.headers["anthropic-ratelimit-tokens-reset"].endswith("Z")
    refused = await client.post("/v1/messages", MESSAGE)
    assert refused.status == 429 and refused.json()["error"]["type"] == "rate_limit_error"
    assert refused.headers["anthropic-ratelimit-requests-remaining"] == "0" and "retry-after" in refused.headers
    assert told(refused) == {}


async def test_counting_tokens_takes_a_request_and_nothing_else(stage: Stage, limited: Any) -> None:
    client = await limited(rpm=2, tpm=1, concurrency=1)
    body = {name: value for name, value in MESSAGE.items() if name != "max_tokens"}
    stage.play(wire.reply(200, b'{"input_tokens": 9}'), wire.failed(400, "invalid_request_error", "odd"))
    got = await client.post("/v1/messages/count_tokens", body)
    assert got.json() == {"input_tokens": 9}
    assert got.headers["anthropic-ratelimit-requests-remaining"] == "1"
    failed = await client.post("/v1/messages/count_tokens", body)
    assert (failed.status, failed.headers["anthropic-ratelimit-requests-remaining"]) == (400, "0")
    refused = await client.post("/v1/messages/count_tokens", body)
    assert refused.status == 429 and refused.headers["anthropic-ratelimit-requests-remaining"] == "0"
    assert "retry-after" in refused.headers
    assert await stage.records() == []


async def test_a_mistake_takes_nothing(limited: Any) -> None:
    client = await limited(rpm=5)
    assert (await client.chat(temperature=9)).status == 400
    assert (await limits_of(client))[("key", "requests")] == (5, 5)
