"""Messages events → Chat Completions chunks: a synchronous object, so that anything that moves bytes can drive it.

The order and shape of chunks follow recorded traffic of OpenAI's API; clients depend on details (role and ids once,
calls numbered from 0, no `error` key on normal chunks, nothing after the usage, `[DONE]` only after a real end).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from bridge.dialects import chat_answer
from bridge.dialects.chat import AnswerShape
from bridge.errors import ApiError
from bridge.wire.anthropic import Delta, Event
from bridge.wire.counts import Counts

KEEP_ALIVE = b": keep-alive\n\n"  # a comment: every SSE reader skips it
DONE = b"data: [DONE]\n\n"

_encode = msgspec.json.Encoder().encode


class ChatStream:
    """One answer's chunks. `feed` every event, then `close`; `error` instead, if it broke."""

    def __init__(
        self,
        counts: Callable[[], Counts],
        created: int,
        include_usage: bool,
        shape: AnswerShape,
        index: int = 0,
        message_id: str = "",
    ) -> None:
        """`index` and `message_id`: of one choice among several, which all carry the first one's id."""
        self._counts = counts
        self._index = index
        self._message_id = message_id
        self._created = created
        self._include_usage = include_usage
        self._shape = shape
        self._before = b""  # everything of a chunk up to its delta, made once per answer
        self._after = b""
        self._text_before = self._text_after = b""  # and of a chunk of text
        self._usage_before = b""
        self._stop_reason: str | None = None
        self._refusal: str | None = None
        self._kinds: dict[int, Any] = {}  # of each block so far: what is said in others is not the answer's
        self._calls = _Calls(shape)
        self._extras = _Extras()
        self._beats = 0
        self.done = False

    def feed(self, event: Event) -> bytes:
        """The chunks that this event adds, if any."""
        match event.type:
            case "content_block_delta" if event.delta and self._before:
                return self._delta(event.index, event.delta)
            case "content_block_start" if event.content_block is not None and self._before:
                return self._block(event.index, event.content_block)
            case "content_block_stop" if self._before:
                self._extras.stop(event.index)
                return self._chunks(self._calls.stop(event.index))
            case "message_start" if event.message and not self._before:
                tier = event.message.usage.service_tier if event.message.usage else None
                message_id = self._message_id or event.message.id
                self._begin(chat_answer.heading(message_id, event.message.model, self._created), tier or "")
                return self._chunk(b'{"role":"assistant","content":"","refusal":null}')
            case "message_delta" if event.delta:
                self._stop_reason = event.delta.stop_reason
                self._refusal = chat_answer.refusal_text(event.delta.stop_reason, event.delta.stop_details)
            case "message_stop" if self._before and not self.done:
                return self._finish()
        return b""

    def close(self) -> bytes:
        """What to send when upstream has ended: nothing after a real end, else the error that it was cut."""
        if self.done:
            return b""
        return self.error(ApiError("upstream_truncated", "The stream from upstream ended before the answer did."))

    def error(self, problem: ApiError) -> bytes:
        """The last thing a broken stream says: no finish reason, no `[DONE]`."""
        self.done = True
        return b"data: " + _encode(problem.body()) + b"\n\n"

    def beat(self) -> bytes:
        """Something to send in a long silence; every second one is a real chunk, for clients that time those."""
        self._beats += 1
        return self._chunk(b"{}") if self._beats % 2 == 0 and self._before else KEEP_ALIVE

    def _delta(self, index: int, delta: Delta) -> bytes:
        kind = self._kinds.get(index)
        if delta.type == "text_delta":
            if not delta.text or kind != "text":
                return b""
            self._extras.text(delta.text)
            return self._text_before + _encode(delta.text) + self._text_after
        if delta.type == "input_json_delta":
            return self._chunks(self._calls.arguments(index, delta.partial_json)) if delta.partial_json else b""
        self._extras.delta(index, delta)
        if delta.type == "thinking_delta" and delta.thinking and kind == "thinking":
            return self._chunk(b'{"reasoning_content":' + _encode(delta.thinking) + b"}")
        return b""

    def _block(self, index: int, block: dict[str, Any]) -> bytes:
        self._kinds[index] = block.get("type")
        self._extras.start(index, block)
        if block.get("type") == "tool_use":
            return self._chunks(self._calls.start(index, block))
        text = block.get("text")
        if block.get("type") == "text" and isinstance(text, str) and text:
            self._extras.text(text)
            return self._text_before + _encode(text) + self._text_after
        return b""

    def _begin(self, head: chat_answer.Heading, service_tier: str) -> None:
        fields = {"id": head.id, "object": "chat.completion.chunk", "created": head.created, "model": head.model}
        tail = b',"service_tier":' + _encode(chat_answer.tier(service_tier)) + b',"system_fingerprint":null'
        self._before = b"data: " + _encode(fields)[:-1] + b',"choices":[{"index":%d,"delta":' % self._index
        self._after = tail + (b',"usage":null}\n\n' if self._include_usage else b"}\n\n")
        self._text_before, self._text_after = self._before + b'{"content":', self._chunk(b"}")[len(self._before) :]
        self._usage_before = b"data: " + _encode(fields)[:-1] + b',"choices":[]' + tail + b',"usage":'

    def _chunk(self, delta: bytes, finish: bytes = b"null") -> bytes:
        return self._before + delta + b',"logprobs":null,"finish_reason":' + finish + b"}]" + self._after

    def _chunks(self, deltas: list[dict[str, Any]]) -> bytes:
        return b"".join([self._chunk(_encode(delta)) for delta in deltas])

    def end(self) -> bytes:
        """What follows the last choice: the usage, if it was asked for, and `[DONE]`."""
        usage = b""
        if self._include_usage:
            usage = self._usage_before + _encode(chat_answer.counts(self._counts())) + b"}\n\n"
        return usage + DONE

    def _finish(self) -> bytes:
        self.done = True
        extra = self._chunks(self._extras.deltas(self._refusal))
        reason = chat_answer.finish_reason(self._stop_reason, self._calls.any, self._shape.legacy)
        finish = extra + self._chunk(b"{}", _encode(reason))
        return finish if self._message_id else finish + self.end()


class _Calls:
    """Tool calls in pieces: numbered as calls, not as blocks; id and name in the first piece only; `{}` for nothing."""

    def __init__(self, shape: AnswerShape) -> None:
        self._shape = shape
        self._numbers: dict[int, int] = {}
        self._empty: set[int] = set()

    @property
    def any(self) -> bool:
        return bool(self._numbers)

    def start(self, index: int, block: dict[str, Any]) -> list[dict[str, Any]]:
        if self._shape.legacy and self._numbers:  # that API knows one call per answer
            return []
        self._numbers[index] = len(self._numbers)
        function = {"name": self._shape.names.original(str(block.get("name") or "")), "arguments": ""}
        if block.get("input"):  # complete from the start, as calls made by programs are
            function["arguments"] = _encode(block["input"]).decode()
        else:
            self._empty.add(index)
        return [self._delta(index, {"id": block.get("id"), "type": "function", "function": function}, function)]

    def arguments(self, index: int, text: str) -> list[dict[str, Any]]:
        if index not in self._numbers:  # a server tool's input
            return []
        self._empty.discard(index)
        return [self._delta(index, {"function": {"arguments": text}}, {"arguments": text})]

    def stop(self, index: int) -> list[dict[str, Any]]:
        return self.arguments(index, "{}") if index in self._empty else []

    def _delta(self, index: int, call: dict[str, Any], function: dict[str, Any]) -> dict[str, Any]:
        if self._shape.legacy:
            return {"function_call": function}
        return {"tool_calls": [{"index": self._numbers[index], **call}]}


class _Extras:
    """What is told at the end in one delta each: sources, signed thinking, a refusal."""

    def __init__(self) -> None:
        self._length = self._block_start = 0
        self._citations: list[dict[str, Any]] = []
        self._annotations: list[dict[str, Any]] = []
        self._thinking: dict[int, dict[str, Any]] = {}

    def start(self, index: int, block: dict[str, Any]) -> None:
        self._block_start = self._length
        if block.get("type") in ("thinking", "redacted_thinking"):
            self._thinking[index] = dict(block)
        self._citations = list(block.get("citations") or [])

    def text(self, text: str) -> None:
        self._length += len(text)

    def delta(self, index: int, delta: Delta) -> None:
        if delta.type == "citations_delta" and delta.citation:
            self._citations.append(delta.citation)
        block = self._thinking.get(index)
        if block is not None and delta.thinking and delta.type == "thinking_delta":
            block["thinking"] = (block.get("thinking") or "") + delta.thinking
        if block is not None and delta.type == "signature_delta":
            block["signature"] = delta.signature

    def stop(self, index: int) -> None:
        for citation in self._citations:
            note = chat_answer.annotation(citation, self._block_start, self._length)
            if note:
                self._annotations.append(note)
        self._citations = []

    def deltas(self, refusal: str | None) -> list[dict[str, Any]]:
        signed = chat_answer.thinking_blocks([self._thinking[index] for index in sorted(self._thinking)])
        found = {"annotations": self._annotations, "refusal": refusal, "thinking_blocks": signed}
        return [{name: value} for name, value in found.items() if value]
