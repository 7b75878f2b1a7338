"""Upstream's event streams at random: sound ones, then split, cut, spoilt and shuffled."""

from __future__ import annotations

import random
from typing import Any

from tests import wire

TEXTS = ("", "a", " ", "Hello", '{"tool":"look","arguments":{}}', "```json\n{}\n```", "😀\u2028", '"\\\n', "x" * 500)
PIECES = ("", "{", "}", '{"a":1}', '"at":', "[1]", "null", "5", "{}", '"\\ud83d"', "x")
STOPS = ("end_turn", "tool_use", "max_tokens", "stop_sequence", "pause_turn", "refusal", "new_reason", None)
PAGE = {"type": "web_search_result_location", "url": "https://example.com", "title": "Example"}
CITATIONS = (PAGE, {**PAGE, "title": None}, {"type": "char_location", "document_index": 0}, {**PAGE, "url": None})
ODD: tuple[Any, ...] = (None, True, 0, -1, 2**40, 1.5, "", "x", [], {}, [{}], {"a": []})
GARBAGE = (
    b"\x00", b"\xff\xfe", b"\n\n", b"data: \n\n", b": x\n\n", b"data: {}\n\n", b"<html>", b"event: x\n",
    b"data: [DONE]\n\n",
)  # fmt: skip
Event = dict[str, Any]


def make(rng: random.Random) -> tuple[list[bytes], bool]:
    """The stream, event by event, and whether it is one that upstream could have meant."""
    events = _sound(rng)
    if rng.random() < 0.4:
        return [_framed(event, rng) for event in events], True
    for _ in range(rng.choice((1, 1, 2, 4))):
        events = _spoilt(events, rng)
    return [_framed(event, rng) for event in events], False


def cut(parts: list[bytes], rng: random.Random) -> tuple[list[bytes], bool]:
    """The bytes, split anywhere; sometimes ended early or with something in between: then they are not clean."""
    clean = True
    content = b"".join(parts)
    if rng.random() < 0.25:
        content = content[: rng.randrange(len(content) + 1)]
    if rng.random() < 0.15:
        place = rng.randrange(len(content) + 1)
        content = content[:place] + rng.choice(GARBAGE) + content[place:]
        clean = False
    if rng.random() < 0.1:
        content = content.replace(b"\n", b"\r\n")
    pieces = []
    while content:
        size = rng.choice((1, 3, 17, 100, 1000, 5000))
        pieces.append(content[:size])
        content = content[size:]
    return pieces, clean


def _framed(event: Event, rng: random.Random) -> bytes:
    return wire.event(**{"kind": event["type"], **{name: value for name, value in event.items() if name != "type"}})


def _sound(rng: random.Random) -> list[Event]:
    usage = {"input_tokens": rng.randrange(1000), "output_tokens": 1, "cache_read_input_tokens": rng.choice((None, 5))}
    start = {"id": "msg_01Fuzz", "model": "claude-opus-5-5", "content": [], "usage": usage}
    events: list[Event] = [{"type": "message_start", "message": start}]
    for index in range(rng.randrange(5)):
        events += _block(index, rng)
        if rng.random() < 0.2:
            events.append({"type": rng.choice(("ping", "new_event"))})
    stop = {"stop_reason": rng.choice(STOPS), "stop_sequence": None, "stop_details": rng.choice((None, {}))}
    events.append({"type": "message_delta", "delta": stop, "usage": {"output_tokens": rng.randrange(500)}})
    return [*events, {"type": "message_stop"}]


def _block(index: int, rng: random.Random) -> list[Event]:
    kind = rng.choice(("text", "text", "thinking", "redacted_thinking", "tool_use", "tool_use", "server", "new"))
    deltas: list[dict[str, Any]] = []
    match kind:
        case "text":
            block: dict[str, Any] = {"type": "text", "text": rng.choice(("", "", "", "At once. "))}
            deltas = [{"type": "text_delta", "text": rng.choice(TEXTS)} for _ in range(rng.randrange(4))]
            if rng.random() < 0.3:
                deltas += [{"type": "citations_delta", "citation": rng.choice(CITATIONS)} for _ in range(2)]
        case "thinking":
            block = {"type": "thinking", "thinking": "", "signature": ""}
            deltas = [{"type": "thinking_delta", "thinking": rng.choice(TEXTS)} for _ in range(rng.randrange(3))]
            deltas += [{"type": "signature_delta", "signature": "c2ln"}] * rng.randrange(2)
        case "redacted_thinking":
            block = {"type": "redacted_thinking", "data": "eA=="}
        case "tool_use":
            block = {"type": "tool_use", "id": f"toolu_{index}", "name": rng.choice(("look", "find")), "input": {}}
            deltas = [
                {"type": "input_json_delta", "partial_json": rng.choice(("", '{"at":"x"}', '{"input":"y"}', "{"))}
            ]
            deltas = [{"type": "input_json_delta", "partial_json": ""}, *deltas][rng.randrange(2) :]
            if rng.random() < 0.2:
                block["input"], deltas = {"at": "x"}, []
        case "server":
            block = {"type": "server_tool_use", "id": f"srvtoolu_{index}", "name": "web_search", "input": {}}
            deltas = [{"type": "input_json_delta", "partial_json": rng.choice(PIECES)}]
        case _:
            block = {"type": "new_block", "text": "?", "new": [1]}
            deltas = [{"type": "new_delta", "new": 1}, {"type": "new_delta", "text": "?", "thinking": "?"}]
    started = {"type": "content_block_start", "index": index, "content_block": block}
    told = [{"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas]
    return [started, *told, {"type": "content_block_stop", "index": index}]


def _spoilt(events: list[Event], rng: random.Random) -> list[Event]:
    events = [dict(event) for event in events]
    if not events:
        return [{"type": "ping"}]
    place = rng.randrange(len(events))
    event = events[place]
    match rng.randrange(8):
        case 0:
            del events[place]
        case 1:
            events.insert(place, dict(event))
        case 2:
            other = rng.randrange(len(events))
            events[place], events[other] = events[other], event
        case 3:
            event[rng.choice(tuple(event))] = rng.choice(ODD)
            event["type"] = str(event["type"])
        case 4:
            for name in ("delta", "message", "usage"):
                if isinstance(event.get(name), dict) and event[name]:
                    event[name] = {**event[name], rng.choice(tuple(event[name])): rng.choice(ODD)}
        case 5:
            failure = {"type": rng.choice(("overloaded_error", "x")), "message": "Overloaded"}
            events.insert(place, {"type": "error", "error": rng.choice((failure, None, {}))})
        case 6:
            event["index"] = rng.choice((0, 1, 7, -1))
        case _:
            events.insert(place, {"type": rng.choice(("content_block_stop", "message_start", "new_event")), "index": 3})
    return events
