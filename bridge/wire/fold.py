"""Events → message. Whole answers are folded from a stream, so that both go through the same code."""

from __future__ import annotations

from itertools import groupby
from operator import attrgetter
from typing import Any

import msgspec

from bridge.wire.anthropic import Event, Message

# Which text of a delta is told in pieces.
_PIECES = {"text_delta": "text", "thinking_delta": "thinking", "input_json_delta": "partial_json"}
_PLACE, _KIND = attrgetter("type", "index", "choice"), attrgetter("delta.type")

# Which text of a delta is appended to which field of its block.
_APPENDS = {"text_delta": ("text", "text"), "thinking_delta": ("thinking", "thinking")}


def merged(events: list[Event]) -> list[Event]:
    """The same, with pieces of one text that follow each other as one piece: for an answer that is told whole."""
    kept: list[Event] = []
    for (kind, *_), group in groupby(events, _PLACE):
        together = list(group)
        kept += _joined(together) if kind == "content_block_delta" else together
    return kept


def _joined(pieces: list[Event]) -> list[Event]:
    """The deltas of one block."""
    deltas = [piece.delta for piece in pieces]
    if len(pieces) == 1 or None in deltas:
        return pieces
    kept = []
    for kind, run in groupby(pieces, _KIND):
        first, *more = run
        if more and kind in _PIECES:
            text = attrgetter(f"delta.{_PIECES[kind]}")
            setattr(first.delta, _PIECES[kind], "".join(filter(None, map(text, (first, *more)))))
            more = []
        kept += [first, *more]
    return kept


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
