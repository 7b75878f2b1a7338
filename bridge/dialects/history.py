"""Chat messages → turns: roles, tool calls and their results, and the repairs that real histories need.

The target's rules: turns of user and assistant; every tool_use is answered by a tool_result in the very next user
turn, results first, in one turn; ids and names of a narrow alphabet; no empty text. Each repair is named on the
receipt, and each is a function of the history alone, so that the cached prefix stays the same from turn to turn.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bridge.dialects import checks, content
from bridge.dialects.content import Block
from bridge.dialects.names import Names, call_id
from bridge.errors import ApiError
from bridge.receipt import Receipt
from bridge.wire import strict

Turn = dict[str, Any]

ROLES = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
    "tool": "tool",
    "function": "tool",
}
NO_RESULT = "No result was provided for this call."
_KEYS = frozenset({
    "role", "content", "refusal", "tool_calls", "function_call", "audio", "tool_call_id", "cache_control",
    "prompt_cache_breakpoint", "thinking_blocks", "annotations",
})  # fmt: skip


@dataclass(slots=True)
class Message:
    """One message, read: what it says and calls, in order; a tool's also which call it answers."""

    role: str
    blocks: list[Block]
    answers: str = ""
    mark: dict[str, Any] | None = None  # a tool's cache breakpoint, which goes on its result


def read(messages: Any, names: Names, receipt: Receipt) -> tuple[list[Block], list[Turn]]:
    """The system prompt and the turns of a chat. Raises ApiError (400)."""
    if not isinstance(messages, list):
        raise checks.wrong_type("messages", "an array of objects", messages)
    if not messages:
        text = "Invalid 'messages': empty array. Expected an array with minimum length 1."
        raise ApiError("empty_array", text, "messages")
    reader = _Reader(names, receipt)
    read_messages = [reader.message(message, f"messages[{index}]") for index, message in enumerate(messages)]
    return conversation(read_messages, "messages", receipt)


def conversation(messages: list[Message], path: str, receipt: Receipt) -> tuple[list[Block], list[Turn]]:
    """The system prompt and the turns that these messages make. Raises ApiError (400) if nothing is said in them."""
    turns = _Turns(receipt).build(messages)
    system: list[Block] = []
    while turns and turns[0]["role"] == "system":
        system += turns.pop(0)["content"]
    if not turns and system:
        turns, system = [{"role": "user", "content": system}], []
        receipt.add("messages.system", "as_user")
    if not turns:
        raise ApiError("invalid_value", f"Invalid '{path}': there is no content in any message.", path)
    return system, turns


class _Reader:
    """Reads messages one by one. Calls without an id (the API of 2023) get one by their place."""

    def __init__(self, names: Names, receipt: Receipt) -> None:
        self._names, self._receipt = names, receipt
        self._unnamed: list[str] = []  # ids made up for function_calls that wait for their result
        self._last = ""  # the role of the message before

    def message(self, message: Any, path: str) -> Message:
        message = checks.an_object(message, path)
        if "role" not in message:
            raise checks.missing(f"{path}.role")
        given = checks.a_string(message["role"], f"{path}.role")
        if given not in ROLES:
            options = ", ".join(f"'{name}'" for name in ROLES)
            raise ApiError(
                "invalid_value", f"Invalid value: '{given[:40]}'. Supported values are: {options}.", f"{path}.role"
            )
        if message.get("audio"):
            raise ApiError(
                "unsupported_value", "Unsupported value: Claude does not hear earlier audio.", f"{path}.audio"
            )
        role = ROLES[given]
        if not message.keys() <= _KEYS:
            self._ignore_others(message, role)
        if role == "assistant" != self._last:  # what is unanswered by now stays so
            self._unnamed.clear()
        self._last = role
        if role == "assistant":
            return self._assistant(message, path)
        return self._result(message, path) if role == "tool" else self._plain(message, path)

    def _ignore_others(self, message: dict[str, Any], role: str) -> None:
        for name, value in message.items():
            if name not in _KEYS and value not in (None, [], "", {}) and not (role == "tool" and name == "name"):
                self._receipt.add(f"messages.{name}", "ignored")

    def _plain(self, message: dict[str, Any], path: str) -> Message:
        if message.get("content") is None:
            raise checks.missing(f"{path}.content")
        role = ROLES[message["role"]]
        blocks = _mark_last(content.read(message["content"], f"{path}.content", role, self._receipt), message)
        for block in blocks:
            if block["type"] == "tool_result":
                block["tool_use_id"] = call_id(block["tool_use_id"])
        return Message(role, blocks)

    def _assistant(self, message: dict[str, Any], path: str) -> Message:
        said = message.get("content")
        if said in (None, "", []):
            said = message.get("refusal") or ""
        blocks = self._thinking(message, path) + content.read(said, f"{path}.content", "assistant", self._receipt)
        for block in blocks:
            if block["type"] == "tool_use":
                given = arguments(block["input"], self._receipt)
                block.update(id=call_id(block["id"]), name=self._names.legal(block["name"]), input=given)
        calls = self._tool_calls(message, path) + self._function_call(message, path)
        return Message("assistant", _mark_last(blocks + calls, message))

    def _thinking(self, message: dict[str, Any], path: str) -> list[Block]:
        """Signed thinking, as `thinking_blocks` of an earlier answer; it goes back first and unchanged."""
        given = message.get("thinking_blocks")
        if not isinstance(given, list):
            return []
        return [block for one in given if (block := content.signed(one))]

    def _tool_calls(self, message: dict[str, Any], path: str) -> list[Block]:
        given = message.get("tool_calls") or []
        if not isinstance(given, list):
            raise checks.wrong_type(f"{path}.tool_calls", "an array of objects", given)
        return [self._call(call, f"{path}.tool_calls[{index}]") for index, call in enumerate(given)]

    def _call(self, call: Any, path: str) -> Block:
        call = checks.an_object(call, path)
        kind = "custom" if call.get("type") == "custom" else "function"
        called = checks.an_object(call.get(kind), f"{path}.{kind}")
        for owner, name, where in ((call, "id", path), (called, "name", f"{path}.{kind}")):
            if not isinstance(owner.get(name), str) or not owner[name]:
                raise checks.missing(f"{where}.{name}")
        if kind == "custom":
            given = {"input": called.get("input") or ""}
        else:
            given = arguments(called.get("arguments"), self._receipt)
        return called_block(call["id"], called["name"], given, self._names)

    def _function_call(self, message: dict[str, Any], path: str) -> list[Block]:
        call = message.get("function_call")
        if not call:
            return []
        call = checks.an_object(call, f"{path}.function_call")
        if not isinstance(call.get("name"), str) or not call["name"]:
            raise checks.missing(f"{path}.function_call.name")
        made_up = call_id(f"call_{path.removeprefix('messages[').removesuffix(']')}")
        self._unnamed.append(made_up)
        return [called_block(made_up, call["name"], arguments(call.get("arguments"), self._receipt), self._names)]

    def _result(self, message: dict[str, Any], path: str) -> Message:
        if message["role"] == "function":
            answered = self._unnamed.pop(0) if self._unnamed else ""
        else:
            if message.get("tool_call_id") is None:
                raise checks.missing(f"{path}.tool_call_id")
            answered = call_id(checks.a_string(message["tool_call_id"], f"{path}.tool_call_id"))
        said = message.get("content")
        blocks = content.read("" if said is None else said, f"{path}.content", "tool", self._receipt)
        return Message("tool", blocks, answers=answered, mark=content.cache_control(message))


def called_block(identifier: str, name: str, given: dict[str, Any], names: Names) -> Block:
    return {"type": "tool_use", "id": call_id(identifier), "name": names.legal(name), "input": given}


def arguments(given: Any, receipt: Receipt) -> dict[str, Any]:
    """A call's arguments as an object. Broken JSON (an answer cut by its length) is kept as text."""
    if isinstance(given, dict):
        return given
    if given is None or (isinstance(given, str) and not given.strip()):
        return {}
    try:
        value = strict.loads(given.encode()) if isinstance(given, str) else given
    except ValueError:
        value = given
    if isinstance(value, dict):
        return value
    receipt.add("tool_calls.arguments", "repaired")
    return {"arguments": value}


def _mark_last(blocks: list[Block], message: dict[str, Any]) -> list[Block]:
    """A cache breakpoint on a message is one on its last block."""
    mark = content.cache_control(message)
    if mark and blocks and blocks[-1]["type"] not in ("thinking", "redacted_thinking"):
        blocks[-1] = {**blocks[-1], "cache_control": mark}
    return blocks


class _Turns:
    """Puts messages in the order and the turns that the API wants."""

    def __init__(self, receipt: Receipt) -> None:
        self._receipt = receipt
        self._turns: list[Turn] = []

    def build(self, messages: list[Message]) -> list[Turn]:
        waiting = _joined(messages)
        while waiting:
            message = waiting.pop(0)
            if message.role == "tool":
                self._orphan(message)
            elif message.role == "assistant" and _calls(message):
                self._call(message, waiting)
            elif message.blocks:
                self._add(message.role, self._without_orphans(message.blocks))
            else:
                self._receipt.add("messages.empty", "dropped")
        return self._turns

    def _call(self, message: Message, waiting: list[Message]) -> None:
        """A turn that calls tools, and right after it all their results, wherever they stood."""
        used: set[str] = set()
        results = []
        for call in _calls(message):
            result = self._take_result(call["id"], waiting)
            call["id"] = _unique(call["id"], used)
            results.append({**result, "tool_use_id": call["id"]})
        self._add("assistant", message.blocks)
        self._add("user", results)

    def _take_result(self, answered: str, waiting: list[Message]) -> Block:
        """The result of a call, out of the messages up to the next one of the assistant."""
        for message in waiting:
            if message.role == "assistant":
                break
            if message.role == "tool" and message.answers == answered:
                waiting.remove(message)
                return _result_block(message)
            for block in message.blocks:
                if block["type"] == "tool_result" and block["tool_use_id"] == answered:
                    message.blocks.remove(block)
                    if not message.blocks:
                        waiting.remove(message)
                    return block
        self._receipt.add("messages.tool", "result_added")
        return {"type": "tool_result", "content": NO_RESULT, "is_error": True}

    def _orphan(self, message: Message) -> None:
        """The result of a call that is not in the history any more: said as text."""
        self._receipt.add("messages.tool", "as_text")
        self._add("user", [content.text_block(f"Result of the tool call {message.answers}:"), *message.blocks])

    def _without_orphans(self, blocks: list[Block]) -> list[Block]:
        kept = []
        for block in blocks:
            if block["type"] == "tool_result":
                self._receipt.add("messages.tool", "as_text")
                kept.append(content.text_block(f"Result of the tool call {block['tool_use_id']}:"))
                kept += block.get("content", [])
            else:
                kept.append(block)
        return kept

    def _add(self, role: str, blocks: list[Block]) -> None:
        """Joins turns of one role: then the prefix does not depend on how they were cut."""
        if self._turns and self._turns[-1]["role"] == role:
            self._turns[-1]["content"] = self._turns[-1]["content"] + blocks
        else:
            self._turns.append({"role": role, "content": blocks})


def _joined(messages: list[Message]) -> list[Message]:
    """Messages of the assistant that follow each other are one turn: the results come after all of them."""
    joined: list[Message] = []
    for message in messages:
        if joined and message.role == joined[-1].role == "assistant":
            joined[-1].blocks += message.blocks
        else:
            joined.append(message)
    return joined


def _calls(message: Message) -> list[Block]:
    return [block for block in message.blocks if block["type"] == "tool_use"]


def _unique(identifier: str, used: set[str]) -> str:
    """Two calls of a turn with one id, from agents that number them badly."""
    unique, number = identifier, 2
    while unique in used:
        unique, number = f"{identifier[:60]}_{number}", number + 1
    used.add(unique)
    return unique


def _result_block(message: Message) -> Block:
    """An empty result has no content at all."""
    told = {"content": message.blocks} if message.blocks else {}
    return {"type": "tool_result", **told, **({"cache_control": message.mark} if message.mark else {})}
