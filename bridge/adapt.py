"""Makes a Messages request one that its model accepts, and writes each change on the receipt."""

from __future__ import annotations

from typing import Any

from bridge.catalog import Model
from bridge.receipt import Receipt

Request = dict[str, Any]

# The turn that is added where a model does not continue an assistant's turn (an agent that ended so by accident).
CONTINUE = "Continue."


def adapt(request: Request, model: Model, receipt: Receipt) -> None:
    """Changes the request in place: limits, sampling, system turns, the last turn."""
    _limit_output(request, model, receipt)
    _drop_sampling(request, model, receipt)
    _place_system_turns(request, model, receipt)
    _end_with_user(request, model, receipt)


def _limit_output(request: Request, model: Model, receipt: Receipt) -> None:
    """Without a limit: the model's own maximum, for a smaller guess would cut thinking models short."""
    wanted = request.get("max_tokens")
    if wanted is not None and wanted > model.max_output_tokens:
        receipt.add("max_tokens", f"clamped({model.max_output_tokens})")
    request["max_tokens"] = min(wanted or model.max_output_tokens, model.max_output_tokens)


def _drop_sampling(request: Request, model: Model, receipt: Receipt) -> None:
    """Sampling is rejected by every model from 4.7 on; older ones take temperature or top_p, not both."""
    if model.sampling == "none":
        for name in ("temperature", "top_p"):
            if request.pop(name, 1) != 1:
                receipt.add(name, "dropped")
        return
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
    placed: list[dict[str, Any]] = []
    for position, turn in enumerate(turns):
        following = turns[position + 1]["role"] if position + 1 < len(turns) else "assistant"
        legal = bool(placed) and placed[-1]["role"] == "user" and following == "assistant"
        if turn["role"] != "system":
            _append(placed, turn)
        elif model.mid_conversation_system and legal:
            placed.append(turn)
        else:
            receipt.add("messages.system", "inlined")
            note = "\n\n".join(block["text"] for block in turn["content"])
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
    if not model.prefill:
        request["messages"].append({"role": "user", "content": [{"type": "text", "text": CONTINUE}]})
        receipt.add("messages.prefill", "emulated")
        return
    # A prefill must not end in white space.
    block = last["content"][-1]
    block["text"] = block["text"].rstrip()
