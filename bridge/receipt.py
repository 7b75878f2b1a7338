"""The compatibility receipt: what was adapted, emulated or ignored, `name=verdict` each (`x-bridge-compat`)."""

from __future__ import annotations

import re

_UNSAFE = re.compile(r"[^A-Za-z0-9_.\[\]\-]")
_MOST = 40
_LONGEST_NAME = 64


class Receipt:
    """Collected while a request is read and adapted. Names may come from the client: they are made header-safe."""

    def __init__(self) -> None:
        self._lines: dict[str, str] = {}

    def add(self, name: str, verdict: str) -> None:
        self._lines[_UNSAFE.sub("_", name)[:_LONGEST_NAME]] = verdict

    def lost(self) -> list[str]:
        """What was asked for and not done."""
        return [name for name, verdict in self._lines.items() if verdict.startswith(("ignored", "dropped"))]

    def __bool__(self) -> bool:
        return bool(self._lines)

    def __str__(self) -> str:
        lines = [f"{name}={verdict}" for name, verdict in self._lines.items()]
        more = [f"more={len(lines) - _MOST}"] if len(lines) > _MOST else []
        return ", ".join(lines[:_MOST] + more)
