"""What a request says alike in each of OpenAI's dialects: model, limits, sampling, effort, Anthropic's extensions.

Each dialect has its table of parameters (params.py); `judge` applies it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bridge.dialects import checks, content, tools
from bridge.dialects.params import Param, Verdict
from bridge.errors import ApiError
from bridge.receipt import Receipt

Body = dict[str, Any]

EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
# OpenAI's service tiers as Anthropic's; the others have no equivalent.
_TIERS = {"auto": "auto", "priority": "auto", "default": "standard_only"}


def present(body: Any) -> Body:
    """The parameters that are given: null means absent for every one of them. Raises ApiError (400)."""
    return {name: value for name, value in checks.an_object(body, "body").items() if value is not None}


def judge(body: Body, params: Mapping[str, Param], receipt: Receipt) -> None:
    """Applies the table: refuses what must not be lost, notes what is ignored. Unknown parameters are ignored."""
    for name, value in body.items():
        param = params.get(name)
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
            raise ApiError(param.kind, f"Unsupported parameter: '{name}' is {yet}. {param.note}", name)


def model(body: Body, from_url: str | None = None) -> str:
    name = body.get("model", from_url)
    if name is None:
        raise ApiError("missing", "you must provide a model parameter", "model")
    if not checks.a_string(name, "model").strip():
        raise ApiError("invalid_value", "Invalid value: 'model' must not be empty.", "model")
    return str(name)


def limit(body: Body, request: Body, *names: str) -> None:
    """`max_tokens`, by the first of these parameters that is there."""
    for name in names:
        if name in body:
            most = checks.an_integer(body[name], name, 1)
            request.setdefault("max_tokens", most)


def stops(body: Body, request: Body, receipt: Receipt) -> None:
    stop = body.get("stop", [])
    given = [stop] if isinstance(stop, str) else stop
    if not isinstance(given, list):
        raise checks.wrong_type("stop", "a string or an array of strings", stop)
    texts = [checks.a_string(text, f"stop[{index}]") for index, text in enumerate(given)]
    kept = [text for text in texts if text.strip()]
    if len(kept) < len(texts):
        receipt.add("stop", "dropped(whitespace)")
    if kept:
        request["stop_sequences"] = kept


def sampling(body: Body, request: Body) -> None:
    for name, high in (("temperature", 2), ("top_p", 1)):
        if name in body:
            request[name] = checks.a_number(body[name], name, 0, high)


def end_user(body: Body) -> str:
    """Some clients send an object here; whoever it is, the same one gives the same text."""
    value = body.get("safety_identifier", body.get("user", ""))
    return value if isinstance(value, str) else str(value)


def say(said: tuple[list[content.Block], list[Body]], request: Body, wanted: tools.AnswerForm) -> None:
    """The system prompt and the turns; and how to answer, where only an instruction asks for that."""
    system, request["messages"] = said
    if wanted.instruction:
        system = [*system, content.text_block(wanted.instruction)]
    if system:
        request["system"] = system


def offer(offered: tools.ToolSet, request: Body) -> None:
    if offered.tools:
        request["tools"] = offered.tools
    if offered.choice:
        request["tool_choice"] = offered.choice


def effort(body: Body, request: Body, param: str) -> None:
    """`reasoning_effort`, or the object that some gateways and clients have for it. `param`: its name in an error."""
    reasoning = checks.an_object(body.get("reasoning", {}), "reasoning")
    wanted = body.get("reasoning_effort", reasoning.get("effort"))
    if wanted is None and reasoning.get("enabled") is True:
        wanted = "medium"
    if reasoning.get("enabled") is False:
        wanted = "none"
    if wanted is not None:
        if wanted not in EFFORTS:
            options = ", ".join(f"'{name}'" for name in EFFORTS)
            text = f"Invalid value: '{str(wanted)[:40]}'. Supported values are: {options}."
            raise ApiError("invalid_value", text, param)
        request["output_config"] = {"effort": wanted}
    if isinstance(reasoning.get("max_tokens"), int) and not isinstance(reasoning["max_tokens"], bool):
        request["thinking"] = {"type": "enabled", "budget_tokens": reasoning["max_tokens"]}


def form(wanted: tools.AnswerForm, request: Body) -> None:
    """The form of the answer, where the API enforces it."""
    if wanted.format:
        request.setdefault("output_config", {})["format"] = wanted.format


def extensions(body: Body, request: Body, receipt: Receipt) -> None:
    """Anthropic's own parameters, for clients that know where they are talking to."""
    if "thinking" in body:
        request["thinking"] = dict(checks.an_object(body["thinking"], "thinking"))
    if "top_k" in body:
        request["top_k"] = checks.an_integer(body["top_k"], "top_k", 0)
    mark = content.cache_control(body)
    if mark:
        request["cache_control"] = mark
    tier = body.get("service_tier")
    if isinstance(tier, str) and tier in _TIERS:
        request["service_tier"] = _TIERS[tier]
    elif tier is not None:
        receipt.add("service_tier", "ignored")
