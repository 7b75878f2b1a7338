"""What the sandbox's Claude does with tools, schemas and files: whom it calls, what it fills in, what it saw.

A forced call (`tool_choice` any or tool) is made, with any the first tool that has no result yet. With auto it calls
the tools that the user's text names (in back-quotes or plainly; `get_weather` also by "weather") and that have no
result since; the markers `[sandbox:tool]` and `[sandbox:tools]` call without that. Arguments are made from the tool's
schema.
"""

from __future__ import annotations

import json
import re
import secrets
from collections import Counter
from collections.abc import Sequence
from typing import Any

import msgspec

from bridge.dialects.tools import JSON_ONLY
from bridge.sandbox_request import (
    MARKER,
    Call,
    Failure,
    Json,
    Part,
    Source,
    Tool,
    everything,
    last_user_parts,
    parts,
    results,
    texts,
    tools,
)
from bridge.sandbox_schema import fill, quoted

INVALID = "tools.{}.custom.input_schema: {}. It must match JSON Schema draft 2020-12."
TOLD_TO_CALL = re.compile(r"Answer with a call of the tool .+ and nothing else\.")  # bridge.adapt, in other words
RESULTS = 2000  # characters of the tools' results that an answer repeats
PAGE = {"url": "https://example.com/sandbox", "title": "Bridge's sandbox"}


class Loop:
    """How far the calling of tools has come: what the user asked (`said`: without its markers), which tools have
    answered since, and after how many rounds of calls."""

    def __init__(self, call: Call) -> None:
        turns, begin = call.messages, 0
        for n, turn in enumerate(turns):
            if turn.role == "user" and texts(parts(turn.content)):
                begin = n
        self.asked = "\n".join(texts(parts(turns[begin].content)))
        self.said = MARKER.sub("", self.asked)
        since = [part for turn in turns[begin:] for part in parts(turn.content)]
        names = {part.id: part.name for turn in turns for part in parts(turn.content) if part.type == "tool_use"}
        self.answered = {names.get(part.tool_use_id, "") for part in since if part.type == "tool_result"}
        self.rounds = sum(any(part.type == "tool_use" for part in parts(turn.content)) for turn in turns[begin + 1 :])


def chosen(call: Call, loop: Loop) -> list[Tool]:
    """The tools that are called without a marker."""
    offered, choice = tools(call), call.tool_choice
    kind = choice.type if choice else "auto"
    if kind == "auto" and TOLD_TO_CALL.search(_told(call)):
        kind = "any"
    if kind == "none" or not offered:
        return []
    if choice and kind == "tool":
        return [tool for tool in offered if tool.name == choice.name]
    waiting = [tool for tool in offered if tool.name not in loop.answered]
    named = [tool for tool in waiting if _names(tool.name, loop.said)]
    named = named or [tool for tool in waiting if _names(_thing(tool.name), loop.said)]
    if kind == "any":
        named = named or waiting[:1] or offered[-1:]
    return named[:1] if choice and choice.disable_parallel_tool_use else named


def _thing(name: str) -> str:
    """What a tool like `get_weather` is for; nothing for a name of one word, or of short ones."""
    verb, _, thing = name.partition("_")
    return thing if verb in ("get", "find", "search", "lookup") and len(thing) > 3 else ""


def _names(name: str, text: str) -> bool:
    return bool(name) and re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", text) is not None


def blocks(called: Sequence[Tool], call: Call, said: str) -> list[Json]:
    """The calls. The same tool twice gets the next numbers that the user said."""
    made: list[Json] = []
    for tool in called:
        try:
            given = fill(tool.input_schema or {}, said)
        except ValueError as problem:
            raise Failure(400, INVALID.format([tool.name for tool in tools(call)].index(tool.name), problem)) from None
        given = given if isinstance(given, dict) else {}
        for value in given.values():
            if type(value) in (int, str) and value != "":
                said = re.sub(rf"(?<![\w.]){re.escape(str(value))}(?!\w)", "", said, count=1)
        identifier = f"toolu_sandbox{secrets.token_hex(8)}"
        made.append({"type": "tool_use", "id": identifier, "name": tool.name, "input": given})
    return made


def formed(call: Call, loop: Loop, words: str) -> str | None:
    """The JSON that the request wants for a text, if it does: of its format, or what its system prompt says."""
    form = (call.output_config and call.output_config.format) or {}
    if form.get("type") == "json_schema":
        return _json(form.get("schema"), loop, "output_config.format.schema")
    told = _told(call)
    schema = _schema_in(told)
    if schema is not None:
        return _json(schema, loop, "system")
    if JSON_ONLY not in told:
        return None
    return msgspec.json.encode({key: key for key in quoted(loop.said)} or {"answer": words}).decode()


def _told(call: Call) -> str:
    """The system prompt."""
    return "\n".join(texts(parts(call.system)))


def _schema_in(text: str) -> Json | None:
    """The last schema of an object that a text shows, for clients that ask for JSON in words."""
    decoder, found, at = json.JSONDecoder(), None, text.find("{")
    while at >= 0:
        try:
            value, end = decoder.raw_decode(text, at)
        except (ValueError, RecursionError):
            end = at + 1
        else:
            found = value if "properties" in value else found
        at = text.find("{", end)
    return found


def _json(schema: Any, loop: Loop, where: str) -> str:
    """Of a choice among tools (how a forced call looks where it is emulated), one that has no result yet."""

    def waits(option: Any) -> bool:
        named = option.get("properties", {}).get("tool", {}).get("const")
        return not isinstance(named, str) or named not in loop.answered

    try:
        return msgspec.json.encode(fill(schema, loop.said, waits)).decode()
    except (ValueError, AttributeError, TypeError) as problem:
        raise Failure(400, f"{where}: {problem}") from None


def heard(call: Call) -> str:
    """The last user turn's text, else what its tools answered."""
    last = last_user_parts(call.messages)
    return "\n".join(texts(last) or results(last))


def noticed(call: Call) -> str:
    """What there is in the last user turn beside its text, in words: "1 image, image/png"."""
    last = last_user_parts(call.messages)
    seen = Counter(f"{part.type}, {_source(part)}" for part in everything(last) if part.type in ("image", "document"))
    said = [f"You sent {'; '.join(f'{count} {what}' for what, count in seen.items())}."] if seen else []
    answers = "\n".join(results(last))
    if texts(last) and answers:
        said.append(f"The tools answered: {answers[:RESULTS]}")
    return " ".join(said)


def _source(part: Part) -> str:
    source = part.source if isinstance(part.source, Source) else Source()
    return source.media_type or source.type or "from somewhere"


def search(query: str) -> list[Json]:
    """A web search that Anthropic ran: the call and its result."""
    identifier = f"srvtoolu_sandbox{secrets.token_hex(8)}"
    found = {"type": "web_search_result", **PAGE, "encrypted_content": "c2FuZGJveA==", "page_age": None}
    return [
        {"type": "server_tool_use", "id": identifier, "name": "web_search", "input": {"query": query[:80]}},
        {"type": "web_search_tool_result", "tool_use_id": identifier, "content": [found]},
    ]


def cited(text: str) -> Json:
    """A text that stands on that search."""
    page = {"type": "web_search_result_location", **PAGE, "encrypted_index": "c2FuZGJveA==", "cited_text": text[:150]}
    return {"type": "text", "text": text, "citations": [page]}
