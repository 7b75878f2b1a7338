"""Messages events → a response: its events one by one, or all that they amount to.

A synchronous object, so that anything that moves bytes can drive it. The whole response and the stream are told by the
same items (responses_output), and the last event of a stream holds the whole response.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from bridge.dialects import chat_answer
from bridge.dialects.responses import ResponseShape
from bridge.dialects.responses_output import Call, FreeCall, Json, Message, Output, Reasoning, Search, Told
from bridge.errors import ApiError
from bridge.wire.anthropic import Event
from bridge.wire.counts import Counts

KEEP_ALIVE = b": keep-alive\n\n"

# Why a response is incomplete, by how upstream's answer stopped; every other stop completes it.
INCOMPLETE = {
    "max_tokens": "max_output_tokens",
    "model_context_window_exceeded": "max_output_tokens",
    "refusal": "content_filter",
}
# The codes that OpenAI's schema has for a response that failed; the `error` event before it is more precise.
_CODES = {"rate_limit_exceeded": "rate_limit_exceeded"}

_encode = msgspec.json.Encoder().encode


class Response:
    """One answer. `feed` every event of it and send on what that tells; `resource` is the response so far."""

    def __init__(
        self,
        counts: Callable[[], Counts],
        created: int,
        shape: ResponseShape,
        request_id: str,
        clock: Callable[[], float],
    ) -> None:
        """`clock`: seconds since the epoch. `request_id`: for the id of a response that never began."""
        self._counts, self._created, self._shape, self._clock = counts, created, shape, clock
        self._suffix = request_id.replace("-", "")
        self._head: Json | None = None
        self._tier = ""
        self._items: list[Output] = []
        self._blocks: dict[int, Output] = {}  # those that are still coming
        self._said: Message | None = None  # the last item, as long as more text goes on with it
        self._stop_reason: str | None = None
        self._refusal: str | None = None
        self._end: Json = {"status": "in_progress", "incomplete_details": None, "error": None, "completed_at": None}
        self._usage: Json | None = None
        self.done = False

    @property
    def begun(self) -> bool:
        return self._head is not None

    def feed(self, event: Event) -> Told:
        """The events that this one adds, if any."""
        match event.type:
            case "content_block_delta" if event.delta:
                output = self._blocks.get(event.index)
                return output.delta(event.delta) if output else []
            case "content_block_start" if event.content_block is not None and self.begun and not self.done:
                return self._start(event.index, event.content_block)
            case "content_block_stop":
                return self._stop(event.index)
            case "message_start" if event.message and not self.begun:
                self._tier = (event.message.usage.service_tier if event.message.usage else None) or ""
                self._suffix = event.message.id.removeprefix("msg_") or self._suffix
                return self._begin(event.message.model)
            case "message_delta" if event.delta:
                self._stop_reason = event.delta.stop_reason
                self._refusal = chat_answer.refusal_text(event.delta.stop_reason, event.delta.stop_details)
            case "message_stop" if self.begun and not self.done:
                return self._finish()
        return []

    def fail(self, problem: ApiError) -> Told:
        """The last that a broken answer tells."""
        begun = [] if self.begun else self._begin("")
        self.done = True
        error = problem.body()["error"]
        told = {"type": "error", "code": error["code"], "message": error["message"], "param": error["param"]}
        code = _CODES.get(error["code"] or "", "server_error")
        self._end |= {"status": "failed", "error": {"code": code, "message": error["message"]}}
        self._usage = counts(self._counts())
        return [*begun, {**told, "error": error}, self._event("response.failed")]

    def alive(self) -> Json:
        """An event that says nothing new: some clients time events, not bytes."""
        return self._event("response.in_progress")

    def resource(self) -> Json:
        """The response so far: every field that a strict reader of it wants, null where there is nothing."""
        return {
            **(self._head or {}),
            **self._end,
            **self._shape.echo,
            "output": [output.item for output in self._items if output not in self._open()],
            "usage": self._usage,
            "service_tier": chat_answer.tier(self._tier),
        }

    def _open(self) -> list[Output]:
        return [*self._blocks.values(), *([self._said] if self._said else [])]

    def _event(self, kind: str) -> Json:
        return {"type": kind, "response": self.resource()}

    def _begin(self, model: str) -> Told:
        self._head = {
            "id": f"resp_{self._suffix}",
            "object": "response",
            "created_at": self._created,
            "model": model,
            "store": False,
            "background": False,
            "truncation": "disabled",
            "presence_penalty": 0,
            "frequency_penalty": 0,
            "top_logprobs": 0,
        }
        return [self._event("response.created"), self._event("response.in_progress")]

    def _start(self, index: int, block: Json) -> Told:
        told = self._stop(index)
        kind = block.get("type")
        if kind == "text":
            return told + self._speak(index, block)
        if kind == "web_search_tool_result":
            return told + self._found(block)
        make = _OUTPUTS.get(str(kind))
        if make is None or (kind == "server_tool_use" and block.get("name") != "web_search"):
            return told
        if make is Call and block.get("name") in self._shape.custom:
            make = FreeCall
        told += self._hush()
        output = make(len(self._items), f"{self._suffix}_{len(self._items)}", block, self._shape)
        self._items.append(output)
        self._blocks[index] = output
        return told + output.begin()

    def _speak(self, index: int, block: Json) -> Told:
        """Blocks of text that follow each other are one message: with sources, each sentence is a block."""
        told: Told = []
        if self._said is None:
            self._said = Message(len(self._items), f"{self._suffix}_{len(self._items)}")
            self._items.append(self._said)
            told = self._said.begin()
        self._blocks[index] = self._said
        return told + self._said.begin_block(block)

    def _hush(self, status: str = "completed") -> Told:
        """The message that was going on is complete: something else follows it."""
        said, self._said = self._said, None
        if said is None:
            return []
        self._blocks = {index: output for index, output in self._blocks.items() if output is not said}
        return said.end(status)

    def _found(self, block: Json) -> Told:
        """The result ends its search, which has been waiting for it."""
        for index, output in self._blocks.items():
            if isinstance(output, Search) and output.tool_use_id == block.get("tool_use_id"):
                output.found(block.get("content"))
                del self._blocks[index]
                return output.end("completed")
        return []

    def _stop(self, index: int) -> Told:
        output = self._blocks.get(index)
        if output is None or isinstance(output, Search):
            return []
        del self._blocks[index]
        return output.end_block() if isinstance(output, Message) else output.end("completed")

    def _finish(self) -> Told:
        """Whatever is still open ends, and the response with it."""
        reason = INCOMPLETE.get(self._stop_reason or "")
        status = "incomplete" if reason else "completed"
        told: Told = []
        for output in [output for output in self._blocks.values() if output is not self._said]:
            told += output.end(status)
        self._blocks = {}
        told += self._last_words(status)
        self.done = True
        self._end |= {"status": status, "incomplete_details": {"reason": reason} if reason else None}
        if not reason:
            self._end["completed_at"] = int(self._clock())
        self._usage = counts(self._counts())
        return [*told, self._event(f"response.{status}")]

    def _last_words(self, status: str) -> Told:
        """A refusal goes with what was said before it. An answer in which nothing was said is an empty message."""
        told: Told = []
        silent = status == "completed" and all(isinstance(output, Reasoning) for output in self._items)
        if self._said is None and (self._refusal is not None or silent):
            self._said = Message(len(self._items), f"{self._suffix}_{len(self._items)}")
            self._items.append(self._said)
            told = self._said.begin()
        said, self._said = self._said, None
        return told + said.end(status, self._refusal) if said else told


_OUTPUTS: dict[str, Callable[[int, str, Json, ResponseShape], Any]] = {
    "thinking": Reasoning,
    "redacted_thinking": Reasoning,
    "tool_use": Call,
    "server_tool_use": Search,
}


class ResponseStream:
    """The same as server-sent events, numbered. There is no `[DONE]` in this API."""

    def __init__(self, response: Response) -> None:
        self._response = response
        self._number = 0

    @property
    def done(self) -> bool:
        return self._response.done

    def feed(self, event: Event) -> bytes:
        return self._framed(self._response.feed(event))

    def error(self, problem: ApiError) -> bytes:
        return self._framed(self._response.fail(problem))

    def beat(self) -> bytes:
        """Something to send in a long silence: Codex ends a stream without events, however many comments it gets."""
        return self._framed([self._response.alive()]) if self._response.begun else KEEP_ALIVE

    def _framed(self, told: Told) -> bytes:
        out = b""
        for event in told:
            data = _encode({**event, "sequence_number": self._number})
            out += b"event: " + event["type"].encode() + b"\ndata: " + data + b"\n\n"
            self._number += 1
        return out


def counts(usage: Counts) -> dict[str, Any]:
    return {
        "input_tokens": usage.prompt,
        "input_tokens_details": {
            "cached_tokens": usage.cache_read,
            "cache_write_tokens": usage.cache_write_5m + usage.cache_write_1h,
        },
        "output_tokens": usage.output,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning},
        "total_tokens": usage.prompt + usage.output,
    }
