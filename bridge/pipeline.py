"""The one road of an inference request: read, resolve, adapt, send, and give back whole or as a stream."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from bridge.adapt import adapt
from bridge.call import Call, Ended
from bridge.catalog import Catalog
from bridge.dialects import chat, chat_answer
from bridge.dialects.chat import AnswerShape
from bridge.dialects.chat_stream import ChatStream
from bridge.emulate import PlainJson, Rewriter, through
from bridge.errors import ApiError, shutdown
from bridge.listing import Listing
from bridge.upstream import Answer, Upstream
from bridge.usage import Meter
from bridge.wire.anthropic import Event
from bridge.wire.fold import Fold
from tenants.values import Caller, Mode, State

log = logging.getLogger(__name__)

MARK_SECONDS = 2.0


@dataclass(slots=True)
class Services:
    """What lives as long as a worker does. `live` is None while no upstream is configured."""

    catalog: Catalog
    live: Upstream | None
    test: Upstream
    listings: Mapping[Mode, Listing]

    def upstream(self, mode: Mode) -> Upstream:
        """Where requests of such keys go: test keys always to the sandbox. Raises ApiError (503)."""
        if mode is Mode.TEST:
            return self.test
        if self.live is None:
            raise ApiError(
                "not_configured",
                "This gateway has no Anthropic key yet (ANTHROPIC_API_KEY); test keys answer from the sandbox.",
                retry=False,
            )
        return self.live


@dataclass(slots=True)
class Reply:
    """A whole answer, encoded."""

    body: bytes
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Events:
    """A streamed answer: its parts, each of whole events, and `beat` for what to send in a long silence."""

    parts: AsyncIterator[bytes]
    beat: Callable[[], bytes]
    headers: dict[str, str] = field(default_factory=dict)


async def serve(services: Services, call: Call, body: Any, model_in_url: str | None = None) -> Reply | Events:
    """Answers one chat completion. Raises ApiError as long as nothing has been sent to the client."""
    reading = chat.read(body, model_in_url)
    request, receipt = reading.request, reading.receipt
    alias = request["model"]
    call.entry.note(alias=alias, streamed=reading.stream)
    model = services.catalog.allowed(alias, call.caller.models)
    rewriters: list[Rewriter] = adapt(request, model, receipt)
    if reading.plain_json:
        rewriters.append(PlainJson())
    end_user = _pseudonym(call.caller.tenant_id, reading.end_user)
    if end_user:
        request["metadata"] = {"user_id": end_user}
    upstream = services.upstream(call.caller.mode)
    content = msgspec.json.encode({**request, "stream": True})
    call.sent(
        len(content),
        request["max_tokens"],
        streamed=reading.stream,
        alias=alias,
        model=model.id,
        receipt=str(receipt),
        end_user=end_user,
    )
    call.answer = answer = await upstream.send(content, retry=call.client_retry == 0)
    headers = {"x-bridge-compat": str(receipt)} if receipt else {}
    call.entry.note(attempts=answer.attempts, upstream_id=answer.upstream_id)
    created = int(time.time())
    if reading.stream:
        assert call.meter is not None
        stream = ChatStream(call.meter.usage, created, reading.include_usage, reading.form)
        return Events(_stream(call, answer, stream, rewriters), stream.beat, headers)
    return Reply(msgspec.json.encode(await _whole(call, answer, created, reading.form, rewriters)), headers)


async def models(services: Services, caller: Caller) -> list[dict[str, Any]]:
    """The models this caller may use, newest first, in OpenAI's shape."""
    upstream = services.test if caller.mode is Mode.TEST else services.live
    listed = await services.listings[caller.mode].models(upstream)
    if caller.models is None:
        return listed
    return [model for model in listed if caller.models & (services.catalog.resolve(model["id"]).names | {model["id"]})]


async def model(services: Services, caller: Caller, name: str) -> dict[str, Any]:
    """One of them, by its id or another name of it. Raises ApiError (404)."""
    found = services.catalog.allowed(name, caller.models)
    for listed in await models(services, caller):
        if listed["id"] in (name, found.id):
            return listed
    raise services.catalog.not_found(name, caller.models)


def describe(caller: Caller) -> dict[str, Any]:
    """A key as its holder may see it."""
    return {
        "object": "key",
        "id": str(caller.key_id),
        "name": caller.name,
        "tenant": caller.tenant,
        "mode": caller.mode,
        "expires_at": caller.expires_at and int(caller.expires_at),
        "models": sorted(caller.models) if caller.models is not None else None,
        "limits": [],
        "budgets": [],
    }


async def _whole(
    call: Call, answer: Answer, created: int, shape: AnswerShape, rewriters: list[Rewriter]
) -> Mapping[str, Any]:
    """Folds the events; the record is closed before the answer leaves."""
    fold, meter = Fold(), call.meter
    assert meter is not None
    try:
        while not answer.done:
            for event in _metered(meter, await answer.read(), rewriters):
                fold.feed(event)
            _note_progress(call)
    finally:
        await answer.aclose()
    message = fold.message()
    settle_answered(call, message.id, message.stop_reason)
    return chat_answer.write(message, meter.usage(), created, shape, meter.service_tier)


async def _stream(call: Call, answer: Answer, stream: ChatStream, rewriters: list[Rewriter]) -> AsyncIterator[bytes]:
    """Moves events to chunks. However it ends, the record is closed, and closed before the client can know the end."""
    meter = call.meter
    assert meter is not None
    message_id, stop_reason = "", None
    call.streaming = True
    try:
        while not answer.done:
            out = []
            for event in _metered(meter, await answer.read(), rewriters):
                out.append(stream.feed(event))
                if event.type == "message_start" and event.message:
                    message_id = event.message.id
                elif event.type == "message_delta" and event.delta:
                    stop_reason = event.delta.stop_reason
            if stream.done:
                settle_answered(call, message_id, stop_reason)
            else:
                _note_progress(call)
            yield b"".join(out)
        yield _broken(call, stream, None)
    except ApiError as problem:
        yield _broken(call, stream, problem)
    except asyncio.CancelledError:
        if call.ended is not Ended.DRAIN:
            raise
        call.abandon()
        yield stream.error(shutdown())
    except Exception:
        log.exception("a stream broke", extra={"request_id": str(call.id)})
        yield _broken(call, stream, ApiError("internal", "The server had an error while processing your request."))
    finally:
        call.abandon()
        await answer.aclose()


def _metered(meter: Meter, events: list[Event], rewriters: list[Rewriter]) -> list[Event]:
    """Counts what upstream sent, then makes of it what was asked for."""
    for event in events:
        meter.feed(event)
    return through(rewriters, events) if rewriters else events


def settle_answered(call: Call, message_id: str, stop_reason: str | None) -> None:
    call.settle(State.SETTLED, 200, message_id=message_id, stop_reason=stop_reason or "")


def _broken(call: Call, stream: ChatStream, problem: ApiError | None) -> bytes:
    """What the client of a stream is told after it broke; nothing if it had ended already."""
    if stream.done:
        return b""
    problem = problem or ApiError("upstream_truncated", "The stream from upstream ended before the answer did.")
    call.settle(State.FAILED, 200, error_code=problem.code or "")
    return stream.error(problem)


def _note_progress(call: Call) -> None:
    now = time.monotonic()
    if call.first_token is None and call.meter is not None and call.meter.shown:
        call.first_token = now
    if now - call.entry.marked > MARK_SECONDS:
        call.mark()


def _pseudonym(tenant_id: int, end_user: str) -> str:
    """The client's own user, so that Anthropic and the record can tell users apart without knowing who they are."""
    if not end_user:
        return ""
    return hmac.digest(f"bridge:end-user:{tenant_id}".encode(), end_user.encode(errors="replace"), hashlib.sha256).hex()
