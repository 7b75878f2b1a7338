"""Chat requests at random: good ones, changed at any place."""

from __future__ import annotations

import copy
import random
from typing import Any

from bridge import catalog

NAMES = [model.id for model in catalog.load().models] + ["claude-unheard-of"]
EPHEMERAL = {"type": "ephemeral"}
SCHEMA = {
    "type": "object",
    "properties": {
        "at": {"type": "string", "minLength": 1},
        "n": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
        "deep": {"type": "array", "items": {"$ref": "#/$defs/A"}},
    },
    "required": ["at"],
    "$defs": {"A": {"type": "object", "properties": {"x": {"enum": ["a", "b"]}}}},
}
FLAT = {"type": "object", "properties": {"at": {"type": "string"}}, "required": ["at"]}
PNG = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJ"
PDF = "data:application/pdf;base64,JVBERi0xLjcK"


def _function(name: str, **more: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, "description": "d", "parameters": FLAT, **more}}


def _call(identifier: str, name: str = "look", arguments: Any = '{"at":"x"}') -> dict[str, Any]:
    return {"id": identifier, "type": "function", "function": {"name": name, "arguments": arguments}}


USER = {"role": "user", "content": "Hello"}
SIGNED = {"type": "thinking", "thinking": "Hm.", "signature": "c2ln"}
GOOD: list[dict[str, Any]] = [
    {
        "messages": [{"role": "system", "content": "Be kind."}, USER],
        "temperature": 0.5, "top_p": 0.9, "top_k": 5, "max_tokens": 100, "stop": ["END", "\n"], "user": "u", "seed": 1,
        "stream": True, "stream_options": {"include_usage": True}, "logit_bias": {"1": 2}, "service_tier": "auto",
        "n": 1, "logprobs": False, "modalities": ["text"], "metadata": {"a": "b"},
    },
    {
        "messages": [
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "See", "cache_control": EPHEMERAL},
                    {"type": "image_url", "image_url": {"url": PNG, "detail": "high"}},
                    {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}},
                    {"type": "file", "file": {"file_data": PDF, "filename": "a.pdf"}, "prompt_cache_breakpoint": {}},
                    {"type": "file", "file": {"file_id": "file_1"}},
                    {"type": "input_image", "image_url": PNG},
                    {"type": "input_file", "file_url": "https://example.com/a.pdf"},
                ],
                "name": "alice",
            },
            {"role": "developer", "content": [{"type": "text", "text": "Briefly."}]},
            {"role": "assistant", "content": [{"type": "refusal", "refusal": "No."}], "refusal": None},
        ],
        "reasoning_effort": "high", "cache_control": EPHEMERAL, "verbosity": "low",
    },
    {
        "messages": [
            USER,
            {"role": "assistant", "content": None, "tool_calls": [_call("a.b"), _call("c", "ns.find", "{bad")],
             "thinking_blocks": [SIGNED, {"type": "redacted_thinking", "data": "eA=="}]},
            {"role": "tool", "tool_call_id": "c", "content": "found"},
            {"role": "system", "content": "Hurry."},
            {"role": "tool", "tool_call_id": "a.b", "content": [{"type": "text", "text": "x", "cache_control": {}}],
             "cache_control": EPHEMERAL},
            {"role": "assistant", "content": "", "tool_calls": [_call("d", arguments={"at": 1})]},
            {"role": "tool", "tool_call_id": "gone", "content": "late"},
            {"role": "user", "content": "And?", "cache_control": {"type": "ephemeral", "ttl": "1h"}},
        ],
        "tools": [_function("look", strict=True), _function("ns.find", parameters=SCHEMA, strict=True)],
        "tool_choice": {"type": "function", "function": {"name": "look"}}, "parallel_tool_calls": False,
        "max_completion_tokens": 5000, "reasoning": {"effort": "low"},
    },
    {
        "messages": [
            USER,
            {"role": "assistant", "function_call": {"name": "look", "arguments": "{}"}, "content": None},
            {"role": "function", "name": "look", "content": "seen"},
        ],
        "functions": [{"name": "look", "parameters": FLAT}], "function_call": {"name": "look"},
    },
    {
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": "Hi"}]},
            {"role": "assistant", "content": [SIGNED, {"type": "text", "text": "So."},
             {"type": "tool_use", "id": "t.1", "name": "look", "input": {}}]},
            {"role": "user", "content": [{"type": "text", "text": "There:"},
             {"type": "tool_result", "tool_use_id": "t.1", "content": [{"type": "text", "text": "x"}]},
             {"type": "tool_result", "tool_use_id": "gone", "content": "y"}]},
        ],
        "tools": [
            {"name": "look", "input_schema": FLAT, "cache_control": EPHEMERAL},
            {"type": "custom", "custom": {"name": "patch", "format": {"type": "grammar",
             "grammar": {"syntax": "lark", "definition": "start: /x/"}}}},
            {"type": "bash_20250124", "name": "bash"},
        ],
        "tool_choice": "required", "web_search_options": {"search_context_size": "low",
        "user_location": {"type": "approximate", "approximate": {"city": "Bern"}}},
        "thinking": {"type": "enabled", "budget_tokens": 2000},
    },
    {
        "messages": [USER, {"role": "assistant", "content": "I "}],
        "response_format": {"type": "json_schema", "json_schema": {"name": "a", "strict": True, "schema": SCHEMA}},
        "tools": [_function("look"), _function("find", parameters={"anyOf": [FLAT, FLAT]})],
        "tool_choice": {"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [_function("find")]}},
        "thinking": {"type": "disabled"}, "reasoning_effort": "max",
    },
    {
        "messages": [{"role": "system", "content": "Say hi."}, {"role": "assistant", "content": "Hi"}, USER],
        "response_format": {"type": "json_object"}, "reasoning": {"max_tokens": 4000},
    },
]  # fmt: skip

ODD: list[Any] = [
    None, True, False, 0, 1, -1, 2**63, 2**70, 1e300, -0.5, 1.5, "", " ", "\n", "x", "none", "auto", "required", "any",
    "text", "user", "assistant", "tool", "system", "function", "custom", "tool_use", "tool_result", "thinking",
    "redacted_thinking", "image", "document", "search_result", "adaptive", "enabled", "between_tools", "json_object",
    "😀é\u2028\x00", "a" * 300, "a.b", "{", "[]", "https://x", "data:,", [], {}, [None], [[]], [{}], {"": 0}, {"a": 1},
    {"type": "text", "text": "x"}, {"type": "tool_use", "id": "a", "name": "b", "input": 5},
    {"type": "tool_result", "tool_use_id": "a", "content": [{"type": "tool_result", "tool_use_id": "b"}]},
    {"type": "thinking", "thinking": "x", "signature": "s"}, {"type": "thinking", "signature": "s"},
    {"type": "image", "source": {"type": "url", "url": "https://x"}}, {"signature": "s"}, {"$ref": "#"},
    {"type": "object"}, {"type": ["object", "null"]}, {"role": "user", "content": "x"}, EPHEMERAL,
]  # fmt: skip


def make(rng: random.Random, good: list[dict[str, Any]] = GOOD, said: str = "messages") -> Any:
    """A request, good or changed at up to six places, for a model at random. `said`: the parameter that holds what is
    said, which stays one request's own."""
    body: Any = copy.deepcopy(rng.choice(good))
    body["model"] = rng.choice(NAMES)
    if rng.random() < 0.3:  # parameters of another one
        body.update(copy.deepcopy({name: value for name, value in rng.choice(good).items() if name != said}))
    for _ in range(rng.choice((0, 1, 1, 1, 2, 3, 6))):
        _change(body, rng)
    return body


def _change(body: Any, rng: random.Random) -> None:
    places = [place for place in _places(body) if place[1] != "model"]
    if not places:
        return
    # what lies deeper is more, so that the top would hardly ever be met
    depth = rng.choice(sorted({place[2] for place in places}))
    holder, key, _ = rng.choice([place for place in places if place[2] == depth])
    match rng.randrange(7):
        case 0 | 1 | 2:
            holder[key] = copy.deepcopy(rng.choice(ODD))
        case 3:
            del holder[key]
        case 4 if isinstance(holder, list):
            holder.insert(rng.randrange(len(holder) + 1), copy.deepcopy(holder[key]))
        case 4:
            holder[rng.choice(("x", "type", "name", "cache_control", "content"))] = copy.deepcopy(rng.choice(ODD))
        case 5 if isinstance(holder, list):
            rng.shuffle(holder)
        case 5:
            other = rng.choice(places)
            holder[key] = copy.deepcopy(other[0][other[1]])
        case _:
            holder[key] = _nested(holder[key], rng)


def _places(value: Any, depth: int = 0) -> list[tuple[Any, Any, int]]:
    """Every place that a value can be put at: its holder, its key, and how deep it lies."""
    pairs = (
        list(value.items()) if isinstance(value, dict) else list(enumerate(value)) if isinstance(value, list) else []
    )
    found = [(value, key, depth) for key, _ in pairs]
    return found + [place for _, inner in pairs for place in _places(inner, depth + 1)]


def _nested(value: Any, rng: random.Random) -> Any:
    for _ in range(rng.choice((1, 2, 30, 58, 70))):
        value = [value] if rng.random() < 0.5 else {rng.choice(("a", "properties", "items", "content")): value}
    return value
