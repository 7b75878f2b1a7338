"""The fake Anthropic answers, and fails, exactly as it is told."""

from __future__ import annotations

import asyncio
import re
import time

import httpx
import pytest

from tests.faults.scenarios import TYPES
from tests.faults.upstream import Upstream
from tests.faults.upstream_client import FRAME, kinds, last, raw, request, send

# Failures


@pytest.mark.parametrize(
    ("text", "model"),
    [
        ("[fault:nonsense]", "claude"),
        ("[fault:stall before=3]", "claude"),
        ("[fault:stall after=x]", "claude"),
        ("hi", "fault:nonsense"),
        ("hi", "fault:stall-1-2"),
        ("hi", "fault:stall-after"),
    ],
)
async def test_a_scenario_that_does_not_exist_is_a_400(client: httpx.AsyncClient, text: str, model: str) -> None:
    response = await send(client, text, model=model)
    assert (response.status_code, response.json()["error"]["type"]) == (400, "invalid_request_error")


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"7", b'{"messages":7}', b'{"messages":[{"role":"user"}]}'])
async def test_a_strange_body_gets_the_usual_answer(client: httpx.AsyncClient, content: bytes) -> None:
    assert (await client.post("/v1/messages", content=content)).status_code == 200


async def test_another_path_is_not_found(client: httpx.AsyncClient) -> None:
    assert (await client.get("/v1/nothing")).status_code == 404


@pytest.mark.parametrize("code", [400, 401, 403, 404, 413, 429, 500, 503, 504, 529])
async def test_an_error_status_has_anthropics_type(client: httpx.AsyncClient, code: int) -> None:
    response = await send(client, f"[fault:status code={code} retry=7]")
    body = response.json()
    assert (response.status_code, response.headers["retry-after"]) == (code, "7")
    assert (body["type"], body["error"]["type"]) == ("error", TYPES.get(code, "api_error"))
    assert response.headers["request-id"] == body["request_id"]


async def test_an_error_quotes_the_key_if_it_is_told_to(client: httpx.AsyncClient) -> None:
    for text in ("[fault:status code=500]", "[fault:error_event]"):
        assert b"sk-ant-secret-abcd" in (await send(client, f"{text} [quote]")).content
        assert b"sk-ant-secret-abcd" not in (await send(client, text)).content


async def test_a_flaky_text_fails_so_often_and_then_succeeds(client: httpx.AsyncClient) -> None:
    text = "[fault:flaky times=2 code=503] one"
    assert [(await send(client, text)).status_code for _ in range(4)] == [503, 503, 200, 200]
    assert (await send(client, f"{text} more")).status_code == 503
    await client.delete("/__ledger")
    assert (await send(client, text)).status_code == 503


@pytest.mark.parametrize(
    ("text", "problem", "events"),
    [
        ("[fault:refuse]", httpx.RemoteProtocolError, 0),
        ("[fault:eof after=4]", httpx.RemoteProtocolError, 4),
        ("[fault:rst after=4]", httpx.ReadError, 4),
        ("[fault:short_length after=4]", httpx.RemoteProtocolError, 4),
        ("[fault:bad_chunk after=4]", httpx.RemoteProtocolError, 4),
        ("[fault:cut_bytes at=100]", httpx.RemoteProtocolError, 0),
    ],
)
async def test_a_broken_answer_is_noticed_by_the_client_and_is_aborted_in_the_ledger(
    client: httpx.AsyncClient, text: str, problem: type[Exception], events: int
) -> None:
    received = b""
    with pytest.raises(problem):
        async with client.stream("POST", "/v1/messages", json=request(text)) as response:
            async for chunk in response.aiter_bytes():
                received += chunk
    assert len(kinds(received)) == events
    record = await last(client)
    assert (record["ended"], record["events"], record["closed_at"]) == ("aborted", events, None)


async def test_an_end_without_framing_is_not_noticed_by_the_client(client: httpx.AsyncClient) -> None:
    response = await send(client, "[fault:eof after=4 chunked=0]")
    assert "transfer-encoding" not in response.headers
    assert kinds(response.content) == ["message_start", "content_block_start", "ping", "content_block_delta"]


@pytest.mark.parametrize("at", [0, 1, 77, 500, 999])
async def test_a_cut_falls_exactly_at_the_byte(upstream: Upstream, at: int) -> None:
    whole = await raw(upstream, "[fault:cut_bytes at=99999]")
    upstream.forget()  # so that the ids are the same
    head, _, rest = (await raw(upstream, f"[fault:cut_bytes at={at:05d}]")).partition(b"\r\n\r\n")
    size, _, body = rest.partition(b"\r\n")
    assert int(size or b"0", 16) == at
    assert len(body.removesuffix(b"\r\n")) == at
    assert body.removesuffix(b"\r\n") in whole
    assert b"transfer-encoding: chunked" in head


@pytest.mark.parametrize(
    ("text", "events"),
    [
        ("[fault:hang]", 0),
        ("[fault:headers_then_hang]", 0),
        ("[fault:stall after=5]", 5),
        ("[fault:pings every=0.01]", None),
        ("[fault:drip every=1]", None),
        ("[fault:ok tokens=100 rate=1]", None),
        ("[fault:ok first=100]", 0),
    ],
)
async def test_a_client_that_gives_up_is_noticed_at_once(
    client: httpx.AsyncClient, text: str, events: int | None
) -> None:
    with pytest.raises(httpx.ReadTimeout if "pings" not in text else TimeoutError):
        async with asyncio.timeout(0.15):
            await client.post("/v1/messages", json=request(text), timeout=httpx.Timeout(5, read=0.1))
    left = time.time()
    record = await last(client)
    assert record["ended"] == "client_closed"
    assert abs(record["closed_at"] - left) < 0.1
    assert events is None or record["events"] == events


async def test_pings_end_without_an_answer(client: httpx.AsyncClient) -> None:
    response = await send(client, "[fault:pings every=0.01 seconds=0.05]")
    assert kinds(response.content) == ["ping"] * 5


@pytest.mark.parametrize(("text", "before"), [("[fault:first_error]", 0), ("[fault:error_event after=5]", 5)])
async def test_an_error_event_ends_the_stream(client: httpx.AsyncClient, text: str, before: int) -> None:
    response = await send(client, text)
    assert response.status_code == 200
    assert len(kinds(response.content)) == before + 1
    assert b'"error":{"type":"overloaded_error"' in response.content.split(b"\n\n")[-2]


async def test_malformed_json_comes_after_so_many_events(client: httpx.AsyncClient) -> None:
    events = FRAME.findall((await send(client, "[fault:malformed_json after=5]")).content)
    bad = [n for n, (_, data) in enumerate(events) if not data.endswith(b"}")]
    assert bad == [5]
    assert events[-1][0] == b"message_stop"


async def test_bytes_that_are_not_utf8_are_sent(client: httpx.AsyncClient) -> None:
    body = (await send(client, "[fault:non_utf8]")).content
    with pytest.raises(UnicodeDecodeError):
        body.decode()


async def test_a_huge_event_is_as_large_as_asked(client: httpx.AsyncClient) -> None:
    body = (await send(client, "[fault:huge_event bytes=3000000]")).content
    assert 3_000_000 < max(len(event) for event in body.split(b"\n\n")) < 3_000_200


@pytest.mark.parametrize(
    ("scenario", "status", "kind", "body"),
    [
        ("html502", 502, "text/html", rb"<html>.*"),
        ("html200", 200, "text/html", rb"<html>.*"),
        ("redirect", 307, "text/plain", rb""),
        ("empty", 200, "text/event-stream; charset=utf-8", rb""),
        ("whole_json", 200, "application/json", rb"\{.*\}"),
    ],
)
async def test_an_answer_that_is_no_stream(
    client: httpx.AsyncClient, scenario: str, status: int, kind: str, body: bytes
) -> None:
    response = await send(client, f"[fault:{scenario}]")
    assert (response.status_code, response.headers["content-type"]) == (status, kind)
    assert re.fullmatch(body, response.content)


async def test_a_redirect_that_is_followed_shows_in_the_ledger(client: httpx.AsyncClient) -> None:
    await client.post("/v1/messages", json=request("[fault:redirect]"), follow_redirects=True)
    assert (await last(client))["path"] == "/redirected"


async def test_gzip_is_sent_to_those_who_did_not_ask(client: httpx.AsyncClient) -> None:
    response = await client.post(
        "/v1/messages", json=request("[fault:gzip bomb=1000000]"), headers={"accept-encoding": "identity"}
    )
    assert response.headers["content-encoding"] == "gzip"
    assert len(response.content) > 1_000_000 > 100 * int(response.headers["content-length"])
    assert kinds(response.content)[-1] == "message_stop"


# Good answers


@pytest.mark.parametrize(
    ("text", "model", "tokens"),
    [
        ("hi", "claude-opus-5-5", 32),
        ("[fault:ok tokens=3]", "claude-opus-5-5", 3),
        ("[fault:ok]", "fault:hang", 32),
        ("hi", "fault:ok-tokens-5-rate-1000", 5),
        ("hi", "fault:ok-5", 5),
        ("hi", "fault:drip-1-0", 1),
    ],
)
async def test_a_good_answer_has_its_tokens_and_ends(
    client: httpx.AsyncClient, text: str, model: str, tokens: int
) -> None:
    body = (await send(client, text, model=model)).content
    start, end = ["message_start", "content_block_start", "ping"], ["content_block_stop", "message_delta"]
    assert kinds(body) == [*start, *["content_block_delta"] * tokens, *end, "message_stop"]
    assert f'"usage":{{"output_tokens":{tokens}}}'.encode() in body
    assert f'"model":"{model}"'.encode() in body
    record = await last(client)
    assert (record["ended"], record["bytes"], record["events"]) == ("finished", len(body), tokens + 6)


async def test_an_answer_says_the_word_that_it_is_told(client: httpx.AsyncClient) -> None:
    body = (await send(client, "[say:canary] [fault:ok tokens=3]")).content
    assert (body.count(b'" canary"'), body.count(b" tok")) == (3, 0)
    assert (await last(client))["tokens"] == 3


async def test_unknown_events_surround_a_good_answer(client: httpx.AsyncClient) -> None:
    body = (await send(client, "[fault:unknown_events]")).content
    assert {"hologram_start", "message_stop"} < set(kinds(body))
    assert body.count(b"text_delta") == 32


async def test_a_request_that_is_not_streamed_gets_json(client: httpx.AsyncClient) -> None:
    message = (await send(client, "[fault:ok tokens=3]", stream=False)).json()
    assert (message["content"][0]["text"], message["stop_reason"]) == (" tok tok tok", "end_turn")
    assert message["usage"] == {"input_tokens": 5, "output_tokens": 3}


async def test_a_rate_and_a_first_delay_take_their_time(client: httpx.AsyncClient) -> None:
    started = time.perf_counter()
    await send(client, "[fault:ok tokens=20 rate=100 first=0.1]")
    assert 0.29 <= time.perf_counter() - started < 0.6
