"""How answers of Anthropic's own API end: broken streams, clients that leave, silences, restarts."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from bridge import upstream
from proxysite import sending
from tests import wire
from tests.conftest import Stage
from tests.native import COUNT, PATH, error, events, hello

# --- Streams that break ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", wire.BREAKS)
async def test_a_broken_stream_ends_with_an_error_event_after_what_came_whole(stage: Stage, name: str) -> None:
    stage.play(wire.broken(name))
    got = await stage.client.post(PATH, hello(stream=True))
    assert got.status == 200 and got.body.startswith(wire.BEGINNING + b"event: error\ndata: ")
    *_, last = events(got)
    assert last["type"] == "error" and last["request_id"] == got.headers["request-id"]
    assert last["error"]["type"] == ("overloaded_error" if name == "error event" else "api_error")
    assert b"message_stop" not in got.body and b"org_12ab" not in got.body
    record = await stage.record()
    assert (record.state, record.usage_source, record.output_tokens) == ("failed", "estimated", 1)


@pytest.mark.parametrize("name", wire.BREAKS)
async def test_a_whole_answer_is_never_a_part_of_one(stage: Stage, name: str) -> None:
    stage.play(wire.broken(name))
    got = await stage.client.post(PATH, hello())
    assert error(got)[0] in (502, 529) and b"Hel" not in got.body


async def test_every_cut_of_a_stream_is_an_error(stage: Stage) -> None:
    whole = b"".join(wire.answer("Hello", " there"))
    for cut in range(0, len(whole) - 2, 11):
        stage.play(wire.streamed(whole[:cut]))
        again = {"x_stainless_retry_count": "1"}  # so that Bridge does not wait and try again for the client
        got = await stage.client.post(PATH, hello(stream=True), **again)
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
    record = await stage.left_before_the_first_byte(PATH, hello())
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


async def test_a_client_that_leaves_a_count_of_tokens_closes_it_upstream(stage: Stage) -> None:
    body = wire.Stream([asyncio.get_running_loop().create_future()])
    stage.play(httpx.Response(200, stream=body))
    visit = stage.client.open("POST", COUNT, hello())
    while not stage.transport.requests:
        await asyncio.sleep(0)
    visit.hang_up()
    async with asyncio.timeout(5):
        await visit.done()
    assert body.closed.is_set() and visit.got.status == 0
    assert stage.app._services.live._slots._value == 1000, "the slot came back"  # type: ignore[union-attr]
