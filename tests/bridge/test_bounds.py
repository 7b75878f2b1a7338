"""The most that a request can cost: never less than what it did, and as near as can be proved."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from bridge import catalog
from bridge.bounds import IMAGE_TOKENS, SERVER_STEPS, TOOLS_TOKENS, Bound, bound
from bridge.prices import Prices, dearest_terms
from tenants.money import Rates, Tariff
from tenants.values import Usage, UsageSource
from tests.shared import needs_recordings, recordings

NOW = datetime(2026, 11, 22, tzinfo=UTC)
CATALOG = catalog.load()
PRICES = Prices(CATALOG)
WINDOW = 1_000_000
SEARCH = {"type": "web_search_20250305", "name": "web_search", "max_uses": 3}
PDF = {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBE"}}
CACHED = {"type": "ephemeral"}


def asked(*content: Any, choices: int = 1, model: str = "claude-opus-5-5", **more: Any) -> Bound:
    """The bound of a request that says exactly this."""
    turn = {"role": "user", "content": list(content) or "Hi"}
    request = {"model": model, "max_tokens": 100, "inference_geo": "global", "messages": [turn], **more}
    tariff = PRICES.tariff(model, NOW, dearest_terms(request))
    return bound(request, CATALOG.resolve(model), tariff, choices)


def image(data: str = "QUJD", **source: Any) -> dict[str, Any]:
    return {"type": "image", "source": source or {"type": "base64", "media_type": "image/png", "data": data}}


def text(value: str) -> dict[str, Any]:
    return {"type": "text", "text": value}


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"mcp_servers": [{"type": "url", "url": "https://mcp"}]}, "`mcp_servers`"),
        ({"fallbacks": "default"}, "`fallbacks`"),
        ({"context_management": {"edits": [{"type": "compact_20260112"}]}}, "`context_management`"),
        ({"tools": [{"type": "advisor_20260301", "name": "advisor", "model": "claude-opus-5"}]}, "advisor"),
        ({"tools": [{"type": "brand_new_20270101", "name": "new"}]}, "brand_new"),
        ({"tools": [{"type": "web_search_20250305", "name": "web_search"}]}, "without `max_uses`"),
    ],
)
def test_what_cannot_be_bounded_says_why(more: dict[str, Any], reason: str) -> None:
    unbounded = asked(**more)
    assert unbounded.nanos is None and not unbounded.countable
    assert any(reason in one for one in unbounded.reasons)


def test_without_a_price_there_is_no_bound_of_money() -> None:
    unpriced = asked(model="claude-next")
    assert (unpriced.nanos, unpriced.estimate_nanos, unpriced.token_nanos) == (None, None, None)
    assert unpriced.usage.prompt > 0


@pytest.mark.parametrize(
    "broken",
    [
        {"messages": "Hi"},
        {"messages": [5, {"role": "user"}, {"content": [None, {"type": []}, {"type": "image", "source": 5}]}]},
        {"messages": [{"content": [{"type": "image", "source": {"type": "base64", "data": 5}}]}]},
        {"messages": [{"content": [{"type": "thinking", "signature": {}}, {"type": "document", "source": None}]}]},
        {"tools": 5, "system": 5, "context_management": 5, "output_config": []},
        {
            "tools": [None, {"type": {}}, {"type": "web_search_1", "max_uses": "many"}],
            "context_management": {"edits": 1},
        },
    ],
)
def test_nonsense_is_bounded_by_its_bytes_or_not_at_all(broken: dict[str, Any]) -> None:
    assert asked(**broken).usage.prompt > 0


def test_blocks_nested_a_thousand_deep_are_no_recursion() -> None:
    block: Any = image()
    for _ in range(2_000):
        block = {"type": "tool_result", "tool_use_id": "a", "content": [block]}
    request = {"max_tokens": 1, "messages": [{"role": "user", "content": [block]}]}
    assert bound(request, CATALOG.resolve("claude-opus-5"), None, content=b"x" * 10).first.input > IMAGE_TOKENS


def test_text_is_at_most_its_bytes() -> None:
    small, large = asked(text("日本語")), asked(text("日本語" * 1_000))
    assert large.usage.prompt - small.usage.prompt == 999 * 9
    assert large.estimate_nanos and large.nanos and large.estimate_nanos < large.nanos


def test_no_prompt_is_longer_than_the_context_window() -> None:
    assert asked(text("x" * 3_000_000)).usage.prompt == WINDOW


def test_an_image_has_its_cap_however_many_bytes_it_is_and_wherever_it_is() -> None:
    for source in ({"type": "url", "url": "https://example.org/a.png"}, {"type": "file", "file_id": "f"}):
        assert IMAGE_TOKENS < asked(image(**source)).usage.prompt < IMAGE_TOKENS + 400
    assert asked(image("A" * 500_000)).usage.prompt == asked(image("A")).usage.prompt
    assert asked({"type": "tool_result", "content": [image("A" * 500_000)]}).usage.prompt < IMAGE_TOKENS + 400


def test_a_text_that_only_looks_like_an_image_is_text() -> None:
    call = {"type": "tool_use", "id": "a", "name": "look", "input": image("A" * 100_000)}
    assert asked(call).usage.prompt > 100_000


@pytest.mark.parametrize(
    "block",
    [
        PDF,
        {"type": "document", "source": {"type": "url", "url": "https://example.org/a.pdf"}},
        {"type": "document", "source": {"type": "text", "data": "A. B."}, "citations": {"enabled": True}},
        {"type": "web_search_tool_result", "tool_use_id": "a", "content": [{"encrypted_content": "x"}]},
        {"type": "something_new"},
    ],
)
def test_what_only_upstream_can_count_is_bounded_by_the_context_window(block: Any) -> None:
    opaque = asked(block)
    assert (opaque.usage.prompt, opaque.countable) == (WINDOW, True)
    assert opaque.nanos is not None and opaque.reasons


def test_a_text_document_is_text() -> None:
    assert asked({"type": "document", "source": {"type": "text", "data": "A. B."}}).usage.prompt < 400


def test_upstreams_own_tools_read_everything_again_in_each_step_and_have_a_fee() -> None:
    searching = asked(tools=[SEARCH])
    assert searching.usage == searching.first.but(input=SERVER_STEPS * WINDOW, web_searches=3)
    assert searching.first.input < 2_000, "before the answer begins, none has run"
    assert not searching.countable, "a count does not know what will be found"
    fees = [line["pico"] for line in searching.bill.lines if line["class"] == "web_search"]
    assert fees == [3 * 10_000_000_000]


def test_tools_and_formats_bring_prompts_of_their_own() -> None:
    tool = {"name": "f", "input_schema": {"type": "object"}}
    assert asked(tools=[tool]).usage.prompt > asked().usage.prompt + TOOLS_TOKENS
    assert asked(tools=[{**tool, "strict": True}]).usage.prompt > asked(tools=[tool]).usage.prompt + 1_000
    assert asked(output_config={"format": {"type": "json_schema"}}).usage.prompt > asked().usage.prompt + 1_000


@pytest.mark.parametrize(
    ("more", "used"),
    [
        ({}, "input"),
        ({"cache_control": CACHED}, "cache_write_5m"),
        ({"cache_control": {**CACHED, "ttl": "1h"}}, "cache_write_1h"),
        ({"system": [{"type": "text", "text": "x", "cache_control": CACHED}]}, "cache_write_5m"),
        ({"system": '"cache_control"'}, "input"),
    ],
)
def test_the_dearest_class_that_the_request_allows_is_taken(more: dict[str, Any], used: str) -> None:
    most = asked(**more)
    assert most.usage == Usage(**{used: most.usage.prompt}, output=100, source=UsageSource.BOUND)  # type: ignore[arg-type]


def test_the_region_and_the_speed_count() -> None:
    def nanos(**more: Any) -> int:
        return asked(**more).bill.nanos or 0

    assert nanos(inference_geo="us") > nanos()
    assert nanos(inference_geo=None) > nanos(), "the workspace upstream may say so"
    assert nanos(speed="fast") > 2 * nanos() - 1


def test_choices_count_each() -> None:
    one, three = asked(), asked(choices=3)
    assert three.nanos == 3 * (one.nanos or 0)
    assert (three.usage.prompt, three.usage.output) == (3 * one.usage.prompt, 300)


def test_a_long_prompt_is_bounded_at_its_dearer_price() -> None:
    long = asked(text("x" * 150_000), model="claude-haiku-5-5")
    assert long.nanos == long.usage.prompt * 500 + 100 * 2_500


ODD = Tariff("odd", Rates(*[1_000] * 4, output=2_001), long_above=100_000, long=Rates(*[1_500] * 4, output=3_001))


@pytest.mark.parametrize("choices", [1, 3])
@pytest.mark.parametrize("prompt", ["Hi", "x" * 150_000], ids=["short", "long"])
def test_a_token_of_output_is_held_at_its_price_and_less_than_a_nano_dollar_more(prompt: str, choices: int) -> None:
    most = asked(text(prompt), choices=choices, max_tokens=64_000)._replace(tariff=ODD)
    fixed, token = most.with_output(0).nanos or 0, most.token_nanos or 0
    for tokens in (1, 1_000, 64_000):
        costs = most.with_output(tokens).nanos or 0
        assert costs <= fixed + token * tokens < costs + tokens + 1


def test_a_count_takes_the_place_of_the_bytes_with_a_margin() -> None:
    counted = asked(PDF).counted(10_000)
    assert counted.usage.prompt == 12_000
    assert asked().counted(10_000).usage.prompt == asked().usage.prompt, "bytes are a proof, a count is not"


def used(exchange: dict[str, Any]) -> int:
    """All input tokens that a recorded answer says it cost."""
    response = exchange["response"]
    body = response.get("body")
    said = [body.get("usage")] if isinstance(body, dict) else []
    for line in response.get("sse", "").splitlines():
        if line.startswith("data:") and '"usage"' in line:
            event = msgspec.json.decode(line[5:].strip())
            said.append(event.get("usage") or event.get("message", {}).get("usage"))
    final: dict[str, Any] = {}
    for usage in filter(None, said):
        final |= {name: value for name, value in usage.items() if value is not None}
    counts = ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens")
    return sum(one.get(name) or 0 for one in final.get("iterations") or [final] for name in counts)


def whole_requests() -> dict[str, dict[str, Any]]:
    return {
        name: one
        for name, one in recordings().items()
        if isinstance(one["request"].get("body"), dict) and "max_tokens" in one["request"]["body"]
    }


@needs_recordings
@pytest.mark.parametrize("name", whole_requests())
def test_no_recorded_request_was_larger_than_its_bound(name: str) -> None:
    exchange = whole_requests()[name]
    request = exchange["request"]["body"]
    most = bound(request, CATALOG.resolve(request["model"]), PRICES.tariff("claude-opus-5", NOW))
    assert most.usage.prompt >= used(exchange) or not most.provable


@needs_recordings
def test_most_recorded_requests_have_a_bound_that_is_proved() -> None:
    provable = [
        bound(one["request"]["body"], CATALOG.resolve("claude-opus-5"), None).provable
        for one in whole_requests().values()
    ]
    assert len(provable) > 200 and sum(provable) > 0.85 * len(provable)
