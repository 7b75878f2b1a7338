"""Messages → Completions: the text of an answer, whole or in pieces. Shape: openai-python `types/completion.py`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from bridge.dialects import chat_answer
from bridge.dialects.chat import AnswerShape
from bridge.dialects.chat_stream import DONE, KEEP_ALIVE
from bridge.errors import ApiError
from bridge.wire.anthropic import Event, Message
from bridge.wire.counts import Counts

_encode = msgspec.json.Encoder().encode


def write_choices(
    messages: list[Message], usage: Counts, created: int, shape: AnswerShape, service_tier: str = ""
) -> dict[str, Any]:
    """The whole answer, with a choice for each message."""
    choices = []
    for index, message in enumerate(messages):
        text = "".join(block.get("text") or "" for block in message.content if block.get("type") == "text")
        choices.append(_choice(index, text, chat_answer.finish_reason(message.stop_reason)))
    return {**_heading(messages[0].id, messages[0].model, created), "choices": choices, "usage": counts(usage)}


def counts(usage: Counts) -> dict[str, Any]:
    return chat_answer.counts(usage)


def _heading(message_id: str, model: str, created: int) -> dict[str, Any]:
    identifier = f"cmpl-{message_id.removeprefix('msg_')}"
    return {"id": identifier, "object": "text_completion", "created": created, "model": model}


def _choice(index: int, text: str, reason: str | None) -> dict[str, Any]:
    reason = "stop" if reason == "tool_calls" else reason  # there are no tools in this API
    return {"text": text, "index": index, "logprobs": None, "finish_reason": reason}


class CompletionStream:
    """One choice's chunks. `feed` every event; `error` instead, if it broke. `end` follows the last choice."""

    def __init__(
        self, counts: Callable[[], Counts], created: int, include_usage: bool, index: int = 0, message_id: str = ""
    ) -> None:
        self._counts, self._created, self._include_usage = counts, created, include_usage
        self._index, self._message_id = index, message_id
        self._head: dict[str, Any] | None = None
        self._texts: set[int] = set()  # the blocks that are text
        self._stop_reason: str | None = None
        self.done = False

    def feed(self, event: Event) -> bytes:
        match event.type:
            case "message_start" if event.message and self._head is None:
                self._head = _heading(self._message_id or event.message.id, event.message.model, self._created)
            case "content_block_start" if event.content_block and event.content_block.get("type") == "text":
                self._texts.add(event.index)
                return self._chunk(event.content_block.get("text") or "")
            case "content_block_delta" if event.delta and event.delta.type == "text_delta":
                return self._chunk(event.delta.text or "") if event.index in self._texts else b""
            case "message_delta" if event.delta:
                self._stop_reason = event.delta.stop_reason
            case "message_stop" if self._head is not None and not self.done:
                self.done = True
                end = self._told([_choice(self._index, "", chat_answer.finish_reason(self._stop_reason))])
                return end if self._message_id else end + self.end()
        return b""

    def end(self) -> bytes:
        """The usage, if it was asked for, and `[DONE]`."""
        usage = self._told([], usage=counts(self._counts())) if self._include_usage else b""
        return usage + DONE

    def error(self, problem: ApiError) -> bytes:
        self.done = True
        return b"data: " + _encode(problem.body()) + b"\n\n"

    def beat(self) -> bytes:
        return KEEP_ALIVE

    def _chunk(self, text: str) -> bytes:
        return self._told([_choice(self._index, text, None)]) if text and self._head is not None else b""

    def _told(self, choices: list[dict[str, Any]], **more: Any) -> bytes:
        return b"data: " + _encode({**(self._head or {}), "choices": choices, **more}) + b"\n\n"
