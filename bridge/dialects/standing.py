"""How limits stand, as headers: in OpenAI's form a reset is a duration, in Anthropic's a moment."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Protocol


class Standing(Protocol):
    """See tenants.limits.Standing."""

    @property
    def size(self) -> int: ...
    @property
    def remaining(self) -> int: ...
    @property
    def reset(self) -> float: ...


def openai_headers(tightest: Mapping[str, Standing], now: float) -> dict[str, str]:
    """`x-ratelimit-*`, by unit (requests, tokens)."""
    headers = {}
    for unit, standing in tightest.items():
        headers[f"x-ratelimit-limit-{unit}"] = str(standing.size)
        headers[f"x-ratelimit-remaining-{unit}"] = str(standing.remaining)
        headers[f"x-ratelimit-reset-{unit}"] = duration(standing.reset)
    return headers


def anthropic_headers(tightest: Mapping[str, Standing], now: float) -> dict[str, str]:
    """`anthropic-ratelimit-*`; `now` in unix seconds."""
    headers = {}
    for unit, standing in tightest.items():
        moment = datetime.fromtimestamp(math.ceil(now + standing.reset), UTC)
        headers[f"anthropic-ratelimit-{unit}-limit"] = str(standing.size)
        headers[f"anthropic-ratelimit-{unit}-remaining"] = str(standing.remaining)
        headers[f"anthropic-ratelimit-{unit}-reset"] = moment.strftime("%Y-%m-%dT%H:%M:%SZ")
    return headers


def duration(seconds: float) -> str:
    """As Go writes one, and OpenAI: 0s, 120ms, 1s, 8.64s, 6m0s, 1h0m0s."""
    thousandths = math.ceil(seconds * 1000 - 0.02)  # clocks tick between the limit and here
    if 0 < thousandths < 1000:
        return f"{thousandths}ms"
    minutes, rest = divmod(thousandths, 60_000)
    hours, minutes = divmod(minutes, 60)
    said = f"{rest / 1000:.3f}".rstrip("0").rstrip(".") + "s"
    return f"{hours}h{minutes}m{said}" if hours else f"{minutes}m{said}" if minutes else said
