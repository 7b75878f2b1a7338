"""Anthropic's rules for a request, checked by themselves: what of it the API would refuse. Source: anthropic.md 1."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

from bridge.catalog import Model

_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_NAME = re.compile(r"[A-Za-z0-9_-]{1,128}")
_TOP = frozenset({
    "model", "max_tokens", "messages", "system", "stop_sequences", "temperature", "top_p", "top_k", "thinking",
    "output_config", "tools", "tool_choice", "service_tier", "cache_control", "metadata", "context_management",
})  # fmt: skip
_SHARED = {"text", "image", "document", "search_result"}
_BLOCKS = {
    "user": _SHARED | {"tool_result"},
    "assistant": {"text", "tool_use", "thinking", "redacted_thinking"},
    "system": {"text"},
}
_SOURCES = {"base64", "url", "file", "text", "content"}
Block = dict[str, Any]


def problems(request: dict[str, Any], model: Model) -> list[str]:
    """What the API would refuse of a request to this model; empty for a good one."""
    return [
        *(f"{name}: extra" for name in request if name not in _TOP),
        *_limits(request, model),
        *_tools(request, model),
        *_turns(request, model),
        *_breakpoints(request),
    ]


def _limits(request: dict[str, Any], model: Model) -> Iterator[str]:
    most = request.get("max_tokens")
    if type(most) is not int or not 1 <= most <= model.max_output_tokens:
        yield f"max_tokens: {most}"
    if not all(isinstance(stop, str) and stop.strip() for stop in request.get("stop_sequences", [])):
        yield "stop_sequences: white space"
    sampling = {"temperature", "top_p", "top_k"} & set(request)
    # 1 is still taken by every model under this version of the API, except for top_k
    if model.sampling == "none" and any(request[name] != 1 or name == "top_k" for name in sampling):
        yield "sampling: not taken by this model"
    if {"temperature", "top_p"} <= set(request) or request.get("temperature", 0) > 1:
        yield "sampling: too much"
    thinking = request.get("thinking")
    if thinking is not None and thinking.get("type") not in model.thinking:
        yield f"thinking: {thinking}"
    if thinking is not None and thinking.get("type") == "enabled":
        budget = thinking.get("budget_tokens")
        if type(budget) is not int or not 1024 <= budget < request["max_tokens"]:
            yield f"thinking.budget_tokens: {budget}"
        if request.get("tool_choice", {}).get("type") in ("any", "tool"):
            yield "thinking: with a forced call"
    effort = request.get("output_config", {}).get("effort")
    if effort is not None and effort not in model.effort:
        yield f"effort: {effort}"
    if effort in ("xhigh", "max") and (thinking or {}).get("type") in ("disabled", "between_tools"):
        yield f"effort: {effort} without thinking"
    if request.get("output_config", True) in ({}, None):
        yield "output_config: empty"


def _tools(request: dict[str, Any], model: Model) -> Iterator[str]:
    tools = request.get("tools", [])
    names = [tool.get("name") for tool in tools]
    yield from (f"tools: name {name!r}" for name in names if not (isinstance(name, str) and _NAME.fullmatch(name)))
    if len(names) != len({str(name) for name in names}):
        yield "tools: a name twice"
    if "tools" in request and not tools:
        yield "tools: empty"
    for tool in tools:
        if tool.get("type") in (None, "custom") and (tool.get("input_schema") or {}).get("type") != "object":
            yield f"tools: schema of {tool.get('name')}"
    choice = request.get("tool_choice")
    if choice is None:
        return
    if not tools or choice.get("type") not in ("auto", "any", "tool", "none"):
        yield f"tool_choice: {choice}"
    if choice.get("type") == "tool" and choice.get("name") not in names:
        yield f"tool_choice: {choice}"
    if choice.get("type") in ("any", "tool") and not model.forced_tool_choice:
        yield "tool_choice: forced"
    if choice.get("type") == "none" and len(choice) > 1:
        yield "tool_choice: none with more"


def _turns(request: dict[str, Any], model: Model) -> Iterator[str]:
    turns, system = request["messages"], request.get("system", [])
    roles = [turn["role"] for turn in turns]
    if not turns or ("system" in request and not system):
        yield "messages or system: empty"
    if any(first == second for first, second in pairwise(roles)):
        yield f"roles: {roles}"
    for number, role in enumerate(roles):
        if role == "system" and (
            not model.mid_conversation_system or number == 0 or roles[number - 1 : number + 2][0] != "user"
        ):
            yield f"roles: system at {number} of {roles}"
        if role == "system" and roles[number + 1 : number + 2] not in ([], ["assistant"]):
            yield f"roles: system at {number} of {roles}"
    if roles and roles[-1] == "assistant" and not model.prefill:
        yield "messages: prefill"
    for block in system:
        yield from _block(block, "system")
    waiting: list[str] = []
    for turn in turns:
        if not turn["content"]:
            yield "content: empty"
        for block in turn["content"]:
            yield from _block(block, turn["role"])
        yield from _results(turn, waiting)
        waiting = [block["id"] for block in turn["content"] if block.get("type") == "tool_use"]
        yield from (f"tool_use: id {one!r}" for one in waiting if not isinstance(one, str) or not _ID.fullmatch(one))
        if len(waiting) != len(set(waiting)):
            yield "tool_use: an id twice"
    if waiting:
        yield "tool_use: no results"


def _results(turn: dict[str, Any], waiting: list[str]) -> Iterator[str]:
    """Every call of the turn before is answered here, first, and nothing else is."""
    kinds = [block.get("type") == "tool_result" for block in turn["content"]]
    answered = [block.get("tool_use_id") for block in turn["content"] if block.get("type") == "tool_result"]
    if sorted(map(str, answered)) != sorted(waiting):
        yield f"tool_result: {answered} for {waiting}"
    if kinds != sorted(kinds, reverse=True):
        yield "tool_result: not first"


def _block(block: Block, role: str) -> Iterator[str]:
    kind = block.get("type")
    if kind not in _BLOCKS[role]:
        yield f"block: {kind} of {role}"
    elif kind == "text" and not (isinstance(block.get("text"), str) and block["text"].strip()):
        yield "text: empty"
    elif kind in ("image", "document") and (block.get("source") or {}).get("type") not in _SOURCES:
        yield f"{kind}: source"
    elif kind == "tool_use" and not (
        isinstance(block.get("input"), dict) and isinstance(block.get("name"), str) and _NAME.fullmatch(block["name"])
    ):
        yield f"tool_use: {block}"
    elif kind == "thinking" and not (isinstance(block.get("thinking"), str) and block.get("signature")):
        yield f"thinking: {block}"
    elif kind == "tool_result" and isinstance(block.get("content"), list):
        for inner in block["content"]:
            if inner.get("type") not in _SHARED:
                yield f"tool_result: holds {inner.get('type')}"
            else:
                yield from _block(inner, "user")
    elif kind == "tool_result" and not isinstance(block.get("content", ""), str):
        yield "tool_result: content"


def _marked(blocks: Any) -> Iterator[Block]:
    for block in blocks:
        if isinstance(block, dict):
            yield block
            if isinstance(block.get("content"), list):
                yield from _marked(block["content"])


def _breakpoints(request: dict[str, Any]) -> Iterator[str]:
    turns = [block for turn in request["messages"] for block in turn["content"]]
    places = [request, *_marked([*request.get("tools", []), *request.get("system", []), *turns])]
    marks = [place for place in places if "cache_control" in place]
    if len(marks) > 4:
        yield f"cache_control: {len(marks)}"
    if any(place.get("type") in ("thinking", "redacted_thinking") for place in marks):
        yield "cache_control: on thinking"
    for place in marks:
        mark = place["cache_control"]
        if not isinstance(mark, dict) or mark.get("type") != "ephemeral" or mark.get("ttl", "5m") not in ("5m", "1h"):
            yield f"cache_control: {mark}"
