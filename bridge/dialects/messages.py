"""Messages, the house language itself: a request passes as it came, an answer as upstream gave it.

Only what Bridge must know is looked at: the model, the limit, whether to stream, and whose request it is. All else is
for the API to judge, whose errors come back in its own words. (docs/decisions/0006-native-messages.md)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import msgspec

from bridge.catalog import Model
from bridge.dialects import betas
from bridge.errors import ApiError
from bridge.receipt import Receipt
from bridge.wire.anthropic import Event, Frame
from bridge.wire.whole import RawFold

PING = b'event: ping\ndata: {"type": "ping"}\n\n'  # valid anywhere in a stream, and skipped by every client
# They differ in what a request may hold, not in the shape of an answer: the client's own choice is passed on.
VERSIONS = ("2023-06-01", "2026-10-21")

_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    405: "invalid_request_error",
    408: "timeout_error",
    413: "request_too_large",
    415: "invalid_request_error",
    429: "rate_limit_error",
    504: "timeout_error",
    529: "overloaded_error",
}
_OVERLOADED = ("overloaded", "overloaded_here")


class Asked(Protocol):
    """See bridge.speech.Asked."""

    @property
    def body(self) -> Any: ...
    @property
    def header(self) -> Callable[[str], str]: ...
    @property
    def request_id(self) -> str: ...


class MessagesDialect:
    name = "messages"
    relays = True

    def read(self, asked: Asked) -> MessagesQuestion:
        """Raises ApiError (400)."""
        headers = _headers(asked)
        body = _object(asked.body)
        for name in ("model", "max_tokens", "messages"):
            _required(body, name)
        if type(body["max_tokens"]) is not int:
            raise _invalid("max_tokens", "Input should be a valid integer")
        if body["max_tokens"] < 0:
            raise _invalid("max_tokens", "Input should be greater than or equal to 0")
        if not isinstance(body.get("stream"), bool | None):
            raise _invalid("stream", "Input should be a valid boolean")
        return MessagesQuestion(body, headers, asked.request_id)

    def read_count(self, asked: Asked) -> MessagesQuestion:
        """A request of `count_tokens`, which has no limit and no stream. Raises ApiError (400)."""
        headers = _headers(asked)
        body = _object(asked.body)
        for name in ("model", "messages"):
            _required(body, name)
        return MessagesQuestion(body, headers, asked.request_id)

    def countable(self, request: dict[str, Any]) -> dict[str, Any]:
        return request

    def counted(self, count: Any) -> Any:
        return count

    def status(self, problem: ApiError) -> int:
        """The shared table's, but for upstream's overload, which these clients know by its own number."""
        return 529 if problem.kind == "overloaded" else problem.status

    def error(self, problem: ApiError, request_id: str) -> dict[str, Any]:
        kind = "overloaded_error" if problem.kind in _OVERLOADED else _TYPES.get(problem.status, "api_error")
        error = {"type": kind, "message": problem.said or problem.message}
        return {"type": "error", "error": error, "request_id": request_id}

    def headers(self, request_id: str, milliseconds: int) -> dict[str, str]:
        return {"x-request-id": request_id, "request-id": request_id}


class MessagesQuestion:
    def __init__(self, body: dict[str, Any], headers: dict[str, str], request_id: str) -> None:
        self._body, self._request_id = body, request_id
        self.alias: str = body["model"]
        self.streamed = bool(body.get("stream"))
        self.end_user = _end_user(body)
        self.choices = 1
        self.open_ended = False
        self.receipt = Receipt()  # stays empty: nothing is lost in this dialect
        self.headers = headers

    def fit(self, model: Model, pseudonym: str) -> dict[str, Any]:
        """Every field as the client sent it; `user_id` too, which is the client's to choose in this API."""
        return self._body

    def stream(self, tally: object, created: int) -> Relay:
        return Relay(self._request_id)

    def whole(self, tally: object, created: int) -> WholeMessage:
        return WholeMessage()


class Relay:
    """Upstream's events, byte for byte as they came, unknown ones and pings too."""

    def __init__(self, request_id: str) -> None:
        self._request_id = request_id
        self.message_id = ""
        self.stop_reason: str | None = None
        self.done = False

    def feed(self, events: list[Event], frames: list[Frame]) -> bytes:
        for event in events:
            if event.type == "message_start" and event.message:
                self.message_id = event.message.id
            elif event.type == "message_delta" and event.delta:
                self.stop_reason = event.delta.stop_reason
            elif event.type == "message_stop":
                self.done = True
        return b"".join([frame.raw for frame in frames])

    def error(self, problem: ApiError) -> bytes:
        """The last event of a broken stream; there is no `message_stop`."""
        self.done = True
        return b"event: error\ndata: " + msgspec.json.encode(MESSAGES.error(problem, self._request_id)) + b"\n\n"

    def beat(self) -> bytes:
        return PING


class WholeMessage:
    """The message that the events amount to, with everything that was in them."""

    def __init__(self) -> None:
        self._fold = RawFold()
        self.message_id = ""
        self.stop_reason: str | None = None

    def feed(self, events: list[Event], frames: list[Frame]) -> None:
        for frame in frames:
            self._fold.feed(msgspec.json.decode(frame.data))

    def write(self) -> bytes:
        """Raises ApiError (502) if no message ever began."""
        message = self._fold.message()
        if message is None:
            raise ApiError("upstream_malformed", "Upstream's answer held no message.")
        self.message_id, self.stop_reason = str(message.get("id") or ""), message.get("stop_reason")
        return msgspec.json.encode(message)


def _headers(asked: Asked) -> dict[str, str]:
    """Those that go upstream. Raises ApiError (400) for a version or a beta that does not pass."""
    headers = {}
    version = asked.header("anthropic-version").strip()
    if version:
        if version not in VERSIONS:
            shown = version[:40].encode("ascii", "replace").decode()
            raise ApiError("bad_header", f'anthropic-version: "{shown}" is not a valid version', "anthropic-version")
        headers["anthropic-version"] = version
    beta = betas.read(asked.header("anthropic-beta"))
    if beta:
        headers["anthropic-beta"] = beta
    return headers


def _object(body: Any) -> dict[str, Any]:
    if not isinstance(body, dict):
        raise ApiError("invalid_type", "The request body must be a JSON object.")
    return body


def _required(body: dict[str, Any], name: str) -> None:
    if body.get(name) is None:
        raise ApiError("missing", f"{name}: Field required", name)
    if name == "model":
        if not isinstance(body["model"], str):
            raise _invalid("model", "Input should be a valid string")
        if not body["model"].strip():
            raise ApiError("invalid_value", "model: String should have at least 1 character", "model")
    if name == "messages" and not isinstance(body["messages"], list):
        raise _invalid("messages", "Input should be a valid list")


def _invalid(name: str, text: str) -> ApiError:
    return ApiError("invalid_type", f"{name}: {text}", name)


def _end_user(body: dict[str, Any]) -> str:
    metadata = body.get("metadata")
    user = metadata.get("user_id") if isinstance(metadata, dict) else None
    return user if isinstance(user, str) else ""


MESSAGES = MessagesDialect()
