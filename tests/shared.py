"""Recorded traffic and vendors' schemas that lie beside the repository: used where they are, never copied."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import pytest

ROOT = Path(__file__).resolve().parent.parent
SHARED = Path(os.environ.get("BRIDGE_SHARED") or ROOT.parent / "shared")

RECORDINGS = SHARED / "recordings" / "anthropic"
OPENAI_SCHEMA = SHARED / "reference" / "openai-openapi.json"
REPLAY = SHARED / "replay"

needs_recordings = pytest.mark.skipif(not RECORDINGS.is_dir(), reason="no recordings beside the repository")
needs_openai_schema = pytest.mark.skipif(not OPENAI_SCHEMA.is_file(), reason="no schema beside the repository")
needs_replay = pytest.mark.skipif(not REPLAY.is_dir(), reason="no replay beside the repository")


@cache
def recordings() -> dict[str, dict[str, Any]]:
    """Every recorded exchange with /v1/messages, by its id; none where there are no recordings."""
    found = (msgspec.json.decode(path.read_bytes()) for path in sorted(RECORDINGS.glob("*.json")))
    return {one["id"]: one for one in found if "request" in one and one["request"]["path"] == "/v1/messages"}


def streams() -> dict[str, bytes]:
    """The recorded event streams, as they came."""
    return {name: one["response"]["sse"].encode() for name, one in recordings().items() if "sse" in one["response"]}
