"""All sorts of requests, at random: of every dialect, whole and streamed, with all that clients and upstream may do."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

from tests.faults.load import ENDS, Ask, Leave

GOOD = (
    "[fault:ok tokens=20]",
    "[fault:ok tokens=20 rate=100]",
    "[fault:ok tokens=10 first=0.1]",
    "[fault:unknown_events]",
    "[fault:huge_event bytes=100000]",
)
FAULTS = (
    "[fault:status code=400]",
    "[fault:status code=429 retry=5]",
    "[fault:status code=500]",
    "[fault:error_event]",
    "[fault:first_error]",
    "[fault:empty]",
    "[fault:eof]",
    "[fault:rst]",
    "[fault:short_length]",
    "[fault:bad_chunk]",
    "[fault:malformed_json]",
    "[fault:non_utf8]",
    "[fault:html502]",
    "[fault:redirect]",
)
LONG = "[fault:ok tokens=400 rate=200 first=0.05]"
FLOOD = "[fault:ok tokens=20000 rate=20000]"


@dataclass(slots=True)
class Refused(Ask):
    """One that no dialect takes."""

    def body(self) -> bytes:
        return b'{"model": "claude-sonnet-5-5", "max_tokens": 10, "messages": 7, "input": 7}'


def traffic(chance: random.Random) -> Iterator[Ask]:
    """Without end: six of ten are good requests, one hangs up, one reads slowly, one is refused, one meets a fault."""
    while True:
        path, stream = chance.choice(list(ENDS)), chance.random() < 0.6
        match chance.randrange(10):
            case 0:
                yield Ask(LONG, stream, _leaving(chance), path=path)
            case 1:
                yield Ask(FLOOD, True, Leave("slow", chance.uniform(0.5, 2), chance.random() < 0.5), path=path)
            case 2:
                yield Refused(stream=stream, path=path)
            case 3:
                yield Ask(chance.choice(FAULTS), stream, path=path)
            case _:
                yield Ask(chance.choice(GOOD), stream, path=path)


def _leaving(chance: random.Random) -> Leave:
    where, most = chance.choice((("body", 1.0), ("wait", 0.5), ("deaf", 0.5)))
    return Leave(where, chance.uniform(0, most), chance.random() < 0.5)
