"""Items of a Responses request's `input` → messages of a conversation, in the order in which they were said.

What only OpenAI could have made or could read (its hosted tools' items, another's sealed thinking) is left out, on the
receipt, and never a 400: a conversation may move here from there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from bridge.dialects import checks, content, sealing
from bridge.dialects.history import Message, arguments, called_block
from bridge.dialects.names import Names, call_id
from bridge.dialects.responses_tools import Places
from bridge.dialects.sealing import Seal
from bridge.errors import ApiError
from bridge.receipt import Receipt

Item = dict[str, Any]

ROLES = {"user": "user", "assistant": "assistant", "system": "system", "developer": "system"}
THOUGHTS = ("thinking", "redacted_thinking")
_CALLS = ("function_call", "custom_tool_call")
_OUTPUTS = ("function_call_output", "custom_tool_call_output")
SUMMARY = "The conversation before this was made shorter. Its summary:"
# Our own items that say nothing the model needs again.
_TOLD = ("web_search_call",)


class Items:
    """Reads the items. `said`: all of them; `tools`: those that were defined on the way, each with its place."""

    def __init__(self, names: Names, places: Places, seal: Seal, receipt: Receipt) -> None:
        self._names, self._places, self._seal, self._receipt = names, places, seal, receipt
        self.said: list[Item] = []
        self._earlier = 0  # of them came with earlier requests
        self.tools: list[tuple[Any, str]] = []

    def read(self, given: Any, before: list[Item]) -> list[Message]:
        """The conversation: what was `before` this request's own input, and that. Raises ApiError (400)."""
        new = _listed(given)
        if before:
            _refuse_unasked(new, before)
        self.said, self._earlier = [*before, *new], len(before)
        placed = enumerate(self.said, -len(before))  # the client numbers its own
        messages = [message for place, item in placed if (message := self._item(item, place))]
        kept = _without_last_thoughts(messages)
        if len(kept) < len(messages):
            self._receipt.add("input.reasoning", "dropped")
        return kept

    def _item(self, item: Item, place: int) -> Message | None:
        path = f"input[{place}]"
        kind = item.get("type") or ("item_reference" if "role" not in item and "id" in item else "message")
        kind = checks.a_string(kind, f"{path}.type")
        if kind == "item_reference":
            self._refer(item, place)
            return None
        reader = self._readers.get(kind)
        if reader is None:
            self._receipt.add(f"input.{kind}", "left_out" if kind in _TOLD else "dropped")
            return None
        return reader(self, item, path)

    def _message(self, item: Item, path: str) -> Message:
        if "role" not in item:
            raise checks.missing(f"{path}.role")
        role = checks.a_string(item["role"], f"{path}.role")
        if role not in ROLES:
            options = ", ".join(f"'{name}'" for name in ROLES)
            text = f"Invalid value: '{role[:40]}'. Supported values are: {options}."
            raise ApiError("invalid_value", text, f"{path}.role")
        if item.get("content") is None:
            raise checks.missing(f"{path}.content")
        return Message(ROLES[role], content.read(item["content"], f"{path}.content", ROLES[role], self._receipt))

    def _call(self, item: Item, path: str) -> Message:
        for name in ("call_id", "name"):
            if not isinstance(item.get(name), str) or not item[name]:
                raise checks.missing(f"{path}.{name}")
        if item["type"] == "custom_tool_call":
            given = {"input": item.get("input") or ""}
        else:
            given = arguments(item.get("arguments"), self._receipt)
        name = self._places.flat(item.get("namespace"), item["name"])
        return Message("assistant", [called_block(item["call_id"], name, given, self._names)])

    def _output(self, item: Item, path: str) -> Message:
        if item.get("call_id") is None:
            raise checks.missing(f"{path}.call_id")
        answered = call_id(checks.a_string(item["call_id"], f"{path}.call_id"))
        said = item.get("output")
        blocks = content.read("" if said is None else said, f"{path}.output", "tool", self._receipt)
        return Message("tool", blocks, answers=answered)

    def _reasoning(self, item: Item, path: str) -> Message | None:
        """Thinking of ours goes back as it was; a summary alone is no thinking."""
        blocks = sealing.unpack(item.get("encrypted_content"), self._seal)
        if blocks:
            return Message("assistant", blocks)
        self._receipt.add("input.reasoning", "dropped")
        return None

    def _compaction(self, item: Item, path: str) -> Message | None:
        """A summary of ours stands for what it was made of."""
        summary = sealing.unpack_summary(item.get("encrypted_content"), self._seal)
        if summary is not None:
            return Message("user", [content.text_block(f"{SUMMARY}\n\n{summary}")])
        self._receipt.add("input.compaction", "dropped")
        return None

    def _more_tools(self, item: Item, path: str) -> None:
        given = item.get("tools") or []
        if not isinstance(given, list):
            raise checks.wrong_type(f"{path}.tools", "an array of objects", given)
        self.tools += [(tool, f"{path}.tools[{index}]") for index, tool in enumerate(given)]

    def _refer(self, item: Item, place: int) -> None:
        """What is referred to is not here. Thinking, or words before a call, can be done without; an answer cannot."""
        identifier = str(item.get("id") or "")
        following = self.said[self._earlier + place + 1 :]
        if not identifier.startswith(("rs_", "ws_")) and not _before_a_call(following):
            text = (
                f"Item '{identifier[:80]}' not found: this gateway stores no responses. Send the item itself instead "
                "of a reference to it, which clients do with 'store': false."
            )
            raise ApiError("unsupported_value", text, f"input[{place}].id")
        self._receipt.add("input.item_reference", "dropped")

    _readers: dict[str, Callable[[Items, Item, str], Message | None]] = {
        "message": _message,
        "function_call": _call,
        "custom_tool_call": _call,
        "function_call_output": _output,
        "custom_tool_call_output": _output,
        "reasoning": _reasoning,
        "compaction": _compaction,
        "additional_tools": _more_tools,
        "tool_search_output": _more_tools,
    }


def _listed(given: Any) -> list[Item]:
    if given is None:
        raise checks.missing("input")
    if isinstance(given, str):
        return [{"type": "message", "role": "user", "content": given}]
    if not isinstance(given, list):
        raise checks.wrong_type("input", "one of a string or an array of objects", given)
    return [checks.an_object(item, f"input[{index}]") for index, item in enumerate(given)]


def _refuse_unasked(new: list[Item], before: list[Item]) -> None:
    """A response that is gone on from has made its calls: an output of another is a mistake. (A history that a client
    brings itself may have been cut: there such an output is told as text.)"""
    asked = {item.get("call_id") for item in [*before, *new] if item.get("type") in _CALLS}
    for item in new:
        if item.get("type") in _OUTPUTS and item.get("call_id") not in asked:
            text = f"No tool call found for function call output with call_id {str(item.get('call_id'))[:80]}."
            raise ApiError("invalid_value", text, "input")


def _before_a_call(following: list[Item]) -> bool:
    """Whether the same turn goes on to call a tool."""
    kinds = [item.get("type") for item in following]
    return next((kind in _CALLS for kind in kinds if kind not in ("reasoning", "item_reference")), False)


def _without_last_thoughts(messages: list[Message]) -> list[Message]:
    """Thinking that nothing of the assistant's follows is left out: a turn must not end with it."""
    kept: list[Message] = []
    said = False  # whether the assistant's turn, read from its end, has said or called anything yet
    for message in reversed(messages):
        if message.role != "assistant":
            said = False
        elif any(block["type"] not in THOUGHTS for block in message.blocks):
            said = True
        elif message.blocks and not said:
            continue
        kept.append(message)
    return kept[::-1]
