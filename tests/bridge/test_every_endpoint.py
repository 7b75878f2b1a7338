"""Every endpoint that asks a model something goes the one road: a URL that skips a part of it fails here."""

from __future__ import annotations

from typing import Any

import pytest

from bridge import admission, pipeline, urls, views
from bridge.bounds import Bound
from bridge.errors import ApiError
from tests import wire
from tests.conftest import Stage

MODEL = "claude-sonnet-5-5"
SAID = [{"role": "user", "content": "Hello"}]
# What a dialect's request is at least, with something in it that ends on the receipt (except in the house language,
# where nothing is lost).
BODIES: dict[str, dict[str, Any]] = {
    "chat": {"model": MODEL, "messages": SAID, "seed": 1},
    "responses": {"model": MODEL, "input": "Hello", "truncation": "auto"},
    "completions": {"model": MODEL, "prompt": "Hello", "seed": 1},
    "messages": {"model": MODEL, "messages": SAID, "max_tokens": 9},
}
# Those that ask no model anything.
OTHERS = {views.CountTokens, views.InputTokens, views.Models, views.ModelDetail, views.KeyDetail}
ASKING = [
    (f"/v1/{pattern.pattern._route.replace('<path:model>', MODEL)}", pattern.callback.cls)  # type: ignore[attr-defined]
    for pattern in urls.endpoints
    if pattern.callback.cls not in OTHERS
]


def test_every_other_endpoint_is_known() -> None:
    assert len(ASKING) >= 8
    assert all(view.inference and view.dialect.name in BODIES for _, view in ASKING)
    assert not [view for view in OTHERS if view.inference]


@pytest.mark.parametrize(("path", "view"), ASKING, ids=[path for path, _ in ASKING])
@pytest.mark.parametrize("stream", [False, True])
async def test_it_is_admitted_recorded_and_told(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, path: str, view: Any, stream: bool
) -> None:
    admitted = []

    async def admit(
        services: Any, dialect: Any, call: Any, question: Any, request: Any, content: bytes, model: Any
    ) -> Bound:
        admitted.append(dialect.name)
        assert request["max_tokens"] and request["messages"] and model.id == MODEL
        most = await admission.admit(services, dialect, call, question, request, content, model)
        call.grant.headers["x-ratelimit-limit-requests"] = "7"
        return most

    monkeypatch.setattr(pipeline, "admit", admit)
    name = view.dialect.name
    got = await stage.client.post(path, {**BODIES[name], "stream": stream})
    assert (got.status, admitted, got.headers["x-ratelimit-limit-requests"]) == (200, [name], "7")
    assert ("x-bridge-compat" in got.headers) == (name != "messages")
    record = await stage.record()
    assert (record.dialect, record.state, record.streamed) == (name, "settled", stream)
    assert (record.input_tokens, record.output_tokens, record.usage_source) == (11, 7, "exact")
    assert str(record.id) == got.headers["x-request-id"]
    assert record.receipt == got.headers.get("x-bridge-compat", "")


@pytest.mark.parametrize(("path", "view"), ASKING, ids=[path for path, _ in ASKING])
async def test_a_refusal_of_admission_reaches_nobody(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, path: str, view: Any
) -> None:
    async def admit(*args: Any) -> None:
        raise ApiError("rate_limited", "Enough.")

    monkeypatch.setattr(pipeline, "admit", admit)
    got = await stage.client.post(path, BODIES[view.dialect.name])
    assert (got.status, stage.transport.requests) == (429, [])
    assert (await stage.record()).state == "refused"


@pytest.mark.parametrize(("path", "view"), ASKING, ids=[path for path, _ in ASKING])
async def test_a_break_is_on_record(stage: Stage, path: str, view: Any) -> None:
    for name in wire.BREAKS:
        stage.play(wire.broken(name))
        await stage.client.post(path, {**BODIES[view.dialect.name], "stream": True})
    assert {record.state for record in await stage.records()} == {"failed"}
