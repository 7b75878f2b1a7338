"""What comes of a stream piece by piece: written at once where that can be done, and told as if it had been awaited."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from proxysite import sending
from tests import wire
from tests.asgi import Got, Visit, chat
from tests.conftest import Stage
from tests.proxysite.test_capture import keep

PATH = "/v1/chat/completions"
EVENTS = [wire.start(), *wire.text_block("Hello", ", ", "\u2028wörld", ""), *wire.end(output_tokens=7)]
BEGUN, PIECES, END = EVENTS[:3], EVENTS[3:-1], EVENTS[-1]


class Begun:
    """A stream whose client has its beginning, and whose upstream says no more until it is told to."""

    def __init__(self, visit: Visit, upstream: Any, more: asyncio.Future[None]) -> None:
        self.visit, self.upstream, self._more = visit, upstream, more

    def come(self, piece: bytes) -> bool:
        """A piece arrives: whether it was taken on the spot."""
        taken: bool = self.upstream.take(piece)
        return taken

    async def end(self, *pieces: Any) -> Got:
        """The rest is read."""
        self.upstream.pieces += pieces
        self._more.set_result(None)
        return await self.visit.done()

    @property
    def text(self) -> str:
        """What the client has been told so far."""
        chunks = [chunk for chunk in self.visit.got.chunks() if chunk != "[DONE]"]
        return "".join(choice["delta"].get("content") or "" for chunk in chunks for choice in chunk["choices"])


async def begun(stage: Stage, path: str = PATH, body: dict[str, Any] | None = None) -> Begun:
    more: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    response = wire.streamed(*BEGUN, more)
    stage.play(response)
    visit = stage.client.open("POST", path, body or chat(stream=True, stream_options={"include_usage": True}))
    async with asyncio.timeout(5):
        while b"Hello" not in visit.got.body:
            visit.some.clear()
            await visit.some.wait()
    return Begun(visit, response.stream, more)


def untimed(got: Got) -> list[Any]:
    return [chunk if chunk == "[DONE]" else {**chunk, "created": 0} for chunk in got.chunks()]


# --- What is not taken


@pytest.mark.parametrize(
    "piece",
    [
        pytest.param(END, id="the end"),
        pytest.param(PIECES[0] + END, id="the end with something before it"),
        pytest.param(wire.event("ping"), id="a ping"),
        pytest.param(wire.event("error", error={"type": "overloaded_error", "message": "no"}), id="an error"),
        pytest.param(PIECES[0][:-1], id="a part of an event"),
        pytest.param(PIECES[0] + PIECES[1][:9], id="an event and a part of the next"),
        pytest.param(PIECES[0].replace(b"\n", b"\r\n"), id="another end of line"),
        pytest.param(b"data: {nonsense\n\n", id="nonsense"),
        pytest.param(b'data: {"type":"content_block_delta","delta":{"text":"\xff"}}\n\n', id="no text"),
        pytest.param(wire.start(), id="a second beginning"),
        pytest.param(b"\n", id="an empty line"),
    ],
)
async def test_what_is_more_than_a_piece_is_left_to_the_reader(stage: Stage, piece: bytes) -> None:
    stream = await begun(stage)
    before = stream.visit.got.body
    assert not stream.come(piece) and stream.visit.got.body == before
    got = await stream.end(*PIECES, END)
    assert stream.text == "Hello, \u2028wörld" and got.chunks()[-1] == "[DONE]", "and nothing of it was kept"


async def test_nothing_is_taken_while_the_client_has_to_be_waited_for(stage: Stage) -> None:
    stream = await begun(stage)
    stream.visit.writable = False
    assert not stream.come(PIECES[0]) and stream.text == "Hello"
    stream.visit.writable = True
    assert stream.come(PIECES[0]) and stream.text == "Hello, "
    await stream.end(*PIECES[1:], END)


async def test_nothing_is_taken_before_the_rest_of_an_event(stage: Stage) -> None:
    more = asyncio.get_running_loop().create_future()
    stage.play(response := wire.streamed(*BEGUN, PIECES[0][:20], more, PIECES[0][20:], *PIECES[1:], END))
    visit = stage.client.open("POST", PATH, chat(stream=True))
    while b"Hello" not in visit.got.body:
        await asyncio.sleep(0)
    assert not response.stream.take(PIECES[1])  # type: ignore[union-attr]
    more.set_result(None)
    await visit.done()


@pytest.mark.parametrize("why", ["an answer that may pause", "a tape"])
async def test_nothing_is_taken_of_what_has_to_pass_another_reader(stage: Stage, why: str) -> None:
    if why == "a tape":
        await keep(stage)
    stream = await begun(stage, body=chat(stream=True, **({} if why == "a tape" else {"web_search_options": {}})))
    assert stream.upstream.take is None
    await stream.end(*PIECES, END)


# --- What is


async def test_a_stream_taken_piece_by_piece_is_the_same_as_one_that_is_read(stage: Stage) -> None:
    stream = await begun(stage)
    for piece in PIECES:
        assert stream.come(piece), piece
    assert stream.text == "Hello, \u2028wörld", "at once: no turn of the loop was needed"
    taken = await stream.end(END)
    read = await (await begun(stage)).end(*PIECES, END)
    assert untimed(taken) == untimed(read)
    one, other = await stage.records()
    assert (one.state, one.output_tokens, one.stop_reason) == ("settled", 7, "end_turn")
    assert (one.cost_nanos, one.input_tokens) == (other.cost_nanos, other.input_tokens)


async def test_several_events_at_once_are_taken_too(stage: Stage) -> None:
    stream = await begun(stage)
    assert stream.come(b"".join(PIECES)) and stream.text == "Hello, \u2028wörld"
    await stream.end(END)


@pytest.mark.parametrize("path", ["/v1/responses", "/v1/completions"])
async def test_other_dialects_are_told_at_once_as_well(stage: Stage, path: str) -> None:
    name = "input" if path == "/v1/responses" else "prompt"
    stream = await begun(stage, path, {"model": "claude-sonnet-5-5", name: "Hi", "stream": True})
    assert stream.come(PIECES[1]) and "wörld".encode() in stream.visit.got.body
    await stream.end(*PIECES[2:], END)


async def test_a_cut_after_pieces_is_an_error_and_the_pieces_are_charged(stage: Stage) -> None:
    stream = await begun(stage)
    assert stream.come(PIECES[0])
    got = await stream.end()
    assert got.chunks()[-1]["error"]["code"] == "upstream_truncated" and b"[DONE]" not in got.body
    record = await stage.record()
    assert (record.state, record.error_code) == ("failed", "upstream_truncated") and record.output_tokens > 0


async def test_a_client_that_leaves_after_pieces_ends_the_call(stage: Stage) -> None:
    stream = await begun(stage)
    assert stream.come(PIECES[0])
    stream.visit.hang_up()
    await stream.visit.done()
    assert stream.upstream.closed.is_set() and (await stage.record()).state == "cancelled"


async def test_nothing_is_taken_once_the_answer_has_ended(stage: Stage) -> None:
    stream = await begun(stage)
    take = stream.upstream.take
    got = await stream.end(*PIECES, END)
    assert not take(PIECES[0]) and got.chunks()[-1] == "[DONE]"


async def test_a_piece_ends_a_silence() -> None:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    beats = sending._Beats(send, lambda: b": keep-alive\n\n", lambda: None)
    for silent, heard in ((True, 1), (False, 1)):
        beats._last -= sending.BEAT_SECONDS
        if not silent:
            assert beats.heeding(lambda: sent.append) is not None
        beats._tick()
        await asyncio.sleep(0)
        assert len(sent) == heard
    beats.stop()
