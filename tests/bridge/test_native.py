"""Anthropic's own API through the application: the same road, keys and records, and upstream's own words."""

from __future__ import annotations

from typing import Any

import httpx
import msgspec
import pytest
from django.test import override_settings

from tenants.values import Mode
from tests import wire
from tests.asgi import Client
from tests.conftest import Stage
from tests.native import COUNT, PATH, error, events, hello

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
    assert error(await stage.client.post(path, b"x", content_encoding="br"))[:2] == (415, "invalid_request_error")
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
