"""WebSocket mode of the Responses API: who may open one, what it carries, what it remembers, and how it ends."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.test import override_settings

from proxysite import websocket
from tenants import keys
from tenants.models import ApiKey
from tenants.values import Mode
from tests import wire
from tests.asgi import Client, Talk
from tests.conftest import Stage
from tests.responses import assembled, kinds

CALL = [wire.start(), *wire.tool_block("{}"), *wire.end("tool_use")]


def forever() -> asyncio.Future[None]:
    return asyncio.get_running_loop().create_future()


# --- Who may open one ---


async def test_a_stranger_gets_the_401_that_a_request_would_get(stage: Stage) -> None:
    for key, message in ((None, "didn't provide"), (keys.mint(Mode.LIVE).text, "Incorrect API key")):
        talk = await Client(stage.app, key).talk().done()
        assert (talk.refused.status, talk.refused.error["code"]) == (401, "invalid_api_key")
        assert message in talk.refused.error["message"] and talk.refused.headers["x-request-id"]
        assert not key or key not in talk.refused.body.decode()
    assert await stage.records() == []


async def test_a_revoked_key_and_a_foreign_network_are_refused_too(stage: Stage, another_key: Any) -> None:
    fenced = await another_key(networks=["10.0.0.0/8"])
    talk = await Client(stage.app, fenced.text).talk().done()
    assert (talk.refused.status, talk.refused.error["code"]) == (403, "ip_not_authorized")
    await sync_to_async(lambda: ApiKey.objects.order_by("created_at")[0].revoke("lost"))()
    await stage.app._gate.poll()
    talk = await stage.client.talk().done()
    assert talk.refused.status == 401 and "has been revoked" in talk.refused.error["message"]


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/responses/compact", "/v1/realtime", "/admin/"])
async def test_elsewhere_there_is_none(stage: Stage, path: str) -> None:
    talk = await stage.client.talk(path).done()
    assert (talk.refused.status, talk.refused.error["code"]) == (404, "unknown_url")


async def test_there_is_an_end_to_how_many_are_open(stage: Stage) -> None:
    with override_settings(MAX_IN_FLIGHT=4):
        first = stage.client.talk()
        await first.ask()
        second = await stage.client.talk().done()
    assert (second.refused.status, second.refused.error["code"]) == (503, "server_is_overloaded")
    first.hang_up()
    await first.done()
    with override_settings(MAX_IN_FLIGHT=4):
        assert (await stage.client.talk().ask())[-1]["type"] == "response.completed"


# --- What it carries ---


@pytest.mark.parametrize("path", ["/v1/responses", "/responses", "//v1//responses/"])
async def test_an_answer_is_told_event_by_event_and_recorded_as_any_other(stage: Stage, path: str) -> None:
    told = await stage.client.talk(path).ask(prompt_cache_key="k")
    assert assembled(told)[0]["content"][0]["text"] == "Hello there"
    assert [event["sequence_number"] for event in told] == list(range(len(told)))
    record = await stage.record()
    assert (record.dialect, record.state, record.streamed, record.usage_source) == (
        "responses", "settled", True, "exact",
    )  # fmt: skip
    carried = told[0]["headers"]
    assert carried == {"x-request-id": str(record.id), "x-bridge-compat": "prompt_cache_key=ignored"}
    assert not [event for event in told[1:] if "headers" in event]


@pytest.mark.parametrize(
    ("message", "code", "param"),
    [
        ("{nonsense", "invalid_request_error", None),
        ('["response.create"]', "invalid_type", "body"),
        ({"type": "response.create"}, "missing_required_parameter", "model"),
        ({"type": "response.create", "model": "claude-sonnet-5-5", "input": 1}, "invalid_type", "input"),
    ],
)
async def test_what_is_no_request_is_refused_and_on_record(
    stage: Stage, message: Any, code: str, param: str | None
) -> None:
    talk = stage.client.talk()
    talk.say(message)
    (error,) = await talk.answer()
    assert (error["type"], error["error"]["code"], error["error"]["param"]) == ("error", code, param)
    assert error["status"] == 400 and error["headers"]["x-request-id"]
    record = await stage.record()
    assert (record.state, record.status) == ("refused", error["status"])
    assert (await talk.ask())[-1]["type"] == "response.completed"


@pytest.mark.parametrize("kind", ["response.steer", "session.update", None, 7])
async def test_other_messages_are_refused(stage: Stage, kind: Any) -> None:
    talk = stage.client.talk()
    talk.say({"type": kind, "model": "claude-sonnet-5-5", "input": "Hello"})
    (error,) = await talk.answer()
    assert (error["status"], error["error"]["param"]) == (400, "type")
    assert await stage.records() == []


async def test_an_error_of_upstreams_is_an_event_with_its_status(stage: Stage) -> None:
    stage.play(wire.failed(429, "rate_limit_error", "slow down", retry_after="7"))
    (error,) = await stage.client.talk().ask()
    assert (error["status"], error["error"]["code"], error["headers"]["retry-after"]) == (
        429, "rate_limit_exceeded", "7",
    )  # fmt: skip


@pytest.mark.parametrize("name", wire.BREAKS)
async def test_an_answer_that_breaks_has_one_end(stage: Stage, name: str) -> None:
    stage.play(wire.broken(name), wire.streamed(*wire.answer("Hello")))
    talk = stage.client.talk()
    told = await talk.ask()
    assert kinds(told)[-1] == "failed" and "error" not in kinds(told)
    assert (await stage.record()).state == "failed"
    assert kinds(await talk.ask())[0] == "created"


async def test_the_name_of_a_request_is_not_that_of_every_message(stage: Stage, another_key: Any) -> None:
    once = Client(stage.app, (await another_key(idempotent=True)).text)
    talk = once.talk(idempotency_key="a", x_stainless_retry_count="3", content_encoding="gzip")
    for text in ("Hello", "Something else"):
        assert (await talk.ask(text))[-1]["type"] == "response.completed"
    assert [record.client_retry for record in await stage.records()] == [0, 0]


# --- One at a time ---


async def test_what_is_asked_meanwhile_waits_for_its_turn(stage: Stage) -> None:
    held = forever()
    stage.play(wire.streamed(wire.start(), held, *wire.answer("One")[1:]), wire.streamed(*wire.answer("Two")))
    talk = stage.client.talk()
    talk.create("One")
    await talk.some.wait()
    talk.create("Two")
    await asyncio.sleep(0)
    assert len(stage.transport.requests) == 1
    held.set_result(None)
    first = await talk.answer()
    second = await talk.answer(len(first))
    assert [told[-1]["response"]["output"][0]["content"][0]["text"] for told in (first, second)] == ["One", "Two"]


async def test_too_many_or_too_large_messages_in_waiting_end_the_connection(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(websocket, "WAITING", 2)
    for limit, messages in ((32 * 1024 * 1024, 3), (200, 2)):
        stage.play(wire.streamed(wire.start(), forever()))
        talk = stage.client.talk()
        talk.create()
        await talk.some.wait()
        with override_settings(MAX_BODY_BYTES=limit):
            for _ in range(messages):
                talk.create("x" * 80)
            await asyncio.sleep(0)
            stage.app._api.drain()
            await talk.done()
        assert talk.closed is not None and talk.closed[0] == 1008


# --- What it remembers ---


async def test_the_newest_response_is_gone_on_from(stage: Stage) -> None:
    talk = stage.client.talk()
    first = (await talk.ask("Hello", instructions="Be brief."))[-1]["response"]
    told = await talk.ask("Go on", previous_response_id=first["id"])
    assert told[-1]["response"]["previous_response_id"] == first["id"]
    assert stage.transport.sent()["messages"] == [
        {"role": "user", "content": [{"type": "text", "text": "Hello"}]},
        {"role": "assistant", "content": [{"type": "text", "text": "Hello there"}]},
        {"role": "user", "content": [{"type": "text", "text": "Go on"}]},
    ]
    assert "system" not in stage.transport.sent()
    third = await talk.ask([{"role": "user", "content": "More"}], previous_response_id=told[-1]["response"]["id"])
    assert third[-1]["type"] == "response.completed" and len(stage.transport.sent()["messages"]) == 5


async def test_a_call_is_answered_with_its_thinking_in_place(stage: Stage) -> None:
    thought = [wire.start(), *wire.thinking_block("Hm."), *wire.tool_block("{}", index=1), *wire.end("tool_use")]
    stage.play(wire.streamed(*thought), wire.streamed(*wire.answer("Done")))
    talk = stage.client.talk()
    first = (await talk.ask("Look"))[-1]["response"]
    output = {"type": "function_call_output", "call_id": "toolu_1", "output": "seen"}
    assert (await talk.ask([output], previous_response_id=first["id"]))[-1]["type"] == "response.completed"
    assert [block["type"] for turn in stage.transport.sent()["messages"] for block in turn["content"]] == [
        "text", "thinking", "tool_use", "tool_result",
    ]  # fmt: skip


async def refused(talk: Talk, identifier: str, text: Any = "Go on") -> tuple[str, str]:
    (error,) = await talk.ask(text, previous_response_id=identifier)
    return error["error"]["code"], error["error"]["param"]


NOT_FOUND = ("previous_response_not_found", "previous_response_id")


async def test_no_other_response_is_there(stage: Stage) -> None:
    talk, other = stage.client.talk(), stage.client.talk()
    first = (await talk.ask("Hello"))[-1]["response"]["id"]
    assert await refused(other, first) == NOT_FOUND, "another connection's"
    assert await refused(talk, "resp_unknown") == NOT_FOUND
    stage.play(wire.streamed(*wire.answer("Hi")), wire.streamed(*wire.answer("Hi")))
    assert (await talk.ask("Hello", previous_response_id=first))[-1]["type"] == "response.completed"
    got = await stage.client.post("/v1/responses", {"model": "m", "input": "x", "previous_response_id": first})
    assert (got.status, got.error["code"]) == (400, "previous_response_not_found")


async def test_what_could_not_be_gone_on_from_is_forgotten(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    talk = stage.client.talk()
    first = (await talk.ask("Hello"))[-1]["response"]["id"]
    orphan = [{"type": "function_call_output", "call_id": "call_unknown", "output": "x"}]
    assert await refused(talk, first, orphan) == ("invalid_value", "input")
    assert await refused(talk, first) == NOT_FOUND
    second = (await talk.ask("Hello"))[-1]["response"]["id"]
    stage.play(wire.broken("cut"))
    assert (await talk.ask("Go on", previous_response_id=second))[-1]["type"] == "response.failed"
    assert await refused(talk, second) == NOT_FOUND
    stage.play(lambda _: wire.streamed(*wire.answer("Hello")))
    third = (await talk.ask("Hello"))[-1]["response"]["id"]
    with override_settings(MAX_IN_FLIGHT=0):
        assert (await refused(talk, third))[0] == "server_is_overloaded"
    assert await refused(talk, third) == NOT_FOUND


async def test_what_is_kept_is_bounded_and_goes_with_its_connection(stage: Stage) -> None:
    chains = stage.app._sockets._chains
    talk = stage.client.talk()
    first = (await talk.ask("Hello"))[-1]["response"]["id"]
    assert 0 < chains.size < 1000
    chains.each = 10
    second = (await talk.ask("Hello", previous_response_id=first))[-1]["response"]["id"]
    assert chains.size == 0
    assert await refused(talk, second) == NOT_FOUND
    chains.each = 1000
    await talk.ask("Hello")
    assert chains.size
    talk.hang_up()
    await talk.done()
    assert chains.size == 0


# --- How it ends ---


async def test_a_client_that_hangs_up_stops_upstream(stage: Stage) -> None:
    response = wire.streamed(wire.start(), forever())
    stage.play(response)
    talk = stage.client.talk()
    talk.create()
    await talk.some.wait()
    talk.hang_up()
    await talk.done()
    assert response.stream.closed.is_set()  # type: ignore[union-attr]
    record = await stage.record()
    assert (record.state, record.usage_source) == ("cancelled", "estimated")
    assert talk.closed is None and not stage.app._sockets.open


async def test_a_key_that_is_revoked_meanwhile_is_refused_and_the_connection_closed(stage: Stage) -> None:
    talk = stage.client.talk()
    await talk.ask()
    await sync_to_async(lambda: ApiKey.objects.get().revoke("lost"))()
    await stage.app._gate.poll()
    (error,) = await talk.ask()
    await talk.done()
    assert (error["status"], error["error"]["code"]) == (401, "invalid_api_key")
    assert talk.closed is not None and talk.closed[0] == 1008


async def test_a_restart_closes_what_is_idle_at_once_and_the_rest_after_its_answer(stage: Stage) -> None:
    held = forever()
    idle, busy = stage.client.talk(), stage.client.talk()
    await idle.ask()
    stage.play(wire.streamed(wire.start(), held, *wire.answer("Hello")[1:]))
    busy.create()
    await busy.some.wait()
    stage.app.begin_shutdown(3600)
    await idle.done()
    assert idle.closed is not None and idle.closed[0] == 1012 and busy.closed is None
    late = await stage.client.talk().done()
    assert (late.refused.status, late.refused.error["code"]) == (503, "server_shutdown")
    held.set_result(None)
    await busy.done()
    assert busy.said[-1]["type"] == "response.completed"
    assert busy.closed is not None and busy.closed[0] == 1012


async def test_what_still_runs_when_the_grace_period_ends_is_told_so(stage: Stage) -> None:
    stage.play(wire.streamed(wire.start(), forever()))
    talk = stage.client.talk()
    talk.create()
    await talk.some.wait()
    stage.app.begin_shutdown(0)
    await talk.done()
    assert talk.said[-1]["type"] == "response.failed"
    assert talk.closed is not None and talk.closed[0] == 1012
    assert (await stage.record()).state == "interrupted"


async def test_after_an_hour_another_has_to_be_opened(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(websocket, "LIFETIME", 0.01)
    talk = await stage.client.talk().done()
    (error,) = talk.said
    assert (error["status"], error["error"]["code"]) == (400, "websocket_connection_limit_reached")
    assert talk.closed is not None and talk.closed[0] == 1000


async def test_a_connection_on_which_nothing_is_asked_is_closed(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(websocket, "IDLE", 0.01)
    talk = await stage.client.talk().done()
    assert talk.said == []
    assert talk.closed is not None and "Nothing was asked" in talk.closed[1]
