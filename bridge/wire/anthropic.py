"""Anthropic's wire, typed: the events of a stream and the parts of a message that Bridge reads.

One flat Event for all kinds: unknown events, deltas, blocks and fields decode and are then ignored, as the versioning
policy asks (platform.claude.com/docs/en/api/versioning). Everything optional may also be null.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec


class CacheCreation(msgspec.Struct, gc=False):
    ephemeral_5m_input_tokens: int | None = None
    ephemeral_1h_input_tokens: int | None = None


class OutputDetails(msgspec.Struct, gc=False):
    thinking_tokens: int | None = None


class ServerToolUse(msgspec.Struct, gc=False):
    web_search_requests: int | None = None


class Iteration(msgspec.Struct, gc=False):
    """One sampling of several that made an answer: of the model itself, or of another that advised or took over."""

    type: str = "message"
    model: str | None = None
    input_tokens: int | None = None
    cache_creation_input_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    cache_creation: CacheCreation | None = None
    output_tokens: int | None = None


class WireUsage(msgspec.Struct, gc=False):
    """Token counts. In `message_delta` they are cumulative: they replace, and what is absent stays as it was.

    With `iterations` the bill is their sum: compaction's and an advisor's tokens are in no other count.
    """

    input_tokens: int | None = None
    cache_creation_input_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    cache_creation: CacheCreation | None = None
    output_tokens: int | None = None
    output_tokens_details: OutputDetails | None = None
    server_tool_use: ServerToolUse | None = None
    service_tier: str | None = None
    inference_geo: str | None = None
    speed: str | None = None
    iterations: list[Iteration] | None = None


class Start(msgspec.Struct, gc=False):
    """The message of `message_start`."""

    id: str = ""
    model: str = ""
    usage: WireUsage | None = None


class Delta(msgspec.Struct, gc=False):
    """Of `content_block_delta` (type and one of the texts) and of `message_delta` (the stop fields)."""

    type: str | None = None
    text: str | None = None
    partial_json: str | None = None
    thinking: str | None = None
    signature: str | None = None
    citation: dict[str, Any] | None = None
    stop_reason: str | None = None
    stop_sequence: str | None = None
    stop_details: dict[str, Any] | None = None


class Failure(msgspec.Struct, gc=False):
    type: str = ""
    message: str = ""


class Event(msgspec.Struct, gc=False):
    type: str
    index: int = 0
    message: Start | None = None
    content_block: dict[str, Any] | None = None
    delta: Delta | None = None
    usage: WireUsage | None = None
    error: Failure | None = None
    choice: int = 0  # ours: which of several answers to one request it belongs to


_TEXTS = {"text": ("text",), "thinking": ("thinking", "signature"), "tool_use": ("id", "name")}


def _check_block(block: dict[str, Any]) -> None:
    """What is read of a block, which else is kept as it comes."""
    kind = block.get("type")
    for name in _TEXTS.get(kind, ()) if isinstance(kind, str) else ():
        if not isinstance(block.get(name, ""), str | None):
            raise msgspec.ValidationError(f"content_block.{name} is not a text")
    citations = block.get("citations") or []
    if kind == "text" and not (isinstance(citations, list) and all(isinstance(one, dict) for one in citations)):
        raise msgspec.ValidationError("content_block.citations are not objects")


class Frame(NamedTuple):
    """An event as it came: its bytes on the wire, up to the empty line that ends it, and its data, which is JSON."""

    raw: bytes
    data: bytes


_decode = msgspec.json.Decoder(Event).decode


def decode_event(data: bytes) -> Event:
    """Raises msgspec.DecodeError or UnicodeDecodeError."""
    event = _decode(data)
    if event.content_block is not None:
        _check_block(event.content_block)
    return event


PARTS = frozenset(  # of an answer that has begun
    {"content_block_start", "content_block_delta", "content_block_stop", "message_delta", "message_stop"}
)


def decode_parts(datas: list[bytes]) -> list[Event] | None:
    """Many events at once, if they are what an answer that has begun usually goes on with; None: look at each."""
    try:
        events = list(map(_decode, datas))
        for event in events:
            if event.type != "content_block_delta":  # most are
                if event.type not in PARTS or (event.type == "message_stop" and event is not events[-1]):
                    return None
                if event.content_block is not None:
                    _check_block(event.content_block)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    return events


class Message(msgspec.Struct):
    """A whole answer, folded from events. `content` are blocks as Anthropic shapes them."""

    id: str
    model: str
    content: list[dict[str, Any]]
    stop_reason: str | None
    stop_sequence: str | None
    stop_details: dict[str, Any] | None
