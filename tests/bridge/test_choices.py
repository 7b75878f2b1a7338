"""`n` answers to one request."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from tests import wire
from tests.asgi import chat
from tests.conftest import Stage


def answer(text: str, number: int = 1) -> Any:
    start = wire.start().replace(b"msg_01Test", b"msg_0%dTest" % number)
    return lambda _: wire.streamed(start, *wire.text_block(text), *wire.end())


async def test_a_whole_answer_has_a_choice_for_each(stage: Stage) -> None:
    transport = stage.play(answer("one", 1), answer("two", 2), answer("three", 3))
    got = (await stage.client.chat(n=3)).json()
    assert sorted(choice["message"]["content"] for choice in got["choices"]) == ["one", "three", "two"]
    assert [choice["index"] for choice in got["choices"]] == [0, 1, 2]
    assert got["usage"]["completion_tokens"] == 21 and got["usage"]["prompt_tokens"] == 33
    assert len(transport.requests) == 3
    record = await stage.record()
    assert (record.state, record.output_tokens, record.attempts) == ("settled", 21, 3)


async def test_a_stream_mixes_them_under_one_id(stage: Stage) -> None:
    stage.play(answer("one", 1), answer("two", 2))
    *chunks, done = (await stage.client.chat(n=2, stream=True, stream_options={"include_usage": True})).chunks()
    assert done == "[DONE]" and len({chunk["id"] for chunk in chunks}) == 1
    *body, usage = chunks
    texts: dict[int, str] = {0: "", 1: ""}
    finished = []
    for chunk in body:
        (choice,) = chunk["choices"]
        texts[choice["index"]] += choice["delta"].get("content") or ""
        finished += [choice["index"]] if choice["finish_reason"] else []
    assert sorted(texts.values()) == ["one", "two"] and sorted(finished) == [0, 1]
    assert usage["choices"] == [] and usage["usage"]["completion_tokens"] == 14
    assert (await stage.record()).state == "settled"


@pytest.mark.parametrize("stream", [False, True])
async def test_one_that_fails_before_it_begins_fails_them_all_and_none_stays_open(stage: Stage, stream: bool) -> None:
    opened: list[httpx.Response] = []

    def good(_: httpx.Request) -> httpx.Response:
        opened.append(wire.streamed(wire.start(), asyncio.get_running_loop().create_future()))
        return opened[-1]

    stage.play(good, wire.failed(400, "invalid_request_error", "no"))
    got = await stage.client.chat(n=2, stream=stream)
    assert (got.status, got.error["message"]) == (400, "no")
    assert all(response.stream.closed.is_set() for response in opened)  # type: ignore[union-attr]


async def test_one_that_breaks_breaks_the_stream(stage: Stage) -> None:
    stage.play(answer("one"), wire.streamed(wire.start(), *wire.text_block("tw")[:2], httpx.ReadError("cut")))
    chunks = (await stage.client.chat(n=2, stream=True)).chunks()
    assert "error" in chunks[-1] and "[DONE]" not in chunks
    assert (await stage.record()).state == "failed"


async def test_a_client_that_leaves_closes_all_of_them(stage: Stage) -> None:
    never: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    responses = [wire.streamed(b"".join([wire.start(), *wire.text_block("x")[:2]]), never) for _ in range(3)]
    stage.play(*responses)
    visit = stage.client.open("POST", "/v1/chat/completions", chat(n=3, stream=True))
    await visit.some.wait()
    visit.hang_up()
    await visit.done()
    assert all(response.stream.closed.is_set() for response in responses)  # type: ignore[union-attr]
    assert (await stage.record()).state == "cancelled"


@pytest.mark.parametrize(
    ("n", "code"), [(0, "integer_below_min_value"), (9, "integer_above_max_value"), ("2", "invalid_type")]
)
async def test_how_many_has_bounds(stage: Stage, n: Any, code: str) -> None:
    got = await stage.client.chat(n=n)
    assert (got.status, got.error["code"], got.error["param"]) == (400, code, "n")
