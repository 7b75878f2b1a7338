"""Strangers on both sides, at random: no request and no stream gets more than an answer or an ApiError out of Bridge.

`FUZZ=100000` is the whole proof; without it, a sample of 2,000. A failure names its seed.
"""

from __future__ import annotations

import copy
import os
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeVar

import msgspec
import pytest

from bridge import catalog
from bridge.adapt import adapt
from bridge.dialects import chat, chat_answer, responses
from bridge.dialects.chat import AnswerShape
from bridge.dialects.chat_stream import ChatStream
from bridge.dialects.responses_answer import ResponseStream
from bridge.emulate import ForcedTool, PlainJson, through
from bridge.errors import ApiError, internal
from bridge.usage import Meter
from bridge.wire import strict
from bridge.wire.fold import Fold
from tests import wire
from tests.bridge import rules
from tests.chat import MOST, assert_agree
from tests.fuzz import bodies, items, streams
from tests.responses import assert_agree as assert_responses_agree
from tests.responses import events as responses_events
from tests.responses import made as responses_made
from tests.responses import read as responses_read
from tests.sealing import PlainSeal

COUNT = int(os.environ.get("FUZZ", "2000"))
SHARES = 20  # so that a failure shows early and a run can be spread
CATALOG = catalog.load()
NAMES = [model.id for model in CATALOG.models] + ["claude-unheard-of"]


def seeds(share: int) -> range:
    return range(share, COUNT, SHARES)


@contextmanager
def named(seed: int) -> Iterator[None]:
    """A failure says which seed it was."""
    try:
        yield
    except Exception as error:
        raise AssertionError(f"seed {seed}") from error


# --- streams ---


async def check_stream(seed: int) -> None:
    rng = random.Random(seed)
    content, sound = streams.make(rng)
    pieces, clean = streams.cut(content, rng)
    events, problem = await wire.read_all(pieces)
    ended = problem is None
    assert ended == any(event.type == "message_stop" for event in events)
    shape = rng.choice(
        [AnswerShape(), AnswerShape(), AnswerShape(legacy=True), AnswerShape(custom=frozenset({"look"}))]
    )
    rewriters = rng.choice([[], [], [PlainJson()], [ForcedTool("look")], [ForcedTool(None)]])
    fold, meter = Fold(), Meter(MOST)
    stream = ChatStream(meter.usage, 1234, True, shape)
    out = b""
    for event in events:
        meter.feed(event)
        for made in through(list(rewriters), [event]):
            before = out
            out += stream.feed(made)
            fold.feed(made)
            if made.type != "message_stop":
                assert b"[DONE]" not in out[len(before) :] and b'"finish_reason":"' not in out[len(before) :]
    whole = chat_answer.write(fold.message(), meter.usage(), 1234, shape, meter.service_tier)
    assert msgspec.json.decode(msgspec.json.encode(whole)) is not None
    if stream.done:
        assert ended and out.endswith(b"data: [DONE]\n\n") and out.count(b"[DONE]") == 1
    else:
        broken = stream.error(problem) if problem else stream.close()
        assert msgspec.json.decode(broken.removeprefix(b"data: "))["error"]["message"]
        assert b"[DONE]" not in out and b'"finish_reason":"' not in out
    if sound and clean and ended:
        assert_agree(whole, out)


@pytest.mark.parametrize("share", range(SHARES))
async def test_no_stream_ends_well_unless_upstream_said_so(share: int) -> None:
    for seed in seeds(share):
        with named(seed):
            await check_stream(seed)


async def check_response(seed: int) -> None:
    rng = random.Random(seed)
    content, sound = streams.make(rng)
    pieces, clean = streams.cut(content, rng)
    events, problem = await wire.read_all(pieces)
    shape = rng.choice([responses_read().form, responses_read(tools=[{"type": "custom", "name": "look"}]).form])
    rewriters = rng.choice([[], [], [PlainJson()], [ForcedTool("look")], [ForcedTool(None)]])
    response, meter = responses_made(shape)
    stream, out = ResponseStream(response), b""
    for event in events:
        meter.feed(event)
        for made in through(list(rewriters), [event]):
            assert made.type == "message_stop" or not stream.done
            out += stream.feed(made)
    if stream.done:
        assert any(event.type == "message_stop" for event in events)
        told = responses_events(out)
        assert told[-1]["type"] in ("response.completed", "response.incomplete")
        if sound and clean:
            assert_responses_agree(response.resource(), told)
        return
    told = responses_events(out + stream.error(problem or internal()))
    assert [event["type"] for event in told[-2:]] == ["error", "response.failed"]
    assert not [event for event in told if event["type"] in ("response.completed", "response.incomplete")]


@pytest.mark.parametrize("share", range(SHARES))
async def test_no_response_is_complete_unless_upstream_said_so(share: int) -> None:
    for seed in seeds(share):
        with named(seed):
            await check_response(seed)


# --- requests ---


Reading = TypeVar("Reading", chat.Reading, responses.Reading)


def accepted(body: Any, read: Callable[[Any], Reading]) -> Reading | None:
    """The request, which is then one that the API accepts; None if it was refused."""
    try:
        reading = read(strict.loads(msgspec.json.encode(body)))
        model = CATALOG.resolve(reading.request["model"])
        adapt(reading.request, model, reading.receipt, reading.display)
    except ApiError as problem:
        assert problem.status in (400, 404) and problem.body()["error"]["message"]
        return None
    except ValueError:  # too deep for the door
        return None
    msgspec.json.encode(reading.request)
    assert str(reading.receipt).isascii() and "\n" not in str(reading.receipt)
    found = rules.problems(reading.request, model)
    assert not found, f"{found} of {model.id}"
    return reading


def check_body(seed: int) -> bool:
    return accepted(bodies.make(random.Random(seed)), chat.read) is not None


def check_items(seed: int) -> bool:
    reading = accepted(items.make(random.Random(seed)), partial(responses.read, seal=PlainSeal()))
    if reading is not None:
        msgspec.json.encode(reading.form.echo)
    return reading is not None


@pytest.mark.parametrize("share", range(SHARES))
@pytest.mark.parametrize("check", [check_body, check_items])
def test_a_request_is_refused_or_made_one_that_the_api_takes(check: Callable[[int], bool], share: int) -> None:
    taken = 0
    for seed in seeds(share):
        with named(seed):
            taken += check(seed)
    assert taken > COUNT / SHARES / 10, "too few are accepted for the rules to mean anything"


@pytest.mark.parametrize("name", NAMES)
def test_the_seeds_of_all_mutations_are_accepted_by_every_model(name: str) -> None:
    for body in bodies.GOOD:
        reading = chat.read({**copy.deepcopy(body), "model": name})
        model = CATALOG.resolve(name)
        adapt(reading.request, model, reading.receipt)
        assert rules.problems(reading.request, model) == []


@pytest.mark.parametrize(
    "block",
    [
        {"type": "text", "text": 5},
        {"type": "text", "text": "x", "citations": 5},
        {"type": "thinking", "thinking": 5},
        {"type": "tool_use", "id": "a", "name": [], "input": {}},
    ],
)
async def test_a_block_of_wrong_types_is_upstreams_error(block: dict[str, Any]) -> None:
    parts = [wire.start(), wire.event("content_block_start", index=0, content_block=block), *wire.end()]
    events, problem = await wire.read_all(parts)
    fold = Fold()
    for event in events:
        fold.feed(event)
    chat_answer.write(fold.message(), Meter(MOST).usage(), 1234, AnswerShape())
    assert problem is not None and problem.kind == "upstream_malformed"
