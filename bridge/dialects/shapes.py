"""Other APIs' request shapes on the chat URL, made chat's: some tools choose the shape by the model, not by the URL.

A body with `input` and without `messages` is the Responses API's (Cursor, for newer OpenAI names); one with a top-level
`system` or `stop_sequences` is Anthropic's (Cursor, for Claude's names). Parts, tools and tool calls of either shape
are understood where they stand (content.py, tools.py, history.py).
"""

from __future__ import annotations

from typing import Any

from bridge.dialects import checks
from bridge.receipt import Receipt

Body = dict[str, Any]

# The Responses API's parameters that are chat's under another name.
_RENAMED = {"max_output_tokens": "max_completion_tokens", "stop_sequences": "stop"}


def as_chat(body: Body, receipt: Receipt) -> Body:
    """The body in chat's shape; as it is, if it is. Raises ApiError (400)."""
    if "messages" not in body and "input" in body:
        receipt.add("input", "translated")
        body = _from_responses(body, receipt)
    if "system" in body:
        system = {"role": "system", "content": body["system"]}
        body = {**_without(body, "system"), "messages": [system, *_list(body.get("messages"), "messages")]}
    if "output_config" in body:
        given = checks.an_object(body["output_config"], "output_config")
        found = {"reasoning_effort": given.get("effort"), "response_format": given.get("format")}
        body = {
            **{name: value for name, value in found.items() if value is not None},
            **_without(body, "output_config"),
        }
        for name in sorted(given.keys() - {"effort", "format"}):
            receipt.add(f"output_config.{name}", "ignored")
    return {_RENAMED.get(name, name): value for name, value in body.items()}


def _from_responses(body: Body, receipt: Receipt) -> Body:
    given = body["input"]
    items = [{"role": "user", "content": given}] if isinstance(given, str) else _list(given, "input")
    messages: list[Any] = []
    if body.get("instructions"):
        messages.append({"role": "system", "content": body["instructions"]})
    for index, item in enumerate(items):
        message = _message(checks.an_object(item, f"input[{index}]"), receipt)
        if message is not None:
            messages.append(message)
    chat = _without(body, "input", "instructions", "text", "include", "previous_response_id", "truncation")
    text = body.get("text")
    if isinstance(text, dict) and isinstance(text.get("format"), dict):
        chat["response_format"] = text["format"]
    return {**chat, "messages": messages}


def _message(item: Body, receipt: Receipt) -> Body | None:
    """An item of `input` as a message; None for what is only of use to OpenAI."""
    match item.get("type", "message"):
        case "message":
            return {"role": item.get("role", "user"), "content": item.get("content")}
        case "function_call" | "custom_tool_call" as kind:
            custom = kind == "custom_tool_call"
            field = "input" if custom else "arguments"
            called = {"name": item.get("name"), field: item.get(field)}
            name = "custom" if custom else "function"
            return {"role": "assistant", "tool_calls": [{"id": item.get("call_id"), "type": name, name: called}]}
        case "function_call_output" | "custom_tool_call_output":
            return {"role": "tool", "tool_call_id": item.get("call_id"), "content": item.get("output")}
        case other:
            receipt.add(f"input.{other}", "ignored")
            return None


def _list(value: Any, path: str) -> list[Any]:
    if not isinstance(value, list):
        expected = "a string or an array of objects" if path == "input" else "an array of objects"
        raise checks.wrong_type(path, expected, value)
    return value


def _without(body: Body, *names: str) -> Body:
    return {name: value for name, value in body.items() if name not in names}
