"""The API door: what stands between a socket and a view, in the order that keeps strangers cheap.

    path and method   404, 405                     before anything else
    credentials       400, 401, 503                before the body is read
    the record        opened for every inference request of a known key, whatever becomes of it
    capacity, body    503, 413, 415, 408
    the view          with no middleware, no thread and no temporary file

A subclass of Django's ASGIHandler without the parts that cost a thread per request (docs/decisions/0001-two-doors.md).
It answers JSON, always, errors in the dialect of the view that the path belongs to, and it alone decides when a call is
cancelled: the client is gone, or the process is going.
"""

from __future__ import annotations

import asyncio
import functools
import io
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from typing import Any
from uuid import UUID

from django.conf import settings
from django.core.handlers.asgi import ASGIHandler, ASGIRequest
from django.http.response import HttpResponseBase
from django.urls import ResolverMatch, get_resolver
from django.urls.exceptions import Resolver404

from bridge import telemetry
from bridge.api import AsyncAPIView
from bridge.call import Call, Ended
from bridge.chat import CHAT
from bridge.errors import ApiError, forget, internal, record_unavailable, shutdown
from bridge.pipeline import Services
from bridge.responses import EventStream, error_response
from bridge.speech import Dialect
from bridge.tape import Tape
from proxysite import cors, encodings
from proxysite.barred import refuse_entry
from proxysite.headers import Credentials, Headers, read_headers, remote_address
from proxysite.sending import DIRECT_WRITE, Send, send_stream
from tenants import ids
from tenants.gate import Gate, GateUnavailable
from tenants.journal import Journal
from tenants.payloads import Payloads
from tenants.values import Caller

log = logging.getLogger(__name__)

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]

URLCONF = "proxysite.api_urls"


_UNREAD = Headers(Credentials())


class Gone(Exception):
    """The client hung up before its request was complete."""


class Exchange:
    """One request and its answer."""

    __slots__ = (
        "call",
        "cut",
        "dialect",
        "headers",
        "id",
        "name",
        "receive",
        "scope",
        "send",
        "started",
        "task",
        "watcher",
    )

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scope, self.receive, self.send = scope, receive, send
        self.id: UUID = ids.uuid7()
        self.name = str(self.id)  # as clients and logs have it
        self.started = time.monotonic()
        self.task = asyncio.current_task()
        self.headers = _UNREAD
        self.dialect: Dialect = CHAT  # until the path says what is spoken there
        self.call: Call | None = None
        self.cut: Ended | None = None  # why its task was cancelled
        self.watcher: asyncio.Task[None] | None = None

    @property
    def address(self) -> str | None:
        """The client's."""
        return remote_address(self.scope.get("client"), self.headers.forwarded_for)

    def end(self, why: Ended) -> None:
        """Cancels what is under way, once."""
        if self.cut is not None or self.task is None or (self.call is not None and self.call.ended is not None):
            return
        self.cut = why
        if self.call is not None:
            self.call.ended = why
        self.task.cancel()

    def watch(self) -> None:
        """From here on a client that hangs up ends what is done for it."""
        self.watcher = asyncio.create_task(self._until_gone())

    async def arriving(self) -> AsyncIterator[bytes]:
        """The body as it comes. Raises Gone."""
        more = True
        while more:
            message = await self.receive()
            if message["type"] == "http.disconnect":
                raise Gone
            more = message.get("more_body", False)
            yield message.get("body", b"")

    async def _until_gone(self) -> None:
        while (await self.receive())["type"] != "http.disconnect":
            pass
        self.end(Ended.GONE)


class ApiDoor(ASGIHandler):
    """One per worker; `open` gives it what lives as long as the worker."""

    def __init__(self, unready: Callable[[], Awaitable[str]]) -> None:
        super().__init__()
        self._unready = unready
        self.live: set[Exchange] = set()
        self.draining = False
        self._buffered = 0
        self._gate: Gate | None = None

    def load_middleware(self, is_async: bool = False) -> None:
        """None: what the API needs of them is done here, without a thread."""

    def open(self, gate: Gate, journal: Journal, services: Services, payloads: Payloads) -> None:
        self._gate, self._journal, self._services, self._payloads = gate, journal, services, payloads

    def drain(self) -> None:
        """Ends what is still running: streams get an error event, everything a final record."""
        for exchange in list(self.live):
            exchange.end(Ended.DRAIN)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # type: ignore[override]
        exchange = Exchange(scope, receive, send)
        try:
            await self._send(exchange, await self._answer(exchange))
        except Gone:
            pass
        except asyncio.CancelledError:
            if exchange.cut is None or exchange.task is None:
                raise
            exchange.task.uncancel()
        finally:
            await self._finish(exchange)

    async def _finish(self, exchange: Exchange) -> None:
        if exchange.watcher is not None:
            exchange.watcher.cancel()
            exchange.watcher = None  # its frame holds the exchange: nothing is to be left to the collector
        if exchange.call is not None:
            self.live.discard(exchange)
            await exchange.call.aclose()
            if exchange.call.tape is not None:
                self._keep(exchange.call, exchange.call.tape)

    def _keep(self, call: Call, tape: Tape) -> None:
        """What was taped, unless it is not wanted or is one of a flood of refusals that share a record."""
        if tape.wanted(call.answered) and not call.entry.merged:
            self._payloads.put(tape.taped(call.id, call.caller))

    async def _answer(self, exchange: Exchange) -> HttpResponseBase:
        """The response, whatever happens. Lets only CancelledError and Gone through."""
        try:
            return await self._guarded(exchange)
        except ApiError as error:
            problem = error
        except asyncio.CancelledError:
            if exchange.cut is not Ended.DRAIN or exchange.task is None:
                raise
            exchange.task.uncancel()
            problem = shutdown()
        except Gone:
            if exchange.call is not None:
                exchange.call.ended = Ended.GONE
            raise
        except Exception:
            log.exception("a request failed", extra={"request_id": exchange.name})
            problem = internal()
        if exchange.call is not None:
            exchange.call.fail(problem, exchange.dialect.status(problem))
        forget(problem)
        return error_response(problem, exchange.dialect, exchange.name)

    async def _guarded(self, exchange: Exchange) -> HttpResponseBase:
        scope = exchange.scope
        match = resolve(scope["path"])
        view: type[AsyncAPIView] | None = getattr(match and match.func, "cls", None)
        if view is not None:
            exchange.dialect = view.dialect
        exchange.headers = headers = read_headers(scope["headers"])
        if match is None or view is None:
            raise ApiError(
                "unknown_url", f"Invalid URL ({scope['method']} {scope['path'][:200]}){_why_not(scope['path'])}"
            )
        if scope["method"] == "OPTIONS" and settings.CORS_ALLOW_ORIGINS:
            return cors.preflight(headers.origin, headers.requested_headers)
        _refuse_method(view, scope["path"], scope["method"])
        if view.needs_key:
            caller = await self.identify(headers.credentials)
            if view.inference:
                self._admit(exchange, caller)
            refuse_entry(caller, exchange.address)
        else:
            caller = None
        body = await self._body(exchange) if scope["method"] == "POST" else b""
        if scope["method"] == "POST":
            exchange.watch()
        if exchange.call is not None and exchange.call.tape is not None:
            exchange.call.tape.asked(body)
        request = ASGIRequest(dict(scope), io.BytesIO(body))
        request.META["CONTENT_LENGTH"] = str(len(body))
        request.resolver_match = match
        request.unready = self._unready  # type: ignore[attr-defined]
        request.request_id = exchange.name  # type: ignore[attr-defined]
        request.call, request.caller, request.services = exchange.call, caller, self._services  # type: ignore[attr-defined]
        try:
            response: HttpResponseBase = await match.func(request, *match.args, **match.kwargs)
        finally:
            self._buffered -= len(body)
        return response

    async def identify(self, credentials: Credentials) -> Caller:
        """Who is asking. Raises ApiError: 401 without a known key, 503 when nobody can tell."""
        if credentials.key is None and not credentials.theirs:
            telemetry.unidentified.labels(credentials.reason).inc()
            raise credentials.problem()
        assert self._gate is not None
        try:
            known = credentials.key
            caller = await (self._gate.identify(known) if known else self._gate.guest(credentials.theirs))
        except GateUnavailable:
            telemetry.unidentified.labels("unavailable").inc()
            text = "Keys cannot be checked right now; try again shortly."
            raise ApiError("keys_unavailable", text, headers={"retry-after": "2"}) from None
        if caller is None:
            telemetry.unidentified.labels("unknown").inc()
            raise credentials.problem()
        return caller

    def _admit(self, exchange: Exchange, caller: Caller) -> None:
        """Opens the record. Raises ApiError (503) when it cannot be kept, for then nothing may happen."""
        headers = exchange.headers
        try:
            entry = self._journal.admit(
                exchange.id,
                tenant_id=caller.tenant_id,
                key_id=str(caller.key_id),
                secret_id=caller.secret_id,
                key_hint=caller.hint,
                mode=caller.mode,
                dialect=exchange.dialect.name,
                remote_address=exchange.address,
                tags=dict(caller.tags) or None,
                user_agent=headers.user_agent[:200],
                client_retry=headers.retry_count,
            )
        except OSError as error:
            log.error("the journal cannot be written: requests are refused", extra={"error": str(error)})
            raise record_unavailable() from None
        exchange.call = Call(exchange.id, caller, entry, headers.retry_count, exchange.started)
        if caller.capture is not None and caller.capture.takes(exchange.id):
            exchange.call.tape = tape = Tape(caller.capture, settings.CAPTURE_MAX_BYTES)
            exchange.send = tape.hearing(exchange.send)
        self.live.add(exchange)
        self._services.fairness.arrived(caller.tenant_id)
        if len(self.live) > settings.MAX_IN_FLIGHT:
            raise overloaded()

    async def _body(self, exchange: Exchange) -> bytes:
        """The whole body, in memory, within its limits of size and time. Raises ApiError or Gone."""
        headers = exchange.headers
        encoding = headers.content_encoding
        if encoding not in ("", "identity", *encodings.SUPPORTED):
            text = f"Content-Encoding '{encoding[:40]}' is not supported: send the body uncompressed, gzip or zstd."
            raise ApiError("unsupported_encoding", text)
        if headers.content_length > settings.MAX_BODY_BYTES:
            raise _too_large()
        held: list[bytes] = []
        try:
            async with asyncio.timeout(settings.BODY_SECONDS + headers.content_length / settings.SLOWEST_BODY):
                await self._hold(exchange.arriving(), held)
                if encoding in encodings.SUPPORTED:
                    await self._decode(encoding, held)
        except BaseException as error:
            self._release(held)
            if isinstance(error, TimeoutError):
                raise ApiError("body_timeout", "The request body did not arrive in time.") from None
            raise
        return held[0] if len(held) == 1 else b"".join(held)

    async def _hold(self, chunks: AsyncIterator[bytes], held: list[bytes]) -> None:
        """Keeps the chunks, and counts them among all that this worker holds."""
        size = 0
        async for chunk in chunks:
            held.append(chunk)
            size += len(chunk)
            self._buffered += len(chunk)
            if size > settings.MAX_BODY_BYTES:
                raise _too_large()
            if self._buffered > settings.MAX_BUFFERED_BYTES:
                raise overloaded()

    async def _decode(self, encoding: str, held: list[bytes]) -> None:
        """Puts the body as it was in the place of what arrived. The bounds are the same: a bomb ends at them."""
        decoded: list[bytes] = []
        try:
            await self._hold(encodings.pieces(b"".join(held), encoding), decoded)
        finally:
            self._release(held)
            held[:] = decoded

    def _release(self, held: list[bytes]) -> None:
        self._buffered -= sum(map(len, held))
        held.clear()

    async def _send(self, exchange: Exchange, response: HttpResponseBase) -> None:
        send = exchange.send
        milliseconds = int((time.monotonic() - exchange.started) * 1000)
        cors.allow(response, exchange.headers.origin)
        told = dict(response.items())
        told |= exchange.dialect.headers(exchange.name, milliseconds)
        if exchange.call is not None:
            told |= exchange.call.grant.headers
        headers = [(name.lower().encode("ascii"), value.encode("latin-1", "replace")) for name, value in told.items()]
        if isinstance(response, EventStream):
            await send({"type": "http.response.start", "status": response.status_code, "headers": headers})
            taped = exchange.call is not None and exchange.call.tape is not None  # all of it has to pass the tape
            ready = None if taped else exchange.scope.get("extensions", {}).get(DIRECT_WRITE)
            await send_stream(send, response, functools.partial(exchange.end, Ended.GONE), ready)
            return
        content: bytes = response.content  # type: ignore[attr-defined]
        headers.append((b"content-length", str(len(content)).encode()))
        await send({"type": "http.response.start", "status": response.status_code, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if exchange.scope["method"] == "HEAD" else content})


def _refuse_method(view: type[AsyncAPIView], path: str, method: str) -> None:
    """Raises ApiError (405) unless the view answers this method."""
    allowed = view.methods()
    if method not in allowed:
        text = f"Not allowed to {method[:20]} on {path[:200]}. (HTTP method not supported.)"
        raise ApiError("method_not_allowed", text, headers={"allow": ", ".join(allowed)})


# OpenAI's endpoints that clients try, and why there is nothing behind them.
_NOT_HERE = {
    "embeddings": "Anthropic has no embeddings.",
    "moderations": "Anthropic has no moderation endpoint.",
    "images": "Claude makes no images.",
    "audio": "Claude neither hears nor speaks.",
    "files": "Send files inside the request (file_data).",
    "fine_tuning": "Anthropic has no fine-tuning.",
    "responses": "This gateway stores no responses: there is nothing to read or cancel.",
    "conversations": "This gateway stores no conversations.",
    "batches": "Batches are not supported by this gateway.",
}


def _why_not(path: str) -> str:
    first = path.strip("/").removeprefix("v1").strip("/").split("/")[0]
    return f". {_NOT_HERE[first]}" if first in _NOT_HERE else ""


@functools.lru_cache(1024)
def resolve(path: str) -> ResolverMatch | None:
    """Paths repeat: resolving one costs more than the rest of the door. Double and trailing slashes mean nothing."""
    plain = "/" + "/".join(part for part in path.split("/") if part)
    try:
        return get_resolver(URLCONF).resolve(plain)
    except Resolver404:
        return None


def _too_large() -> ApiError:
    limit = settings.MAX_BODY_BYTES // (1024 * 1024)
    return ApiError("too_large", f"The request body is larger than {limit} MB.", retry=False)


def overloaded() -> ApiError:
    text = "The gateway is handling as much as it can, please try again shortly."
    return ApiError("overloaded_here", text, headers={"retry-after": "1"})
