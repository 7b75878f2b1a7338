"""What a model refuses to do itself, done around it: events are rewritten on their way from upstream to the dialect.

ForcedTool    a call that must happen, on models without forced tool choice: the answer is made to have the form of
              the tool's arguments, and told as the call
PlainJson     one JSON object, where only an instruction asks for it: what is said around it is taken off
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


# Where the object begins: at a brace that a name or the other brace follows (prose has braces too), or the list of
# objects that a model gave instead. A list of anything else is one only where the text begins with it.
_OBJECT = re.compile(r'(?:\[\s*)?\{\s*["}]')
_LIST = re.compile(r'\s*(?:```\w*\s*)?(\[)\s*[\["]')
_FENCED = re.compile(r"\s*```\w*[ \t\r]*\n(.*?)\s*(?:```)?\s*", re.DOTALL)
_LONGEST_OPENING = 200  # of what _OBJECT and _LIST match
_MOST_HELD = 32_768  # characters of prose; what has said more than that is not going to be one object


class PlainJson:
    """Takes off what is said around one JSON object: prose, a code fence. Nothing is told before the object begins and
    nothing after its end; an answer without one is told as it is, at its end. One object may span several blocks."""

    def __init__(self) -> None:
        self._held = ""  # what came before the object, as long as there is none
        self._begun = self._gave_up = False
        self._depth = 0
        self._quoted = self._escaped = False
        self._last = -1  # the highest index of a block

    def rewrite(self, event: Event) -> Iterator[Event]:
        self._last = max(self._last, event.index)
        match event.type:
            case "content_block_start" if event.content_block and event.content_block.get("type") == "text":
                text = event.content_block.get("text") or ""
                event.content_block = {**event.content_block, "text": self._told(text)}
            case "content_block_delta" if event.delta and event.delta.text:
                event.delta.text = self._told(event.delta.text)
                if not event.delta.text:
                    return
            case "message_delta" | "message_stop" if self._held:
                yield from self._as_it_is()
        yield event

    def _told(self, text: str) -> str:
        """What of this text is told now."""
        if self._gave_up:
            return text
        if not self._begun:
            seen, self._held = len(self._held), self._held + text
            begin = self._beginning(max(seen - _LONGEST_OPENING, 0))
            if begin is None:
                if len(self._held) <= _MOST_HELD:
                    return ""
                self._gave_up, text, self._held = True, self._held, ""
                return text
            self._begun, text, self._held = True, self._held[begin:], ""
        elif not self._depth:
            return ""  # after its end
        return text[: self._end(text)]

    def _beginning(self, start: int) -> int | None:
        a_list = _LIST.match(self._held) if start == 0 else None
        if a_list:
            return a_list.start(1)
        found = _OBJECT.search(self._held, start)
        return found.start() if found else None

    def _end(self, text: str) -> int:
        """How much of the text belongs to the object."""
        for position, character in enumerate(text):
            if self._escaped:
                self._escaped = False
            elif self._quoted:
                self._escaped, self._quoted = character == "\\", character != '"'
            elif character == '"':
                self._quoted = True
            elif character in "{[":
                self._depth += 1
            elif character in "}]":
                self._depth -= 1
                if not self._depth:
                    return position + 1
        return len(text)

    def _as_it_is(self) -> Iterator[Event]:
        """There was no object: in a block of its own after all others, for those it came in are closed."""
        fenced = _FENCED.fullmatch(self._held)
        text, self._held = fenced[1] if fenced else self._held, ""
        if text.strip():
            index = self._last + 1
            yield Event("content_block_start", index, content_block={"type": "text", "text": ""})
            yield Event("content_block_delta", index, delta=Delta("text_delta", text=text))
            yield Event("content_block_stop", index)


def through(rewriters: list[Rewriter], events: list[Event]) -> list[Event]:
    """Events through each rewriter in turn."""
    for rewriter in rewriters:
        events = [made for event in events for made in _rewritten(rewriter, event)]
    return events


def _rewritten(rewriter: Rewriter, event: Event) -> Iterator[Event]:
    for made in rewriter.rewrite(event):
        made.choice = event.choice
        yield made
