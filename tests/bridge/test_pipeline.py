"""A request's whole way through the application: answers, errors, and what is on record for each."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import msgspec
import pytest

from bridge.pipeline import LARGE_BYTES
from tenants.values import Mode
from tests import wire
from tests.asgi import Client, chat
from tests.conftest import Stage


async def test_a_whole_answer_and_its_record(stage: Stage) -> None:
    got = await stage.client.chat(seed=3, user="alice@example.com")
    answer = got.json()
    assert answer["choices"][0]["message"]["content"] == "Hello there"
    assert answer["usage"]["total_tokens"] == 18
    assert got.headers["x-bridge-compat"] == "seed=ignored"
    record = await stage.record()
    assert str(record.id) == got.headers["x-request-id"]
    assert (record.state, record.status, record.stop_reason, record.streamed) == ("settled", 200, "end_turn", False)
    assert (record.alias, record.model, record.receipt) == ("claude-sonnet-5-5", "claude-sonnet-5-5", "seed=ignored")
    assert (record.input_tokens, record.output_tokens, record.usage_source) == (11, 7, "exact")
    assert (record.upstream_id, record.message_id, record.attempts) == ("req_01Test", "msg_01Test", 1)
    assert 0 < record.queue_us <= record.first_token_us <= record.total_us  # type: ignore[operator]
    assert record.end_user and "alice" not in record.end_user


async def test_a_streamed_answer_says_the_same_and_ends_once(stage: Stage) -> None:
    got = await stage.client.chat(stream=True, stream_options={"include_usage": True})
    assert got.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert got.headers["cache-control"] == "no-cache" and got.headers["x-accel-buffering"] == "no"
    *chunks, done = got.chunks()
    assert done == "[DONE]"
    assert len({(chunk["id"], chunk["created"], chunk["model"]) for chunk in chunks}) == 1
    assert "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks[:-1]) == "Hello there"
    assert [chunk["choices"][0]["finish_reason"] for chunk in chunks[:-1] if chunk["choices"][0]["finish_reason"]] == [
        "stop"
    ]
    assert chunks[-1]["choices"] == [] and chunks[-1]["usage"]["total_tokens"] == 18
    record = await stage.record()
    assert (record.state, record.streamed, record.usage_source) == ("settled", True, "exact")


async def test_the_upstream_request_carries_our_key_and_nothing_of_the_client(stage: Stage) -> None:
    await stage.client.post("/v1/chat/completions", chat(), openai_organization="org-1", cookie="a=b")
    request = stage.transport.requests[0]
    assert request.headers["x-api-key"] == "sk-ant-secret"
    assert set(request.headers) == {
        "content-type", "accept", "accept-encoding", "user-agent", "x-api-key", "host", "content-length",
    }  # fmt: skip
    assert stage.transport.sent() == {
        "model": "claude-sonnet-5-5",
        "messages": [{"role": "user", "content": [{"type": "text", "text": "Hello"}]}],
        "max_tokens": 128000,
        "stream": True,
    }


async def test_a_client_mistake_is_refused_and_on_record(stage: Stage) -> None:
    got = await stage.client.chat(temperature=3)
    assert (got.status, got.error["code"], got.error["param"]) == (400, "decimal_above_max_value", "temperature")
    record = await stage.record()
    assert (record.state, record.status, record.usage_source) == ("refused", 400, "")
    assert record.refusal == {"message": got.error["message"], "param": "temperature"}
    assert stage.transport.requests == []


@pytest.mark.parametrize(
    ("path", "asked"),
    [
        ("/v1/chat/completions", chat()),
        ("/v1/messages", {**chat(), "max_tokens": 9}),
        ("/v1/responses", {"input": "Hello"}),
        ("/v1/completions", {"prompt": "Hello"}),
    ],
)
async def test_a_key_in_the_place_of_the_model_goes_nowhere(stage: Stage, path: str, asked: dict[str, Any]) -> None:
    key = stage.client.key or ""
    got = await stage.client.post(path, {**asked, "model": key})
    assert got.status == 404 and key not in got.body.decode()
    record = await stage.record()
    assert (record.state, record.alias, record.model) == ("refused", "", "") and key not in str(record.refusal)
    assert not stage.transport.requests


async def test_a_key_sees_and_uses_its_own_models_only(stage: Stage, another_key: Any) -> None:
    key = await another_key(allowed_models=["claude-haiku-4-5"])
    client = Client(stage.app, key.text)
    stage.play(wire.reply(500))
    got = await client.chat()
    assert (got.status, got.error["code"]) == (404, "model_not_found")
    assert [model["id"] for model in (await client.get("/v1/models")).json()["data"]] == ["claude-haiku-4-5-20251001"]
    stage.play(wire.streamed(*wire.answer("Hi")))
    got = await client.post("/v1/chat/completions", {**chat(), "model": "claude-haiku-4-5"})
    assert got.status == 200
    record = (await stage.records())[-1]
    assert (record.alias, record.model) == ("claude-haiku-4-5", "claude-haiku-4-5-20251001")


async def test_a_test_key_answers_from_the_sandbox_and_never_from_upstream(stage: Stage, another_key: Any) -> None:
    key = await another_key(Mode.TEST)
    got = await Client(stage.app, key.text).chat("anyone there?")
    assert "sandbox" in got.json()["choices"][0]["message"]["content"]
    assert stage.transport.requests == []
    assert (await stage.record()).mode == "test"


async def test_without_an_anthropic_key_live_keys_get_503_and_test_keys_work(stage: Stage, another_key: Any) -> None:
    stage.app._services.live = None
    got = await stage.client.chat()
    assert (got.status, got.error["code"]) == (503, "upstream_not_configured")
    assert got.headers["x-should-retry"] == "false"
    assert (await stage.record()).state == "refused"
    assert (await Client(stage.app, (await another_key(Mode.TEST)).text).chat()).status == 200


@pytest.mark.parametrize(
    ("step", "status", "code"),
    [
        (wire.failed(400, "invalid_request_error", "messages: too odd"), 400, None),
        (wire.failed(400, "invalid_request_error", "prompt is too long: 9 > 5"), 400, "context_length_exceeded"),
        (wire.failed(400, "invalid_request_error", "Your credit balance is too low"), 503, "upstream_billing_error"),
        (wire.failed(401, "authentication_error", "invalid x-api-key"), 503, "upstream_auth_error"),
        (wire.failed(403, "permission_error", "no"), 503, "upstream_auth_error"),
        (wire.failed(404, "not_found_error", "model: claude-x"), 404, "model_not_found"),
        (wire.failed(404, "not_found_error", "Container expired"), 404, "not_found"),
        (wire.failed(413, "request_too_large"), 413, "request_too_large"),
        (wire.failed(429, "rate_limit_error", retry_after="30"), 429, "rate_limit_exceeded"),
        (wire.reply(502, b"<html>Bad gateway</html>"), 502, "upstream_error"),
        (wire.failed(504, "timeout_error"), 504, "upstream_timeout"),
        (wire.reply(301, location="http://elsewhere"), 502, "upstream_error"),
        (wire.reply(200, b"<html>", content_type="text/html"), 502, "upstream_malformed"),
        (lambda _: wire.streamed(b"data: {nonsense\n\n"), 502, "upstream_malformed"),
        (httpx.ReadTimeout("slow"), 504, "upstream_timeout"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("stream", [False, True])
async def test_an_upstream_failure_before_the_first_event_keeps_its_status(
    stage: Stage, step: Any, status: int, code: str | None, stream: bool
) -> None:
    stage.play(step)
    got = await stage.client.chat(stream=stream)
    assert (got.status, got.error["code"]) == (status, code)
    assert got.headers["content-type"] == "application/json"
    record = await stage.record()
    assert (record.state, record.status, record.error_code) == ("failed", status, code or "")
    charged = code == "upstream_timeout"
    assert record.usage_source == ("bound" if charged else "")
    assert not charged or got.headers["x-should-retry"] == "false", "each try is charged the most"


async def test_a_rate_limit_passes_on_when_to_come_back(stage: Stage) -> None:
    stage.play(wire.failed(429, "rate_limit_error", retry_after="30"))
    got = await stage.client.chat()
    assert got.headers["retry-after"] == "30" and "try again in 30s" in got.error["message"]


@pytest.mark.parametrize("name", wire.BREAKS)
async def test_a_stream_that_breaks_ends_with_an_error_and_never_with_done(stage: Stage, name: str) -> None:
    stage.play(wire.broken(name))
    got = await stage.client.chat(stream=True, stream_options={"include_usage": True})
    chunks = got.chunks()
    assert got.status == 200
    assert set(chunks[-1]) == {"error"} and chunks[-1]["error"]["code"].startswith(("upstream", "server"))
    assert "[DONE]" not in chunks
    assert all(chunk["choices"][0]["finish_reason"] is None for chunk in chunks[:-1])
    record = await stage.record()
    assert (record.state, record.usage_source, record.output_tokens) == ("failed", "estimated", 1)


@pytest.mark.parametrize("name", wire.BREAKS)
async def test_a_whole_answer_is_never_a_part_of_one(stage: Stage, name: str) -> None:
    stage.play(wire.broken(name))
    got = await stage.client.chat()
    assert got.status in (502, 503) and "Hel" not in got.body.decode()


async def test_every_cut_of_a_recorded_stream_is_an_error(stage: Stage) -> None:
    whole = b"".join(wire.answer("Hello", " there"))
    for cut in range(0, len(whole) - 2, 7):
        stage.play(wire.streamed(whole[:cut]))
        again = {"x-stainless-retry-count": "1"}  # so that Bridge does not wait and try again for the client
        got = await stage.client.open("POST", "/v1/chat/completions", chat("Hello", stream=True), again).done()
        assert b"[DONE]" not in got.body
        assert b'"error"' in got.body, cut


async def test_a_last_event_without_its_empty_line_is_the_end_all_the_same(stage: Stage) -> None:
    stage.play(wire.streamed(b"".join(wire.answer("Hello"))[:-1]))
    assert (await stage.client.chat()).json()["choices"][0]["message"]["content"] == "Hello"


async def test_a_flood_of_mistakes_is_400_each_time_and_shares_a_record(stage: Stage) -> None:
    answers = [await stage.client.chat(temperature=9) for _ in range(40)]
    assert {got.status for got in answers} == {400}
    stage.app._journal._refusals._turn(-1)  # as if the second were over
    records = await stage.records()
    assert sum(record.count for record in records) == 40 and len(records) < 40


async def test_a_rate_limit_says_what_upstream_said_but_not_whose_it_is(stage: Stage) -> None:
    text = "This would exceed your organization's limit (org: 5f0e8f3c-1b1c-4a9b-8d5e-0123456789ab, org_12ab)."
    stage.play(wire.failed(429, "rate_limit_error", text, retry_after="60"))
    message = (await stage.client.chat()).error["message"]
    assert message == "This would exceed your organization's limit (org: …, …). Please try again in 60s."


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages"])
@pytest.mark.parametrize("status", [400, 404, 413, 429, 500, 529])
async def test_a_key_that_upstream_quotes_is_not_passed_on(stage: Stage, path: str, status: int) -> None:
    key = "sk-ant-" + "api03-sites-own"
    stage.play(wire.failed(status, message=f"not with model {key}"))
    got = await stage.client.post(path, {**chat(), "max_tokens": 9}, x_stainless_retry_count="1")
    assert got.status >= 400 and "sites-own" not in got.body.decode()


async def test_overload_is_retried_and_the_record_counts_the_attempts(stage: Stage) -> None:
    transport = stage.play(wire.failed(529, "overloaded_error"), wire.streamed(*wire.answer("Hi")))
    got = await stage.client.chat()
    assert got.status == 200
    assert len(transport.requests) == 2
    assert (await stage.record()).attempts == 2


async def test_a_client_that_retries_itself_is_not_retried_for(stage: Stage) -> None:
    transport = stage.play(wire.failed(529, "overloaded_error"))
    got = await stage.client.post("/v1/chat/completions", chat(), x_stainless_retry_count="1")
    assert (got.status, got.error["code"]) == (503, "server_is_overloaded")
    assert len(transport.requests) == 1
    assert (await stage.record()).client_retry == 1


async def test_models_come_from_upstream_a_page_at_a_time(stage: Stage) -> None:
    infos = [
        {"id": f"claude-{n}", "display_name": f"Claude {n}", "created_at": "2026-01-01T00:00:00Z", "max_tokens": 5}
        for n in range(30)
    ]  # fmt: skip
    pages = [{"data": infos[:20], "has_more": True, "last_id": "claude-19"}, {"data": infos[20:], "has_more": False}]
    transport = stage.play(*[wire.reply(200, msgspec.json.encode(page)) for page in pages])
    first = (await stage.client.get("/v1/models")).json()
    assert first["object"] == "list" and len(first["data"]) == 20 and first["has_more"]
    assert first["data"][0] == {
        "id": "claude-0", "object": "model", "created": 1767225600, "owned_by": "anthropic",
        "display_name": "Claude 0", "max_output_tokens": 5,
    }  # fmt: skip
    rest = (await stage.client.get(f"/v1/models?after={first['last_id']}&limit=100")).json()
    assert [model["id"] for model in rest["data"]] == [f"claude-{n}" for n in range(20, 30)] and not rest["has_more"]
    assert transport.requests[1].url.params["after_id"] == "claude-19"
    assert (await stage.client.get("/v1/models/claude-25")).json()["id"] == "claude-25"
    assert len(transport.requests) == 2


async def test_models_survive_an_upstream_outage(stage: Stage) -> None:
    stage.play(httpx.ConnectError("down"))
    ids = [model["id"] for model in (await stage.client.get("/v1/models?limit=1000")).json()["data"]]
    assert ids[0].startswith("claude-") and "claude-opus-5-5" in ids
    missing = await stage.client.get("/v1/models/gpt-9")
    assert (missing.status, missing.error["code"]) == (404, "model_not_found")
    assert (await stage.client.get("/v1/models/claude-haiku-4-5")).json()["id"] == "claude-haiku-4-5-20251001"


@pytest.mark.parametrize("query", ["limit=0", "limit=1001", "limit=x", "limit=-1", "after=claude-none", "limit=%D9%A3"])
async def test_a_bad_page_is_a_400(stage: Stage, query: str) -> None:
    stage.play(httpx.ConnectError("down"))
    assert (await stage.client.get(f"/v1/models?{query}")).status == 400


async def test_a_key_can_look_at_itself(stage: Stage, another_key: Any) -> None:
    key = await another_key(Mode.TEST, allowed_models=["claude-opus-5"])
    got = (await Client(stage.app, key.text).get("/v1/key")).json()
    assert (got["object"], got["tenant"], got["mode"], got["models"]) == ("key", "acme", "test", ["claude-opus-5"])
    assert got["limits"] == got["budgets"] == [] and got["expires_at"] is None


async def test_a_beta_goes_upstream_if_it_stays_inside_the_request_and_is_on_the_receipt_if_not(stage: Stage) -> None:
    asked = "context-1m-2025-08-07, files-api-2025-04-14, context-1m-2025-08-07"
    edits = {"edits": [{"type": "clear_tool_uses_20250919"}]}
    body = chat(context_management=edits)
    got = await stage.client.post("/v1/chat/completions", body, anthropic_beta=asked)
    assert got.headers["x-bridge-compat"] == "anthropic-beta.files-api-2025-04-14=ignored"
    (request,) = stage.transport.requests
    assert request.headers["anthropic-beta"] == "context-1m-2025-08-07,context-management-2025-06-27"
    assert stage.transport.sent()["context_management"] == edits
    await stage.client.chat()
    assert "anthropic-beta" not in stage.transport.requests[-1].headers


async def test_the_beta_goes_with_every_call_of_a_paused_answer(stage: Stage) -> None:
    paused = wire.streamed(wire.start(), *wire.text_block("Let me "), *wire.end("pause_turn"))
    transport = stage.play(paused, wire.streamed(*wire.answer("see.")))
    body = chat(web_search_options={})
    await stage.client.post("/v1/chat/completions", body, anthropic_beta="context-1m-2025-08-07")
    assert [request.headers["anthropic-beta"] for request in transport.requests] == ["context-1m-2025-08-07"] * 2


async def test_others_go_on_between_the_steps_of_a_large_request(stage: Stage) -> None:
    async def turns(size: int) -> int:
        """Of the event loop, until it is sent."""
        transport, count = stage.play(wire.streamed(*wire.answer("Hello"))), 0
        visit = stage.client.open("POST", "/v1/chat/completions", chat("x" * size))
        while not transport.requests and not visit.task.done():
            await asyncio.sleep(0)
            count += 1
        assert (await visit.done()).status == 200
        return count

    await turns(10)  # the first one asks the database for its key
    small = await turns(10)
    assert await turns(LARGE_BYTES) == small + 3
