"""Requests of the Responses API at random: good ones (the golden cases that are accepted), changed at any place."""

from __future__ import annotations

import random
from typing import Any

from tests import golden
from tests.fuzz import bodies

GOOD: list[dict[str, Any]] = [golden.response_body(case) for case in golden.RESPONSES_ACCEPTED.values()]


def make(rng: random.Random) -> Any:
    return bodies.make(rng, GOOD, "input")
