"""Chat Completions ⇄ Messages: reading a request, writing a whole answer and an error.

Shapes: openai-python `types/chat/completion_create_params.py` and `chat_completion.py`. The stream is chat_stream.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from bridge.dialects import checks
from bridge.dialects.params import PARAMS, Verdict
from bridge.errors import ApiError
from bridge.receipt import Receipt
from bridge.wire.anthropic import Message
from bridge.wire.counts import Counts

Block = dict[str, Any]
Turn = dict[str, Any]

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


@dataclass(slots=True)
class Reading:
    """A client's request: `request` is a Messages request that still asks for the name the client used."""

    request: dict[str, Any]
    stream: bool
    include_usage: bool
    end_user: str
    receipt: Receipt = field(default_factory=Receipt)


@dataclass(frozen=True, slots=True)
class Heading:
    """What every chunk of an answer repeats."""

    id: str
    created: int
    model: str


def heading(message_id: str, model: str, created: int) -> Heading:
    """`msg_01Ab` becomes `chatcmpl-01Ab`: one can be found from the other."""
    return Heading(f"chatcmpl-{message_id.removeprefix('msg_')}", created, model)


# --- Reading --------------------------------------------------------------------------------------------------------


def read(body: Any, model: str | None = None) -> Reading:
    """The request in the house language. `model` is the one in the URL, if any. Raises ApiError (400)."""
    body = checks.an_object(body, "body")
    body = {name: value for name, value in body.items() if value is not None}
    receipt = Receipt()
    _judge(body, receipt)
    request: dict[str, Any] = {"model": _model(body, model)}
    _turns(body, request, receipt)
    _limits(body, request)
    _stops(body, request, receipt)
    _sampling(body, request)
    stream = checks.a_boolean(body.get("stream", False), "stream")
    return Reading(request, stream, _include_usage(body, stream, receipt), _end_user(body), receipt)


def _judge(body: dict[str, Any], receipt: Receipt) -> None:
    """Applies the table: refuses what must not be lost, notes what is ignored. Unknown parameters are ignored."""
    for name, value in body.items():
        param = PARAMS.get(name)
        if param is None:
            receipt.add(name, "ignored")
        elif any(value == harmless and type(value) is type(harmless) for harmless in param.harmless):
            continue
        elif param.verdict is Verdict.IGNORED:
            receipt.add(name, "ignored")
        elif param.verdict in (Verdict.REFUSED, Verdict.NOT_YET):
            yet = "not supported yet" if param.verdict is Verdict.NOT_YET else "not supported"
            raise ApiError("unsupported_parameter", f"Unsupported parameter: '{name}' is {yet}. {param.note}", name)


def _model(body: dict[str, Any], from_url: str | None) -> str:
    name = body.get("model", from_url)
    if name is None:
        raise ApiError("missing", "you must provide a model parameter", "model")
    if not checks.a_string(name, "model").strip():
        raise ApiError("invalid_value", "Invalid value: 'model' must not be empty.", "model")
    return str(name)


def _limits(body: dict[str, Any], request: dict[str, Any]) -> None:
    for name in ("max_completion_tokens", "max_tokens"):
        if name in body:
            limit = checks.an_integer(body[name], name, 1)
            request.setdefault("max_tokens", limit)


def _stops(body: dict[str, Any], request: dict[str, Any], receipt: Receipt) -> None:
    stop = body.get("stop", [])
    stops = [stop] if isinstance(stop, str) else stop
    if not isinstance(stops, list):
        raise checks.wrong_type("stop", "a string or an array of strings", stop)
    texts = [checks.a_string(text, f"stop[{index}]") for index, text in enumerate(stops)]
    kept = [text for text in texts if text.strip()]
    if len(kept) < len(texts):
        receipt.add("stop", "dropped(whitespace)")
    if kept:
        request["stop_sequences"] = kept


def _sampling(body: dict[str, Any], request: dict[str, Any]) -> None:
    for name, high in (("temperature", 2), ("top_p", 1)):
        if name in body:
            request[name] = checks.a_number(body[name], name, 0, high)


def _include_usage(body: dict[str, Any], stream: bool, receipt: Receipt) -> bool:
    options = checks.an_object(body.get("stream_options", {}), "stream_options")
    if options and not stream:
        receipt.add("stream_options", "ignored")
    wanted = options.get("include_usage")
    return wanted is not None and checks.a_boolean(wanted, "stream_options.include_usage")


def _end_user(body: dict[str, Any]) -> str:
    """Some clients send an object here; whoever it is, the same one gives the same text."""
    value = body.get("safety_identifier", body.get("user", ""))
    return value if isinstance(value, str) else str(value)


# --- Messages -------------------------------------------------------------------------------------------------------

_ROLES = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant"}
_ROLES_NOT_YET = ("tool", "function")
_KNOWN_KEYS = frozenset({"role", "content", "refusal", "tool_calls", "function_call", "audio"})
_TEXT_PARTS = {"text": "text", "input_text": "text", "output_text": "text", "refusal": "refusal"}


def _turns(body: dict[str, Any], request: dict[str, Any], receipt: Receipt) -> None:
    """Leading system messages become `system`; the rest are turns, those of one role joined."""
    if "messages" not in body:
        raise checks.missing("messages")
    messages = body["messages"]
    if not isinstance(messages, list):
        raise checks.wrong_type("messages", "an array of objects", messages)
    if not messages:
        text = (
            "Invalid 'messages': empty array. Expected an array with minimum length 1, but got an empty array instead."
        )
        raise ApiError("empty_array", text, "messages")
    turns = [turn for index, message in enumerate(messages) if (turn := _turn(message, f"messages[{index}]", receipt))]
    system: list[Block] = []
    while turns and turns[0]["role"] == "system":
        system += turns.pop(0)["content"]
    if not turns and system:
        turns, system = [{"role": "user", "content": system}], []
        receipt.add("messages.system", "as_user")
    if not turns:
        raise ApiError("invalid_value", "Invalid 'messages': there is no text in any message.", "messages")
    if system:
        request["system"] = system
    request["messages"] = _joined(turns)


def _turn(message: Any, path: str, receipt: Receipt) -> Turn | None:
    """One message as a turn; None if it says nothing (the API refuses empty text)."""
    message = checks.an_object(message, path)
    role = _role(message, path)
    for name in ("tool_calls", "function_call", "audio"):
        if message.get(name):
            raise ApiError(
                "unsupported_parameter", f"Unsupported: '{path}.{name}' is not supported yet.", f"{path}.{name}"
            )
    for name, value in message.items():
        if name not in _KNOWN_KEYS and value not in (None, [], ""):
            receipt.add(f"messages.{name}", "ignored")
    content = message.get("content")
    if content in (None, "", []) and role == "assistant":
        content = message.get("refusal") or ""
    elif content is None:
        raise checks.missing(f"{path}.content")
    blocks = [{"type": "text", "text": text} for text in _texts(content, f"{path}.content") if text.strip()]
    if not blocks:
        receipt.add("messages.empty", "dropped")
        return None
    return {"role": role, "content": blocks}


def _role(message: dict[str, Any], path: str) -> str:
    if "role" not in message:
        raise checks.missing(f"{path}.role")
    role = checks.a_string(message["role"], f"{path}.role")
    if role in _ROLES_NOT_YET:
        raise ApiError("unsupported_parameter", f"Unsupported: role '{role}' is not supported yet.", f"{path}.role")
    if role not in _ROLES:
        options = ", ".join(f"'{name}'" for name in _ROLES)
        text = f"Invalid value: '{role[:40]}'. Supported values are: {options}."
        raise ApiError("invalid_value", text, f"{path}.role")
    return _ROLES[role]


def _texts(content: Any, path: str) -> list[str]:
    if isinstance(content, str):
        return [content]
    if not isinstance(content, list):
        raise checks.wrong_type(path, "one of a string or an array of objects", content)
    return [_text(part, f"{path}[{index}]") for index, part in enumerate(content)]


def _text(part: Any, path: str) -> str:
    part = checks.an_object(part, path)
    if "type" not in part:
        raise checks.missing(f"{path}.type")
    kind = checks.a_string(part["type"], f"{path}.type")
    if kind not in _TEXT_PARTS:
        text = f"Unsupported: content of type '{kind[:40]}' is not supported yet; 'text' is."
        raise ApiError("unsupported_parameter", text, path)
    field_name = _TEXT_PARTS[kind]
    if part.get(field_name) is None:
        raise checks.missing(f"{path}.{field_name}")
    return checks.a_string(part[field_name], f"{path}.{field_name}")


def _joined(turns: list[Turn]) -> list[Turn]:
    joined: list[Turn] = []
    for turn in turns:
        if joined and joined[-1]["role"] == turn["role"]:
            joined[-1]["content"] += turn["content"]
        else:
            joined.append(turn)
    return joined


# --- Writing --------------------------------------------------------------------------------------------------------


def write(message: Message, usage: Counts, created: int) -> dict[str, Any]:
    """The whole answer: a ChatCompletion."""
    head = heading(message.id, message.model, created)
    text = "".join(block.get("text") or "" for block in message.content if block.get("type") == "text")
    reasoning = "".join(block.get("thinking") or "" for block in message.content if block.get("type") == "thinking")
    refusal = refusal_text(message.stop_reason, message.stop_details)
    answer: dict[str, Any] = {"role": "assistant", "content": text, "refusal": refusal, "annotations": []}
    if reasoning:
        answer["reasoning_content"] = reasoning
    return {
        "id": head.id,
        "object": "chat.completion",
        "created": head.created,
        "model": head.model,
        "choices": [
            {"index": 0, "message": answer, "logprobs": None, "finish_reason": finish_reason(message.stop_reason)}
        ],
        "usage": counts(usage),
        "service_tier": "default",
        "system_fingerprint": None,
    }


def finish_reason(stop_reason: str | None) -> str:
    return FINISH_REASONS.get(stop_reason or "", "stop")


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
