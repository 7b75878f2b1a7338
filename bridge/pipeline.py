"""The one road of an inference request, in any dialect: read, resolve, fit, send, and tell, whole or as a stream."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import msgspec

from bridge import funding, limiting, listing, sharing
from bridge.adapt import refuse_losses
from bridge.admission import admit
from bridge.belongings import Belongings, names_any
from bridge.caching import cache_long_prompt
from bridge.call import Call, Ended, Price, no_price
from bridge.catalog import Catalog, Model
from bridge.choices import Readable, open_all
from bridge.continuing import ContinuedAnswer, may_pause
from bridge.dialects.sealing import NO_SEAL, Seal
from bridge.errors import ApiError, forget, internal, shutdown
from bridge.idempotency import Kept, once
from bridge.listing import Listing, OwnListings
from bridge.prices import Prices
from bridge.reply import Events, Ready, Reply
from bridge.speech import Asked, Counter, Dialect, Question, Stream, Telling, Whole
from bridge.upstream import Upstream
from bridge.upstream_account import Account, Sends, Tell
from bridge.upstream_answer import Answer
from bridge.vault import Memory, forgiving, remember
from bridge.wire.anthropic import Event, Frame
from bridge.wire.fold import merged
from tenants.budgets import Budgets
from tenants.fairness import Fairness
from tenants.limits import Limiter
from tenants.pseudonym import pseudonym
from tenants.replays import Replays
from tenants.sealing import Seals
from tenants.values import Caller, Mode, State
from tenants.vault import Vault

log = logging.getLogger(__name__)

MARK_SECONDS = 2.0
LARGE_BYTES = 1024 * 1024


@dataclass(slots=True)
class Services:
    """What lives as long as a worker does. `live` is None, or has an empty key, while no upstream is configured. `tell`
    hears when upstream refuses a tenant's own key, or takes it again."""

    catalog: Catalog
    live: Upstream | None
    test: Upstream
    listings: Mapping[Mode, Listing]
    prices: Prices
    secret: str  # for what is given to one tenant and taken back from nobody else
    limiter: Limiter
    fairness: Fairness
    budgets: Budgets
    settle: Callable[[], Awaitable[None]]  # has the ledger write what has ended
    own_listings: OwnListings
    replays: Replays | None = None  # None: Idempotency-Key is not heeded
    kept: Kept = field(default_factory=Kept)
    tell: Tell = lambda credential, refused: None
    vault: Vault | None = None  # None: no thinking is kept
    seals: Seals | None = None  # None: nothing is given to clients to carry

    def seal(self, caller: Caller) -> Seal:
        """What this caller's clients carry for us is sealed with this."""
        return self.seals.of(caller.tenant_id) if self.seals is not None else NO_SEAL

    def upstream(self, caller: Caller) -> Sends:
        """Where this caller's requests go: a test key's always to the sandbox. Raises ApiError (503)."""
        if caller.mode is Mode.TEST:
            return self.test
        if self.live is not None and caller.credential is not None:
            return Account(self.live, caller.credential, self.tell)
        if self.live is None or self.live.headers.get("x-api-key") == "":
            raise ApiError(
                "not_configured",
                "This gateway has no Anthropic key yet (ANTHROPIC_API_KEY); test keys answer from the sandbox.",
                retry=False,
            )
        return self.live

    def belongings(self, caller: Caller, upstream: Sends) -> Belongings | None:
        """What this caller may name of that upstream account; None: all of it, for it is the tenant's own."""
        return Belongings(self.secret, caller.tenant_id) if upstream in (self.live, self.test) else None

    def price(self, call: Call, model: Model) -> Price:
        """What usage of this model costs this call. Test keys never cost money."""
        return no_price if call.caller.mode is Mode.TEST else partial(self.prices.bill, name=model.id, at=call.at)

    async def listed(self, caller: Caller) -> list[dict[str, Any]]:
        """The models that upstream lists for this caller; those of the registry while there is no upstream."""
        own = caller.mode is Mode.LIVE and caller.credential
        listing = self.own_listings.of(own) if own else self.listings[caller.mode]
        try:
            upstream = self.upstream(caller)
        except ApiError:
            return await listing.models(None)
        return await listing.models(upstream)

    def chosen(self, caller: Caller, name: str) -> tuple[str, Model]:
        """What this name stands for with this caller, as it is sent on, and its model. Raises ApiError (404)."""
        target = caller.aliases.get(name, name)
        return target, self.catalog.allowed(target, caller.models)


async def serve(services: Services, dialect: Dialect, call: Call, asked: Asked) -> Reply | Events:
    """Answers one inference request. Raises ApiError as long as nothing has been sent to the client."""
    make = partial(_answer, services, dialect, call, asked)
    name = asked.header("idempotency-key") if call.caller.idempotent else ""
    if not name or services.replays is None:
        return await make()
    return await once(services.replays, services.kept, dialect, call, asked, name, make)


async def _answer(services: Services, dialect: Dialect, call: Call, asked: Asked) -> Reply | Events:
    await _turn(asked)
    question = dialect.read(asked)
    _refuse_key(question.alias)
    call.entry.note(alias=question.alias, streamed=question.streamed)
    end_user = pseudonym(call.caller.tenant_id, question.end_user)
    if call.tape is not None:
        call.tape.end_user = end_user or None  # what is kept of a refused request is theirs too
    target, model = services.chosen(call.caller, question.alias)
    memory = await remember(services.vault, services.catalog, call.caller, question, model, end_user)
    call.before_end = memory.keep if memory is not None else None
    request = {**question.fit(model, end_user), "model": target}
    if not call.caller.idempotent and asked.header("idempotency-key"):
        question.receipt.add("idempotency-key", "ignored")
    _apply_rights(call.caller, dialect, question, request)
    await _turn(asked)
    upstream = services.upstream(call.caller)
    call.belongings = services.belongings(call.caller, upstream)
    content = _encoded(request)
    if call.belongings is not None and names_any(content):
        opened = call.belongings.opened(request)
        request, content = opened, content if opened is request else _encoded(opened)
    await _turn(asked)
    wanted = request["max_tokens"]
    most = await admit(services, dialect, call, question, request, content, model)
    if request["max_tokens"] != wanted:
        content = _encoded(request)
    meter = call.sent(
        most,
        services.price(call, model),
        streamed=question.streamed,
        alias=question.alias,
        model=model.id,
        receipt=str(question.receipt),
        end_user=end_user,
    )
    sending = _Sending(services, dialect, call, question, upstream, request, content, memory)
    call.answer = answer = await sending.opened()
    call.entry.note(attempts=answer.attempts, upstream_id=answer.upstream_id)
    if memory is not None:
        call.entry.note(receipt=str(question.receipt))
    headers = {"x-bridge-compat": str(question.receipt)} if question.receipt else {}
    created = int(time.time())
    if question.streamed:
        stream = question.stream(meter, created)
        return Events(_stream(call, answer, stream), stream.beat, headers, partial(_tap, call, answer, stream))
    return Reply(await _whole(call, answer, question.whole(meter, created)), headers)


@dataclass(slots=True)
class _Sending:
    """A request on its way: once, or for several choices as often. `content` is its JSON."""

    services: Services
    dialect: Dialect
    call: Call
    question: Question
    upstream: Sends
    request: dict[str, Any]
    content: bytes
    memory: Memory | None

    async def opened(self) -> Readable:
        choices = self.question.choices
        return await (self._send() if choices == 1 else open_all(self._send, choices))

    async def _send(self) -> Readable:
        try:
            wanted, sent = await forgiving(self.memory, self.request, self._post)
        except ApiError as problem:
            sharing.heard(self.services.fairness, self.call, problem)
            raise
        if self.dialect.relays or not may_pause(self.request):
            return sent
        return ContinuedAnswer(self.upstream, wanted, sent, self.question.headers, self.call.grant.more)

    async def _post(self, wanted: dict[str, Any]) -> Answer:
        body = self.content if wanted is self.request else _encoded(wanted)
        retry, headers = self.call.client_retry == 0, self.question.headers
        return await self.upstream.send(body, retry=retry, headers=headers, frames=self.dialect.relays)


async def _turn(asked: Asked) -> None:
    """Between the steps of a large request, each of which looks at all of it, the others go on."""
    if asked.size > LARGE_BYTES:
        await asyncio.sleep(0)


def _encoded(request: dict[str, Any]) -> bytes:
    """As it goes upstream: always streamed."""
    return msgspec.json.encode({**request, "stream": True})


def _refuse_key(model: str) -> None:
    """A key in the place of a model's name (two variables mixed up) goes on no record. Raises ApiError (404)."""
    if model.startswith(("sk-bridge_", "sk-ant-")):
        raise ApiError("model_not_found", "What was sent as the name of the model is an API key.", "model")


def _apply_rights(caller: Caller, dialect: Dialect, question: Question, request: dict[str, Any]) -> None:
    """What the key says about its requests: names of models, strictness, caching. Raises ApiError (400)."""
    if request["model"] != question.alias:
        question.receipt.add("model", f"alias({request['model']})")
    if caller.strict:
        refuse_losses(question.receipt)
    if caller.auto_cache and not dialect.relays:  # who speaks Anthropic's API places breakpoints, or wants none
        cache_long_prompt(request, question.receipt)


async def count_tokens(services: Services, caller: Caller, dialect: Counter, asked: Asked) -> Reply:
    """How many tokens a request would be, as upstream counts them. Costs nothing but one request of the limits on
    requests. Raises ApiError."""
    question = dialect.read_count(asked)
    target, model = services.chosen(caller, question.alias)
    request = dialect.countable({**question.fit(model, ""), "model": target})
    upstream = services.upstream(caller)
    own = services.belongings(caller, upstream)
    content = msgspec.json.encode(request)
    if own is not None and names_any(content):
        content = msgspec.json.encode(own.opened(request))
    headers = await limiting.take_one(services.limiter, caller, dialect.name)
    try:
        count = await upstream.post("/v1/messages/count_tokens", content, question.headers)
    except ApiError as problem:
        problem.headers = {**headers, **problem.headers}
        raise
    return Reply(msgspec.json.encode(dialect.counted(count)), headers)


async def models(services: Services, caller: Caller) -> list[dict[str, Any]]:
    """The models this caller may use, newest first, in OpenAI's shape."""
    listed = await services.listed(caller)
    if caller.models is not None:
        allowed = caller.models
        listed = [one for one in listed if allowed & (services.catalog.resolve(one["id"]).names | {one["id"]})]
    return listing.with_aliases(listed, caller.aliases, services.catalog)


async def model(services: Services, caller: Caller, name: str) -> dict[str, Any]:
    """One of them, by its id or another name of it. Raises ApiError (404)."""
    listed = {one["id"]: one for one in await models(services, caller)}
    if name in listed:
        return listed[name]
    _, found = services.chosen(caller, name)
    if found.id in listed:
        return listed[found.id]
    raise services.catalog.not_found(name, caller.models)


async def describe(services: Services, caller: Caller) -> dict[str, Any]:
    """A key as its holder may see it."""
    return {
        "object": "key",
        "id": str(caller.key_id),
        "name": caller.name,
        "tenant": caller.tenant,
        "mode": caller.mode,
        "expires_at": caller.expires_at and int(caller.expires_at),
        "models": sorted(caller.models) if caller.models is not None else None,
        "limits": limiting.described(await services.limiter.peek(caller.limits)),
        "budgets": await funding.described(services, caller),
    }


async def _whole(call: Call, answer: Readable, whole: Whole) -> bytes:
    """Puts the answer together; the record is closed before it leaves."""
    try:
        while not answer.done:
            whole.feed(_metered(call, merged(await answer.read())), _frames(call, answer))
            _note_progress(call)
    finally:
        await answer.aclose()
    body = whole.write()
    _settle_answered(call, whole)
    if call.before_end is not None:
        await call.before_end()
    return body


async def _stream(call: Call, answer: Readable, stream: Stream) -> AsyncIterator[bytes]:
    """Passes the answer on. However it ends, the record is closed, and closed before the client can know the end."""
    call.streaming = True
    try:
        while not answer.done:
            part = stream.feed(_metered(call, await answer.read()), _frames(call, answer))
            if stream.done:
                _settle_answered(call, stream)
                if call.before_end is not None:
                    await call.before_end()
            else:
                _note_progress(call)
            yield part
        yield _broken(call, stream, None)
    except ApiError as problem:
        forget(problem)
        yield _broken(call, stream, problem)
    except asyncio.CancelledError:
        if call.ended is not Ended.DRAIN:
            raise
        call.abandon()
        yield stream.error(shutdown())
    except Exception:
        log.exception("a stream broke", extra={"request_id": str(call.id)})
        yield _broken(call, stream, internal())
    finally:
        call.abandon()
        await answer.aclose()


def _tap(call: Call, answer: Readable, stream: Stream, ready: Ready) -> None:
    """Has what comes while `_stream` waits written at once, but for the end, which is `_stream`'s to tell."""

    def passed(events: list[Event]) -> bool:
        write = ready()
        if write is None:
            return False
        write(stream.feed(_metered(call, events), []))
        _note_progress(call)
        return True

    answer.tap(passed)


def _metered(call: Call, events: list[Event]) -> list[Event]:
    """Counts what upstream sent, before a dialect makes anything else of it."""
    assert call.meter is not None
    feed = call.meter.feed
    for event in events:
        feed(event)
    return events


def _frames(call: Call, answer: Readable) -> list[Frame]:
    """The bytes of what was read last, fit for this tenant."""
    frames = answer.take()
    return call.belongings.sealed(frames) if frames and call.belongings is not None else frames


def _settle_answered(call: Call, told: Telling) -> None:
    attempts = call.answer.attempts if call.answer else 0
    call.settle(State.SETTLED, 200, message_id=told.message_id, stop_reason=told.stop_reason or "", attempts=attempts)


def _broken(call: Call, stream: Stream, problem: ApiError | None) -> bytes:
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
