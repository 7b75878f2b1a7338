"""Events → message. Whole answers are folded from a stream, so that both go through the same code."""

from __future__ import annotations

from typing import Any

import msgspec

from bridge.wire.anthropic import Event, Message

# Which text of a delta is told in pieces.
_PIECES = {"text_delta": "text", "thinking_delta": "thinking", "input_json_delta": "partial_json"}

# Which text of a delta is appended to which field of its block.
_APPENDS = {"text_delta": ("text", "text"), "thinking_delta": ("thinking", "thinking")}


def merged(events: list[Event]) -> list[Event]:
    """The same, with pieces of one text that follow each other as one piece: for an answer that is told whole."""
    kept: list[Event] = []
    before: Event | None = None  # the piece that the next one may belong to
    for event in events:
        delta = event.delta
        name = _PIECES.get(delta.type or "") if delta and event.type == "content_block_delta" else None
        if name is None:
            before = None
        elif before is not None and _same_text(before, event):
            setattr(before.delta, name, (getattr(before.delta, name) or "") + (getattr(delta, name) or ""))
            continue
        else:
            before = event
        kept.append(event)
    return kept


def _same_text(one: Event, other: Event) -> bool:
    assert one.delta is not None and other.delta is not None
    return one.index == other.index and one.delta.type == other.delta.type and one.choice == other.choice


class Fold:
    """Feed it every event of one answer; `message()` is what it amounts to so far."""

    def __init__(self) -> None:
        self._message = Message("", "", [], None, None, None)
        self._blocks: dict[int, dict[str, Any]] = {}
        self._json: dict[int, list[str]] = {}

    def feed(self, event: Event) -> None:
        match event.type:
            case "message_start" if event.message:
                self._message.id, self._message.model = event.message.id, event.message.model
            case "content_block_start" if event.content_block is not None:
                self._blocks[event.index] = dict(event.content_block)
            case "content_block_delta":
                self._delta(event)
            case "content_block_stop":
                self._stop(event.index)
            case "message_delta" if event.delta:
                self._message.stop_reason = event.delta.stop_reason
                self._message.stop_sequence = event.delta.stop_sequence
                self._message.stop_details = event.delta.stop_details

    def message(self) -> Message:
        """The message, blocks in the order of their index. A call that was cut has no content_block_stop."""
        for index in tuple(self._json):
            self._stop(index)
        self._message.content = [self._blocks[index] for index in sorted(self._blocks)]
        return self._message

    def _delta(self, event: Event) -> None:
        block, delta = self._blocks.get(event.index), event.delta
        if block is None or delta is None:
            return
        if delta.type in _APPENDS:
            source, target = _APPENDS[delta.type]
            block[target] = (block.get(target) or "") + (getattr(delta, source) or "")
        elif delta.type == "input_json_delta":
            self._json.setdefault(event.index, []).append(delta.partial_json or "")
        elif delta.type == "signature_delta":
            block["signature"] = delta.signature
        elif delta.type == "citations_delta" and delta.citation:
            block["citations"] = [*(block.get("citations") or []), delta.citation]

    def _stop(self, index: int) -> None:
        """A tool's input is JSON only once it is complete; nothing at all means no arguments."""
        text = "".join(self._json.pop(index, ()))
        if text and index in self._blocks:
            try:
                self._blocks[index]["input"] = msgspec.json.decode(text)
            except (msgspec.DecodeError, RecursionError):
                self._blocks[index]["input_text"] = text  # cut off by max_tokens: passed on as it is
