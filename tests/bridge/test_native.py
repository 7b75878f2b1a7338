"""Anthropic's own API through the application: the same road, keys and records, and upstream's own words."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import msgspec
import pytest
from django.test import override_settings

from bridge import upstream
from proxysite import sending
from tenants.values import Mode
from tests import wire
from tests.asgi import Client, Got
from tests.conftest import Stage

PATH = "/v1/messages"
COUNT = "/v1/messages/count_tokens"


def hello(text: str = "Hello", **more: Any) -> dict[str, Any]:
    return {"model": "claude-sonnet-5-5", "max_tokens": 50, "messages": [{"role": "user", "content": text}], **more}


def error(got: Got) -> tuple[int, str, str]:
    """Status, type and message of an error, once its shape is as it should be."""
    body = got.json()
    assert set(body) == {"type", "error", "request_id"} and set(body["error"]) == {"type", "message"}
    assert body["type"] == "error" and got.headers["content-type"] == "application/json"
    assert body["request_id"] == got.headers["request-id"] == got.headers["x-request-id"]
    return got.status, body["error"]["type"], body["error"]["message"]


def events(got: Got) -> list[Any]:
    return [msgspec.json.decode(line[6:]) for line in got.body.split(b"\n") if line.startswith(b"data: ")]


# --- Answers --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [PATH, "/messages", "//v1//messages/"])
async def test_a_whole_answer_and_its_record(stage: Stage, path: str) -> None:
    got = await stage.client.post(path, hello(metadata={"user_id": "alice@example.com"}))
    assert got.json() == {
        "id": "msg_01Test", "type": "message", "role": "assistant", "model": "claude-sonnet-5-5",
        "content": [{"type": "text", "text": "Hello there"}],
        "stop_reason": "end_turn", "stop_sequence": None, "stop_details": None,
        "usage": {"input_tokens": 11, "output_tokens": 7},
    }  # fmt: skip
    assert "x-bridge-compat" not in got.headers
    record = await stage.record()
    assert str(record.id) == got.headers["x-request-id"] == got.headers["request-id"]
    assert (record.dialect, record.state, record.status, record.streamed) == ("messages", "settled", 200, False)
    assert (record.alias, record.model, record.stop_reason) == ("claude-sonnet-5-5", "claude-sonnet-5-5", "end_turn")
    assert (record.input_tokens, record.output_tokens, record.usage_source) == (11, 7, "exact")
    assert (record.upstream_id, record.message_id, record.attempts) == ("req_01Test", "msg_01Test", 1)
    assert record.end_user and "alice" not in record.end_user


async def test_a_stream_is_upstreams_own_bytes(stage: Stage) -> None:
    parts = [
        *wire.answer("Hello", " there")[:-1],
        b'event: of_tomorrow\ndata: {"type":"of_tomorrow",  "x": 1.0}\n\n',
        wire.event("ping"),
        wire.event("message_stop"),
    ]
    stream = b"".join(parts)
    for size in (1, 7, 50, len(stream)):
        stage.play(wire.streamed(*(stream[start : start + size] for start in range(0, len(stream), size))))
        got = await stage.client.post(PATH, hello(stream=True))
        assert got.body == stream
        assert got.headers["content-type"] == "text/event-stream; charset=utf-8"
        assert all(part.endswith(b"\n\n") for part in got.parts[:-1]), "only whole events are sent"
    record = (await stage.records())[-1]
    assert (record.state, record.streamed, record.usage_source) == ("settled", True, "exact")
    assert (record.message_id, record.stop_reason, record.output_tokens) == ("msg_01Test", "end_turn", 7)


async def test_what_follows_the_end_of_an_answer_is_not_passed_on(stage: Stage) -> None:
    whole = b"".join(wire.answer("Hello"))
    stage.play(wire.streamed(whole + wire.event("error", error={"type": "api_error", "message": "late"})))
    assert (await stage.client.post(PATH, hello(stream=True))).body == whole


async def test_a_request_passes_as_the_client_wrote_it(stage: Stage) -> None:
    body = hello(
        system=[{"type": "text", "text": "Be kind", "cache_control": {"type": "ephemeral"}}],
        temperature=0.5, metadata={"user_id": "u-1"}, of_tomorrow={"a": None}, stream=False,
    )  # fmt: skip
    await stage.client.post(PATH, body)
    assert stage.transport.sent() == {**body, "stream": True}
    assert list(stage.transport.sent()) == list(body)


async def test_the_upstream_request_carries_our_key_and_only_the_headers_that_pass(stage: Stage) -> None:
    headers = {
        "anthropic_version": "2026-10-21", "anthropic_beta": "context-1m-2025-08-07", "cookie": "a=b",
        "anthropic_dangerous_direct_browser_access": "true", "anthropic_workspace_id": "wrkspc_1",
    }  # fmt: skip
    await stage.client.post(PATH, hello(), **headers)
    request = stage.transport.requests[0]
    assert request.url.path == PATH
    assert {name: value for name, value in request.headers.items() if name.startswith(("anthropic", "x-"))} == {
        "x-api-key": "sk-ant-secret",
        "anthropic-version": "2026-10-21",
        "anthropic-beta": "context-1m-2025-08-07",
    }
    assert "cookie" not in request.headers


@pytest.mark.parametrize("headers", [{"anthropic_beta": "files-api-2025-04-14"}, {"anthropic_version": "2020-01-01"}])
@pytest.mark.parametrize("path", [PATH, COUNT])
async def test_a_header_that_does_not_pass_is_a_400(stage: Stage, path: str, headers: dict[str, str]) -> None:
    got = await stage.client.post(path, hello(), **headers)
    assert error(got)[:2] == (400, "invalid_request_error")
    assert stage.transport.requests == []


async def test_overload_is_retried_and_its_number_is_anthropics(stage: Stage) -> None:
    transport = stage.play(wire.failed(529, "overloaded_error"), wire.streamed(*wire.answer("Hi")))
    assert (await stage.client.post(PATH, hello())).status == 200
    assert len(transport.requests) == 2
    stage.play(wire.failed(529, "overloaded_error"))
    got = await stage.client.post(PATH, hello(), x_stainless_retry_count="1")
    assert error(got)[:2] == (529, "overloaded_error")
    record = (await stage.records())[-1]
    assert (record.state, record.status, record.attempts) == ("failed", 529, 1)


# --- Keys and models ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("header", ["x-api-key", "authorization"])
async def test_the_key_is_taken_from_where_either_sdk_puts_it(stage: Stage, header: str) -> None:
    key = f"Bearer {stage.client.key}" if header == "authorization" else str(stage.client.key)
    assert (await Client(stage.app).open("POST", PATH, hello(), {header: key}).done()).status == 200


@pytest.mark.parametrize("path", [PATH, COUNT])
async def test_a_key_uses_its_own_models_only(stage: Stage, another_key: Any, path: str) -> None:
    client = Client(stage.app, (await another_key(allowed_models=["claude-haiku-4-5"])).text)
    got = await client.post(path, hello())
    assert error(got) == (404, "not_found_error", "model: claude-sonnet-5-5")
    assert stage.transport.requests == []
    stage.play(wire.streamed(*wire.answer("Hi")) if path == PATH else wire.reply(200, b'{"input_tokens": 1}'))
    assert (await client.post(path, hello(model="claude-haiku-4-5-20251001"))).status == 200


async def test_a_test_key_answers_from_the_sandbox_and_never_from_upstream(stage: Stage, another_key: Any) -> None:
    client = Client(stage.app, (await another_key(Mode.TEST)).text)
    whole = (await client.post(PATH, hello("anyone there?"))).json()
    assert "sandbox" in whole["content"][0]["text"] and whole["type"] == "message"
    got = await client.post(PATH, hello("anyone there?", stream=True))
    assert [event["type"] for event in events(got)][:2] == ["message_start", "content_block_start"]
    assert (await client.post(COUNT, hello())).json()["input_tokens"] > 0
    assert stage.transport.requests == []
    assert [record.mode for record in await stage.records()] == ["test", "test"]


@pytest.mark.parametrize("mode", Mode)
@pytest.mark.parametrize(
    "odd",
    [
        {"tools": 7}, {"tools": [7]}, {"tools": [{"type": 7}]}, {"tools": {"name": []}}, {"tool_choice": 7},
        {"tool_choice": {"type": 7, "name": []}}, {"thinking": 7}, {"thinking": {"type": []}}, {"system": 7},
        {"system": [7]}, {"output_config": 7}, {"output_config": {"format": 7}}, {"metadata": [-1]},
        {"stop_sequences": 7}, {"messages": [7]}, {"messages": [{"role": [], "content": 7}]},
        {"messages": [{"role": "user", "content": [7]}]}, {"messages": {}}, {"max_tokens": "x"}, {"max_tokens": -1e308},
        {"messages": [{"role": "user", "content": [{"type": [], "text": 7}]}]}, {"service_tier": []},
    ],
)  # fmt: skip
async def test_a_value_of_the_wrong_kind_is_never_a_500(stage: Stage, another_key: Any, mode: Mode, odd: Any) -> None:
    client = Client(stage.app, (await another_key(mode)).text)
    for path in (PATH, COUNT):
        got = await client.post(path, hello() | odd)
        assert got.status != 500, got.body


async def test_without_an_anthropic_key_live_keys_get_503(stage: Stage) -> None:
    stage.app._services.live = None
    for path in (PATH, COUNT):
        assert error(await stage.client.post(path, hello()))[:2] == (503, "api_error")


# --- Counting tokens ------------------------------------------------------------------------------------------------


async def test_counting_is_passed_on_and_leaves_no_record(stage: Stage) -> None:
    answer = {"input_tokens": 14, "of_tomorrow": {"a": 1.5}}
    transport = stage.play(wire.reply(200, msgspec.json.encode(answer)))
    body = {"model": "claude-sonnet-5-5", "messages": [], "tools": [], "of_tomorrow": 1}
    got = await stage.client.post("/messages/count_tokens", body, anthropic_beta="token-counting-2024-11-01")
    assert (got.status, got.json()) == (200, answer)
    assert got.headers["request-id"] == got.headers["x-request-id"]
    (request,) = transport.requests
    assert (request.method, request.url.path, transport.sent()) == ("POST", COUNT, body)
    assert request.headers["anthropic-beta"] == "token-counting-2024-11-01"
    assert await stage.records() == []


@pytest.mark.parametrize(
    ("step", "status", "kind"),
    [
        (wire.failed(400, "invalid_request_error", "messages: odd"), 400, "invalid_request_error"),
        (wire.failed(401, "authentication_error"), 503, "api_error"),
        (wire.failed(429, "rate_limit_error", retry_after="3"), 429, "rate_limit_error"),
        (wire.failed(529, "overloaded_error"), 529, "overloaded_error"),
        (wire.reply(200, b"<html>"), 502, "api_error"),
        (httpx.ConnectError("down"), 502, "api_error"),
    ],
)
async def test_counting_that_fails_is_an_error_of_this_api(stage: Stage, step: Any, status: int, kind: str) -> None:
    stage.play(step)
    assert error(await stage.client.post(COUNT, hello()))[:2] == (status, kind)
    assert stage.app._services.live._slots._value == 1000, "the slot came back"  # type: ignore[union-attr]


# --- Errors ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [PATH, COUNT])
async def test_the_door_answers_in_the_dialect_of_the_path(stage: Stage, path: str) -> None:
    stranger = Client(stage.app)
    assert error(await stranger.post(path, hello()))[:2] == (401, "authentication_error")
    assert error(await Client(stage.app, "sk-ant-x").post(path, hello()))[:2] == (401, "authentication_error")
    got = await stage.client.get(path)
    assert error(got)[:2] == (405, "invalid_request_error") and got.headers["allow"] == "POST"
    assert error(await stage.client.post(path, b"{nonsense"))[:2] == (400, "invalid_request_error")
    assert error(await stage.client.post(path, b""))[:2] == (400, "invalid_request_error")
    assert error(await stage.client.post(path, b"x", content_encoding="gzip"))[:2] == (415, "invalid_request_error")
    with override_settings(MAX_BODY_BYTES=5):
        assert error(await stage.client.post(path, hello()))[:2] == (413, "request_too_large")


async def test_a_repeated_credential_is_a_400_in_the_dialect_of_the_path(stage: Stage) -> None:
    visit = stage.client.open("POST", PATH, hello(), {"X-Api-Key": "a", "x-api-key": "b"})
    assert error(await visit.done())[:2] == (400, "invalid_request_error")


@pytest.mark.parametrize("path", ["/v1/messages/batches", "/v1/message", "/v1/messages/count_tokens/x"])
async def test_an_unknown_path_keeps_openais_shape(stage: Stage, path: str) -> None:
    got = await stage.client.post(path, hello())
    assert (got.status, got.error["code"]) == (404, "unknown_url")


async def test_above_its_capacity_the_door_answers_503(stage: Stage) -> None:
    with override_settings(MAX_IN_FLIGHT=0):
        got = await stage.client.post(PATH, hello())
    assert error(got)[:2] == (503, "overloaded_error") and got.headers["retry-after"] == "1"
    record = await stage.record()
    assert (record.dialect, record.status) == ("messages", 503)


async def test_a_body_that_does_not_come_is_a_408(stage: Stage) -> None:
    visit = stage.client.open("POST", PATH, b"", {"content-length": "1"})
    visit._messages.get_nowait()
    with override_settings(BODY_SECONDS=0.01):
        assert error(await visit.done())[:2] == (408, "timeout_error")


async def test_a_client_mistake_is_refused_and_on_record(stage: Stage) -> None:
    body = hello()
    del body["max_tokens"]
    got = await stage.client.post(PATH, body)
    assert error(got) == (400, "invalid_request_error", "max_tokens: Field required")
    record = await stage.record()
    assert (record.state, record.status, record.dialect) == ("refused", 400, "messages")
    assert record.refusal == {"message": "max_tokens: Field required", "param": "max_tokens"}


async def test_a_bug_is_a_500_without_details(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    def broken(_: Any) -> Any:
        raise RuntimeError("sk-ant-secret and the prompt")

    stage.app._services.catalog.resolve = broken  # type: ignore[method-assign]
    got = await stage.client.post(PATH, hello())
    assert error(got)[:2] == (500, "api_error") and "secret" not in got.body.decode()


@pytest.mark.parametrize(
    ("step", "status", "kind", "text"),
    [
        (wire.failed(400, "invalid_request_error", "messages: odd"), 400, "invalid_request_error", "messages: odd"),
        (wire.failed(400, "invalid_request_error", "prompt is too long: 9 > 5"), 400, "invalid_request_error",
         "prompt is too long: 9 > 5"),
        (wire.failed(400, "invalid_request_error", "Your credit balance is too low"), 503, "api_error", None),
        (wire.failed(401, "authentication_error", "invalid x-api-key"), 503, "api_error", None),
        (wire.failed(403, "permission_error", "no"), 503, "api_error", None),
        (wire.failed(404, "not_found_error", "model: claude-x"), 404, "not_found_error", "model: claude-x"),
        (wire.failed(404, "not_found_error", "container: gone"), 404, "not_found_error", "container: gone"),
        (wire.failed(413, "request_too_large", "too large"), 413, "request_too_large", "too large"),
        (wire.failed(429, "rate_limit_error", "slow, org_12ab", retry_after="30"), 429, "rate_limit_error", "slow, …"),
        (wire.reply(502, b"<html>Bad gateway</html>"), 502, "api_error", None),
        (wire.failed(504, "timeout_error"), 504, "timeout_error", None),
        (wire.reply(200, b"<html>", content_type="text/html"), 502, "api_error", None),
        (lambda _: wire.streamed(b"data: {nonsense\n\n"), 502, "api_error", None),
        (httpx.ReadTimeout("slow"), 504, "timeout_error", None),
    ],
)  # fmt: skip
@pytest.mark.parametrize("stream", [False, True])
async def test_an_upstream_failure_before_the_first_event_keeps_its_status(
    stage: Stage, step: Any, status: int, kind: str, text: str | None, stream: bool
) -> None:
    stage.play(step)
    found = error(got := await stage.client.post(PATH, hello(stream=stream)))
    assert found[:2] == (status, kind) and (text is None or found[2] == text)
    assert got.headers.get("retry-after") == ("30" if status == 429 else None)
    record = await stage.record()
    assert (record.state, record.status) == ("failed", status)


# --- Streams that break ---------------------------------------------------------------------------------------------

_BROKEN_STREAMS = {
    "cut": [httpx.ReadError("gone")],
    "cut within an event": [wire.event("content_block_stop", index=0)[:20], httpx.ReadError("gone")],
    "clean end": [],
    "error event": [wire.event("error", error={"type": "overloaded_error", "message": "Overloaded, org_12ab"})],
    "nonsense": [b"data: {nonsense\n\n"],
    "not text": [b'data: {"type":"content_block_delta","delta":{"text":"\xff"}}\n\n'],
    "too large": [b"data: " + b"x" * (9 * 1024 * 1024)],
}


@pytest.mark.parametrize("name", _BROKEN_STREAMS)
async def test_a_broken_stream_ends_with_an_error_event_after_what_came_whole(stage: Stage, name: str) -> None:
    beginning = b"".join([wire.start(), *wire.text_block("Hel")[:2]])
    stage.play(wire.streamed(beginning, *_BROKEN_STREAMS[name]))
    got = await stage.client.post(PATH, hello(stream=True))
    assert got.status == 200 and got.body.startswith(beginning + b"event: error\ndata: ")
    *_, last = events(got)
    assert last["type"] == "error" and last["request_id"] == got.headers["request-id"]
    assert last["error"]["type"] == ("overloaded_error" if name == "error event" else "api_error")
    assert b"message_stop" not in got.body and b"org_12ab" not in got.body
    record = await stage.record()
    assert (record.state, record.usage_source, record.output_tokens) == ("failed", "estimated", 1)


@pytest.mark.parametrize("name", _BROKEN_STREAMS)
async def test_a_whole_answer_is_never_a_part_of_one(stage: Stage, name: str) -> None:
    beginning = b"".join([wire.start(), *wire.text_block("Hel")[:2]])
    stage.play(wire.streamed(beginning, *_BROKEN_STREAMS[name]))
    got = await stage.client.post(PATH, hello())
    assert error(got)[0] in (502, 529) and b"Hel" not in got.body


async def test_every_cut_of_a_stream_is_an_error(stage: Stage) -> None:
    whole = b"".join(wire.answer("Hello", " there"))
    for cut in range(0, len(whole) - 2, 11):
        stage.play(wire.streamed(whole[:cut]))
        got = await stage.client.post(PATH, hello(stream=True))
        assert b'"type":"error"' in got.body, cut


async def test_an_answer_without_a_message_is_an_error(stage: Stage) -> None:
    stage.play(wire.streamed(wire.event("of_tomorrow"), wire.event("message_stop")))
    assert error(await stage.client.post(PATH, hello()))[:2] == (502, "api_error")
    assert (await stage.record()).state == "failed"


# --- Clients that leave, silences, restarts -------------------------------------------------------------------------


async def open_stream(stage: Stage) -> tuple[Any, Any]:
    """A stream that has begun and goes no further: the visit and upstream's response."""
    never: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    response = wire.streamed(b"".join([wire.start(), *wire.text_block("Hel")[:2]]), never)
    stage.play(response)
    visit = stage.client.open("POST", PATH, hello(stream=True))
    await visit.some.wait()
    return visit, response


async def test_a_client_that_hangs_up_closes_upstream_at_once(stage: Stage) -> None:
    visit, response = await open_stream(stage)
    visit.hang_up()
    await visit.done()
    assert response.stream.closed.is_set() and not stage.app._api.live
    record = await stage.record()
    assert (record.state, record.status, record.usage_source) == ("cancelled", 200, "estimated")


async def test_a_client_that_leaves_before_the_first_byte_is_charged_a_bound(stage: Stage) -> None:
    response = wire.streamed(asyncio.get_running_loop().create_future())
    stage.play(response)
    visit = stage.client.open("POST", PATH, hello())
    while not stage.transport.requests:
        await asyncio.sleep(0)
    visit.hang_up()
    await visit.done()
    assert response.stream.closed.is_set()  # type: ignore[union-attr]
    record = await stage.record()
    assert (record.state, record.status, record.usage_source, record.output_tokens) == ("cancelled", 499, "bound", 50)


async def test_the_bound_is_never_more_than_the_model_can_write(stage: Stage) -> None:
    stage.play(httpx.ReadTimeout("slow"))
    await stage.client.post(PATH, hello(max_tokens=10**12))
    assert stage.transport.sent()["max_tokens"] == 10**12, "for the API to refuse"
    assert (await stage.record()).output_tokens == 128_000


async def test_draining_ends_a_stream_with_an_error_event_and_a_final_record(stage: Stage) -> None:
    visit, response = await open_stream(stage)
    stage.app._api.drain()
    got = await visit.done()
    assert events(got)[-1]["error"]["type"] == "api_error" and got.parts[-1] == b""
    assert response.stream.closed.is_set()
    assert (await stage.record()).state == "interrupted"


async def test_draining_answers_a_whole_request_with_503(stage: Stage) -> None:
    stage.play(wire.streamed(wire.start(), asyncio.get_running_loop().create_future()))
    visit = stage.client.open("POST", PATH, hello())
    while not stage.transport.requests:
        await asyncio.sleep(0)
    stage.app._api.drain()
    assert error(await visit.done())[:2] == (503, "api_error")
    assert (await stage.record()).state == "interrupted"


async def test_a_long_silence_is_broken_by_pings(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sending, "BEAT_SECONDS", 0.01)
    visit, _ = await open_stream(stage)
    while len(visit.got.parts) < 3:
        await asyncio.sleep(0.01)
    visit.hang_up()
    await visit.done()
    assert visit.got.parts[1:3] == [b'event: ping\ndata: {"type": "ping"}\n\n'] * 2


async def test_nothing_but_pings_is_given_up(stage: Stage) -> None:
    stage.play(wire.streamed(wire.start(), *[wire.event("ping")] * 3))
    live = stage.app._services.live
    assert live is not None
    live.deadlines = upstream.Deadlines(progress=0)
    got = await stage.client.post(PATH, hello(stream=True))
    assert events(got)[-1]["type"] == "error"
