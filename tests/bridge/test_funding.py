"""Money on the one road: what may cost too much is not sent, what fits is, and the refusal says what would."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest
from asgiref.sync import sync_to_async
from django.db import OperationalError

from tenants.models import ApiKey, Budget, BudgetWindow, Hold, Tenant
from tenants.values import Mode
from tests import wire
from tests.asgi import Client, chat
from tests.bridge.test_continuing import finished, paused
from tests.conftest import Stage

DOLLAR = 10**9
MODEL = "claude-sonnet-5-5"


async def give(dollars: str, owner: Any = None, window: str = "total") -> Budget:
    """A budget of Acme's key, heard of by the gate."""

    def make() -> Budget:
        key = ApiKey.objects.select_related("tenant").earliest("created_at")
        budget: Budget = Budget.objects.give(owner or key, window, int(float(dollars) * DOLLAR))
        return budget

    return await sync_to_async(make)()


async def heard(stage: Stage) -> None:
    await stage.app._gate.poll()


async def sums() -> tuple[int, int]:
    window = await BudgetWindow.objects.afirst()
    return (window.spent_nanos, window.reserved_nanos) if window else (0, 0)


async def spend(nanos: int, held: int = 0) -> None:
    """What others have spent and hold in the one window."""
    budget = await Budget.objects.aget()
    first_day = "1970-01-01"
    await BudgetWindow.objects.acreate(budget=budget, first_day=first_day, spent_nanos=nanos, reserved_nanos=held)


async def test_a_hold_is_taken_before_it_is_sent_and_gone_when_the_record_is_final(stage: Stage) -> None:
    await give("10")
    await heard(stage)
    got = await stage.client.chat(max_tokens=1000)
    assert got.status == 200
    assert (await sums())[1] > 0
    record = await stage.record()
    spent, held = await sums()
    assert held == 0 and record.held_nanos and spent == record.cost_nanos
    assert 0 < spent < record.held_nanos
    assert not await Hold.objects.aexists()


async def test_what_costs_too_much_is_refused_with_every_number(stage: Stage) -> None:
    await give("0.01")
    await heard(stage)
    got = await stage.client.chat(max_tokens=8000)
    assert (got.status, got.error["code"], got.error["type"]) == (429, "insufficient_quota", "insufficient_quota")
    assert got.headers["x-should-retry"] == "false"
    message = got.error["message"]
    assert message.startswith("You exceeded your current quota: the total budget of this key is $0.01, $0.00 spent")
    record = await stage.record()
    facts = record.refusal
    assert facts and (facts["rule"], facts["why"], facts["scope"]) == ("budget", "spent", "key")
    assert (facts["limit_usd"], facts["spent_usd"], facts["held_usd"]) == ("0.010000000", "0.000000000", "0.000000000")
    assert f"max_tokens ≤ {facts['max_tokens_fits']} fits." in message
    assert await sums() == (0, 0)
    fits = await stage.client.chat(max_tokens=facts["max_tokens_fits"])
    assert fits.status == 200
    again = await stage.client.chat(max_tokens=facts["max_tokens_fits"] + 1)
    assert again.status == 429


async def test_the_end_of_the_window_is_said(stage: Stage) -> None:
    await give("0.000001", window="month")
    await heard(stage)
    got = await stage.client.chat(max_tokens=10)
    assert "the monthly budget of this key" in got.error["message"] and "The window ends at 20" in got.error["message"]


async def test_without_a_limit_of_its_own_the_answer_is_cut_to_what_fits(stage: Stage) -> None:
    await give("0.1")
    await heard(stage)
    got = await stage.client.chat()
    tokens = stage.transport.sent()["max_tokens"]
    assert got.status == 200 and 1024 <= tokens < 64_000
    assert f"max_tokens=clamped({tokens})" in got.headers["x-bridge-compat"]
    record = await stage.record()
    assert record.held_nanos and record.held_nanos <= DOLLAR // 10
    assert f"clamped({tokens})" in record.receipt


async def test_but_not_to_less_than_an_answer_needs(stage: Stage) -> None:
    await give("0.01")
    await heard(stage)
    got = await stage.client.chat()
    assert got.status == 429
    fits = int(got.error["message"].split("max_tokens ≤ ")[1].split()[0])
    assert 0 < fits < 1024
    assert stage.transport.requests == []


async def test_choices_are_held_together(stage: Stage) -> None:
    await give("100")
    await heard(stage)
    stage.play(lambda _: wire.streamed(*wire.answer("Hello")))
    await stage.client.chat(max_tokens=1000)
    await stage.client.chat(max_tokens=1000, n=3)
    one, three = await stage.records()
    assert one.held_nanos and three.held_nanos and abs(three.held_nanos - 3 * one.held_nanos) < 1000


async def test_merely_held_is_to_be_tried_again_soon(stage: Stage) -> None:
    await give("1")
    await heard(stage)
    await spend(0, held=DOLLAR)
    got = await stage.client.chat(max_tokens=100)
    assert (got.status, got.error["code"]) == (429, "rate_limit_exceeded")
    assert got.headers["retry-after"] == "2" and "x-should-retry" not in got.headers
    assert "$1.00 held for calls in flight" in got.error["message"]
    refusal = (await stage.record()).refusal
    assert refusal and refusal["why"] == "held"


async def test_what_has_ended_makes_room_at_once(stage: Stage) -> None:
    await give("0.02")
    await heard(stage)
    stage.play(lambda _: wire.streamed(*wire.answer("Hello")))
    for _ in range(5):  # each holds more than half of it; the ledger writes every 200 ms by itself
        assert (await stage.client.chat(max_tokens=700)).status == 200


def counting(tokens: int) -> wire.Step:
    def step(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/count_tokens"):
            return httpx.Response(200, json={"input_tokens": tokens})
        return wire.streamed(*wire.answer("Hello"))

    return step


LONG = [{"role": "user", "content": "a long story " * 4000}]  # 52,000 bytes, about 12,000 tokens


async def test_upstreams_count_decides_where_the_bound_is_too_much(stage: Stage) -> None:
    await give("0.1")
    await heard(stage)
    transport = stage.play(counting(12_000))
    got = await stage.client.chat(messages=LONG, max_tokens=100)
    assert got.status == 200
    assert [request.url.path for request in transport.requests] == ["/v1/messages/count_tokens", "/v1/messages"]
    assert "max_tokens" not in transport.sent(0)
    record = await stage.record()
    assert record.held_nanos and record.held_nanos < DOLLAR // 10


@pytest.mark.parametrize("dollars", [pytest.param("10", id="by its bytes"), pytest.param("0.1", id="by a count")])
async def test_an_answer_that_never_comes_is_charged_its_hold_and_not_more(stage: Stage, dollars: str) -> None:
    def step(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/count_tokens"):
            return httpx.Response(200, json={"input_tokens": 12_000})
        raise httpx.ReadTimeout("slow")

    await give(dollars)
    await heard(stage)
    stage.play(step)
    got = await stage.client.chat(messages=LONG, max_tokens=100)
    assert (got.status, got.error["code"]) == (504, "upstream_timeout")
    record = await stage.record()
    assert record.usage_source == "bound" and record.cost_nanos == record.held_nanos
    assert await sums() == (record.held_nanos, 0)


async def test_a_count_that_does_not_fit_is_refused_by_it(stage: Stage) -> None:
    await give("0.1")
    await heard(stage)
    transport = stage.play(counting(50_000))
    got = await stage.client.chat(messages=LONG, max_tokens=100)
    assert got.status == 429
    assert len(transport.requests) == 1
    assert await sums() == (0, 0)


async def test_without_a_count_the_bound_has_to_do(stage: Stage) -> None:
    await give("0.1")
    await heard(stage)
    stage.play(wire.failed(500, "api_error"))
    assert (await stage.client.chat(messages=LONG, max_tokens=100)).status == 429


async def test_an_unpriced_model_is_refused_to_a_key_with_a_budget(stage: Stage) -> None:
    assert (await stage.client.chat(model="claude-unheard-of-9")).status == 200
    await give("100")
    await heard(stage)
    got = await stage.client.chat(model="claude-unheard-of-9")
    assert (got.status, got.error["code"], got.error["param"]) == (403, "model_not_priced", "model")
    assert "claude-unheard-of-9" in got.error["message"]


async def test_the_database_away_refuses_who_has_a_budget_and_nobody_else(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, another_key: Any
) -> None:
    free = Client(stage.app, (await another_key()).text)
    await give("100")
    await heard(stage)
    assert (await stage.client.chat()).status == (await free.chat()).status == 200

    def away(*_: Any) -> None:
        raise OperationalError("away")

    monkeypatch.setattr(Hold.objects, "reserve", away)
    got = await stage.client.chat()
    assert (got.status, got.error["code"]) == (503, "budget_store_unavailable")
    assert (await free.chat()).status == 200


async def test_a_test_key_is_held_to_no_budget(stage: Stage, another_key: Any, acme: Tenant) -> None:
    await give("0", owner=acme)
    test = Client(stage.app, (await another_key(Mode.TEST)).text)
    await heard(stage)
    assert (await test.chat()).status == 200
    assert (await stage.client.chat()).status == 429


async def test_a_full_disk_refuses_and_holds_nothing(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    await give("10")
    await heard(stage)

    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tenants.journal.Entry.sent", full)
    got = await stage.client.chat()
    assert (got.status, got.error["code"]) == (503, "record_unavailable")
    assert (await stage.record()).state == "refused"
    assert await sums() == (0, 0)


async def test_who_hangs_up_while_it_is_decided_holds_nothing(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    await give("10")
    await heard(stage)
    begun = asyncio.Event()
    loop, real = asyncio.get_running_loop(), Hold.objects.reserve

    def slow(*args: Any) -> Any:
        found = real(*args)
        loop.call_soon_threadsafe(begun.set)
        return found

    monkeypatch.setattr(Hold.objects, "reserve", slow)
    visit = stage.client.open("POST", "/v1/chat/completions", chat())
    await begun.wait()
    visit.hang_up()
    await visit.done()
    await stage.records()
    await stage.app._budgets.close()
    assert (await sums())[1] == 0


TOOLS = {"tools": [{"type": "web_search_20250305", "name": "web_search", "max_uses": 1}], "max_tokens": 100}


async def test_each_continuation_holds_its_own(stage: Stage) -> None:
    await give("1000")
    await heard(stage)
    stage.play(paused("Let me "), finished("see."))
    got = await stage.client.chat(**TOOLS)
    assert got.json()["choices"][0]["message"]["content"] == "Let me see."
    record = await stage.record()
    assert record.held_nanos and record.cost_nanos and record.held_nanos > 2 * 20 * DOLLAR
    assert await sums() == (record.cost_nanos, 0)


@pytest.mark.parametrize("stream", [False, True])
async def test_one_that_does_not_fit_ends_the_answer_as_cut_off(stage: Stage, stream: bool) -> None:
    await give("30")  # more than one call may cost, less than two: ten steps over the whole context window
    await heard(stage)
    transport = stage.play(paused("Let me "), finished("see."))
    got = await stage.client.chat(**TOOLS, stream=stream)
    choices = [chunk["choices"] for chunk in got.chunks()[:-1]] if stream else [got.json()["choices"]]
    reasons = [each[0]["finish_reason"] for each in choices if each]
    assert reasons[-1] == "length"
    assert len(transport.requests) == 1
    record = await stage.record()
    assert (record.state, record.output_tokens, record.web_searches) == ("settled", 5, 2)
    assert await sums() == (record.cost_nanos, 0)


async def test_what_has_no_bound_is_refused_with_the_reason(stage: Stage) -> None:
    await give("1000")
    await heard(stage)
    got = await stage.client.chat(tools=[{"type": "web_search_20250305", "name": "web_search"}])
    assert (got.status, got.error["code"]) == (403, "cost_unknown")
    assert "without `max_uses`: each search has a fee" in got.error["message"]
    refusal = (await stage.record()).refusal
    assert refusal and refusal["why"] == "unbounded"


async def test_a_key_sees_what_it_has_left(stage: Stage) -> None:
    await give("10")
    await heard(stage)
    await spend(1_500_000_000, held=1)
    (budget,) = (await stage.client.get("/v1/key")).json()["budgets"]
    assert budget == {
        "scope": "key",
        "window": "total",
        "limit_usd": "10.000000000",
        "spent_usd": "1.500000000",
        "held_usd": "0.000000001",
        "left_usd": "8.499999999",
        "resets_at": None,
    }


async def test_a_budget_and_its_change_are_heard_by_the_next_poll(stage: Stage) -> None:
    budget = await give("0.000001")
    await heard(stage)
    assert (await stage.client.chat(max_tokens=10)).status == 429
    await sync_to_async(budget.change)(DOLLAR)  # read at every reservation: heard at once
    assert (await stage.client.chat(max_tokens=10)).status == 200
    await sync_to_async(budget.change)(1)
    assert (await stage.client.chat(max_tokens=10)).status == 429
    await sync_to_async(budget.remove)()
    await heard(stage)
    assert (await stage.client.chat(max_tokens=10)).status == 200
