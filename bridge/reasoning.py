"""Thinking and effort, as a request asks for them → as its model takes them. What changes goes on the receipt."""

from __future__ import annotations

from typing import Any

from bridge.catalog import Model
from bridge.receipt import Receipt

Request = dict[str, Any]

_ORDER = ("low", "medium", "high", "xhigh", "max")
# Tokens to think with on models that want a number, by effort; and the effort that a number amounts to.
_BUDGETS = {"low": 4096, "medium": 10_240, "high": 24_576, "xhigh": 32_768, "max": 49_152}
_LEAST_BUDGET = 1024


def think(request: Request, model: Model, receipt: Receipt, display: str = "summarized") -> None:
    """Changes `thinking`, `output_config.effort` and what cannot stand beside them, in place. `display`: how the
    thinking that an effort asks for is shown."""
    effort = request.get("output_config", {}).pop("effort", None)
    given = request.pop("thinking", None)
    if given is not None:
        thinking, effort = _explicit(given, effort, model, receipt)
    else:
        thinking, effort = _by_effort(effort, model, receipt, display)
    if thinking and thinking.get("type") == "enabled":
        thinking = _within_limits(thinking, request, receipt)
    if thinking:
        request["thinking"] = thinking
    if effort:
        request.setdefault("output_config", {})["effort"] = effort
    if not request.get("output_config", True):
        del request["output_config"]


def thinks(request: Request, model: Model) -> bool:
    """Whether the model will think about this request, as its client asks for it (before `think`)."""
    given, effort = request.get("thinking"), request.get("output_config", {}).get("effort")
    if (given is not None and given.get("type") == "disabled") or (given is None and effort == "none"):
        return bool(model.thinking) and "disabled" not in model.thinking
    return bool(model.thinking) and (given is not None or effort is not None or model.thinks)


def _by_effort(effort: str | None, model: Model, receipt: Receipt, display: str) -> tuple[Request | None, str | None]:
    if effort is None:
        return None, None
    if effort == "none":
        return _off(model, receipt)
    level = _level("low" if effort == "minimal" else effort, model, receipt)
    if "adaptive" in model.thinking:
        return {"type": "adaptive", "display": display}, level
    wanted = "low" if effort == "minimal" else effort
    return {"type": "enabled", "budget_tokens": _BUDGETS[wanted]}, level


def _level(effort: str, model: Model, receipt: Receipt) -> str | None:
    """The highest level the model has that is not above the one asked for."""
    if not model.effort:
        return None
    possible = [level for level in _ORDER[: _ORDER.index(effort) + 1] if level in model.effort]
    level = possible[-1] if possible else model.effort[0]
    if level != effort:
        receipt.add("reasoning_effort", f"clamped({level})")
    return level


def _off(model: Model, receipt: Receipt) -> tuple[Request | None, str | None]:
    """No thinking, or as little as the model allows."""
    for kind in ("disabled", "between_tools"):
        if kind in model.thinking:
            if kind != "disabled":
                receipt.add("reasoning_effort", kind)
            return {"type": kind}, None
    receipt.add("reasoning_effort", "low(always thinks)")
    return None, _level("low", model, receipt)


def _explicit(given: Request, effort: str | None, model: Model, receipt: Receipt) -> tuple[Request | None, str | None]:
    """A client's own `thinking`: as it is where the model takes it, else the nearest that it takes."""
    kind = given.get("type")
    level = _level(effort, model, receipt) if effort in _ORDER else None
    if kind in model.thinking:
        if kind in ("disabled", "between_tools") and level in ("xhigh", "max"):  # these need thinking: a 400
            level = "high"
            receipt.add("reasoning_effort", "clamped(high)")
        if kind == "enabled" and not isinstance(given.get("budget_tokens"), int):
            given = {**given, "budget_tokens": _BUDGETS[effort if effort in _BUDGETS else "high"]}
        return given, level
    if kind == "disabled":
        return _off(model, receipt)
    receipt.add("thinking", "adapted")
    if "adaptive" in model.thinking:
        return {"type": "adaptive", "display": "summarized"}, level or _level(_amount(given), model, receipt)
    return {"type": "enabled", "budget_tokens": _BUDGETS[effort if effort in _BUDGETS else "medium"]}, level


def _amount(given: Request) -> str:
    budget = given.get("budget_tokens")
    if not isinstance(budget, int):
        return "high"
    return next(
        (effort for effort, most in (("low", 4096), ("medium", 16_384), ("high", 32_768)) if budget < most), "xhigh"
    )


def _within_limits(thinking: Request, request: Request, receipt: Receipt) -> Request | None:
    """A budget lies below max_tokens, which includes it; and a turn that called tools must begin with its thinking."""
    most = request["max_tokens"] - 1
    if most < _LEAST_BUDGET or lacks_thinking(request["messages"]) or _forced(request):
        receipt.add("thinking", "dropped")
        return None
    budget = max(_LEAST_BUDGET, min(thinking["budget_tokens"], most))
    return {**thinking, "budget_tokens": budget}


def _forced(request: Request) -> bool:
    return request.get("tool_choice", {}).get("type") in ("any", "tool")


def lacks_thinking(turns: list[Request]) -> bool:
    """Whether the tool loop that is under way began without the thinking that led to its call."""
    last = next((turn for turn in reversed(turns) if turn["role"] == "assistant"), None)
    if last is None or not any(block["type"] == "tool_use" for block in last["content"]):
        return False
    return last["content"][0]["type"] not in ("thinking", "redacted_thinking")
