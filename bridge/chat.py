"""Chat Completions on the one road: read, made fit for the model, and told in OpenAI's words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from bridge.adapt import adapt
from bridge.catalog import Model
from bridge.dialects import chat, chat_answer
from bridge.dialects.chat_stream import ChatStream
from bridge.emulate import PlainJson, Rewriter, through
from bridge.errors import ApiError
from bridge.receipt import Receipt
from bridge.speech import Asked, Tally
from bridge.wire.anthropic import Event, Frame
from bridge.wire.fold import Fold

_NO_HEADERS: Mapping[str, str] = {}


class ChatDialect:
    """OpenAI's Chat Completions; also the shape of errors that belong to no dialect."""

    name = "chat"
    relays = False

    def read(self, asked: Asked) -> ChatQuestion:
        return ChatQuestion(chat.read(asked.body, asked.model_in_url))

    def status(self, problem: ApiError) -> int:
        return problem.status

    def error(self, problem: ApiError, request_id: str) -> dict[str, Any]:
        return problem.body()

    def headers(self, request_id: str, milliseconds: int) -> dict[str, str]:
        return {"x-request-id": request_id, "openai-processing-ms": str(milliseconds)}


class ChatQuestion:
    def __init__(self, reading: chat.Reading) -> None:
        self._reading = reading
        self._rewriters: list[Rewriter] = []
        self.alias: str = reading.request["model"]
        self.streamed, self.end_user = reading.stream, reading.end_user
        self.receipt: Receipt = reading.receipt
        self.headers = _NO_HEADERS

    def fit(self, model: Model, pseudonym: str) -> dict[str, Any]:
        """The Messages request that this model accepts."""
        request = self._reading.request
        self._rewriters = adapt(request, model, self.receipt)
        if self._reading.plain_json:
            self._rewriters.append(PlainJson())
        if pseudonym:
            request["metadata"] = {"user_id": pseudonym}
        return request

    def stream(self, tally: Tally, created: int) -> ChatTold:
        reading = self._reading
        return ChatTold(ChatStream(tally.usage, created, reading.include_usage, reading.form), self._rewriters)

    def whole(self, tally: Tally, created: int) -> ChatWhole:
        return ChatWhole(tally, created, self._reading.form, self._rewriters)


class ChatTold:
    """Events to chunks, through what emulates the rest."""

    def __init__(self, stream: ChatStream, rewriters: list[Rewriter]) -> None:
        self._stream, self._rewriters = stream, rewriters
        self.beat, self.error = stream.beat, stream.error
        self.message_id = ""
        self.stop_reason: str | None = None

    @property
    def done(self) -> bool:
        return self._stream.done

    def feed(self, events: list[Event], frames: list[Frame]) -> bytes:
        out = []
        for event in through(self._rewriters, events) if self._rewriters else events:
            out.append(self._stream.feed(event))
            if event.type == "message_start" and event.message:
                self.message_id = event.message.id
            elif event.type == "message_delta" and event.delta:
                self.stop_reason = event.delta.stop_reason
        return b"".join(out)


class ChatWhole:
    """Events to one ChatCompletion."""

    def __init__(self, tally: Tally, created: int, form: chat.AnswerShape, rewriters: list[Rewriter]) -> None:
        self._fold, self._rewriters = Fold(), rewriters
        self._tally, self._created, self._form = tally, created, form

    @property
    def message_id(self) -> str:
        return self._fold.message().id

    @property
    def stop_reason(self) -> str | None:
        return self._fold.message().stop_reason

    def feed(self, events: list[Event], frames: list[Frame]) -> None:
        for event in through(self._rewriters, events) if self._rewriters else events:
            self._fold.feed(event)

    def write(self) -> bytes:
        tally = self._tally
        answer = chat_answer.write(self._fold.message(), tally.usage(), self._created, self._form, tally.service_tier)
        return msgspec.json.encode(answer)


CHAT = ChatDialect()
