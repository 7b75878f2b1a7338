"""Automatic prompt caching for clients that have never heard of cache breakpoints.

OpenAI's API caches long prompts by itself; Anthropic's has to be asked. A request with a long prompt and no breakpoint
of its own gets one at the top level, which the API places after the last block that can be cached: a repeat within five
minutes reads the common prefix at a tenth of the price or less, and the first write costs a quarter more. It is a
setting of the key. The cache belongs to the workspace of the upstream key: tenants that send the same prefix share its
hits, and can tell by the time an answer takes.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from bridge.receipt import Receipt

Request = dict[str, Any]

# About 4,096 tokens, which is the most that any model wants before it caches at all.
LONG_PROMPT_CHARACTERS = 16_384


def cache_long_prompt(request: Request, receipt: Receipt) -> None:
    """Adds the breakpoint, in place, if it pays and the client placed none."""
    blocks = list(_blocks(request))
    if "cache_control" in request or any("cache_control" in block for block in blocks):
        return
    if sum(map(_length, blocks)) >= LONG_PROMPT_CHARACTERS:
        request["cache_control"] = {"type": "ephemeral"}
        receipt.add("cache_control", "automatic")


def _blocks(request: Request) -> Iterable[Request]:
    yield from request.get("tools", ())
    yield from request.get("system", ())
    for turn in request["messages"]:
        yield from turn["content"]


def _length(block: Request) -> int:
    """Characters of text in a block; what is not text counts for nothing, so that an image alone is not cached."""
    text = block.get("text") or block.get("description") or ""
    inner = block.get("content")
    if isinstance(inner, str):
        return len(text) + len(inner)
    return len(text) + sum(_length(part) for part in inner or () if isinstance(part, dict))
