"""What OpenAI's dialects share on the road: a question made fit for its model, and errors in OpenAI's shape."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, Generic, Protocol, TypeVar

from bridge.adapt import Restore, adapt, restore_nothing
from bridge.catalog import Model
from bridge.emulate import PlainJson, Rewriter
from bridge.errors import ApiError
from bridge.receipt import Receipt


class TranslatedDialect:
    """See bridge.speech.Dialect; `name` and `read` are the dialect's own."""

    relays = False

    def status(self, problem: ApiError) -> int:
        return problem.status

    def error(self, problem: ApiError, request_id: str) -> dict[str, Any]:
        return problem.body()

    def headers(self, request_id: str, milliseconds: int) -> dict[str, str]:
        return {"x-request-id": request_id, "openai-processing-ms": str(milliseconds)}


class Reading(Protocol):
    """What every dialect of OpenAI's reads of a request."""

    request: dict[str, Any]
    stream: bool
    end_user: str
    choices: int
    plain_json: bool
    display: str
    receipt: Receipt

    @property
    def betas(self) -> tuple[str, ...]: ...


class Memory(Rewriter, Protocol):
    """What was kept of earlier answers for clients that drop it: `restore` gives it back; it hears the new answer."""

    def restore(self, request: dict[str, Any], receipt: Receipt) -> None: ...


R = TypeVar("R", bound=Reading)


class TranslatedQuestion(Generic[R]):
    """See bridge.speech.Question; `stream` and `whole` are the dialect's own."""

    def __init__(self, reading: R, asked_betas: list[str]) -> None:
        self._reading = reading
        self._rewriters: list[Rewriter] = []
        self.memory: Memory | None = None
        self.alias: str = reading.request["model"]
        self.streamed, self.end_user, self.choices = reading.stream, reading.end_user, reading.choices
        self.open_ended = "max_tokens" not in reading.request
        self.receipt: Receipt = reading.receipt
        wanted = ",".join(dict.fromkeys([*asked_betas, *reading.betas]))
        self.headers: Mapping[str, str] = {"anthropic-beta": wanted} if wanted else {}

    def fit(self, model: Model, pseudonym: str) -> dict[str, Any]:
        """The Messages request that this model accepts."""
        request = self._reading.request
        restore: Restore = self.memory.restore if self.memory is not None else restore_nothing
        self._rewriters = adapt(request, model, self.receipt, self._reading.display, restore)
        if self._reading.plain_json:
            self._rewriters.append(PlainJson())
        if pseudonym:
            request["metadata"] = {"user_id": pseudonym}
        return request

    def _each(self) -> list[list[Rewriter]]:
        """Rewriters remember what they have seen: every choice has its own. Memory, the last, hears all."""
        heard = [self.memory] if self.memory is not None else []
        return [[*copy.deepcopy(self._rewriters), *heard] for _ in range(self.choices)]
