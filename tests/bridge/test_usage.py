"""Counting tokens: the last word per field wins, and what is not known is said to be so."""

from __future__ import annotations

from bridge.usage import Meter
from tenants.values import Usage, UsageSource
from tests import wire

MOST = Usage(input=500, output=1000, source=UsageSource.BOUND)
MODEL = "claude-sonnet-5-5"


def metered(parts: list[bytes]) -> Usage:
    meter = Meter(MOST)
    for event in wire.events(parts):
        meter.feed(event)
    return meter.usage()


def test_the_closing_count_replaces_and_keeps_what_it_does_not_mention() -> None:
    start = wire.start(
        input_tokens=10,
        cache_creation_input_tokens=7,
        cache_read_input_tokens=100,
        cache_creation={"ephemeral_5m_input_tokens": 5, "ephemeral_1h_input_tokens": 2},
    )
    end = wire.end(output_tokens=40, input_tokens=12, output_tokens_details={"thinking_tokens": 30})
    usage = metered([start, *wire.text_block("Hi"), *end])
    assert usage == Usage(
        input=12, cache_write_5m=5, cache_write_1h=2, cache_read=100, output=40, reasoning=30, model=MODEL
    )
    assert (usage.prompt, usage.source) == (119, UsageSource.EXACT)


def test_cache_writes_without_a_split_are_of_the_short_kind() -> None:
    usage = metered([wire.start(cache_creation_input_tokens=7), *wire.end()])
    assert (usage.cache_write_5m, usage.cache_write_1h) == (7, 0)


def test_null_counts_are_no_counts() -> None:
    usage = metered([wire.start(cache_read_input_tokens=None), *wire.end(server_tool_use=None, input_tokens=None)])
    assert (usage.input, usage.cache_read, usage.web_searches) == (11, 0, 0)


def test_a_broken_stream_is_estimated_upwards_from_what_was_shown() -> None:
    usage = metered([wire.start(), *wire.text_block("日本語", "abc")[:3]])
    assert (usage.output, usage.source) == (4, UsageSource.ESTIMATED)


def test_once_it_thought_only_the_bound_is_known() -> None:
    usage = metered([wire.start(), *wire.thinking_block(), *wire.text_block("Hi", index=1)])
    assert (usage.output, usage.source) == (1000, UsageSource.BOUND)


def test_what_was_never_answered_is_bounded_by_what_was_sent() -> None:
    assert Meter(MOST).bound() == MOST


def test_what_upstream_does_not_say_was_done_as_asked() -> None:
    asked, told = Meter(MOST, frozenset({"us", "fast"})), Meter(MOST, frozenset({"us", "fast"}))
    asked.feed(wire.events([wire.start()])[0])
    told.feed(wire.events([wire.start(speed="standard", inference_geo="global")])[0])
    assert (asked.usage().terms, told.usage().terms) == ({"us", "fast"}, frozenset())


def test_another_model_that_took_part_is_billed_and_was_not_asked_to_be_fast() -> None:
    each = [{"type": "message", "input_tokens": 1}, {"type": "advisor_message", "model": "m", "input_tokens": 2}]
    meter = Meter(MOST)
    for event in wire.events(
        [wire.start(speed="fast", inference_geo="us"), *wire.end(iterations=each, input_tokens=1)]
    ):
        meter.feed(event)
    billed = meter.billed()
    assert [(part.input, part.model, set(part.terms)) for part in billed.parts] == [
        (1, MODEL, {"fast", "us"}),
        (2, "m", {"us"}),
    ]
    assert (billed.input, meter.usage().input) == (3, 1)
