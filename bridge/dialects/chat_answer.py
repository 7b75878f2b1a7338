"""Messages → Chat Completions: the whole answer.

Shape: openai-python `types/chat/chat_completion.py`. The stream (chat_stream) says the same in pieces.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec

from bridge.dialects.chat import AnswerShape
from bridge.errors import ApiError
from bridge.wire.anthropic import Message
from bridge.wire.counts import Counts

Block = dict[str, Any]

# Anthropic's stop reasons as OpenAI's. Anything new is a normal end.
FINISH_REASONS = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "pause_turn": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}


@dataclass(frozen=True, slots=True)
class Heading:
    """What every chunk of an answer repeats."""

    id: str
    created: int
    model: str


def heading(message_id: str, model: str, created: int) -> Heading:
    """`msg_01Ab` becomes `chatcmpl-01Ab`: one can be found from the other."""
    return Heading(f"chatcmpl-{message_id.removeprefix('msg_')}", created, model)


def write(message: Message, usage: Counts, created: int, shape: AnswerShape, service_tier: str = "") -> dict[str, Any]:
    """The whole answer: a ChatCompletion."""
    return write_choices([message], usage, created, shape, service_tier)


def write_choices(
    messages: list[Message], usage: Counts, created: int, shape: AnswerShape, service_tier: str = ""
) -> dict[str, Any]:
    """The same with a choice for each message."""
    head = heading(messages[0].id, messages[0].model, created)
    return {
        "id": head.id,
        "object": "chat.completion",
        "created": head.created,
        "model": head.model,
        "choices": [_choice(index, message, shape) for index, message in enumerate(messages)],
        "usage": counts(usage),
        "service_tier": tier(service_tier),
        "system_fingerprint": None,
    }


def _choice(index: int, message: Message, shape: AnswerShape) -> dict[str, Any]:
    calls = tool_calls(message.content, shape)
    reason = finish_reason(message.stop_reason, bool(calls), shape.legacy)
    return {"index": index, "message": _message(message, calls, shape), "logprobs": None, "finish_reason": reason}


def _message(message: Message, calls: list[dict[str, Any]], shape: AnswerShape) -> dict[str, Any]:
    texts = [block for block in message.content if block.get("type") == "text"]
    text = "".join(block.get("text") or "" for block in texts)
    answer: dict[str, Any] = {
        "role": "assistant",
        "content": text if text or not calls else None,
        "refusal": refusal_text(message.stop_reason, message.stop_details),
        "annotations": _annotations(texts),
    }
    reasoning = "".join(block.get("thinking") or "" for block in message.content if block.get("type") == "thinking")
    if reasoning:
        answer["reasoning_content"] = reasoning
    signed = thinking_blocks(message.content)
    if signed:
        answer["thinking_blocks"] = signed
    if calls and shape.legacy:
        answer["function_call"] = calls[0]["function"]
    elif calls:
        answer["tool_calls"] = calls
    return answer


def tool_calls(blocks: list[Block], shape: AnswerShape) -> list[dict[str, Any]]:
    """The calls of an answer; server tools, which Anthropic ran itself, are none."""
    return [_tool_call(block, shape) for block in blocks if block.get("type") == "tool_use"]


def _tool_call(block: Block, shape: AnswerShape) -> dict[str, Any]:
    name, given = shape.names.original(block.get("name") or ""), block.get("input") or {}
    arguments = block.get("input_text") or msgspec.json.encode(given).decode()
    if block.get("name") in shape.custom:
        return {"id": block.get("id"), "type": "custom", "custom": {"name": name, "input": free_text(arguments)}}
    return {"id": block.get("id"), "type": "function", "function": {"name": name, "arguments": arguments}}


def free_text(arguments: str) -> str:
    """What a free-text tool was called with. Not as it was asked for: all of it, so that nothing is lost."""
    try:
        given = msgspec.json.decode(arguments)
    except (msgspec.DecodeError, RecursionError):
        return arguments
    text = given.get("input") if isinstance(given, dict) else None
    if isinstance(text, str):
        return text
    return "" if given == {} else arguments


def thinking_blocks(blocks: list[Block]) -> list[Block]:
    """Signed thinking, to be sent back as it is."""
    return [
        block
        for block in blocks
        if block.get("type") == "redacted_thinking" or (block.get("type") == "thinking" and block.get("signature"))
    ]


def _annotations(texts: list[Block]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    start = 0
    for block in texts:
        end = start + len(block.get("text") or "")
        found += [note for citation in block.get("citations") or [] if (note := annotation(citation, start, end))]
        start = end
    return found


def annotation(citation: dict[str, Any], start: int, end: int) -> dict[str, Any] | None:
    """A cited web page, with the part of the text that it stands for. Other citations have no equivalent."""
    if not isinstance(citation.get("url"), str):
        return None
    cited = {"start_index": start, "end_index": end, "title": citation.get("title") or "", "url": citation["url"]}
    return {"type": "url_citation", "url_citation": cited}


_TIERS = {"standard": "default", "priority": "priority", "batch": "flex"}


def tier(service_tier: str) -> str:
    return _TIERS.get(service_tier, "default")


def finish_reason(stop_reason: str | None, called: bool = False, legacy: bool = False) -> str:
    """`tool_calls` whenever there are calls, unless they were cut off: agents end a call on nothing else."""
    reason = FINISH_REASONS.get(stop_reason or "", "stop")
    if called and reason == "stop":
        reason = "tool_calls"
    return "function_call" if legacy and reason == "tool_calls" else reason


def refusal_text(stop_reason: str | None, details: dict[str, Any] | None) -> str | None:
    """What `message.refusal` says: Anthropic's explanation, or that there is none."""
    if stop_reason != "refusal":
        return None
    explanation = (details or {}).get("explanation")
    return explanation if isinstance(explanation, str) and explanation else "The model declined to answer."


def counts(usage: Counts) -> dict[str, Any]:
    """OpenAI's usage, with the top-level copies of the cache counts that many clients read."""
    cache_write = usage.cache_write_5m + usage.cache_write_1h
    return {
        "prompt_tokens": usage.prompt,
        "completion_tokens": usage.output,
        "total_tokens": usage.prompt + usage.output,
        "prompt_tokens_details": {
            "cached_tokens": usage.cache_read,
            "cache_write_tokens": cache_write,
            "audio_tokens": 0,
        },
        "completion_tokens_details": {
            "reasoning_tokens": usage.reasoning,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
        "cache_creation_input_tokens": cache_write,
        "cache_read_input_tokens": usage.cache_read,
    }


def error(problem: ApiError) -> dict[str, Any]:
    return problem.body()
