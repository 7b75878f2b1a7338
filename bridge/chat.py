"""Chat Completions on the one road: read, made fit for the model, and told in OpenAI's words."""

from __future__ import annotations

from typing import Any

import msgspec

from bridge.dialects import betas, chat, chat_answer
from bridge.dialects.chat_stream import ChatStream
from bridge.dialects.completions_answer import CompletionStream
from bridge.emulate import Rewriter, through
from bridge.errors import ApiError
from bridge.speech import Asked, Tally
from bridge.translated import TranslatedDialect, TranslatedQuestion
from bridge.wire.anthropic import Event, Frame
from bridge.wire.fold import Fold


class ChatDialect(TranslatedDialect):
    """OpenAI's Chat Completions; also the shape of errors that belong to no dialect."""

    name = "chat"

    def read(self, asked: Asked) -> ChatQuestion:
        reading = chat.read(asked.body, asked.model_in_url)
        return ChatQuestion(reading, betas.passing(asked.header("anthropic-beta"), reading.receipt))


class ChatQuestion(TranslatedQuestion[chat.Reading]):
    @property
    def request(self) -> dict[str, Any]:
        """As it was read."""
        return self._reading.request

    @property
    def is_legacy(self) -> bool:
        """Whether it calls functions as in 2023, without ids."""
        return self._reading.form.legacy

    def stream(self, tally: Tally, created: int) -> ChatTold:
        return ChatTold(self._reading, tally, created, self._each())

    def whole(self, tally: Tally, created: int) -> ChatWhole:
        return ChatWhole(self._reading, tally, created, self._each())


class ChatTold:
    """Events to chunks, through what emulates the rest; the chunks of several choices mix, each with its index."""

    def __init__(self, reading: chat.Reading, tally: Tally, created: int, rewriters: list[list[Rewriter]]) -> None:
        self._reading, self._tally, self._created, self._rewriters = reading, tally, created, rewriters
        self._streams: dict[int, ChatStream | CompletionStream] = {}
        self._plain = not any(rewriters)
        self.done = False
        self.message_id = ""
        self.stop_reason: str | None = None

    def feed(self, events: list[Event], frames: list[Frame]) -> bytes:
        if not self._plain:
            events = [made for event in events for made in through(self._rewriters[event.choice], [event])]
        out = list(map(self._told, events))
        if self.done and len(self._rewriters) > 1:
            out.append(self._streams[0].end())
        return b"".join(out)

    def error(self, problem: ApiError) -> bytes:
        self.done = True
        return self._stream(0).error(problem)

    def beat(self) -> bytes:
        return self._stream(0).beat()

    def _told(self, event: Event) -> bytes:
        if event.type == "content_block_delta":  # most are
            return self._stream(event.choice).feed(event)
        if event.type == "message_start" and event.message:
            self.message_id = self.message_id or event.message.id
        elif event.type == "message_delta" and event.delta and event.choice == 0:
            self.stop_reason = event.delta.stop_reason
        told = self._stream(event.choice).feed(event)
        if event.type == "message_stop":
            self.done = len(self._streams) == len(self._rewriters) and all(one.done for one in self._streams.values())
        return told

    def _stream(self, choice: int) -> ChatStream | CompletionStream:
        if choice not in self._streams:
            self._streams[choice] = self._begun(choice, self.message_id if len(self._rewriters) > 1 else "")
        return self._streams[choice]

    def _begun(self, choice: int, shared_id: str) -> ChatStream | CompletionStream:
        reading = self._reading
        return ChatStream(self._tally.usage, self._created, reading.include_usage, reading.form, choice, shared_id)


class ChatWhole:
    """Events to one ChatCompletion."""

    write_choices = staticmethod(chat_answer.write_choices)

    def __init__(self, reading: chat.Reading, tally: Tally, created: int, rewriters: list[list[Rewriter]]) -> None:
        self._folds, self._rewriters = [Fold() for _ in rewriters], rewriters
        self._form, self._tally, self._created = reading.form, tally, created

    @property
    def message_id(self) -> str:
        return self._folds[0].message().id

    @property
    def stop_reason(self) -> str | None:
        return self._folds[0].message().stop_reason

    def feed(self, events: list[Event], frames: list[Frame]) -> None:
        for event in events:
            for made in through(self._rewriters[event.choice], [event]):
                self._folds[event.choice].feed(made)

    def write(self) -> bytes:
        tally = self._tally
        messages = [fold.message() for fold in self._folds]
        answer = self.write_choices(messages, tally.usage(), self._created, self._form, tally.service_tier)
        return msgspec.json.encode(answer)


CHAT = ChatDialect()
