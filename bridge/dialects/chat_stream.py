"""Messages events → Chat Completions chunks: a synchronous object, so that anything that moves bytes can drive it.

The order and shape of chunks follow recorded traffic of OpenAI's API; clients depend on details (role and ids once, no
`error` key on normal chunks, nothing after the usage, `[DONE]` only after a real end).
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from bridge.dialects import chat
from bridge.errors import ApiError
from bridge.wire.anthropic import Event
from bridge.wire.counts import Counts

KEEP_ALIVE = b": keep-alive\n\n"  # a comment: every SSE reader skips it
DONE = b"data: [DONE]\n\n"

_encode = msgspec.json.Encoder().encode


class ChatStream:
    """One answer's chunks. `feed` every event, then `close`; `error` instead, if it broke."""

    def __init__(self, counts: Callable[[], Counts], created: int, include_usage: bool) -> None:
        self._counts = counts
        self._created = created
        self._include_usage = include_usage
        self._before = b""  # everything of a chunk up to its delta, made once per answer
        self._after = b""
        self._usage_before = b""
        self._stop_reason: str | None = None
        self._refusal: str | None = None
        self._beats = 0
        self.done = False

    def feed(self, event: Event) -> bytes:
        """The chunks that this event adds, if any."""
        match event.type:
            case "content_block_delta" if event.delta and self._before:
                if event.delta.text:
                    return self._chunk(b'{"content":' + _encode(event.delta.text) + b"}")
                if event.delta.thinking:
                    return self._chunk(b'{"reasoning_content":' + _encode(event.delta.thinking) + b"}")
            case "content_block_start" if event.content_block and self._before:
                text = event.content_block.get("text")
                if isinstance(text, str) and text:
                    return self._chunk(b'{"content":' + _encode(text) + b"}")
            case "message_start" if event.message and not self._before:
                self._begin(chat.heading(event.message.id, event.message.model, self._created))
                return self._chunk(b'{"role":"assistant","content":"","refusal":null}')
            case "message_delta" if event.delta:
                self._stop_reason = event.delta.stop_reason
                self._refusal = chat.refusal_text(event.delta.stop_reason, event.delta.stop_details)
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

    def _begin(self, head: chat.Heading) -> None:
        fields = {"id": head.id, "object": "chat.completion.chunk", "created": head.created, "model": head.model}
        tail = b',"service_tier":"default","system_fingerprint":null'
        self._before = b"data: " + _encode(fields)[:-1] + b',"choices":[{"index":0,"delta":'
        self._after = tail + (b',"usage":null}\n\n' if self._include_usage else b"}\n\n")
        self._usage_before = b"data: " + _encode(fields)[:-1] + b',"choices":[]' + tail + b',"usage":'

    def _chunk(self, delta: bytes, finish: bytes = b"null") -> bytes:
        return self._before + delta + b',"logprobs":null,"finish_reason":' + finish + b"}]" + self._after

    def _finish(self) -> bytes:
        self.done = True
        refusal = self._chunk(b'{"refusal":' + _encode(self._refusal) + b"}") if self._refusal else b""
        end = self._chunk(b"{}", _encode(chat.finish_reason(self._stop_reason)))
        usage = b""
        if self._include_usage:
            usage = self._usage_before + _encode(chat.counts(self._counts())) + b"}\n\n"
        return refusal + end + usage + DONE
