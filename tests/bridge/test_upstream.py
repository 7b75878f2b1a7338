"""The one call upstream: what is retried, how long anything may take, and that nothing is left open."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from bridge import upstream as upstream_module
from bridge.errors import ApiError
from bridge.upstream import RetryBudget, Upstream
from bridge.upstream_answer import Deadlines
from tests import wire


def make(*steps: wire.Step, **deadlines: float) -> tuple[Upstream, wire.Transport]:
    transport = wire.Transport(*steps)
    return Upstream(transport, "http://upstream", {}, in_flight=2, deadlines=Deadlines(**deadlines)), transport


async def collect(upstream: Upstream) -> list[str]:
    answer = await upstream.send(b"{}")
    kinds = []
    try:
        while not answer.done:
            kinds += [event.type for event in await answer.read()]
    finally:
        await answer.aclose()
    return kinds


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Retries wait no time; what they would have waited is kept."""
    waits: list[float] = []
    sleep = asyncio.sleep

    async def skip(seconds: float) -> None:
        waits.append(seconds)
        await sleep(0)

    monkeypatch.setattr(upstream_module.asyncio, "sleep", skip)
    return waits


async def failure(upstream: Upstream) -> ApiError:
    with pytest.raises(ApiError) as caught:
        await collect(upstream)
    assert upstream._slots._value == 2, "the slot came back"
    return caught.value


@pytest.mark.parametrize("error", [httpx.ConnectError("no"), httpx.ConnectTimeout("no"), OSError("no"), EOFError()])
async def test_a_connection_that_fails_is_tried_three_times(error: Exception) -> None:
    upstream, transport = make(error)
    problem = await failure(upstream)
    assert (problem.code, problem.attempts, len(transport.requests)) == ("upstream_unreachable", 3, 3)


@pytest.mark.parametrize("status", [500, 502, 503, 529])
async def test_a_passing_error_is_retried(status: int, no_waiting: list[float]) -> None:
    upstream, transport = make(wire.failed(status), wire.streamed(*wire.answer("Hi")))
    assert (await collect(upstream))[-1] == "message_stop"
    assert len(transport.requests) == 2 and 0 < no_waiting[0] <= 0.5


@pytest.mark.parametrize("status", [400, 401, 403, 404, 413, 418, 504])
async def test_an_error_that_would_come_again_is_not(status: int) -> None:
    upstream, transport = make(wire.failed(status))
    await failure(upstream)
    assert len(transport.requests) == 1


async def test_a_short_retry_after_is_waited_for_and_a_long_one_is_the_clients(no_waiting: list[float]) -> None:
    upstream, transport = make(wire.failed(429, retry_after="1.5"), wire.streamed(*wire.answer("Hi")))
    await collect(upstream)
    assert no_waiting == [1.5]
    upstream, transport = make(wire.failed(429, retry_after="3"))
    assert (await failure(upstream)).headers == {"retry-after": "3"}
    assert len(transport.requests) == 1


async def test_an_overload_that_names_a_long_wait_is_the_clients_to_wait_for() -> None:
    upstream, transport = make(wire.failed(529, retry_after="3"))
    problem = await failure(upstream)
    assert (problem.status, problem.headers, problem.attempts) == (503, {"retry-after": "3"}, 1)
    assert len(transport.requests) == 1


async def test_a_wait_that_sdks_would_not_keep_to_is_a_no() -> None:
    upstream, _ = make(wire.failed(429, retry_after="90"))
    assert (await failure(upstream)).retry is False
    upstream, _ = make(wire.failed(429, retry_after="60"))
    assert (await failure(upstream)).retry is None


async def test_a_spend_limit_is_ours_to_solve_and_not_retried() -> None:
    body = (
        b'{"error":{"type":"rate_limit_error","message":"x","details":{"error_code":"enforced_spend_limit_reached"}}}'
    )
    upstream, transport = make(wire.reply(429, body))
    problem = await failure(upstream)
    assert (problem.code, problem.retry, len(transport.requests)) == ("upstream_billing_error", False, 1)


async def test_an_error_as_the_first_event_has_its_status_and_is_retried() -> None:
    broken = wire.event("error", error={"type": "overloaded_error", "message": "Overloaded"})
    upstream, transport = make(lambda _: wire.streamed(broken))
    problem = await failure(upstream)
    assert (problem.status, problem.code, len(transport.requests)) == (503, "server_is_overloaded", 3)


async def test_nothing_is_retried_after_the_first_event() -> None:
    upstream, transport = make(wire.streamed(wire.start(), httpx.ReadError("cut")))
    assert (await failure(upstream)).code == "upstream_truncated"
    assert len(transport.requests) == 1


async def test_a_timeout_is_not_retried_for_upstream_may_be_at_work() -> None:
    upstream, transport = make(httpx.ReadTimeout("slow"))
    problem = await failure(upstream)
    assert (problem.code, problem.retry, len(transport.requests)) == ("upstream_timeout", False, 1)


async def test_the_first_event_has_a_deadline() -> None:
    response = wire.streamed(asyncio.get_running_loop().create_future())
    upstream, _ = make(response, first_event=0.02)
    assert (await failure(upstream)).code == "upstream_timeout"
    assert response.stream.closed.is_set()  # type: ignore[union-attr]


@pytest.mark.parametrize(("limit", "code"), [("progress", "upstream_stalled"), ("total", "upstream_timeout")])
async def test_a_stream_of_pings_and_an_endless_one_are_given_up(limit: str, code: str) -> None:
    upstream, _ = make(wire.streamed(wire.start(), *[wire.event("ping")] * 3), **{limit: -1.0})
    assert (await failure(upstream)).code == code


async def test_silence_in_a_stream_is_a_stall() -> None:
    upstream, _ = make(wire.streamed(wire.start(), httpx.ReadTimeout("silent")))
    assert (await failure(upstream)).code == "upstream_stalled"


@pytest.mark.parametrize(
    "pieces",
    [
        pytest.param([], id="nothing came"),
        pytest.param([wire.event("error", error={"type": "overloaded_error", "message": "x"})], id="overloaded"),
        pytest.param([b"data: {\n\n"], id="nonsense"),
        pytest.param([httpx.ReadTimeout("silent")], id="silence"),
    ],
)
async def test_a_failure_before_the_first_event_has_upstreams_id(pieces: list[Any]) -> None:
    upstream, _ = make(lambda _: wire.streamed(*pieces))
    assert (await failure(upstream)).upstream_id == "req_01Test"


async def test_what_came_before_an_error_event_is_delivered_first() -> None:
    broken = wire.event("error", error={"type": "api_error", "message": "no"})
    upstream, _ = make(wire.streamed(b"".join([wire.start(), broken])))
    answer = await upstream.send(b"{}")
    assert [event.type for event in await answer.read()] == ["message_start"]
    with pytest.raises(ApiError):
        await answer.read()
    await answer.aclose()


async def test_a_cancelled_call_closes_its_connection_and_gives_its_slot_back() -> None:
    response = wire.streamed(asyncio.get_running_loop().create_future())
    upstream, transport = make(response)
    task = asyncio.create_task(upstream.send(b"{}"))
    while not transport.requests:
        await asyncio.wait([task], timeout=0.001)
    await asyncio.wait([task], timeout=0.001)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert response.stream.closed.is_set()  # type: ignore[union-attr]
    assert upstream._slots._value == 2


async def test_a_storm_of_failures_is_not_made_worse() -> None:
    upstream, transport = make(wire.failed(529))
    for _ in range(1000):
        await failure(upstream)
    assert len(transport.requests) <= 1100


def test_the_budget_comes_back_with_traffic() -> None:
    budget = RetryBudget(share=0.5, most=1)
    assert budget.withdraw() and not budget.withdraw()
    budget.deposit()
    budget.deposit()
    assert budget.withdraw()


async def test_a_resource_that_is_not_json_is_an_error() -> None:
    upstream, _ = make(wire.reply(200, b"<html>"))
    with pytest.raises(ApiError, match="not JSON"):
        await upstream.get("/v1/models", {})


async def test_bytes_of_any_kind_never_raise_anything_but_an_api_error() -> None:
    junk: list[Any] = [
        b"\xff\xfe",
        b"data: []\n\n",
        b'data: {"type":5}\n\n',
        b'data: {"type":"message_start","message":7}\n\n',
    ]
    for piece in junk:
        upstream, _ = make(lambda _, piece=piece: wire.streamed(wire.start(), piece))  # type: ignore[misc]
        assert (await failure(upstream)).code in ("upstream_malformed", "upstream_truncated")
