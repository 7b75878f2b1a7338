"""Names and ids of tools, made fit for the API and turned back in the answer."""

from __future__ import annotations

import hashlib
import re

_LEGAL = re.compile(r"[A-Za-z0-9_-]{1,128}")
_ILLEGAL = re.compile(r"[^A-Za-z0-9_-]")


class Names:
    """Reversible: a legal name stays; another becomes legal and unlike every other by a digest of what it was."""

    def __init__(self) -> None:
        self._originals: dict[str, str] = {}

    def legal(self, name: str) -> str:
        legal = _fit(name, 128)
        if legal != name:
            self._originals[legal] = name
        return legal

    def original(self, name: str) -> str:
        return self._originals.get(name, name)

    def __bool__(self) -> bool:
        return bool(self._originals)


def call_id(raw: str) -> str:
    """A tool call's id as the API takes it; the same for a call and its result, whoever made it up."""
    return _fit(raw, 64) if len(raw) <= 256 else _fit(raw[:256] + "…", 64)


def _fit(text: str, longest: int) -> str:
    if _LEGAL.fullmatch(text) and len(text) <= longest:
        return text
    digest = hashlib.sha256(text.encode(errors="replace")).hexdigest()[:8]
    return f"{_ILLEGAL.sub('_', text)[: longest - 9]}_{digest}"
