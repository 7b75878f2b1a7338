"""WebSocket mode of the Responses API: each `response.create` message is a request at the API door, each event a frame.

What a request may do is the door's to say, as it is over HTTP: who asks, limits, budgets, the record, its end. Here is
what a connection may do: who opens one, how many there are, how long they last, and what waits its turn
(docs/decisions/0018-websocket.md).
"""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import msgspec
from django.conf import settings

from bridge.chains import Chain, Chains
from bridge.errors import ApiError, shutdown
from bridge.responses import error_response
from bridge.responses_api import RESPONSES
from proxysite.barred import refuse_entry
from proxysite.door import ApiDoor, Receive, Scope, overloaded, resolve
from proxysite.headers import read_headers, remote_address
from proxysite.sending import Send
from tenants import ids

LIFETIME = 60 * 60.0  # seconds, as at OpenAI
IDLE = 10 * 60.0
WAITING = 16  # messages whose turn has not come
TENANT_SHARE = 4  # the part of a worker's connections that one tenant may hold: a quarter

# Of the handshake's headers: what was about the handshake, or would be about each of its messages alike.
_NOT_OURS = (b"content-length", b"content-encoding", b"idempotency-key", b"x-stainless-retry-count")
# Of an answer's headers: what the first event of it carries.
_CARRIED = ("x-request-id", "x-bridge-compat", "x-ratelimit-", "x-should-retry", "retry-after")


@dataclass(frozen=True, slots=True)
class End:
    """Why a connection is closed. `told`: as an event, before it is."""

    code: int
    reason: str
    told: ApiError | None = None


_HUNG_UP = End(1000, "")
_RESTART = End(1012, "The gateway is restarting; connect again.")
_UNKNOWN = End(1008, "The API key is not accepted any more.")
_CROWD = End(1008, f"More than {WAITING} messages, or too large ones, wait for their turn.")
_OLD = End(
    1000,
    "60 minutes are over; connect again.",
    ApiError("connection_expired", "This WebSocket has been open for 60 minutes: open another to continue."),
)


class _Message(msgspec.Struct):
    """What of a message matters here; its body is the dialect's to read."""

    type: Any = None
    previous_response_id: Any = None


_read = msgspec.json.Decoder(_Message).decode


def accepts(path: str) -> bool:
    """Whether there is an endpoint here that may be asked over a WebSocket."""
    match = resolve(path)
    return match is not None and getattr(getattr(match.func, "cls", None), "websocket", False)


class Sockets:
    """The connections of one worker."""

    def __init__(self, door: ApiDoor) -> None:
        self._door = door
        self._chains = Chains(settings.MAX_BUFFERED_BYTES, settings.MAX_BODY_BYTES)
        self._tenants: Counter[int] = Counter()
        self.open: set[Socket] = set()

    def drain(self) -> None:
        """Every connection ends, once what it is being answered has ended."""
        for socket in self.open:
            socket.end(_RESTART)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        try:
            tenant = await self._admitted(scope)
        except ApiError as problem:
            await _refuse(send, problem)
            return
        socket = Socket(self._door, Chain(self._chains), scope, receive, send)
        self.open.add(socket)
        self._tenants[tenant] += 1
        try:
            await socket.run()
        finally:
            self.open.discard(socket)
            self._tenants -= Counter([tenant])

    async def _admitted(self, scope: Scope) -> int:
        """Whose connection this is. Nothing is asked yet, so nothing is put on record. Raises ApiError."""
        if not accepts(scope["path"]):
            raise ApiError("unknown_url", f"There is no WebSocket at {scope['path'][:200]}.")
        headers = read_headers(scope["headers"])
        caller = await self._door.identify(headers.credentials)
        refuse_entry(caller, remote_address(scope.get("client"), headers.forwarded_for))
        if self._door.draining:
            raise shutdown()
        share = max(settings.MAX_IN_FLIGHT // TENANT_SHARE, 1)
        if len(self.open) >= settings.MAX_IN_FLIGHT or self._tenants[caller.tenant_id] >= share:
            raise overloaded()
        return caller.tenant_id


class Socket:
    """One connection, from its acceptance to its end."""

    def __init__(self, door: ApiDoor, chain: Chain, scope: Scope, receive: Receive, send: Send) -> None:
        self._door, self._chain, self._scope = door, chain, scope
        self._receive, self._send = receive, send
        self._waiting: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._size = 0  # of what waits
        self._gone = asyncio.Event()
        self._end: End | None = None
        self._body: bytes | None = None
        self._status = 0
        self._headers: dict[str, str] = {}

    def end(self, end: End) -> None:
        """No more messages are taken; what is being answered is answered."""
        self._end = self._end or end
        self._waiting.put_nowait(None)

    async def run(self) -> None:
        await self._send({"type": "websocket.accept"})
        reader = asyncio.create_task(self._listen())
        timer = asyncio.get_running_loop().call_later(LIFETIME, self.end, _OLD)
        try:
            while (message := await self._next()) is not None:
                await self._answer(message)
            await self._close()
        finally:
            timer.cancel()
            reader.cancel()
            self._chain.forget()

    async def _listen(self) -> None:
        """Takes messages as they come, so that a client that hangs up is noticed at once."""
        while (message := await self._receive())["type"] == "websocket.receive":
            content = message.get("bytes") or (message.get("text") or "").encode()
            self._size += len(content)
            if self._waiting.qsize() >= WAITING or self._size > settings.MAX_BODY_BYTES:
                self.end(_CROWD)
                continue
            self._waiting.put_nowait(content)
        self._gone.set()
        self.end(_HUNG_UP)

    async def _next(self) -> bytes | None:
        """The next message; None once the connection is to end."""
        message = None
        try:
            async with asyncio.timeout(IDLE):
                message = await self._waiting.get()
        except TimeoutError:
            self.end(End(1000, f"Nothing was asked for {IDLE / 60:g} minutes."))
        self._size -= len(message or b"")
        return message if self._end is None else None

    async def _answer(self, content: bytes) -> None:
        try:
            message = _read(content)
        except msgspec.DecodeError:
            message = _Message("response.create")  # no object at all: the door says so, and has it on record
        if message.type != "response.create":
            text = f"Invalid value: '{str(message.type)[:80]}'. Supported values are: 'response.create'."
            await self._say(_event(ApiError("invalid_value", text, "type")))
            return
        self._body, self._status = content, 0
        await self._door(self._request(len(content)), self._hear, self._tell)
        if self._status != 200 and isinstance(message.previous_response_id, str):
            self._chain.take(message.previous_response_id)  # refused before it was read: not gone on from either
        if self._status == 401:
            self.end(_UNKNOWN)

    def _request(self, length: int) -> Scope:
        """The message as the door knows requests."""
        headers = [(name, value) for name, value in self._scope["headers"] if name not in _NOT_OURS]
        return {
            **self._scope,
            "type": "http",
            "method": "POST",
            "scheme": "https" if self._scope.get("scheme") == "wss" else "http",
            "headers": [*headers, (b"content-length", str(length).encode())],
            "bridge.chain": self._chain,
        }

    async def _hear(self) -> dict[str, Any]:
        """What the door receives: the body, and then that the client is gone."""
        if self._body is not None:
            body, self._body = self._body, None
            return {"type": "http.request", "body": body}
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def _tell(self, message: Any) -> None:
        """What the door sends. Comments, which keep a connection alive, are no events. An answer that breaks has one
        end, `response.failed`: with the `error` before it, a client would take that for the end of a next answer."""
        if message["type"] == "http.response.start":
            self._status = message["status"]
            told = {name.decode(): value.decode("latin-1") for name, value in message["headers"]}
            self._headers = {name: value for name, value in told.items() if name.startswith(_CARRIED)}
        elif self._status != 200:
            error = msgspec.json.decode(message["body"])["error"]
            await self._say(_failed(self._status, error, self._headers))
        else:
            for frame in message["body"].split(b"\n\n"):
                kind, _, data = frame.partition(b"\ndata: ")
                if data and kind != b"event: error":
                    await self._say(self._with_headers(data))

    def _with_headers(self, event: bytes) -> bytes:
        """The first event of an answer carries what HTTP has headers for."""
        headers, self._headers = self._headers, {}
        return event[:-1] + b',"headers":' + msgspec.json.encode(headers) + b"}" if headers else event

    async def _say(self, event: bytes) -> None:
        with suppress(OSError):  # it is gone: what listens hears it too
            await self._send({"type": "websocket.send", "text": event.decode()})

    async def _close(self) -> None:
        end = self._end
        if end is None or self._gone.is_set():
            return
        if end.told is not None:
            await self._say(_event(end.told))
        await self._send({"type": "websocket.close", "code": end.code, "reason": end.reason})


def _event(problem: ApiError) -> bytes:
    return _failed(problem.status, problem.body()["error"], {})


def _failed(status: int, error: dict[str, Any], headers: dict[str, str]) -> bytes:
    """An error as an event. Those who read it want a code (Open Responses' WebSocketErrorEvent)."""
    told = {**error, "code": error["code"] or error["type"]}
    return msgspec.json.encode({"type": "error", "status": status, "error": told, "headers": headers})


async def _refuse(send: Send, problem: ApiError) -> None:
    """The answer to a handshake that is not accepted, as any request would get it."""
    request_id = str(ids.uuid7())
    response = error_response(problem, RESPONSES, request_id)
    headers = {**response.headers, **RESPONSES.headers(request_id, 0), "content-length": str(len(response.content))}
    raw = [(name.lower().encode(), value.encode("latin-1", "replace")) for name, value in headers.items()]
    await send({"type": "websocket.http.response.start", "status": response.status_code, "headers": raw})
    await send({"type": "websocket.http.response.body", "body": response.content})
