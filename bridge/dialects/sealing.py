"""Signed thinking as the text that a client carries for us (`encrypted_content`): sealed, versioned, nothing stored.

What seals is handed in: this knows only how blocks are packed. A text that does not open is no thinking of ours.
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
    if not isinstance(text, str) or not text.startswith(VERSION):
        return []
    data = seal.open(text.removeprefix(VERSION))
    try:
        given = msgspec.json.decode(data) if data is not None else []
    except (msgspec.DecodeError, RecursionError):
        return []
    return [block for one in given if (block := content.signed(one))] if isinstance(given, list) else []
