"""About how many tokens a request will have as input, from the request alone: for limits, which are settled later."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from bridge.wire.search import may_name

BYTES_PER_TOKEN = 4  # of usual text
IMAGE_TOKENS = 1_600
PDF_BYTES_PER_TOKEN = 30  # base64 of a usual page, and its text and picture in tokens
UNSEEN_TOKENS = 3_000  # a document that only upstream will see
NUMBER_BYTES = 4  # and their like: nothing in JSON that is not text is long


def input_tokens(request: dict[str, Any], content: bytes) -> int:
    """Of the Messages request as it will be sent, `content` being its JSON; whatever is in it counts as something."""
    if not may_name(content, b'"source"'):  # nothing but text in it
        return len(content) // BYTES_PER_TOKEN + 1
    return _bytes(request.get(name) for name in ("system", "messages", "tools", "output_config")) // BYTES_PER_TOKEN + 1


def _bytes(values: Iterable[Any]) -> int:
    total, waiting = 0, list(values)
    while waiting:
        value = waiting.pop()
        if isinstance(value, str):
            total += len(value) if value.isascii() else len(value.encode(errors="replace"))
        elif isinstance(value, dict):
            source = value.get("source")
            if isinstance(source, dict):
                total += _media(str(value.get("type")), source) * BYTES_PER_TOKEN
                waiting.extend(each for name, each in value.items() if name != "source")
            else:
                total += sum(map(len, filter(_is_text, value)))
                waiting.extend(value.values())
        elif isinstance(value, list):
            waiting.extend(value)
        elif isinstance(value, msgspec.Raw):
            total += len(bytes(value))
        elif value is not None:
            total += NUMBER_BYTES
    return total


def _media(kind: str, source: dict[str, Any]) -> int:
    """Tokens of an image or a document, given its source."""
    if kind == "image":
        return IMAGE_TOKENS
    data = source.get("data")
    if not isinstance(data, str):
        inner = source.get("content")
        return UNSEEN_TOKENS if inner is None else _bytes([inner]) // BYTES_PER_TOKEN
    return len(data) // (BYTES_PER_TOKEN if source.get("type") == "text" else PDF_BYTES_PER_TOKEN)


def _is_text(name: object) -> bool:
    return isinstance(name, str)
