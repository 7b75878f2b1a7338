"""Makes a Messages request one that its model accepts, and writes each change on the receipt."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from bridge.catalog import Model
from bridge.dialects import schema
from bridge.emulate import ForcedTool, Rewriter
from bridge.errors import ApiError
from bridge.reasoning import think
from bridge.receipt import Receipt

Request = dict[str, Any]
Restore = Callable[[Request, Receipt], None]

# The turn that is added where a model does not continue an assistant's turn (an agent that ended so by accident).
CONTINUE = "Continue."
MOST_BREAKPOINTS = 4
# What sampling may still be while the model thinks.
_WITH_THINKING = {"temperature": (1, 1), "top_p": (0.95, 1), "top_k": (1, 0)}


def restore_nothing(request: Request, receipt: Receipt) -> None:
    """What most requests need."""


def adapt(
    request: Request, model: Model, receipt: Receipt, display: str = "summarized", restore: Restore = restore_nothing
) -> list[Rewriter]:
    """Changes the request in place; returns what the answer has to go through to be what was asked for. `display`: how
    thinking is shown, where the client asks for no more than an effort. `restore`: puts back, in place, the thinking
    that the turns lack, now that they are as they will be sent."""
    _limit_output(request, model, receipt)
    rewriters = _force_tool(request, model, receipt)
    _place_system_turns(request, model, receipt)
    restore(request, receipt)
    think(request, model, receipt, display)
    _drop_sampling(request, model, receipt)
    _end_with_user(request, model, receipt)
    if any("cache_control" in block for block in _cacheable(request)):
        _limit_breakpoints(request, receipt)
        _order_breakpoints(request, receipt)
    return rewriters


def refuse_losses(receipt: Receipt) -> None:
    """For keys that want a refusal rather than a note. Raises ApiError (400)."""
    lost = receipt.lost()
    if lost:
        text = f"Unsupported parameter: '{lost[0]}' would be ignored or dropped for this model, and this key is strict."
        raise ApiError("unsupported_parameter", text, lost[0])


def _force_tool(request: Request, model: Model, receipt: Receipt) -> list[Rewriter]:
    """A forced call, on models that refuse to be forced: the answer's form is made that of the call's arguments."""
    choice = request.get("tool_choice", {})
    if model.forced_tool_choice or choice.get("type") not in ("any", "tool"):
        return []
    wanted = [tool for tool in request["tools"] if choice["type"] == "any" or tool["name"] == choice["name"]]
    tools = [tool for tool in wanted if isinstance(tool.get("input_schema"), dict)]
    try:
        form = _form_of_call(tools)
    except schema.NotPossible:
        receipt.add("tool_choice", "prompted")
        names = " or ".join(tool["name"] for tool in tools or wanted)
        note = f"Answer with a call of the tool {names} and nothing else."
        request["system"] = [*request.get("system", []), {"type": "text", "text": note}]
        request["tool_choice"] = {**choice, "type": "auto"}
        request["tool_choice"].pop("name", None)
        return []
    receipt.add("tool_choice", "emulated")
    request["tool_choice"] = {"type": "none"}
    # (strict tools that cannot be called would only use up what a request's schemas may hold together)
    request["tools"] = [{name: value for name, value in tool.items() if name != "strict"} for tool in request["tools"]]
    request.setdefault("output_config", {})["format"] = {"type": "json_schema", "schema": form}
    return [ForcedTool(tools[0]["name"] if len(tools) == 1 else None)]


def _form_of_call(tools: list[Request]) -> Request:
    """The schema of one tool's arguments, or of a choice among several tools."""
    if not tools:
        raise schema.NotPossible("no tool with a schema")
    if len(tools) == 1:
        return schema.closed(tools[0]["input_schema"])
    allowance = schema.Allowance()
    allowance.take(optional=0, unions=1)  # the choice itself
    # A reference names its place from the root: each tool's definitions move there, under names of their own.
    closed = [schema.closed(tool["input_schema"], allowance, f"t{index}_") for index, tool in enumerate(tools)]
    definitions = {name: form for one in closed for name, form in one.pop("$defs", {}).items()}
    options = [
        {
            "type": "object",
            "properties": {"tool": {"const": tool["name"]}, "arguments": form},
            "required": ["tool", "arguments"],
            "additionalProperties": False,
        }
        for tool, form in zip(tools, closed, strict=True)
    ]
    return {"anyOf": options, **({"$defs": definitions} if definitions else {})}


def _limit_output(request: Request, model: Model, receipt: Receipt) -> None:
    """Without a limit: the model's own maximum, for a smaller guess would cut thinking models short."""
    wanted = request.get("max_tokens")
    if wanted is not None and wanted > model.max_output_tokens:
        receipt.add("max_tokens", f"clamped({model.max_output_tokens})")
    request["max_tokens"] = min(wanted or model.max_output_tokens, model.max_output_tokens)


def _drop_sampling(request: Request, model: Model, receipt: Receipt) -> None:
    """Sampling is rejected by every model from 4.7 on; older ones take temperature or top_p, not both."""
    if model.sampling == "none":
        for name, default in (("temperature", 1), ("top_p", 1), ("top_k", None)):
            if request.pop(name, default) != default:
                receipt.add(name, "dropped")
        return
    if request.get("thinking", {}).get("type") not in (None, "disabled"):
        for name, (low, high) in _WITH_THINKING.items():
            if name in request and not low <= request[name] <= high:
                del request[name]
                receipt.add(name, "dropped(thinking)")
    if request.get("temperature", 0) > 1:
        request["temperature"] = 1
        receipt.add("temperature", "clamped(1)")
    if "temperature" in request and "top_p" in request:
        del request["top_p"]
        receipt.add("top_p", "dropped")


def _place_system_turns(request: Request, model: Model, receipt: Receipt) -> None:
    """System turns in the middle: native where the model reads them and they stand where the API wants them, otherwise
    a marked note in the user's turn at the same place. Never hoisted: that would change their meaning and the cache."""
    turns: list[dict[str, Any]] = request["messages"]
    if "system" not in [turn["role"] for turn in turns]:
        return
    placed: list[dict[str, Any]] = []
    for position, turn in enumerate(turns):
        following = turns[position + 1]["role"] if position + 1 < len(turns) else "assistant"
        legal = bool(placed) and placed[-1]["role"] == "user" and following == "assistant"
        # (the last turn, after the user's, counts as followed by the assistant's answer)
        if turn["role"] != "system":
            _append(placed, turn)
        elif model.mid_conversation_system and legal:
            placed.append(turn)
        else:
            receipt.add("messages.system", "inlined")
            note = "\n\n".join(block["text"] for block in turn["content"] if block["type"] == "text")
            text = f"<system-message>\n{note}\n</system-message>"
            _append(placed, {"role": "user", "content": [{"type": "text", "text": text}]})
    request["messages"] = placed


def _append(turns: list[dict[str, Any]], turn: dict[str, Any]) -> None:
    """Joins turns of one role, as the API would: then the cached prefix does not depend on how they were cut."""
    if turns and turns[-1]["role"] == turn["role"]:
        turns[-1] = {**turns[-1], "content": [*turns[-1]["content"], *turn["content"]]}
    else:
        turns.append(turn)


def _end_with_user(request: Request, model: Model, receipt: Receipt) -> None:
    last = request["messages"][-1]
    if last["role"] != "assistant":
        return
    # (not with a form or a budget to think with either: source as for the model's own refusal, and structured-outputs)
    free = "format" not in request.get("output_config", {}) and request.get("thinking", {}).get("type") != "enabled"
    if not (model.prefill and free and last["content"][-1]["type"] == "text"):
        request["messages"].append({"role": "user", "content": [{"type": "text", "text": CONTINUE}]})
        receipt.add("messages.prefill", "emulated")
        return
    block = last["content"][-1]
    last["content"][-1] = {**block, "text": block["text"].rstrip()}  # a prefill must not end in white space


def _limit_breakpoints(request: Request, receipt: Receipt) -> None:
    """At most four cache breakpoints: the last ones, which save the most."""
    places = list(_cacheable(request))
    if places and "cache_control" in places[-1]:
        request.pop("cache_control", None)  # the automatic one would stand there too: a 400 if they live differently
    marked = [block for block in [*places, request] if "cache_control" in block]
    for block in marked[:-MOST_BREAKPOINTS]:
        del block["cache_control"]
        receipt.add("cache_control", f"limited({MOST_BREAKPOINTS})")


def _order_breakpoints(request: Request, receipt: Receipt) -> None:
    """The API wants what lives for an hour before what lives for five minutes. A later hour becomes five minutes, not
    the other way round: a gateway spends no more than it was asked to (an hour's write costs 2, five minutes' 1.25)."""
    short = False
    for block in [*_cacheable(request), request]:
        mark = block.get("cache_control")
        if mark and short and mark.get("ttl") == "1h":
            block["cache_control"] = {name: value for name, value in mark.items() if name != "ttl"}
            receipt.add("cache_control", "shortened(5m)")
        short = short or bool(mark and mark.get("ttl") != "1h")


def _cacheable(request: Request) -> Iterator[Request]:
    """Everything that may carry a breakpoint, in the order of the prefix."""
    yield from request.get("tools", [])
    yield from request.get("system", [])
    for turn in request["messages"]:
        for block in turn["content"]:
            if block["type"] == "tool_result" and isinstance(block.get("content"), list):
                yield from block["content"]
            yield block
