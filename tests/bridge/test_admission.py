"""What a call is given at its admission: told on every answer, and taken back once however the call ends."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from bridge import admission, pipeline
from bridge.bounds import Bound
from bridge.errors import ApiError
from bridge.grant import Grant
from tenants.values import Usage
from tests import wire
from tests.asgi import chat
from tests.conftest import Stage

Settled = list[Usage | None]


@pytest.fixture
def settled(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> Settled:
    """Gives every call something, and notes what it used when it is taken back."""
    found: Settled = []

    async def admit(services: Any, dialect: Any, call: Any, question: Any, *rest: Any) -> Bound:
        most = await admission.admit(services, dialect, call, question, *rest)
        call.grant = Grant({"x-ratelimit-limit-requests": "7"}, [lambda usage, cost: found.append(usage)])
        if question.end_user == "refused":
            raise ApiError("rate_limited", "Enough.")
        return most

    monkeypatch.setattr(pipeline, "admit", admit)
    return found


@pytest.mark.parametrize("stream", [False, True])
async def test_an_answer_says_its_limits_and_gives_back_what_it_did_not_use(
    stage: Stage, settled: Settled, stream: bool
) -> None:
    got = await stage.client.chat(stream=stream)
    assert got.headers["x-ratelimit-limit-requests"] == "7"
    assert [usage and usage.output for usage in settled] == [7]


@pytest.mark.parametrize("stream", [False, True])
async def test_so_does_a_refusal(stage: Stage, settled: Settled, stream: bool) -> None:
    got = await stage.client.chat(stream=stream, user="refused")
    assert (got.status, got.headers["x-ratelimit-limit-requests"]) == (429, "7")
    assert settled == [None]
    assert stage.transport.requests == []


@pytest.mark.parametrize("stream", [False, True])
async def test_so_does_a_failure_of_upstream(stage: Stage, settled: Settled, stream: bool) -> None:
    stage.play(wire.failed(400, "invalid_request_error", "too odd"))
    got = await stage.client.chat(stream=stream)
    assert (got.status, got.headers["x-ratelimit-limit-requests"]) == (400, "7")
    assert settled == [None]


@pytest.mark.parametrize("name", wire.BREAKS)
async def test_a_broken_stream_is_taken_back_once(stage: Stage, settled: Settled, name: str) -> None:
    stage.play(wire.broken(name))
    await stage.client.chat(stream=True)
    assert len(settled) == 1


async def test_a_client_that_hangs_up_before_the_first_byte(stage: Stage, settled: Settled) -> None:
    await stage.left_before_the_first_byte("/v1/chat/completions", chat())
    assert len(settled) == 1


@pytest.mark.parametrize("end", ["hangs up", "is drained"])
async def test_a_stream_that_is_cut_in_the_middle(stage: Stage, settled: Settled, end: str) -> None:
    begun = wire.answer("Hello")[:4]
    stage.play(lambda _: wire.streamed(*begun, asyncio.get_running_loop().create_future()))
    visit = stage.client.open("POST", "/v1/chat/completions", chat(stream=True))
    await visit.some.wait()
    assert settled == []
    if end == "hangs up":
        visit.hang_up()
    else:
        stage.app._api.drain()
    await visit.done()
    assert len(settled) == 1


async def test_one_that_cannot_be_taken_back_does_not_keep_the_others(stage: Stage, settled: Settled) -> None:
    def fails(usage: Any, cost: Any) -> None:
        raise OSError("gone")

    grant = Grant(releases=[fails, lambda usage, cost: settled.append(usage)])
    grant.settle(None, None)
    grant.settle(None, None)
    assert settled == [None]
