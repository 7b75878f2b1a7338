"""Chat Completions → Messages: reading a request. Its answer is chat_answer or, streamed, chat_stream.

Shapes: openai-python `types/chat/completion_create_params.py`; what real clients send beside them is accepted too.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from bridge.dialects import checks, content, history, schema, shapes, tools
from bridge.dialects.names import Names
from bridge.dialects.params import PARAMS, Verdict
from bridge.errors import ApiError
from bridge.receipt import Receipt

EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
MOST_CHOICES = 8
CONTEXT_BETA = "context-management-2025-06-27"
# What clears old turns out of the prompt. Compaction's tokens are not in the counts that limits are made from.
_EDITS = ("clear_tool_uses_20250919", "clear_thinking_20251015")
# OpenAI's service tiers as Anthropic's; the others have no equivalent.
_TIERS = {"auto": "auto", "priority": "auto", "default": "standard_only"}


@dataclass(slots=True)
class Reading:
    """A client's request: `request` is a Messages request that still asks for the name the client used, and for what
    its model may refuse. The rest is what the answer depends on."""

    request: dict[str, Any]
    stream: bool
    include_usage: bool
    end_user: str
    form: AnswerShape
    choices: int = 1
    plain_json: bool = False  # the answer is to be one JSON object, which only an instruction asks for
    receipt: Receipt = field(default_factory=Receipt)

    @property
    def betas(self) -> tuple[str, ...]:
        """What Anthropic's API wants to be told about this request (`anthropic-beta`)."""
        return (CONTEXT_BETA,) if "context_management" in self.request else ()


@dataclass(slots=True)
class AnswerShape:
    """How tool calls are told: under their own names, free-text ones as such, in the form of 2023."""

    names: Names = field(default_factory=Names)
    custom: frozenset[str] = frozenset()
    legacy: bool = False


def read(body: Any, model: str | None = None) -> Reading:
    """The request in the house language. `model` is the one in the URL, if any. Raises ApiError (400)."""
    body = checks.an_object(body, "body")
    body = {name: value for name, value in body.items() if value is not None}
    receipt = Receipt()
    body = shapes.as_chat(body, receipt)
    _judge(body, receipt)
    request: dict[str, Any] = {"model": _model(body, model)}
    names = Names()
    allowance = schema.Allowance()  # the form of the answer comes first: without it the answer is another
    wanted = tools.read_form(body, receipt, allowance)
    offered = tools.read(body, names, receipt, allowance)
    _messages(body, request, wanted.instruction, names, receipt)
    _limits(body, request)
    _stops(body, request, receipt)
    _sampling(body, request)
    _tools(offered, request)
    _effort(body, request)
    _extensions(body, request, receipt)
    if wanted.format:
        request.setdefault("output_config", {})["format"] = wanted.format
    stream = checks.a_boolean(body.get("stream", False), "stream")
    return Reading(
        request,
        stream,
        _include_usage(body, stream, receipt),
        _end_user(body),
        AnswerShape(names, offered.custom, offered.legacy),
        _choices(body),
        bool(wanted.instruction),
        receipt,
    )


def _judge(body: dict[str, Any], receipt: Receipt) -> None:
    """Applies the table: refuses what must not be lost, notes what is ignored. Unknown parameters are ignored."""
    for name, value in body.items():
        param = PARAMS.get(name)
        if param is None:
            receipt.add(name, "ignored")
        elif any(
            value == harmless and isinstance(value, bool) is isinstance(harmless, bool) for harmless in param.harmless
        ):
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


def _choices(body: dict[str, Any]) -> int:
    """`n` answers, by as many calls. Raises ApiError (400)."""
    count = checks.an_integer(body.get("n", 1), "n", 1)
    if count > MOST_CHOICES:
        text = f"Invalid 'n': integer above maximum value. Expected a value <= {MOST_CHOICES}, but got {count} instead."
        raise ApiError("above_max", text, "n")
    return count


def _end_user(body: dict[str, Any]) -> str:
    """Some clients send an object here; whoever it is, the same one gives the same text."""
    value = body.get("safety_identifier", body.get("user", ""))
    return value if isinstance(value, str) else str(value)


def _messages(body: dict[str, Any], request: dict[str, Any], instruction: str, names: Names, receipt: Receipt) -> None:
    if "messages" not in body:
        raise checks.missing("messages")
    system, request["messages"] = history.read(body["messages"], names, receipt)
    if instruction:
        system = [*system, content.text_block(instruction)]
    if system:
        request["system"] = system


def _tools(offered: tools.ToolSet, request: dict[str, Any]) -> None:
    if offered.tools:
        request["tools"] = offered.tools
    if offered.choice:
        request["tool_choice"] = offered.choice


def _effort(body: dict[str, Any], request: dict[str, Any]) -> None:
    """`reasoning_effort`, or the object that some gateways and clients have for it."""
    reasoning = checks.an_object(body.get("reasoning", {}), "reasoning")
    effort = body.get("reasoning_effort", reasoning.get("effort"))
    if effort is None and reasoning.get("enabled") is True:
        effort = "medium"
    if reasoning.get("enabled") is False:
        effort = "none"
    if effort is not None:
        if effort not in EFFORTS:
            options = ", ".join(f"'{name}'" for name in EFFORTS)
            text = f"Invalid value: '{str(effort)[:40]}'. Supported values are: {options}."
            raise ApiError("invalid_value", text, "reasoning_effort")
        request["output_config"] = {"effort": effort}
    if isinstance(reasoning.get("max_tokens"), int) and not isinstance(reasoning["max_tokens"], bool):
        request["thinking"] = {"type": "enabled", "budget_tokens": reasoning["max_tokens"]}


def _extensions(body: dict[str, Any], request: dict[str, Any], receipt: Receipt) -> None:
    """Anthropic's own parameters, for clients that know where they are talking to."""
    if "thinking" in body:
        request["thinking"] = dict(checks.an_object(body["thinking"], "thinking"))
    if "top_k" in body:
        request["top_k"] = checks.an_integer(body["top_k"], "top_k", 0)
    if "context_management" in body:
        request["context_management"] = _context_management(body["context_management"])
    mark = content.cache_control(body)
    if mark:
        request["cache_control"] = mark
    tier = body.get("service_tier")
    if isinstance(tier, str) and tier in _TIERS:
        request["service_tier"] = _TIERS[tier]
    elif tier is not None:
        receipt.add("service_tier", "ignored")


def _context_management(given: Any) -> dict[str, Any]:
    given = checks.an_object(given, "context_management")
    path = "context_management.edits"
    edits = given.get("edits", [])
    if not isinstance(edits, list):
        raise checks.wrong_type(path, "an array of objects", edits)
    for index, edit in enumerate(edits):
        kind = checks.an_object(edit, f"{path}[{index}]").get("type")
        if kind not in _EDITS:
            options = ", ".join(f"'{name}'" for name in _EDITS)
            text = f"Unsupported value: '{str(kind)[:40]}'. Supported values are: {options}."
            raise ApiError("unsupported_value", text, f"{path}[{index}].type")
    return {**given}
