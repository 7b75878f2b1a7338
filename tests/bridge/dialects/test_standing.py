"""Limits as headers: durations as Go writes them, moments as RFC 3339."""

from __future__ import annotations

import pytest

from bridge.dialects.standing import anthropic_headers, duration, openai_headers
from tenants.limits import Limit, Standing, Unit

LIMIT = Limit("key", "one", Unit.TOKENS, 1000)


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, "0s"), (0.0001, "1ms"), (0.12, "120ms"), (0.9999, "1s"), (1, "1s"), (8.64, "8.64s"), (59.9999, "1m0s"),
        (86.4, "1m26.4s"), (360, "6m0s"), (3600, "1h0m0s"), (3725.5, "1h2m5.5s"),
    ],
)  # fmt: skip
def test_a_duration(seconds: float, said: str) -> None:
    assert duration(seconds) == said


def test_openai_s_form() -> None:
    assert openai_headers({"tokens": Standing(LIMIT, 0, 940, 3.6, 0.0, 1000)}, 0) == {
        "x-ratelimit-limit-tokens": "1000",
        "x-ratelimit-remaining-tokens": "940",
        "x-ratelimit-reset-tokens": "3.6s",
    }


def test_anthropic_s_form() -> None:
    assert anthropic_headers({"tokens": Standing(LIMIT, 0, 940, 3.6, 0.0, 1000)}, 1_700_000_000) == {
        "anthropic-ratelimit-tokens-limit": "1000",
        "anthropic-ratelimit-tokens-remaining": "940",
        "anthropic-ratelimit-tokens-reset": "2023-11-14T22:13:24Z",
    }
