"""Events → the whole message, as Anthropic would have sent it unstreamed: every field that came is still there.

Untyped on purpose, unlike `fold`: fields, blocks and deltas that nobody here has heard of are kept as well as can be.
What a delta of an unknown kind does: text is appended, lists are extended, objects merged, anything else replaces.
"""

from __future__ import annotations

from typing import Any

import msgspec

Json = dict[str, Any]

# Per kind of delta: fields that replace what the block has, although they are text.
_REPLACES = {"signature_delta": ("signature",), "compaction_delta": ("content", "encrypted_content", "signature")}
# Fields that are about the stream, not about the message.
_STREAM_ONLY = {"thinking_delta": ("estimated_tokens",)}


class RawFold:
    """Feed it every event's JSON object; `message()` is what they amount to so far, None before `message_start`."""

    def __init__(self) -> None:
        self._message: Json | None = None
        self._blocks: dict[int, Json] = {}
        self._inputs: dict[int, list[str]] = {}

    def feed(self, event: Json) -> None:
        match event:
            case {"type": "message_start", "message": dict(message)}:
                self._message = dict(message)
            case {"type": "content_block_start", "index": int(index), "content_block": dict(block)}:
                self._blocks[index] = dict(block)
                self._fall_back(block)
            case {"type": "content_block_delta", "index": int(index), "delta": dict(delta)}:
                self._delta(index, delta)
            case {"type": "message_delta"} if self._message is not None:
                _end(self._message, event)

    def message(self) -> Json | None:
        if self._message is None:
            return None
        for index in list(self._inputs):
            text = "".join(self._inputs.pop(index))
            if text:
                self._blocks[index]["input"] = parsed(text)
        content = [self._blocks[index] for index in sorted(self._blocks)]
        return {**self._message, "content": content}

    def _fall_back(self, block: Json) -> None:
        """A whole message is labelled with the model that answered in the end (anthropic-sdk-python does the same)."""
        match block:
            case {"type": "fallback", "to": {"model": str(model)}} if self._message is not None:
                self._message["model"] = model

    def _delta(self, index: int, delta: Json) -> None:
        block, kind = self._blocks.get(index), delta.get("type")
        if block is None:
            return
        if kind == "input_json_delta":
            self._inputs.setdefault(index, []).append(str(delta.get("partial_json") or ""))
        elif kind == "citations_delta":
            block["citations"] = [*(block.get("citations") or []), delta.get("citation")]
        else:
            for name, value in delta.items():
                if name == "type" or name in _STREAM_ONLY.get(str(kind), ()):
                    continue
                replaces = name in _REPLACES.get(str(kind), ())
                block[name] = value if replaces else _joined(block.get(name), value)


def _joined(old: Any, new: Any) -> Any:
    for kind in (str, list):
        if isinstance(old, kind) and isinstance(new, kind):
            return old + new  # type: ignore[operator]
    if isinstance(old, dict) and isinstance(new, dict):
        return {**old, **new}
    return new


def _end(message: Json, event: Json) -> None:
    """Stop fields, container and the like replace; counts are totals, and what is absent or null stays as it was."""
    delta, usage = event.get("delta"), event.get("usage")
    others = {name: value for name, value in event.items() if name not in ("type", "delta", "usage")}
    for name, value in {**(delta if isinstance(delta, dict) else {}), **others}.items():
        if value is not None or message.get(name) is None or name.startswith("stop_"):
            message[name] = value
    if isinstance(usage, dict):
        counts = dict(message.get("usage") or {})
        for name, value in usage.items():
            if value is not None or name not in counts:
                counts[name] = value
        message["usage"] = counts


# --- A tool's input -------------------------------------------------------------------------------------------------


def parsed(text: str) -> Any:
    """The arguments; cut off by `max_tokens`, those that were complete. (As the SDKs read a partial input.)"""
    for candidate in (text, *_completed(text)):
        try:
            return msgspec.json.decode(candidate)
        except msgspec.DecodeError:
            continue
    return {}


def _completed(text: str) -> list[str]:
    """What a cut text can stand for: with its brackets closed, or without its last, unfinished member."""
    open_brackets: list[str] = []
    cut = 0, ""  # before the last comma or after the last opening bracket, and what would close it there
    quoted = escaped = False
    for position, character in enumerate(text):
        if quoted:
            escaped, quoted = character == "\\" and not escaped, character != '"' or escaped
        elif character == '"':
            quoted = True
        elif character in "{[":
            open_brackets.append("}" if character == "{" else "]")
            cut = position + 1, "".join(reversed(open_brackets))
        elif character in "}]" and open_brackets:
            open_brackets.pop()
        elif character == ",":
            cut = position, "".join(reversed(open_brackets))
    return [text + "".join(reversed(open_brackets)), text[: cut[0]] + cut[1]]
