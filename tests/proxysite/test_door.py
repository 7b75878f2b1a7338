"""What the API door lets through, and what everyone else gets."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from django.test import override_settings

from proxysite import sending
from tenants import keys
from tenants.values import Mode
from tests import wire
from tests.asgi import Client, chat
from tests.conftest import Stage


async def test_an_unknown_path_is_a_json_404_before_any_key_is_asked_for(stage: Stage) -> None:
    got = await Client(stage.app).get("/v1/nothing")
    assert (got.status, got.error["code"]) == (404, "unknown_url")
    assert got.headers["x-request-id"]


@pytest.mark.parametrize("path", ["/.env", "/v1/files", "/adminx", "/v1/chat", "/%00", "/v1/chat/completions/extra"])
async def test_every_other_path_is_a_json_404(stage: Stage, path: str) -> None:
    got = await Client(stage.app).post(path, b"{}")
    assert got.status == 404 and got.headers["content-type"] == "application/json"


async def test_endpoints_that_anthropic_has_nothing_for_say_so(stage: Stage) -> None:
    got = await stage.client.post("/v1/embeddings", {"input": "x"})
    assert got.status == 404 and "Anthropic has no embeddings" in got.error["message"]


async def test_a_wrong_method_is_a_405_that_says_what_is_allowed(stage: Stage) -> None:
    got = await stage.client.get("/v1/chat/completions")
    assert (got.status, got.headers["allow"]) == (405, "POST")
    got = await stage.client.open("DELETE", "/v1/models/claude-opus-5").done()
    assert (got.status, got.headers["allow"]) == (405, "GET, HEAD")


@pytest.mark.parametrize(
    "path",
    [
        "/v1/chat/completions",
        "/chat/completions",
        "/v1//chat/completions",
        "//v1/chat/completions/",
        "/v1/chat/completions/",
    ],
)
async def test_the_version_and_extra_slashes_do_not_matter(stage: Stage, path: str) -> None:
    assert (await stage.client.post(path, chat())).status == 200


@pytest.mark.parametrize(
    "path",
    ["/engines/claude-opus-5/chat/completions", "/openai/deployments/claude-opus-5/chat/completions?api-version=2024"],
)
async def test_the_older_urls_name_the_model(stage: Stage, path: str) -> None:
    got = await stage.client.post(path, {"messages": [{"role": "user", "content": "Hi"}]})
    assert got.status == 200
    assert stage.transport.sent()["model"] == "claude-opus-5"


async def test_without_a_key_the_answer_is_401_and_the_body_is_never_read(stage: Stage) -> None:
    visit = Client(stage.app).open("POST", "/v1/chat/completions", [b"{", b"never asked for"])
    got = await visit.done()
    assert (got.status, got.error["code"]) == (401, "invalid_api_key")
    assert visit._messages.qsize() == 2


async def test_an_unknown_key_and_a_mistyped_one_get_the_same_401(stage: Stage) -> None:
    unknown = keys.mint(Mode.LIVE).text
    mistyped = unknown[:-1] + ("a" if unknown[-1] != "a" else "b")
    for text in (unknown, mistyped, "sk-proj-something-else-entirely"):
        got = await Client(stage.app, text).chat()
        assert (got.status, got.error["code"]) == (401, "invalid_api_key")
        assert text not in got.body.decode()
    assert await stage.records() == []


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": "Bearer KEY"},
        {"Authorization": "bearer KEY"},
        {"Authorization": "BEARER   KEY"},
        {"x-api-key": "KEY"},
        {"api-key": "KEY"},
        {"Authorization": "Bearer sk-other", "x-api-key": "KEY"},
        {"Authorization": "Basic dXNlcg==", "x-api-key": "sk-ant-foreign", "api-key": "KEY"},
        {"Authorization": "Bearer KEY", "x-api-key": "KEY", "api-key": "KEY"},
    ],
)
async def test_the_first_credential_that_is_ours_counts(stage: Stage, headers: dict[str, str]) -> None:
    mine = {name: value.replace("KEY", stage.client.key or "") for name, value in headers.items()}
    got = await Client(stage.app).open("POST", "/v1/chat/completions", chat(), mine).done()
    assert got.status == 200


async def test_a_repeated_authorization_header_is_refused(stage: Stage) -> None:
    visit = stage.client.open("POST", "/v1/chat/completions", chat())
    await visit.done()
    scope_headers = [(b"authorization", b"Bearer a"), (b"authorization", b"Bearer b"), (b"content-length", b"2")]
    from tests.asgi import Visit

    got = await Visit(stage.app, "POST", "/v1/chat/completions", scope_headers, [b"{}"]).done()
    assert (got.status, got.error["code"]) == (400, "invalid_header")


async def test_a_folded_header_line_is_refused(stage: Stage) -> None:
    from tests.asgi import Visit

    headers = [(b"x", b"a"), (b"", b" authorization: Bearer b"), (b"content-length", b"2")]
    got = await Visit(stage.app, "POST", "/v1/chat/completions", headers, [b"{}"]).done()
    assert (got.status, got.error["code"]) == (400, "invalid_header")


async def test_a_revoked_key_is_told_so_and_the_attempt_is_on_record(stage: Stage, another_key: Any) -> None:
    from asgiref.sync import sync_to_async

    from tenants.models import ApiKey

    await sync_to_async(lambda: ApiKey.objects.get().revoke("leaked"))()
    got = await stage.client.chat()
    assert got.status == 401 and "revoked" in got.error["message"]
    record = await stage.record()
    assert (record.state, record.status, record.error_code) == ("refused", 401, "invalid_api_key")


async def test_a_body_that_says_it_is_too_large_is_a_413_on_record(stage: Stage) -> None:
    visit = stage.client.open("POST", "/v1/chat/completions", b"{}", {"content-length": str(33 * 1024 * 1024)})
    got = await visit.done()
    assert (got.status, got.error["code"]) == (413, "request_too_large")
    assert (await stage.record()).status == 413


async def test_a_body_that_lies_about_its_size_is_counted(stage: Stage) -> None:
    with override_settings(MAX_BODY_BYTES=100):
        got = await stage.client.open("POST", "/v1/chat/completions", [b"x" * 60] * 3, {"content-length": "50"}).done()
    assert got.status == 413
    assert stage.app._api._buffered == 0


async def test_a_body_that_does_not_arrive_is_a_408(stage: Stage) -> None:
    with override_settings(BODY_SECONDS=0.05):
        visit = stage.client.open("POST", "/v1/chat/completions", b"", {"content-length": "10"})
        visit._messages.get_nowait()
        visit._messages.put_nowait({"type": "http.request", "body": b"{", "more_body": True})
        got = await visit.done()
    assert (got.status, got.error["code"]) == (408, "request_timeout")
    assert (await stage.record()).state == "refused"


async def test_a_client_that_hangs_up_while_sending_is_a_cancelled_record(stage: Stage) -> None:
    visit = stage.client.open("POST", "/v1/chat/completions", b"", {"content-length": "10"})
    visit._messages.get_nowait()
    visit.hang_up()
    got = await visit.done()
    record = await stage.record()
    assert (got.status, record.state, record.status) == (0, "cancelled", 499)
    assert record.usage_source == "" and record.input_tokens == 0


async def test_a_compressed_body_is_a_415(stage: Stage) -> None:
    got = await stage.client.post("/v1/chat/completions", b"\x1f\x8b", content_encoding="br")
    assert (got.status, got.error["code"]) == (415, "unsupported_media_type")


async def test_above_its_capacity_the_door_answers_503_and_records_it(stage: Stage) -> None:
    with override_settings(MAX_IN_FLIGHT=0):
        got = await stage.client.chat()
    assert (got.status, got.headers["retry-after"]) == (503, "1")
    assert (await stage.record()).error_code == "server_is_overloaded"
    assert not stage.app._api.live


async def test_when_the_record_cannot_be_kept_nothing_is_sent(stage: Stage) -> None:
    def full(*_: Any, **__: Any) -> Any:
        raise OSError(28, "No space left on device")

    stage.app._journal.admit = full  # type: ignore[method-assign]
    got = await stage.client.chat()
    assert (got.status, got.error["code"]) == (503, "record_unavailable")
    assert stage.transport.requests == []


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"   ",
        b"{",
        b"not json",
        b'{"model": NaN}',
        b'{"model": 1e999}',
        b'{"model": "\\ud83d"}',
        b'{"model": "\xff"}',
        b"[" * 100_000,
        b'{"a":' * 65 + b"1" + b"}" * 65,
        b"[]",
        b'"text"',
        b"null",
        b"12",
    ],
)
async def test_a_body_that_is_not_a_json_object_is_a_400(stage: Stage, body: bytes) -> None:
    got = await stage.client.post("/v1/chat/completions", body)
    assert got.status == 400
    assert got.error["type"] == "invalid_request_error"
    assert stage.transport.requests == []


@pytest.mark.parametrize(
    "kind", ["application/x-www-form-urlencoded", "text/plain", "multipart/form-data; boundary=x", ""]
)
@pytest.mark.parametrize("accept", ["text/event-stream", "text/html", "*/*", "nonsense"])
async def test_content_type_and_accept_do_not_matter(stage: Stage, kind: str, accept: str) -> None:
    got = await stage.client.post("/v1/chat/completions", chat(), content_type=kind, accept=accept)
    assert got.status == 200


async def test_a_byte_order_mark_and_a_body_in_pieces_are_fine(stage: Stage) -> None:
    body = b'\xef\xbb\xbf{"model":"claude-sonnet-5-5","messages":[{"role":"user","content":"Hi"}]}'
    visit = stage.client.open("POST", "/v1/chat/completions", [body[:5], body[5:40], body[40:]])
    assert (await visit.done()).status == 200


async def test_a_chunked_body_has_no_length_and_is_read_all_the_same(stage: Stage) -> None:
    got = await stage.client.open(
        "POST", "/v1/chat/completions", chat(), {"content-length": "", "transfer-encoding": "chunked"}
    ).done()
    assert got.status == 200


async def test_a_client_that_hangs_up_in_mid_stream_closes_upstream_at_once(stage: Stage) -> None:
    never: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    response = wire.streamed(b"".join([wire.start(), *wire.text_block("Hel")[:2]]), never)
    stage.play(response)
    visit = stage.client.open("POST", "/v1/chat/completions", chat(stream=True))
    await visit.some.wait()
    visit.hang_up()
    await visit.done()
    assert response.stream.closed.is_set()  # type: ignore[union-attr]
    record = await stage.record()
    assert (record.state, record.status, record.usage_source) == ("cancelled", 200, "estimated")
    assert (record.input_tokens, record.output_tokens) == (11, 1)
    assert not stage.app._api.live


async def test_a_client_that_hangs_up_before_the_first_byte_is_charged_a_bound(stage: Stage) -> None:
    record = await stage.left_before_the_first_byte("/v1/chat/completions", chat(max_tokens=50))
    assert (record.state, record.status, record.usage_source, record.output_tokens) == ("cancelled", 499, "bound", 50)


async def test_thinking_that_showed_nothing_is_a_bound_when_the_client_leaves(stage: Stage) -> None:
    never: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    stage.play(wire.streamed(b"".join([wire.start(), wire.thinking_block()[0]]), never))
    visit = stage.client.open("POST", "/v1/chat/completions", chat(stream=True, max_tokens=900))
    await visit.some.wait()
    visit.hang_up()
    await visit.done()
    record = await stage.record()
    assert (record.usage_source, record.input_tokens, record.output_tokens) == ("bound", 11, 900)


async def test_a_client_that_stops_reading_and_leaves_is_let_go(stage: Stage) -> None:
    never: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    response = wire.streamed(b"".join([wire.start(), *wire.text_block("Hel")[:2]]), never)
    stage.play(response)
    visit = stage.client.open("POST", "/v1/chat/completions", chat(stream=True))
    visit.stall = asyncio.Event()
    await visit.some.wait()
    visit.hang_up()
    await visit.done()
    assert response.stream.closed.is_set()  # type: ignore[union-attr]
    assert (await stage.record()).state == "cancelled"


async def test_a_client_that_takes_nothing_and_stays_is_let_go_too(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sending, "BEAT_SECONDS", 0.02)
    monkeypatch.setattr(sending, "STUCK_SECONDS", 0.05)
    never: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    response = wire.streamed(b"".join([wire.start(), *wire.text_block("Hel")[:2]]), never)
    stage.play(response)
    visit = stage.client.open("POST", "/v1/chat/completions", chat(stream=True))
    visit.stall = asyncio.Event()
    async with asyncio.timeout(5):
        await visit.done()
    assert response.stream.closed.is_set()  # type: ignore[union-attr]
    assert (await stage.record()).state == "cancelled"


async def test_draining_ends_a_stream_with_an_error_event_and_a_final_record(stage: Stage) -> None:
    never: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    stage.play(wire.streamed(b"".join([wire.start(), *wire.text_block("Hel")[:2]]), never))
    visit = stage.client.open("POST", "/v1/chat/completions", chat(stream=True))
    await visit.some.wait()
    stage.app._api.drain()
    got = await visit.done()
    assert got.chunks()[-1]["error"]["code"] == "server_shutdown"
    assert "[DONE]" not in got.chunks() and got.parts[-1] == b""
    assert (await stage.record()).state == "interrupted"


async def test_draining_answers_a_whole_request_with_503(stage: Stage) -> None:
    stage.play(wire.streamed(wire.start(), asyncio.get_running_loop().create_future()))
    visit = stage.client.open("POST", "/v1/chat/completions", chat())
    while not stage.transport.requests:
        await asyncio.sleep(0)
    stage.app._api.drain()
    got = await visit.done()
    assert (got.status, got.error["code"]) == (503, "server_shutdown")
    assert (await stage.record()).state == "interrupted"


async def test_a_bug_is_a_json_500_without_details(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    def broken(_: Any) -> Any:
        raise RuntimeError("sk-ant-secret and the prompt")

    stage.app._services.catalog.resolve = broken  # type: ignore[method-assign]
    got = await stage.client.chat()
    assert (got.status, got.error["code"]) == (500, "internal_error")
    assert "secret" not in got.body.decode()
    assert (await stage.record()).error_code == "internal_error"
    assert "a view failed" in caplog.text


async def test_cors_is_off_unless_an_origin_is_allowed(stage: Stage) -> None:
    got = await Client(stage.app).open("OPTIONS", "/v1/models", headers={"origin": "https://app.example"}).done()
    assert got.status == 405 and "access-control-allow-origin" not in got.headers


async def test_a_preflight_needs_no_key_and_echoes_the_headers(stage: Stage) -> None:
    headers = {"origin": "https://app.example", "access-control-request-headers": "authorization,x-stainless-os"}
    with override_settings(CORS_ALLOW_ORIGINS=["https://app.example"]):
        got = await Client(stage.app).open("OPTIONS", "/v1/chat/completions", headers=headers).done()
        other = await Client(stage.app).open("OPTIONS", "/v1/models", headers={"origin": "https://evil.example"}).done()
    assert (got.status, got.body) == (204, b"")
    assert got.headers["access-control-allow-origin"] == "https://app.example"
    assert got.headers["access-control-allow-headers"] == "authorization,x-stainless-os"
    assert "access-control-allow-origin" not in other.headers


async def test_get_requests_leave_no_record(stage: Stage) -> None:
    assert (await stage.client.get("/v1/models")).status == 200
    assert (await stage.client.get("/v1/key")).status == 200
    assert await stage.records() == []


@override_settings(CONSOLE_TOTP="required")
async def test_second_factors_are_the_consoles(stage: Stage) -> None:
    for answer in (await stage.client.get("/v1/key"), await stage.client.chat()):
        assert answer.status == 200
