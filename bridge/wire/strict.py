"""JSON from strangers: bytes in, plain values out, or a ValueError that says where it is wrong."""

from __future__ import annotations

import re
from typing import Any

import msgspec

MAX_DEPTH = 64
COUNTED_BYTES = 64 * 1024  # of a body whose brackets are counted before its values are walked; more is mostly media

_decode = msgspec.json.Decoder().decode
_LONE_SURROGATE = re.compile(
    rb"\\u[dD][89abAB][0-9a-fA-F]{2}(?!\\u[dD][c-fC-F][0-9a-fA-F]{2})"
    rb"|(?<!\\u[dD][89abAB][0-9a-fA-F]{2})\\u[dD][c-fC-F][0-9a-fA-F]{2}"
)


def loads(data: bytes) -> Any:
    """The value. ValueError: not JSON, not UTF-8, NaN or a number out of range, a lone surrogate, or too deep.

    A byte-order mark is skipped; of duplicate keys the last wins; integers may be of any size the codec holds.
    """
    if data.startswith(b"\xef\xbb\xbf"):
        data = data[3:]
    if not data.strip():
        raise ValueError("the body is empty")
    try:
        value = _decode(data)
    except RecursionError:
        raise ValueError(f"nested deeper than {MAX_DEPTH} levels") from None
    except UnicodeDecodeError as error:
        raise ValueError(f"not valid UTF-8: {error.reason} (byte {_utf8_error(data)})") from None
    except msgspec.DecodeError as error:
        raise ValueError(_explain(str(error), data)) from None
    if len(data) > COUNTED_BYTES or data.count(b"{") + data.count(b"[") > MAX_DEPTH:
        _check_depth(value)
    return value


def _explain(message: str, data: bytes) -> str:
    surrogate = _LONE_SURROGATE.search(data)
    if surrogate:
        return f"a lone surrogate (byte {surrogate.start()})"
    return message.removeprefix("JSON is malformed: ").replace("$[...]", "a number in the body")


def _utf8_error(data: bytes) -> int:
    try:
        data.decode()
    except UnicodeDecodeError as error:
        return error.start
    return 0


def _check_depth(value: Any) -> None:
    """Walks containers only, level by level: strings, however long, cost nothing."""
    level = [value] if isinstance(value, dict | list) else []
    for _ in range(MAX_DEPTH):
        if not level:
            return
        level = [
            child
            for item in level
            for child in (item.values() if isinstance(item, dict) else item)
            if isinstance(child, dict | list)
        ]
    if level:
        raise ValueError(f"nested deeper than {MAX_DEPTH} levels")
