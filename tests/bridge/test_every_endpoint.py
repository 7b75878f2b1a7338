"""Every endpoint that asks a model something goes the one road: a URL that skips a part of it fails here."""

from __future__ import annotations

from typing import Any

import pytest

from bridge import admission, pipeline, urls, views
from bridge.bounds import Bound
from bridge.errors import ApiError
from tests import wire
from tests.asgi import Client
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
    assert [path for path, view in ASKING if view.websocket] == ["/v1/responses"]
    assert len(ASKING) >= 8
    assert all(view.inference and view.dialect.name in BODIES for _, view in ASKING)
    assert not [view for view in OTHERS if view.inference]


class Asker:
    """One way to ask: `stream` over HTTP or not, or over a WebSocket."""

    def __init__(self, path: str, view: Any, way: str) -> None:
        self.path, self.view, self.way = path, view, way
        self.streamed = way != "whole" and view is not views.Compaction  # which is never told in pieces

    async def ask(self, client: Client) -> tuple[int, dict[str, str]]:
        """The status of the answer, and its headers."""
        body = BODIES[self.view.dialect.name]
        if self.way != "websocket":
            got = await client.post(self.path, {**body, "stream": self.way == "streamed"})
            return got.status, got.headers
        talk = client.talk(self.path)
        talk.say({"type": "response.create", **body})
        first = (await talk.answer())[0]
        return first.get("status", 200), first["headers"]


ASKERS = [Asker(path, view, way) for path, view in ASKING for way in ("whole", "streamed")]
ASKERS += [Asker(path, view, "websocket") for path, view in ASKING if view.websocket]
each_way = pytest.mark.parametrize("asker", ASKERS, ids=lambda asker: f"{asker.path} {asker.way}")


@each_way
async def test_it_is_admitted_recorded_and_told(stage: Stage, monkeypatch: pytest.MonkeyPatch, asker: Asker) -> None:
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
    name = asker.view.dialect.name
    status, headers = await asker.ask(stage.client)
    assert (status, admitted, headers["x-ratelimit-limit-requests"]) == (200, [name], "7")
    assert ("x-bridge-compat" in headers) == (name != "messages")
    record = await stage.record()
    assert (record.dialect, record.state, record.streamed) == (name, "settled", asker.streamed)
    assert (record.input_tokens, record.output_tokens, record.usage_source) == (11, 7, "exact")
    assert str(record.id) == headers["x-request-id"]
    assert record.receipt == headers.get("x-bridge-compat", "")


@each_way
async def test_a_refusal_of_admission_reaches_nobody(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, asker: Asker
) -> None:
    async def admit(*args: Any) -> None:
        raise ApiError("rate_limited", "Enough.")

    monkeypatch.setattr(pipeline, "admit", admit)
    status, _ = await asker.ask(stage.client)
    assert (status, stage.transport.requests) == (429, [])
    assert (await stage.record()).state == "refused"


@each_way
async def test_a_break_is_on_record(stage: Stage, asker: Asker) -> None:
    for name in wire.BREAKS:
        stage.play(wire.broken(name))
        await asker.ask(stage.client)
    assert {record.state for record in await stage.records()} == {"failed"}
