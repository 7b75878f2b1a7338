"""Chat Completions → Messages: reading a request. Its answer is chat_answer or, streamed, chat_stream.

Shapes: openai-python `types/chat/completion_create_params.py`; what real clients send beside them is accepted too.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from bridge.dialects import checks, history, reading, schema, shapes, tools
from bridge.dialects.names import Names
from bridge.dialects.params import PARAMS
from bridge.errors import ApiError
from bridge.receipt import Receipt

MOST_CHOICES = 8
CONTEXT_BETA = "context-management-2025-06-27"
# What clears old turns out of the prompt. Compaction's tokens are not in the counts that limits are made from.
_EDITS = ("clear_tool_uses_20250919", "clear_thinking_20251015")


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
    display: str = "summarized"  # thinking is shown to whoever asks for an effort

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


def read(body: Any, model: str | None = None, receipt: Receipt | None = None) -> Reading:
    """The request in the house language. `model` is the one in the URL, if any. Raises ApiError (400)."""
    receipt = Receipt() if receipt is None else receipt
    body = shapes.as_chat(reading.present(body), receipt)
    reading.judge(body, PARAMS, receipt)
    request: dict[str, Any] = {"model": reading.model(body, model)}
    names = Names()
    allowance = schema.Allowance()  # the form of the answer comes first: without it the answer is another
    wanted = tools.read_form(body.get("response_format"), "response_format", receipt, allowance)
    offered = tools.read(body, names, receipt, allowance)
    if "messages" not in body:
        raise checks.missing("messages")
    reading.say(history.read(body["messages"], names, receipt), request, wanted)
    reading.limit(body, request, "max_completion_tokens", "max_tokens")
    reading.stops(body, request, receipt)
    reading.sampling(body, request)
    reading.offer(offered, request)
    reading.effort(body, request, "reasoning_effort")
    reading.extensions(body, request, receipt)
    if "context_management" in body:
        request["context_management"] = _context_management(body["context_management"])
    reading.form(wanted, request)
    stream = checks.a_boolean(body.get("stream", False), "stream")
    return Reading(
        request,
        stream,
        include_usage(body, stream, receipt),
        reading.end_user(body),
        AnswerShape(names, offered.custom, offered.legacy),
        choices(body),
        bool(wanted.instruction),
        receipt,
    )


def include_usage(body: dict[str, Any], stream: bool, receipt: Receipt) -> bool:
    options = checks.an_object(body.get("stream_options", {}), "stream_options")
    if options and not stream:
        receipt.add("stream_options", "ignored")
    wanted = options.get("include_usage")
    return wanted is not None and checks.a_boolean(wanted, "stream_options.include_usage")


def choices(body: dict[str, Any]) -> int:
    """`n` answers, by as many calls. Raises ApiError (400)."""
    count = checks.an_integer(body.get("n", 1), "n", 1)
    if count > MOST_CHOICES:
        text = f"Invalid 'n': integer above maximum value. Expected a value <= {MOST_CHOICES}, but got {count} instead."
        raise ApiError("above_max", text, "n")
    return count


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
