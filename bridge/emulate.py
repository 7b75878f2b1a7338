"""What a model refuses to do itself, done around it: events are rewritten on their way from upstream to the dialect.

ForcedTool    a call that must happen, on models without forced tool choice: the answer is made to have the form of
              the tool's arguments, and told as the call
PlainJson     one JSON object, where only an instruction asks for it: code fences are taken off
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Protocol

import msgspec

from bridge.wire.anthropic import Delta, Event

# A call that was cut off: its name, and what there is of its arguments.
_BEGUN = re.compile(r'\s*\{\s*"tool"\s*:\s*"([^"\\]+)"\s*(?:,\s*"arguments"\s*:\s*(.*))?', re.DOTALL)


class Rewriter(Protocol):
    def rewrite(self, event: Event) -> Iterator[Event]: ...


class ForcedTool:
    """Text → a tool call. With a `name` its text is the arguments; without, `{"tool": NAME, "arguments": {…}}`."""

    def __init__(self, name: str | None) -> None:
        self._name = name
        self._message_id = ""
        self._texts: dict[int, list[str]] = {}
        self._called = False

    def rewrite(self, event: Event) -> Iterator[Event]:
        match event.type:
            case "message_start" if event.message:
                self._message_id = event.message.id
            case "content_block_start" if event.content_block and event.content_block.get("type") == "text":
                self._texts[event.index] = []
                if self._name is not None:
                    yield self._start(event.index, self._name)
                return
            case "content_block_delta" if event.index in self._texts:
                yield from self._delta(event)
                return
            case "content_block_stop" if event.index in self._texts and self._name is None:
                yield from self._whole(event)
                return
            case "message_delta" if event.delta and self._called and event.delta.stop_reason == "end_turn":
                event.delta.stop_reason = "tool_use"
        yield event

    def _delta(self, event: Event) -> Iterator[Event]:
        text = event.delta.text if event.delta else None
        if not text:
            return
        self._texts[event.index].append(text)
        if self._name is not None:
            yield Event("content_block_delta", event.index, delta=Delta("input_json_delta", partial_json=text))

    def _whole(self, event: Event) -> Iterator[Event]:
        """Several tools were possible: which one is known when its text is complete."""
        text = "".join(self._texts[event.index])
        call = _call(text)
        if call is None:
            yield Event("content_block_start", event.index, content_block={"type": "text", "text": ""})
            yield Event("content_block_delta", event.index, delta=Delta("text_delta", text=text))
        else:
            name, arguments = call
            yield self._start(event.index, name)
            if arguments:
                yield Event("content_block_delta", event.index, delta=Delta("input_json_delta", partial_json=arguments))
        yield event

    def _start(self, index: int, name: str) -> Event:
        self._called = True
        identifier = f"toolu_{self._message_id.removeprefix('msg_')[-24:]}_{index}"
        return Event(
            "content_block_start",
            index,
            content_block={"type": "tool_use", "id": identifier, "name": name, "input": {}},
        )


def _call(text: str) -> tuple[str, str] | None:
    """Name and arguments of a call; as far as they came, if it was cut off by max_tokens. None: it is no call."""
    try:
        made = msgspec.json.decode(text, type=dict[str, Any])
        return str(made["tool"]), msgspec.json.encode(made["arguments"]).decode()
    except (msgspec.DecodeError, RecursionError):
        begun = _BEGUN.match(text)
        return (begun[1], begun[2] or "") if begun else None
    except KeyError:
        return None


class PlainJson:
    """Takes a code fence off a JSON answer. Holds back only what may be one."""

    def __init__(self) -> None:
        self._begun = False
        self._held = ""

    def rewrite(self, event: Event) -> Iterator[Event]:
        if event.type == "content_block_delta" and event.delta and event.delta.text:
            event.delta.text = self._without_fence(event.delta.text)
            if event.delta.text:
                yield event
            return
        if event.type == "content_block_stop" and self._held:
            rest = self._held.rstrip().removesuffix("```").rstrip()
            self._held = ""
            if rest:
                yield Event("content_block_delta", event.index, delta=Delta("text_delta", text=rest))
        yield event

    def _without_fence(self, text: str) -> str:
        self._held += text
        if not self._begun:
            start = self._held.lstrip()
            if "```".startswith(start[:3]) and not (start.startswith("```") and "\n" in start):
                return ""
            self._held = start.split("\n", 1)[1] if start.startswith("```") else start
            self._begun = True
        # An end fence and the white space before it are at most this long; more than that is the answer.
        keep = len(self._held) - len(self._held.rstrip("`\n\r\t "))
        ready, self._held = self._held[: len(self._held) - keep], self._held[len(self._held) - keep :]
        return ready


def through(rewriters: list[Rewriter], events: list[Event]) -> list[Event]:
    """Events through each rewriter in turn."""
    for rewriter in rewriters:
        events = [made for event in events for made in _rewritten(rewriter, event)]
    return events


def _rewritten(rewriter: Rewriter, event: Event) -> Iterator[Event]:
    for made in rewriter.rewrite(event):
        made.choice = event.choice
        yield made
