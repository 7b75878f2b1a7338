"""What a client carries for us as a text (`encrypted_content`): signed thinking, and summaries of conversations.
Sealed, versioned, nothing stored.

What seals is handed in: this knows only what is packed, and how. A text that does not open is none of ours.
"""

from __future__ import annotations

from typing import Any, Protocol

import msgspec

from bridge.dialects import content

VERSION = "brg1."  # of what is inside; the seal has a version of its own


class Seal(Protocol):
    """Bound to one tenant. `open` gives None for whatever this tenant's seal did not make."""

    def seal(self, data: bytes) -> str: ...
    def open(self, text: str) -> bytes | None: ...


class _NoSeal:
    def seal(self, data: bytes) -> str:
        return ""

    def open(self, text: str) -> bytes | None:
        return None


NO_SEAL: Seal = _NoSeal()


def pack(blocks: list[dict[str, Any]], seal: Seal) -> str | None:
    """These blocks as one text; None if there is nothing to seal, or nothing to seal it with."""
    sealed = seal.seal(msgspec.json.encode(blocks)) if blocks else ""
    return VERSION + sealed if sealed else None


def unpack(text: Any, seal: Seal) -> list[dict[str, Any]]:
    """The blocks, unchanged; none if it is another's text, or no text."""
    given = _opened(text, seal)
    return [block for one in given if (block := content.signed(one))] if isinstance(given, list) else []


def pack_summary(summary: str, seal: Seal) -> str:
    """A summary is an object and thinking a list: the one never opens as the other."""
    return VERSION + seal.seal(msgspec.json.encode({"summary": summary}))


def unpack_summary(text: Any, seal: Seal) -> str | None:
    """The summary; None if it is another's text, or no text."""
    given = _opened(text, seal)
    summary = given.get("summary") if isinstance(given, dict) else None
    return summary if isinstance(summary, str) else None


def _opened(text: Any, seal: Seal) -> Any:
    if not isinstance(text, str) or not text.startswith(VERSION):
        return None
    data = seal.open(text.removeprefix(VERSION))
    try:
        return msgspec.json.decode(data) if data is not None else None
    except (msgspec.DecodeError, RecursionError):
        return None
