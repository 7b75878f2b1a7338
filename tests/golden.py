"""The golden cases of tests/cases: client request → upstream request and receipt; events → answer and chunks.

Those of the Responses API are in tests/cases/responses.

Written by hand from what the two APIs document. A request is laid over a plain one; what upstream gets says everything
but the model and, where the request names none, the messages.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from bridge import catalog
from bridge.adapt import adapt
from bridge.dialects import chat, responses
from bridge.dialects.chat import AnswerShape, Reading
from bridge.dialects.responses import ResponseShape
from tests import wire
from tests.sealing import PlainSeal

CASES = Path(__file__).resolve().parent / "cases"
CATALOG = catalog.load()
Case = dict[str, Any]


def _load(*names: str) -> dict[str, Case]:
    found = [case for name in names for case in json.loads((CASES / f"{name}.json").read_text())]
    assert len({case["name"] for case in found}) == len(found), "a name twice"
    return {case["name"]: case for case in found}


ANSWERS = _load("answers")
REQUESTS = _load(*sorted(path.stem for path in CASES.glob("*.json") if path.stem != "answers"))
ACCEPTED = {name: case for name, case in REQUESTS.items() if "error" not in case}
RESPONSES = _load("responses/requests")
RESPONSES_ACCEPTED = {name: case for name, case in RESPONSES.items() if "error" not in case}
RESPONSES_ANSWERS = _load("responses/answers")


def body(case: Case) -> dict[str, Any]:
    """What the client of a case sends."""
    plain = {"model": case["model"], "messages": [{"role": "user", "content": "Hello"}]}
    return {**plain, **case["request"]}


def upstream(case: Case) -> dict[str, Any]:
    """What upstream is to get."""
    plain = {"model": case["model"], "messages": [{"role": "user", "content": [{"type": "text", "text": "Hello"}]}]}
    return {**plain, **case["upstream"]}


def translated(sent: dict[str, Any]) -> Reading:
    """A client's request, read and adapted. Raises ApiError."""
    reading = chat.read(sent)
    adapt(reading.request, CATALOG.resolve(reading.request["model"]), reading.receipt)
    return reading


def events(case: Case) -> list[bytes]:
    return [wire.event(one["type"], **{name: one[name] for name in one if name != "type"}) for one in case["events"]]


def shape(case: Case) -> AnswerShape:
    given = case.get("shape", {})
    return AnswerShape(custom=frozenset(given.get("custom", ())), legacy=given.get("legacy", False))


def response_body(case: Case) -> dict[str, Any]:
    return {"model": case["model"], "input": "Hello", **case["request"]}


def translated_response(sent: dict[str, Any]) -> responses.Reading:
    """A request of the Responses API, read and adapted. Raises ApiError."""
    reading = responses.read(sent, PlainSeal())
    adapt(reading.request, CATALOG.resolve(reading.request["model"]), reading.receipt, reading.display)
    return reading


def response_shape(case: Case) -> ResponseShape:
    """What is remembered of the request that the answer of a case belongs to."""
    return responses.read({"model": "claude-opus-5", "input": "Hello", **case.get("request", {})}, PlainSeal()).form
