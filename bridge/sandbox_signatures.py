"""Signatures of the sandbox's thinking, and what the API refuses: a block is good where it was made, and nowhere else.

The API binds a block to the system prompt, the tools and the messages before it, on its strictest models; cache
breakpoints do not count. Signatures that are not the sandbox's pass: the API ignores what another model thought.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Iterator
from typing import Any

from bridge.sandbox_request import Failure, Json

_KEY, _MARK = b"sandbox", b"sandbox:"
_KINDS = ("thinking", "redacted_thinking")

ANOTHER = (
    "messages.{}.content.{}: Invalid `signature` in `thinking` block. The block is bound to a different conversation. "
    'Remove the block, or set `thinking.block_binding.prefix_mismatch_behavior` to "drop_block".'
)
MISSING = (
    "messages.{}.content.0.type: Expected thinking or redacted_thinking, but found {}. When thinking is enabled, a "
    "final assistant message must start with a thinking block (preceding the lastmost set of tool_use and tool_result "
    "blocks)."
)


def sign(body: bytes, blocks: list[Json]) -> list[Json]:
    """The blocks of an answer to this request, those that are thinking signed."""
    if not any(block["type"] == "thinking" for block in blocks):
        return blocks
    prompt = json.loads(body)
    turns = list(_turns(prompt))
    begun = turns.pop()[1] if turns[-1][0] == "assistant" else []  # an answer that goes on where it was paused
    number, prefix, signed = _count(begun), _digest(prompt, turns), []
    for block in blocks:
        if block["type"] == "thinking":
            block = {**block, "signature": _signature(prefix, number, block["thinking"])}
            number += 1
        signed.append(block)
    return signed


def check(body: bytes) -> None:
    """Raises Failure (400) for thinking that was changed, moved, or is missing."""
    prompt = json.loads(body)
    turns = list(_turns(prompt))
    for position, (role, content) in enumerate(turns):
        number, prefix = 0, ""
        for index, block in enumerate(content if role == "assistant" else ()):
            if block.get("type") == "thinking" and _is_ours(block.get("signature")):
                prefix = prefix or _digest(prompt, turns[:position])
                if block["signature"] != _signature(prefix, number, block.get("thinking", "")):
                    raise Failure(400, ANOTHER.format(position, index))
            number += block.get("type") in _KINDS
    if (prompt.get("thinking") or {}).get("type") == "enabled":
        _check_loop(turns)


def _check_loop(turns: list[tuple[str, list[Json]]]) -> None:
    last = max((n for n, (role, _) in enumerate(turns) if role == "assistant"), default=None)
    if last is None or not any(block.get("type") == "tool_use" for block in turns[last][1]):
        return
    kind = turns[last][1][0].get("type")
    if kind not in _KINDS:
        raise Failure(400, MISSING.format(last, kind))


def _turns(prompt: Json) -> Iterator[tuple[str, list[Json]]]:
    """Turns of one role that follow each other are one."""
    joined: list[tuple[str, list[Json]]] = []
    for turn in prompt["messages"]:
        if not joined or joined[-1][0] != turn["role"]:
            joined.append((turn["role"], []))
        joined[-1][1].extend(_blocks(turn["content"]))
    return iter(joined)


def _blocks(content: Any) -> list[Json]:
    return [{"type": "text", "text": content}] if isinstance(content, str) else list(content)


def _digest(prompt: Json, turns: list[tuple[str, list[Json]]]) -> str:
    before = [prompt.get("tools") or [], _blocks(prompt.get("system") or []), turns]
    return hashlib.sha256(json.dumps(_bare(before)).encode()).hexdigest()


def _bare(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _bare(inner) for name, inner in value.items() if name != "cache_control"}
    return [_bare(inner) for inner in value] if isinstance(value, list | tuple) else value


def _count(blocks: list[Json]) -> int:
    return sum(block.get("type") in _KINDS for block in blocks)


def _signature(prefix: str, number: int, thinking: str) -> str:
    seal = hmac.digest(_KEY, json.dumps([prefix, number, thinking]).encode(), "sha256")
    return base64.b64encode(_MARK + seal).decode()


def _is_ours(signature: Any) -> bool:
    try:
        return base64.b64decode(signature, validate=True).startswith(_MARK)
    except (binascii.Error, ValueError, TypeError):
        return False
