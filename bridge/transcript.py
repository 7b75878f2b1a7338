"""A payload's bytes as turns to read, in whichever dialect they are.

Never fails: what is not understood is shown as it is.
Media is never loaded: of data the type and the size are told, of an address the address, as text.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from tenants.transcripts import Part, Turn

SHOWN = 200_000  # characters of one part; the download has all of them


def read(request: bytes, answer: bytes) -> list[Turn]:
    """What was said to the model and what came back, in order."""
    return [*_told(request, _request, "request"), *_told(answer, _answer, "answer")]


def _told(body: bytes, make: Callable[[bytes], list[Turn]], role: str) -> list[Turn]:
    if not body:
        return []
    try:
        return make(body)
    except Exception:  # a shape that nobody thought of is no reason not to show it
        return [Turn(role, [_data("as it was sent", body.decode(errors="replace"))])]


# The request


def _request(body: bytes) -> list[Turn]:
    asked: dict[str, Any] = json.loads(body)
    turns = [Turn("system", _content(asked[name])) for name in ("system", "instructions") if asked.get(name)]
    if asked.get("tools"):
        turns.append(Turn("tools", [_data(_name_of(tool), tool) for tool in asked["tools"]]))
    said = asked.get("messages", asked.get("input", asked.get("prompt", [])))
    said = [{"role": "user", "content": said}] if isinstance(said, str) else said
    turns += [_turn(one) for one in said]
    rest = {name: value for name, value in asked.items() if name not in _SPOKEN}
    return [*turns, Turn("settings", [_data("the rest of the request", rest)])] if rest else turns


_SPOKEN = frozenset({"system", "instructions", "tools", "messages", "input", "prompt"})


def _name_of(tool: Any) -> str:
    inner = tool.get("function", tool)
    return str(inner.get("name", tool.get("type", "tool")))


def _turn(one: Any) -> Turn:
    """A message of any dialect, or an item of the Responses API."""
    if not isinstance(one, dict):
        return Turn("user", _content(one))
    if "role" not in one:
        made = _block(one)
        return Turn("tool" if made.kind == "result" else "assistant", [made])
    parts = _content(one.get("content"))
    if one.get("reasoning_content"):
        parts.insert(0, Part("reasoning", "reasoning", _short(one["reasoning_content"])))
    if one.get("refusal"):
        parts.append(Part("text", "refusal", _short(one["refusal"])))
    parts += [_block(call) for call in one.get("tool_calls") or []]
    if one["role"] in ("tool", "function"):
        name = str(one.get("tool_call_id") or one.get("name") or "")
        parts = [Part("result", f"result {name}", "\n".join(part.text or part.title for part in parts))]
    return Turn(str(one["role"]), parts)


# Content of any dialect


def _content(content: Any) -> list[Part]:
    if content is None:
        return []
    blocks = content if isinstance(content, list) else [content]
    return [_block(block) for block in blocks]


def _block(block: Any) -> Part:
    if isinstance(block, str):
        return Part("text", "", _short(block))
    kind = str(block.get("type", "text" if "text" in block else "data"))
    make = _BLOCKS.get(kind) or (_result if kind.endswith(("_result", "_output")) else None)
    return make(block) if make else _data(kind, block)


def _text(block: Any) -> Part:
    return Part("text", "", _short(block.get("text", block.get("refusal", ""))))


def _reasoning(block: Any) -> Part:
    pieces = [*(block.get("summary") or []), *(block.get("content") or [])]
    text = block.get("thinking") or "\n".join(str(piece.get("text", "")) for piece in pieces)
    return Part("reasoning", "reasoning" if text else "reasoning, sealed", _short(text))


def _call(block: Any) -> Part:
    inner = block.get("function") or block.get("custom") or block
    given = inner.get("input", inner.get("arguments", ""))
    name = f"{inner.get('name', block.get('type'))} {block.get('call_id') or block.get('id') or ''}".strip()
    return Part("call", f"calls {name}", _short(given if isinstance(given, str) else _pretty(given)))


def _result(block: Any) -> Part:
    name = block.get("tool_use_id") or block.get("call_id") or ""
    inner = block.get("content", block.get("output", ""))
    parts = _content(inner)
    return Part("result", f"result {name}".strip(), "\n".join(part.text or part.title for part in parts))


def _media(block: Any) -> Part:
    source = block.get("source") or block.get("image_url") or block.get("file") or block.get("input_audio") or block
    address = source if isinstance(source, str) else _address(source)
    if address.startswith("data:"):
        kind, _, data = address[5:].partition(",")
        return Part("media", f"{kind.partition(';')[0] or 'data'}, {len(data) * 3 // 4:,} bytes")
    if isinstance(source, dict) and (encoded := source.get("data")):
        name = source.get("media_type") or source.get("format") or block["type"]
        return Part("media", f"{name}, {len(str(encoded)) * 3 // 4:,} bytes")
    return Part("media", f"{block['type']} at an address", _short(address))


def _address(source: Any) -> str:
    names = ("url", "image_url", "file_data", "file_url", "file_id")
    return str(next((source[name] for name in names if source.get(name)), ""))


_BLOCKS: dict[str, Callable[[Any], Part]] = {
    **dict.fromkeys(("text", "input_text", "output_text", "refusal", "summary_text", "reasoning_text"), _text),
    **dict.fromkeys(("thinking", "reasoning", "redacted_thinking"), _reasoning),
    **dict.fromkeys(("tool_use", "server_tool_use", "function", "custom", "function_call", "custom_tool_call"), _call),
    **dict.fromkeys(("image", "image_url", "input_image", "document", "file", "input_file", "input_audio"), _media),
}


# The answer


def _answer(body: bytes) -> list[Turn]:
    if not body.startswith((b"data:", b"event:", b":")):
        return _whole(json.loads(body))
    return _whole(_joined([json.loads(data) for data in _datas(body)]))


def _datas(body: bytes) -> list[bytes]:
    """The data of a stream's events; the last may be cut."""
    found = [block.rpartition(b"data: ")[2] for block in body.split(b"\n\n") if b"data: " in block]
    return [data for data in found if data.startswith(b"{") and data.rstrip().endswith(b"}")]


def _whole(told: dict[str, Any]) -> list[Turn]:
    """Any dialect's answer."""
    turns = []
    for choice in told.get("choices", []):
        turns.append(_turn({"role": "assistant", **(choice.get("message") or {"content": choice.get("text")})}))
    if said := told.get("content"):
        turns.append(Turn("assistant", _content(said)))
    turns += [_turn(item) for item in told.get("output") or []]
    if error := told.get("error"):
        turns.append(Turn("error", [Part("text", str(error.get("type", "")), _short(error.get("message", "")))]))
    rest = {name: value for name, value in told.items() if name not in ("choices", "content", "output", "error")}
    return [*turns, Turn("figures", [_data("the rest of the answer", rest)])] if rest else turns


def _joined(events: list[dict[str, Any]]) -> dict[str, Any]:
    """A stream's events as the whole answer they amount to."""
    told: dict[str, Any] = {}
    choices: dict[int, dict[str, Any]] = {}
    blocks: dict[int, dict[str, Any]] = {}
    items: list[Any] = []
    for event in events:
        told.update({name: event[name] for name in ("error", "usage", "model", "id") if event.get(name)})
        for choice in event.get("choices", []):
            _add(choices.setdefault(choice.get("index", 0), {"content": ""}), choice)
        match event.get("type"):
            case "content_block_start":
                blocks[event["index"]] = dict(event["content_block"])
            case "content_block_delta" if event["index"] in blocks:
                _grow(blocks[event["index"]], event["delta"])
            case "response.output_item.done":
                items.append(event["item"])
            case "response.output_text.delta":
                choices.setdefault(-1, {"content": ""})["content"] += event["delta"]
            case "response.failed" | "response.incomplete":
                told["error"] = event["response"].get("error") or {"message": _pretty(event["response"])}
    if items:  # what came in pieces is in them
        choices.pop(-1, None)
    told |= {"choices": [{"message": message} for message in choices.values()]} if choices else {}
    told |= {"content": list(blocks.values())} if blocks else {}
    return {**told, "output": items} if items else told


def _add(message: dict[str, Any], choice: dict[str, Any]) -> None:
    """One chunk of Chat Completions, or of the old completions."""
    delta = choice.get("delta") or {"content": choice.get("text")}
    for name in ("content", "reasoning_content", "refusal"):
        if delta.get(name):
            message[name] = message.get(name, "") + delta[name]
    for call in delta.get("tool_calls") or []:
        calls = message.setdefault("tool_calls", [])
        while len(calls) <= min(call.get("index", 0), 1000):
            calls.append({"type": "function", "function": {"name": "", "arguments": ""}})
        known = calls[call.get("index", 0)]
        known["id"] = call.get("id") or known.get("id", "")
        inner = call.get("function") or {}
        known["function"]["name"] += inner.get("name") or ""
        known["function"]["arguments"] += inner.get("arguments") or ""


def _grow(block: dict[str, Any], delta: dict[str, Any]) -> None:
    """One delta of Anthropic's."""
    for name, into in (("text", "text"), ("thinking", "thinking"), ("partial_json", "input")):
        if name in delta:
            block[into] = (block.get(into) or "") + delta[name]


def _data(title: str, value: Any) -> Part:
    return Part("data", title, _short(value if isinstance(value, str) else _pretty(value)))


def _pretty(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)


def _short(text: Any) -> str:
    text = text if isinstance(text, str) else _pretty(text)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}… {len(text) - SHOWN:,} more characters"
