"""A request is gone when it has ended: nothing of it waits for the garbage collector, which would stop the worker."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import httpx
import pytest

from tests import wire
from tests.asgi import chat
from tests.conftest import Stage

OURS = ("bridge.", "proxysite.", "tenants.")


async def left_over(work: Callable[[], Awaitable[Any]]) -> set[str]:
    """The names of our classes of which only the collector could free an instance."""
    await work()  # what is made once is made
    gc.collect()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        await work()
        gc.collect()
        return {type(each).__qualname__ for each in gc.garbage if type(each).__module__.startswith(OURS)}
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()


MESSAGES = {"model": "claude-opus-5", "max_tokens": 100, "messages": [{"role": "user", "content": "Hello"}]}
RESPONSES = {"model": "claude-opus-5", "input": "Hello"}


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize(
    ("path", "body"),
    [("/v1/chat/completions", chat()), ("/v1/messages", MESSAGES), ("/v1/responses", RESPONSES)],
    ids=["chat", "messages", "responses"],
)
async def test_an_answered_request_leaves_nothing(stage: Stage, path: str, body: dict[str, Any], stream: bool) -> None:
    async def ask() -> None:
        assert (await stage.client.post(path, {**body, "stream": stream})).status == 200

    assert await left_over(ask) == set()


async def test_a_refused_request_leaves_nothing(stage: Stage) -> None:
    async def ask() -> None:
        assert (await stage.client.chat(temperature="warm")).status == 400

    assert await left_over(ask) == set()


async def test_a_client_that_hangs_up_leaves_nothing(stage: Stage) -> None:
    async def ask() -> None:
        stage.play(wire.streamed(*wire.answer("Hello")[:3], asyncio.get_running_loop().create_future()))
        visit = stage.client.open("POST", "/v1/chat/completions", chat(stream=True))
        await visit.some.wait()
        visit.hang_up()
        await visit.done()

    assert await left_over(ask) == set()


FAILURES: dict[str, Callable[[], Any]] = {
    "refused": lambda: wire.failed(400, "invalid_request_error"),
    "failed": lambda: wire.failed(500, "api_error"),
    "unreachable": lambda: httpx.ConnectError("no"),
    **{name: partial(wire.broken, name) for name in wire.BREAKS if name != "too large"},
}


@pytest.mark.parametrize("failure", FAILURES)
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
async def test_a_request_that_upstream_fails_leaves_nothing(stage: Stage, failure: str, stream: bool) -> None:
    async def ask() -> None:
        stage.play(FAILURES[failure]())
        await stage.client.post("/v1/chat/completions", chat(stream=stream), x_stainless_retry_count="1")

    assert await left_over(ask) == set()


async def test_a_request_that_was_tried_again_leaves_nothing(stage: Stage) -> None:
    async def ask() -> None:
        stage.play(wire.failed(529, "overloaded_error", retry_after="0"), wire.streamed(*wire.answer("Hello")))
        assert (await stage.client.chat()).status == 200

    assert await left_over(ask) == set()
