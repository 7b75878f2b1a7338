"""The Responses API through the application: the same road, keys, records and receipts as every endpoint."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from asgiref.sync import sync_to_async

from tenants.models import Tenant
from tests import wire
from tests.asgi import Client
from tests.conftest import Stage, issue
from tests.responses import assembled, events, kinds

PATH = "/v1/responses"


def hello(**more: Any) -> dict[str, Any]:
    return {"model": "claude-sonnet-5-5", "input": "Hello", **more}


@pytest.mark.parametrize("path", [PATH, "/responses", "//v1//responses/"])
async def test_a_whole_response_and_its_record(stage: Stage, path: str) -> None:
    got = await stage.client.post(path, hello(prompt_cache_key="k", user="alice@example.com"))
    response = got.json()
    assert (response["status"], response["output"][0]["content"][0]["text"]) == ("completed", "Hello there")
    assert got.headers["x-bridge-compat"] == "prompt_cache_key=ignored"
    record = await stage.record()
    assert str(record.id) == got.headers["x-request-id"]
    assert (record.dialect, record.state, record.status, record.streamed) == ("responses", "settled", 200, False)
    assert (record.alias, record.model, record.stop_reason) == ("claude-sonnet-5-5", "claude-sonnet-5-5", "end_turn")
    assert (record.input_tokens, record.output_tokens, record.usage_source) == (11, 7, "exact")
    assert (record.upstream_id, record.message_id, record.receipt) == (
        "req_01Test", "msg_01Test", "prompt_cache_key=ignored",
    )  # fmt: skip
    assert record.end_user and "alice" not in record.end_user


async def test_a_streamed_response_says_the_same_and_ends_once(stage: Stage) -> None:
    got = await stage.client.post(PATH, hello(stream=True))
    assert got.headers["content-type"] == "text/event-stream; charset=utf-8"
    told = events(got.body)
    assert assembled(told)[0]["content"][0]["text"] == "Hello there"
    assert kinds(told).count("completed") == 1 and told[-1]["response"]["usage"]["total_tokens"] == 18
    record = await stage.record()
    assert (record.state, record.streamed, record.usage_source) == ("settled", True, "exact")
    assert (record.message_id, record.stop_reason) == ("msg_01Test", "end_turn")


async def test_a_response_is_made_a_request_of_anthropics(stage: Stage) -> None:
    await stage.client.post(PATH, hello(instructions="Be brief.", max_output_tokens=9))
    assert stage.transport.sent() == {
        "model": "claude-sonnet-5-5",
        "system": [{"type": "text", "text": "Be brief."}],
        "messages": [{"role": "user", "content": [{"type": "text", "text": "Hello"}]}],
        "max_tokens": 9,
        "stream": True,
    }


@pytest.mark.parametrize(
    ("more", "code", "param"),
    [
        ({"previous_response_id": "resp_1"}, "previous_response_not_found", "previous_response_id"),
        ({"background": True}, "unsupported_parameter", "background"),
        ({"input": [{"role": "king", "content": "x"}]}, "invalid_value", "input[0].role"),
        ({"temperature": 3}, "decimal_above_max_value", "temperature"),
    ],
)
async def test_a_refusal_says_where_and_is_on_record(stage: Stage, more: dict[str, Any], code: str, param: str) -> None:
    got = await stage.client.post(PATH, hello(**more))
    assert (got.status, got.error["code"], got.error["param"]) == (400, code, param)
    record = await stage.record()
    assert (record.dialect, record.state, record.status) == ("responses", "refused", 400)
    assert stage.transport.requests == []


async def test_an_error_before_the_first_event_keeps_its_status(stage: Stage) -> None:
    stage.play(wire.failed(429, "rate_limit_error", "slow down", retry_after="7"))
    got = await stage.client.post(PATH, hello(stream=True))
    assert (got.status, got.headers["retry-after"], got.error["code"]) == (429, "7", "rate_limit_exceeded")


@pytest.mark.parametrize("name", wire.BREAKS)
async def test_a_stream_that_breaks_fails(stage: Stage, name: str) -> None:
    stage.play(wire.broken(name))
    got = await stage.client.post(PATH, hello(stream=True))
    told = events(got.body)
    assert kinds(told)[-2:] == ["error", "failed"] and "completed" not in kinds(told)
    assert "org_12ab" not in got.body.decode()
    assert (await stage.record()).state == "failed"


@pytest.mark.parametrize("name", wire.BREAKS)
async def test_a_whole_response_that_breaks_is_an_error(stage: Stage, name: str) -> None:
    stage.play(wire.broken(name))
    got = await stage.client.post(PATH, hello())
    assert got.status in (502, 503) and got.error["type"] in ("server_error", "service_unavailable_error")
    assert (await stage.record()).state == "failed"


async def test_a_stream_that_is_drained_says_so(stage: Stage) -> None:
    begun = wire.answer("Hello")[:4]
    stage.play(lambda _: wire.streamed(*begun, asyncio.get_running_loop().create_future()))
    visit = stage.client.open("POST", PATH, hello(stream=True))
    await visit.some.wait()
    stage.app._api.drain()
    await visit.done()
    assert events(visit.got.body)[-1]["response"]["error"]["code"] == "server_error"
    assert (await stage.record()).state == "interrupted"


async def test_a_strict_key_is_refused_what_would_be_left_out(stage: Stage, another_key: Any) -> None:
    strict = Client(stage.app, (await another_key(compat="strict")).text)
    for more, param in (({"store": True}, "store"), ({"tools": [{"type": "computer"}]}, "tools.computer")):
        got = await strict.post(PATH, hello(**more))
        assert (got.status, got.error["param"]) == (400, param)
    assert (await strict.post(PATH, hello(store=False))).status == 200


async def test_thinking_comes_back_unchanged_to_its_tenant_and_to_no_other(stage: Stage) -> None:
    thought = [wire.start(), *wire.thinking_block("Hm."), *wire.tool_block("{}", index=1), *wire.end("tool_use")]
    stage.play(wire.streamed(*thought))
    first = (await stage.client.post(PATH, hello())).json()
    sealed = first["output"][0]["encrypted_content"]
    assert sealed.startswith("brg1.") and "c2ln" not in sealed
    answered = {"type": "function_call_output", "call_id": "toolu_1", "output": "seen"}
    history = [{"role": "user", "content": "Hello"}, *first["output"], answered]
    stage.play(wire.streamed(*wire.answer("Hi")))
    got = await stage.client.post(PATH, hello(input=history))
    assert "x-bridge-compat" not in got.headers
    assert stage.transport.sent()["messages"][1]["content"][0] == {
        "type": "thinking", "thinking": "Hm.", "signature": "c2ln",
    }  # fmt: skip
    stage.play(wire.streamed(*wire.answer("Hi")))
    tenant = await sync_to_async(Tenant.objects.create)(slug="other", name="Other")
    mallory = Client(stage.app, (await sync_to_async(issue)(tenant)).text)
    got = await mallory.post(PATH, hello(input=history))
    assert (got.status, got.headers["x-bridge-compat"]) == (200, "input.reasoning=dropped")
    assert [block["type"] for block in stage.transport.sent()["messages"][1]["content"]] == ["tool_use"]


async def test_input_is_counted_without_an_answer_or_a_record(stage: Stage) -> None:
    stage.play(wire.reply(200, b'{"input_tokens":42}', content_type="application/json"))
    asked = hello(
        instructions="Be brief.", temperature=1, max_output_tokens=9, stop="x", user="u", service_tier="auto",
        tools=[{"type": "function", "name": "look"}],
    )  # fmt: skip
    got = await stage.client.post(f"{PATH}/input_tokens", asked)
    assert got.json() == {"object": "response.input_tokens", "input_tokens": 42}
    assert stage.transport.requests[0].url.path == "/v1/messages/count_tokens"
    assert set(stage.transport.sent()) == {"model", "system", "messages", "tools"}
    assert await stage.records() == []


async def test_counting_refuses_what_cannot_be_counted(stage: Stage) -> None:
    got = await stage.client.post(f"{PATH}/input_tokens", hello(previous_response_id="resp_1"))
    assert (got.status, got.error["code"]) == (400, "previous_response_not_found")


@pytest.mark.parametrize("path", [f"{PATH}/resp_1", f"{PATH}/resp_1/cancel"])
async def test_there_is_nothing_stored_to_ask_for(stage: Stage, path: str) -> None:
    got = await stage.client.post(path, {})
    assert (got.status, got.error["code"]) == (404, "unknown_url")
    assert "stores no responses" in got.error["message"]
