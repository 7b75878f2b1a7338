"""Counting tokens: the last word per field wins, and what is not known is said to be so."""

from __future__ import annotations

from bridge.usage import Meter
from tenants.values import Usage, UsageSource
from tests import wire


def metered(parts: list[bytes]) -> Usage:
    meter = Meter(request_bytes=500, max_tokens=1000)
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
    assert usage == Usage(input=12, cache_write_5m=5, cache_write_1h=2, cache_read=100, output=40, reasoning=30)
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
    assert Meter(500, 1000).bound() == Usage(input=500, output=1000, source=UsageSource.BOUND)
