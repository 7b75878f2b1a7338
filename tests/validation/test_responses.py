"""Every response and every event of one, against OpenAI's own schema: over golden cases, recordings and breaks."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("jsonschema", reason="tests/validation needs jsonschema")

from bridge.dialects.responses import ResponseShape
from bridge.errors import KINDS, ApiError
from tests import golden, wire
from tests.bridge.test_recordings import STREAMS, read_all
from tests.responses import events, made, read, run, streamed, whole
from tests.sealing import PlainSeal
from tests.shared import needs_openai_schema
from tests.validation.openai_schema import errors

pytestmark = needs_openai_schema
RESPONSE, EVENT = "Response", "ResponseStreamEvent"


def assert_valid(told: list[dict[str, Any]]) -> None:
    for event in told:
        assert errors(EVENT, event) == [], event["type"]
        if "response" in event:
            assert errors(RESPONSE, event["response"]) == []
        if "item" in event:
            assert errors("OutputItem", event["item"]) == []


def shape_of(name: str) -> ResponseShape:
    return golden.response_shape(golden.RESPONSES_ANSWERS[name])


# --- the validator is one ---


@pytest.mark.parametrize(
    "change",
    [
        {"status": "done"},
        {"output": [{"type": "message"}]},
        {"usage": {}},
        {"created_at": "now"},
        {"tools": [{"type": "function"}]},
        {"incomplete_details": {"reason": "tired"}},
        {"error": {"code": "odd", "message": "x"}},
    ],
)
def test_a_bad_response_is_found(change: dict[str, Any]) -> None:
    good = whole(wire.answer("Hi"))
    assert errors(RESPONSE, good) == [] and errors(RESPONSE, {**good, **change})


@pytest.mark.parametrize("change", [{"type": "response.odd"}, {"sequence_number": None}, {"output_index": "0"}])
def test_a_bad_event_is_found(change: dict[str, Any]) -> None:
    delta = next(event for event in streamed(wire.answer("Hi")) if event["type"] == "response.output_text.delta")
    assert errors(EVENT, delta) == [] and errors(EVENT, {**delta, **change})


# --- responses and events ---


@pytest.mark.parametrize("name", golden.RESPONSES_ANSWERS)
def test_a_golden_answer(name: str) -> None:
    parts = golden.events(golden.RESPONSES_ANSWERS[name])
    assert errors(RESPONSE, whole(parts, shape_of(name))) == []
    assert_valid(streamed(parts, shape_of(name)))


@pytest.mark.parametrize("name", golden.RESPONSES_ACCEPTED)
def test_what_a_response_repeats_of_its_request(name: str) -> None:
    shape = golden.translated_response(golden.response_body(golden.RESPONSES_ACCEPTED[name])).form
    assert errors(RESPONSE, whole(wire.answer("Hi"), shape)) == []


@pytest.mark.parametrize("kind", KINDS)
def test_every_error_inside_a_stream(kind: str) -> None:
    for parts in ([], wire.answer("Hi")[:4]):
        stream, out = run(parts, broken=ApiError(kind, "no", "input"))
        assert_valid(events(out + stream.beat()))


@pytest.mark.parametrize("name", STREAMS)
async def test_a_recorded_answer(name: str) -> None:
    read_events, problem = await read_all(STREAMS[name], 10_000)
    response, meter = made(read(tools=[{"type": "web_search"}], seal=PlainSeal()).form)
    told = []
    for event in read_events:
        meter.feed(event)
        told += response.feed(event)
    if problem is not None and not response.done:
        told += response.fail(problem)
    assert_valid([{**event, "sequence_number": number} for number, event in enumerate(told)])
    assert errors(RESPONSE, response.resource()) == []
