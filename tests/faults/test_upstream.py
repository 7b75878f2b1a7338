"""The fake Anthropic fails exactly as it is told, and its ledger tells what happened."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import signal
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.faults.upstream import SCENARIOS, TYPES, Upstream

Json = dict[str, Any]
HEAD = b"POST /v1/messages HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: %d\r\n\r\n"
FRAME = re.compile(rb"event: (\w+)\ndata: ([^\n]*)\n\n")


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    async with Upstream() as server:
        yield server


@pytest.fixture
async def client(upstream: Upstream) -> AsyncIterator[httpx.AsyncClient]:
    headers = {"x-api-key": "sk-ant-secret-abcd"}
    async with httpx.AsyncClient(base_url=upstream.url, headers=headers, trust_env=False, timeout=20) as client:
        yield client


def request(text: str, *, stream: bool = True, model: str = "claude-opus-5-5") -> Json:
    return {"model": model, "max_tokens": 64, "stream": stream, "messages": [{"role": "user", "content": text}]}


async def send(client: httpx.AsyncClient, text: str, **fields: Any) -> httpx.Response:
    return await client.post("/v1/messages", json=request(text, **fields))


async def ledger(client: httpx.AsyncClient, query: str = "quiet=5") -> Json:
    report: Json = (await client.get(f"/__ledger?{query}")).json()
    return report


async def last(client: httpx.AsyncClient) -> Json:
    record: Json = (await ledger(client))["requests"][-1]
    return record


def kinds(body: bytes) -> list[str]:
    return [name.decode() for name, _ in FRAME.findall(body)]


async def raw(upstream: Upstream, text: str) -> bytes:
    """All bytes of the answer, headers and framing included, until the connection ends."""
    body = json.dumps(request(text)).encode()
    reader, writer = await asyncio.open_connection("127.0.0.1", int(upstream.url.rsplit(":", 1)[1]))
    writer.write(HEAD % len(body) + body)
    with contextlib.suppress(ConnectionResetError):
        answer = await reader.read(-1)
    writer.close()
    return answer


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


async def test_models_and_token_counts_are_answered(client: httpx.AsyncClient) -> None:
    page = (await client.get("/v1/models")).json()
    assert (len(page["data"]), page["has_more"], page["data"][0]["type"]) == (3, False, "model")
    assert (await client.get(f"/v1/models/{page['last_id']}")).json() == page["data"][-1]
    counted = await client.post("/v1/messages/count_tokens", json=request("12345"))
    assert counted.json() == {"input_tokens": 2}


async def test_a_chunked_request_is_understood(client: httpx.AsyncClient) -> None:
    async def body() -> AsyncIterator[bytes]:
        for piece in json.dumps(request("[id:chunks] [fault:ok tokens=1]")).split(" "):
            yield piece.encode() + b" "

    assert (await client.post("/v1/messages", content=body())).status_code == 200
    record = await last(client)
    assert (record["marker"], record["tokens"]) == ("chunks", 1)


async def test_connections_are_kept_alive(client: httpx.AsyncClient, upstream: Upstream) -> None:
    for _ in range(5):
        await send(client, "hi")
    assert len(upstream.tasks) == 1


async def test_a_thousand_at_once_all_finish(upstream: Upstream) -> None:
    answers = await asyncio.gather(*(raw(upstream, "[fault:ok tokens=2 first=0.5]") for _ in range(1000)))
    assert all(answer.endswith(b'data: {"type":"message_stop"}\n\n\r\n0\r\n\r\n') for answer in answers)
    ends = {record["ended"] for record in upstream.requests}
    assert (upstream.total, upstream.in_flight, ends) == (1000, 0, {"finished"})


# The ledger


async def test_the_ledger_shows_no_secret_but_its_last_four_characters(client: httpx.AsyncClient) -> None:
    headers = {"authorization": "Bearer sk-ant-other-wxyz", "cookie": "session=private", "x-other": "shown"}
    await client.post("/v1/messages", json=request("[id:abc-1] hi"), headers=headers)
    text = (await client.get("/__ledger")).text
    assert "secret" not in text
    assert "private" not in text
    record = json.loads(text)["requests"][0]
    assert (record["key"], record["headers"]["authorization"], record["headers"]["x-other"]) == (
        "abcd",
        "…wxyz",
        "shown",
    )
    assert (record["marker"], record["scenario"], record["stream"]) == ("abc-1", "ok", True)
    assert record["arguments"] == {"tokens": 32, "rate": 0, "first": 0}
    assert record["body_bytes"] == len(client.build_request("POST", "/", json=request("[id:abc-1] hi")).content)
    assert record["started"] <= record["ended_at"] <= time.time()


async def test_the_ledger_can_be_read_in_parts_summed_up_and_forgotten(client: httpx.AsyncClient) -> None:
    for text in ("one", "[fault:status code=400]", "three"):
        await send(client, text)
    await client.get("/v1/models")
    assert [record["n"] for record in (await ledger(client, "since=2"))["requests"]] == [3, 4]
    report = await ledger(client, "summary=1")
    assert report["scenarios"] == {"ok": 2, "status": 1, "None": 1}
    assert report["ends"] == {"finished": 4}
    assert "requests" not in report
    await client.delete("/__ledger")
    assert (await ledger(client))["requests"] == []
    assert (await ledger(client))["total"] == 0


async def test_what_is_in_flight_is_counted_until_it_ends(client: httpx.AsyncClient, upstream: Upstream) -> None:
    waiting = asyncio.create_task(send(client, "[fault:hang]"))
    while not upstream.in_flight:
        await asyncio.sleep(0)
    report = await ledger(client, "summary=1")
    assert (report["in_flight"], report["open_connections"], report["ends"]) == (1, 1, {"None": 1})
    waiting.cancel()
    report = await ledger(client, "summary=1&quiet=5")
    assert (report["in_flight"], report["ends"]) == (0, {"client_closed": 1})


async def test_a_server_that_stops_aborts_what_is_in_flight() -> None:
    async with Upstream() as upstream, httpx.AsyncClient(base_url=upstream.url, trust_env=False) as client:
        waiting = asyncio.create_task(send(client, "[fault:hang]"))
        while not upstream.in_flight:
            await asyncio.sleep(0)
        await upstream.__aexit__()
        with pytest.raises(httpx.RemoteProtocolError):
            await waiting
        assert upstream.requests[0]["ended"] == "aborted"


# By itself


@contextlib.asynccontextmanager
async def running(*arguments: str) -> AsyncIterator[tuple[asyncio.subprocess.Process, str]]:
    command = (sys.executable, "-m", "tests.faults.upstream", "--port", "0", *arguments)
    root = Path(__file__).parents[2]
    process = await asyncio.create_subprocess_exec(*command, cwd=root, stdout=asyncio.subprocess.PIPE)
    assert process.stdout
    try:
        yield process, (await process.stdout.readline()).decode().split()[-1]
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def test_it_stops_by_itself() -> None:
    async with running("--max-seconds", "0.1") as (process, _):
        assert await asyncio.wait_for(process.wait(), 10) == 0


async def test_it_runs_alone_with_every_scenario_and_stops_when_told() -> None:
    async with running() as (process, url), httpx.AsyncClient(base_url=url, trust_env=False, timeout=1) as client:
        for name in SCENARIOS:
            with contextlib.suppress(httpx.HTTPError, TimeoutError):
                async with asyncio.timeout(0.3):
                    await send(client, f"[fault:{name}]")
        report = await ledger(client, "quiet=5")
        ends = {record["scenario"]: record["ended"] for record in report["requests"]}
        assert ends.keys() == SCENARIOS.keys()
        assert {name for name, end in ends.items() if end == "client_closed"} == {
            "hang",
            "headers_then_hang",
            "stall",
            "pings",
            "drip",
        }
        aborted = {"refuse", "eof", "rst", "short_length", "bad_chunk", "cut_bytes"}
        assert {name for name, end in ends.items() if end == "aborted"} == aborted
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), 10) == 0
