"""Complete calls: what a record says it cost is the bill worked out by hand, to the nano-dollar."""

from __future__ import annotations

import tomllib
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from math import ceil
from pathlib import Path
from typing import Any

import msgspec
import pytest

from bridge import catalog
from bridge.bounds import bound
from bridge.prices import Prices, dearest_terms
from bridge.usage import Meter
from bridge.wire.anthropic import Delta, Event, Start, WireUsage, decode_event
from tenants.values import Mode, Usage, UsageSource
from tests import wire
from tests.conftest import Stage
from tests.native import PATH, hello
from tests.shared import needs_recordings, recordings

NOW = datetime(2026, 11, 22, tzinfo=UTC)
TABLE = tomllib.loads(Path(catalog.__file__).with_name("models.toml").read_text(), parse_float=Decimal)["model"]
PRICES = Prices(catalog.load())
MOST = Usage(input=500, output=1000, source=UsageSource.BOUND)
HAIKU, OPUS, SONNET, FABLE = "claude-haiku-5-5", "claude-opus-5-5", "claude-sonnet-5-5", "claude-fable-5"


# The hand: fractions of dollars, straight from the table and Anthropic's own field names.


def dollars(model: str) -> dict[str, Any] | None:
    """The last price that the table has for a model."""
    row = next((row for row in TABLE if model in (row["id"], *row.get("aliases", []))), None)
    return (row["price"][-1] if isinstance(row["price"], list) else row["price"]) if row else None


def by_hand(counts: dict[str, Any], price: dict[str, Any], fast: bool = False, us: bool = False) -> Fraction:
    """Dollars for one sampling's counts."""
    written, read = counts.get("cache_creation_input_tokens") or 0, counts.get("cache_read_input_tokens") or 0
    hour = (counts.get("cache_creation") or {}).get("ephemeral_1h_input_tokens") or 0
    plain, out = counts.get("input_tokens") or 0, counts.get("output_tokens") or 0
    long = price.get("long_prompt")
    rates = long if long and plain + written + read > long["above"] else price
    into = plain * Fraction(rates["input"])
    into += (written - hour) * Fraction(rates["cache_write_5m"]) + hour * Fraction(rates["cache_write_1h"])
    into += read * Fraction(rates["cache_read"])
    into *= Fraction(price["fast"]["input"]) / Fraction(price["input"]) if fast else 1
    outof = out * Fraction(price["fast"]["output"] if fast else rates["output"])
    return (into + outof) / 1_000_000 * (Fraction(price["us_multiplier"]) if us else 1)


def bill(usage: dict[str, Any], model: str) -> int | None:
    """Nano-dollars of a whole usage object of Anthropic's, asked of this model; None without a price."""
    fast, us = usage.get("speed") == "fast", usage.get("inference_geo") == "us"
    total = Fraction((usage.get("server_tool_use") or {}).get("web_search_requests") or 0) / 100
    iterations = usage.get("iterations") or [usage]
    for number, one in enumerate(iterations):
        following = iterations[number + 1 : number + 2]
        if following and following[0].get("type") == "fallback_message" and not one["output_tokens"]:
            continue  # it refused before any output
        price = dollars(one.get("model") or model)
        if price is None:
            return None
        total += by_hand(one, price, fast and not one.get("model"), us)
    return ceil(total * 10**9)


# Every usage object that was recorded.


def final_usage(exchange: dict[str, Any]) -> dict[str, Any] | None:
    """What the answer said in the end: the last word per field."""
    body, said = exchange["response"].get("body"), list[Any]()
    if isinstance(body, dict) and body.get("type") == "message":
        said = [body["usage"]]
    for line in exchange["response"].get("sse", "").splitlines():
        event = msgspec.json.decode(line[5:]) if line.startswith("data:") and '"usage"' in line else {}
        said.append(event.get("usage") or event.get("message", {}).get("usage"))
    merged: dict[str, Any] = {}
    for one in filter(None, said):
        merged |= {name: value for name, value in one.items() if value is not None}
    return merged or None


def ended_well(exchange: dict[str, Any]) -> bool:
    sse = exchange["response"].get("sse")
    return sse is None or ("message_stop" in sse and sse.count('"message_start"') <= 2)


def usages() -> dict[str, dict[str, Any]]:
    found = {name: final_usage(one) for name, one in recordings().items() if ended_well(one)}
    return {name: usage for name, usage in found.items() if usage}


def counted(usage: dict[str, Any], model: str) -> Usage:
    """As the meter has it."""
    meter = Meter(MOST)
    meter.feed(Event("message_start", message=Start("m", model, msgspec.convert(usage, WireUsage))))
    meter.feed(Event("content_block_start", content_block={"type": "text"}))
    meter.feed(Event("message_delta", delta=Delta(stop_reason="end_turn"), usage=msgspec.convert(usage, WireUsage)))
    return meter.billed()


@needs_recordings
def test_there_are_usages_of_every_kind() -> None:
    kinds = {name for usage in usages().values() for name in usage}
    assert len(usages()) > 250 and {"iterations", "cache_creation", "server_tool_use", "inference_geo"} <= kinds


@needs_recordings
@pytest.mark.parametrize("model", [HAIKU, OPUS, SONNET, FABLE])
@pytest.mark.parametrize("more", [{}, {"inference_geo": "us"}, {"speed": "fast"}], ids=["plain", "us", "fast"])
def test_every_recorded_usage_costs_what_it_does_by_hand(model: str, more: dict[str, str]) -> None:
    if more.get("speed") and not (dollars(model) or {}).get("fast"):
        more = {}
    for name, usage in usages().items():
        billed = PRICES.bill(counted({**usage, **more}, model), model, NOW)
        assert billed.nanos == bill({**usage, **more}, model), name
        assert billed.nanos is None or billed.nanos == ceil(Fraction(sum(line["pico"] for line in billed.lines), 1_000))


@needs_recordings
def test_no_recorded_call_cost_more_than_its_bound() -> None:
    compared = 0
    for name, exchange in recordings().items():
        request, usage = exchange["request"].get("body"), usages().get(name)
        if not (isinstance(request, dict) and "max_tokens" in request and usage):
            continue
        for model in (HAIKU, OPUS):  # whichever answered: the newest split a text into the most tokens
            asked = {**request, "model": model}
            tariff = PRICES.tariff(model, NOW, dearest_terms(asked))
            most = bound(asked, PRICES._catalog.resolve(model), tariff)
            cost = PRICES.bill(counted({**usage, "inference_geo": "us"}, model), model, NOW).nanos
            if most.nanos is not None and cost is not None:
                compared += 1
                assert cost <= most.nanos, name
    assert compared > 300


# Complete calls, with the shapes that nobody recorded.

SPLIT = {"ephemeral_5m_input_tokens": 1_001, "ephemeral_1h_input_tokens": 2_003}
CACHED = {"cache_creation_input_tokens": 3_004, "cache_creation": SPLIT, "cache_read_input_tokens": 70_007}
ADVISED = [
    {"type": "message", "input_tokens": 1_128, "output_tokens": 155},
    {"type": "advisor_message", "model": "claude-opus-5", "input_tokens": 2_564, "output_tokens": 99},
    {"type": "message", "input_tokens": 1_354, "output_tokens": 11},
]
FELL_BACK = [
    {"type": "message", "model": FABLE, "input_tokens": 408, "output_tokens": 0},
    {"type": "fallback_message", "model": "claude-opus-4-8", "input_tokens": 412, "output_tokens": 264},
]
SHAPES: dict[str, tuple[str, dict[str, Any]]] = {
    "plain": (SONNET, {}),
    "cached": (OPUS, CACHED),
    "long": (HAIKU, {**CACHED, "input_tokens": 30_000}),
    "just not long": (HAIKU, {"input_tokens": 100_000}),
    "long at home": (HAIKU, {**CACHED, "input_tokens": 30_000, "inference_geo": "us"}),
    "short at home": (HAIKU, {**CACHED, "inference_geo": "us"}),
    "searched": (SONNET, {"server_tool_use": {"web_search_requests": 7, "web_fetch_requests": 3}}),
    "fast": (OPUS, {**CACHED, "speed": "fast"}),
    "fast at home": (OPUS, {**CACHED, "speed": "fast", "inference_geo": "us"}),
    "asked fast, was not": (OPUS, {"speed": "standard"}),
    "advised": (SONNET, {"input_tokens": 2_482, "iterations": ADVISED}),
    "fell back": (FABLE, {"input_tokens": 412, "iterations": FELL_BACK}),
    "compacted": (OPUS, {"iterations": [{"type": "compaction", **CACHED}, {"type": "message", "input_tokens": 9}]}),
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("stream", [False, True])
async def test_a_complete_call_costs_what_it_does_by_hand(stage: Stage, shape: str, stream: bool) -> None:
    model, usage = SHAPES[shape]
    usage = {"input_tokens": 11, "output_tokens": 1_234, **usage}
    stage.play(lambda _: wire.streamed(wire.start(model, **usage), *wire.text_block("Hi"), *wire.end(**usage)))
    asked = {"speed": "fast"} if "fast" in shape else {}
    assert (await stage.client.post(PATH, hello(model=model, stream=stream, **asked))).status == 200
    record = await stage.record()
    assert record.cost_nanos == bill(usage, model)
    assert record.cost_nanos == ceil(Fraction(sum(line["pico"] for line in record.cost_lines), 1_000))
    assert record.usage_source == "exact"


async def test_each_of_several_answers_is_billed_on_its_own(stage: Stage) -> None:
    """Three short prompts are no long one."""
    usage = {"input_tokens": 60_000, "output_tokens": 7}
    stage.play(lambda _: wire.streamed(wire.start(HAIKU, **usage), *wire.text_block("Hi"), *wire.end(**usage)))
    await stage.client.chat(model=HAIKU, n=3)
    record = await stage.record()
    assert record.cost_nanos == 3 * (bill(usage, HAIKU) or 0)
    assert (record.input_tokens, len(record.cost_lines)) == (180_000, 2)


def searched(pause: str, tokens: int, searches: int) -> bytes:
    usage = {"input_tokens": tokens, "output_tokens": 5, "server_tool_use": {"web_search_requests": searches}}
    return b"".join([wire.start(HAIKU, input_tokens=tokens), *wire.text_block("a"), *wire.end(pause, **usage)])


async def test_an_answer_that_goes_on_is_billed_part_by_part(stage: Stage) -> None:
    parts = [searched("pause_turn", 60_000, 2), searched("end_turn", 60_001, 1)]
    stage.play(*(wire.streamed(part) for part in parts))
    await stage.client.chat(model=HAIKU, web_search_options={})
    record = await stage.record()
    each = [{"input_tokens": tokens, "output_tokens": 5} for tokens in (60_000, 60_001)]
    assert record.cost_nanos == sum(bill(one, HAIKU) or 0 for one in each) + 30_000_000


async def test_an_answer_that_breaks_while_it_goes_on_is_billed_for_what_came(stage: Stage) -> None:
    stage.play(wire.streamed(searched("pause_turn", 60_000, 2)), wire.failed(500))
    await stage.client.chat(model=HAIKU, web_search_options={})
    record = await stage.record()
    assert (record.state, record.web_searches, record.usage_source) == ("failed", 2, "estimated")
    assert record.cost_nanos == (bill({"input_tokens": 60_000, "output_tokens": 5}, HAIKU) or 0) + 20_000_000


async def test_a_refusal_before_any_output_is_free_and_one_after_it_is_not(stage: Stage) -> None:
    stage.play(
        wire.streamed(wire.start(OPUS), *wire.end("refusal", output_tokens=1)),
        wire.streamed(wire.start(OPUS), *wire.text_block("Well"), *wire.end("refusal")),
    )
    for _ in range(2):
        await stage.client.post(PATH, hello(model=OPUS))
    free, billed = await stage.records()
    assert (free.cost_nanos, free.cost_lines[0]["class"], free.input_tokens) == (0, "free", 11)
    assert billed.cost_nanos == bill({"input_tokens": 11, "output_tokens": 7}, OPUS)


async def test_what_nobody_has_priced_has_no_cost_and_says_why(stage: Stage) -> None:
    stage.play(wire.streamed(wire.start("claude-next"), *wire.text_block("Hi"), *wire.end()))
    await stage.client.chat(model="claude-next")
    record = await stage.record()
    assert record.cost_nanos is None
    assert record.cost_lines[0]["why"] == "No price is known for claude-next."


async def test_a_test_key_never_costs_money(stage: Stage, another_key: Any) -> None:
    key = await another_key(Mode.TEST)
    assert (await stage.client.chat(headers={})).status == 200
    stage.client.key = key.text
    await stage.client.chat()
    live, test = await stage.records()
    assert live.cost_nanos and (test.mode, test.cost_nanos, test.cost_lines) == ("test", 0, [])
    assert test.output_tokens > 0


async def test_what_upstream_surely_never_did_costs_nothing(stage: Stage) -> None:
    stage.play(wire.failed(400, "invalid_request_error"))
    await stage.client.chat()
    record = await stage.record()
    assert (record.state, record.cost_nanos, record.usage_source) == ("failed", None, "")


async def test_a_client_that_left_before_the_first_byte_is_charged_the_bound(stage: Stage) -> None:
    body = hello(model=OPUS, inference_geo="global")
    record = await stage.left_before_the_first_byte(PATH, body)
    tariff = PRICES.tariff(OPUS, NOW)
    most = bound({**body, "stream": True}, PRICES._catalog.resolve(OPUS), tariff)
    assert (record.cost_nanos, record.usage_source) == (most.nanos, "bound")


async def test_a_broken_stream_costs_what_is_estimated(stage: Stage) -> None:
    stage.play(wire.broken("cut"))
    await stage.client.post(PATH, hello(stream=True))
    record = await stage.record()
    assert record.usage_source == "estimated"
    assert record.cost_nanos == bill({"input_tokens": 11, "output_tokens": record.output_tokens}, SONNET)


def test_events_decode_with_everything_that_has_a_price() -> None:
    usage = {"input_tokens": 1, "inference_geo": "us", "speed": None, "iterations": [{"type": "new", "x": 1}]}
    event = decode_event(msgspec.json.encode({"type": "message_delta", "usage": usage}))
    assert event.usage and event.usage.iterations and event.usage.iterations[0].type == "new"
