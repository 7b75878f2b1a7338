"""What the one road asks of a dialect: read a request, tell its answer whole or as a stream, shape an error.

    Dialect     chosen by the view: `read`, `status` and `error`, `headers`
    Question    one request as the dialect read it: `fit` it to its model, then `stream` or `whole`
    Stream      the answer on its way out, piece by piece
    Whole       the answer put together first

Chat Completions (bridge/chat.py) and Responses (bridge/responses_api.py) translate; Messages
(bridge/dialects/messages.py) is the house language itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from bridge.catalog import Model
from bridge.chains import Chain
from bridge.dialects.sealing import NO_SEAL, Seal
from bridge.errors import ApiError
from bridge.receipt import Receipt
from bridge.wire.anthropic import Event, Frame
from bridge.wire.counts import Counts


@dataclass(frozen=True, slots=True)
class Asked:
    """What the client sent. `header` gives a request header by its lower-case name, "" if there is none."""

    body: Any
    header: Callable[[str], str]
    request_id: str
    model_in_url: str | None = None
    seal: Seal = NO_SEAL  # of the caller's tenant, for what its clients carry for us
    chain: Chain | None = None  # of the WebSocket that it came over
    size: int = 0  # of the body as it came, in bytes


class Tally(Protocol):
    """What has been counted of an answer so far."""

    def usage(self) -> Counts: ...
    @property
    def service_tier(self) -> str: ...


class Telling(Protocol):
    """`feed` it what upstream sends: events, and the bytes they came in if the dialect relays. `message_id` and
    `stop_reason` are for the record."""

    @property
    def message_id(self) -> str: ...
    @property
    def stop_reason(self) -> str | None: ...


class Stream(Telling, Protocol):
    """`done` after a real end, or after `error`, which is the last thing a broken stream says; `beat` for silences."""

    @property
    def done(self) -> bool: ...
    def feed(self, events: list[Event], frames: list[Frame]) -> bytes: ...
    def error(self, problem: ApiError) -> bytes: ...
    def beat(self) -> bytes: ...


class Whole(Telling, Protocol):
    """`write` gives the body, or raises ApiError if what came is no answer."""

    def feed(self, events: list[Event], frames: list[Frame]) -> None: ...
    def write(self) -> bytes: ...


class Question(Protocol):
    """`alias`: the model as the client named it; `choices`: how many answers; `end_user`: whom the client asks for;
    `open_ended`: the client set no limit to the answer's length; `headers`: that go upstream."""

    @property
    def alias(self) -> str: ...
    @property
    def streamed(self) -> bool: ...
    @property
    def choices(self) -> int: ...
    @property
    def open_ended(self) -> bool: ...
    @property
    def end_user(self) -> str: ...
    @property
    def receipt(self) -> Receipt: ...
    @property
    def headers(self) -> Mapping[str, str]: ...
    def fit(self, model: Model, pseudonym: str) -> dict[str, Any]: ...
    def stream(self, tally: Tally, created: int) -> Stream: ...
    def whole(self, tally: Tally, created: int) -> Whole: ...


class Dialect(Protocol):
    """`relays`: its streams are made of upstream's own bytes."""

    @property
    def name(self) -> str: ...
    @property
    def relays(self) -> bool: ...
    def read(self, asked: Asked) -> Question: ...
    def status(self, problem: ApiError) -> int: ...
    def error(self, problem: ApiError, request_id: str) -> dict[str, Any]: ...
    def headers(self, request_id: str, milliseconds: int) -> dict[str, str]: ...


class Counter(Protocol):
    """A dialect that also counts. `countable`: what of a request counting takes; `counted`: upstream's count, told."""

    @property
    def name(self) -> str: ...
    def read_count(self, asked: Asked) -> Question: ...
    def countable(self, request: dict[str, Any]) -> dict[str, Any]: ...
    def counted(self, count: Any) -> Any: ...
