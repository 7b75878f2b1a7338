"""The fake Anthropic serves many at once, and its ledger tells what happened."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from tests.faults.scenarios import SCENARIOS
from tests.faults.upstream import Upstream
from tests.faults.upstream_client import last, ledger, raw, request, send


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
        del ends["huge_head"]  # it may be sent before the client gives up
        assert {name for name, end in ends.items() if end == "client_closed"} == {
            "hang",
            "headers_then_hang",
            "stall",
            "ping_stall",
            "pings",
            "drip",
        }
        aborted = {"refuse", "eof", "rst", "short_length", "bad_chunk", "cut_bytes"}
        assert {name for name, end in ends.items() if end == "aborted"} == aborted
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), 10) == 0
