"""Responses → Messages: reading a request. Its answer, whole or streamed, is responses_answer.

Shapes: openai-python `types/responses/response_create_params.py`. Nothing is stored: a request brings its history, or
goes on from what the WebSocket that it came over has heard.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from bridge.dialects import checks, content, history, reading, responses_items, responses_tools, schema, tools
from bridge.dialects.names import Names
from bridge.dialects.responses_params import RESPONSES
from bridge.dialects.responses_tools import Places
from bridge.dialects.sealing import NO_SEAL, Seal
from bridge.errors import ApiError
from bridge.receipt import Receipt

Body = dict[str, Any]
Take = Callable[[str], list[Body] | None]

# What `include` may name and gets; anything else that it names is noted as ignored.
_INCLUDED = frozenset({"reasoning.encrypted_content", "web_search_call.action.sources"})


def nothing_kept(identifier: str) -> None:
    """No response can be gone on from by its id."""


@dataclass(slots=True)
class ResponseShape:
    """What the answer repeats of the request (`echo`), and how it tells calls, sources and thinking."""

    echo: Body = field(default_factory=dict)
    names: Names = field(default_factory=Names)
    places: Places = field(default_factory=Places)
    custom: frozenset[str] = frozenset()
    sources: bool = False
    seal: Seal = NO_SEAL


@dataclass(slots=True)
class Reading:
    """As chat's: `request` is a Messages request that still asks for what its model may refuse. `display`: whether the
    client wants to see the thinking. `said`: all items of the conversation."""

    request: Body
    stream: bool
    end_user: str
    form: ResponseShape
    plain_json: bool
    display: str
    receipt: Receipt
    said: list[Body]
    choices: int = 1
    betas: tuple[str, ...] = ()


def read(body: Any, seal: Seal = NO_SEAL, take: Take = nothing_kept) -> Reading:
    """The request in the house language. `take` gives the items up to an earlier response. Raises ApiError (400)."""
    receipt = Receipt()
    body = reading.present(body)
    before = _before(body, take)
    reading.judge(body, RESPONSES, receipt)
    request: Body = {"model": reading.model(body)}
    names, places = Names(), Places()
    items = responses_items.Items(names, places, seal, receipt)
    messages = items.read(body.get("input"), before)
    text = checks.an_object(body.get("text", {}), "text")
    allowance = schema.Allowance()
    wanted = tools.read_form(text.get("format"), "text.format", receipt, allowance)
    offered = responses_tools.Tools(names, places, receipt, allowance).read(body, items.tools)
    if body.get("instructions") is not None:
        told = content.read(body["instructions"], "instructions", "system", receipt)
        messages = [history.Message("system", told), *messages]
    reading.say(history.conversation(messages, "input", receipt), request, wanted)
    reading.limit(body, request, "max_output_tokens")
    reading.stops(body, request, receipt)
    reading.sampling(body, request)
    reading.offer(offered, request)
    reading.effort(body, request, "reasoning.effort")
    display = _display(body, request)
    reading.extensions(body, request, receipt)
    reading.form(wanted, request)
    included = _included(body, receipt)
    if text.get("verbosity") not in (None, "medium"):
        receipt.add("text.verbosity", "ignored")
    stream = checks.a_boolean(body.get("stream", False), "stream")
    shape = ResponseShape(
        _echo(body), names, places, offered.custom, "web_search_call.action.sources" in included, seal
    )
    return Reading(
        request, stream, reading.end_user(body), shape, bool(wanted.instruction), display, receipt, items.said
    )


def _before(body: Body, take: Take) -> list[Body]:
    """The items that this request goes on from: over HTTP none, over a WebSocket those of its newest response. Raises
    ApiError (400), with the code that clients know, for any other."""
    previous = body.get("previous_response_id")
    if previous is None:
        return []
    items = take(checks.a_string(previous, "previous_response_id"))
    if items is None:
        text = (
            f"Previous response with id '{str(previous)[:80]}' not found: this gateway stores no responses. Send the "
            "whole conversation in 'input', with the output items of earlier answers, and 'store': false."
        )
        raise ApiError("previous_response", text, "previous_response_id")
    return items


def _display(body: Body, request: Body) -> str:
    """Thinking is summed up for those who ask for a summary. Asking for one alone is asking to think."""
    asked = checks.an_object(body.get("reasoning", {}), "reasoning")
    summary = asked.get("summary", asked.get("generate_summary"))
    if summary is None:
        return "omitted"
    if "effort" not in request.get("output_config", {}):
        request.setdefault("thinking", {"type": "adaptive", "display": "summarized"})
    return "summarized"


def _included(body: Body, receipt: Receipt) -> list[str]:
    given = body.get("include", [])
    if not isinstance(given, list):
        raise checks.wrong_type("include", "an array of strings", given)
    names = [checks.a_string(name, f"include[{index}]") for index, name in enumerate(given)]
    for name in names:
        if name not in _INCLUDED:
            receipt.add(f"include.{name}", "ignored")
    return names


def _echo(body: Body) -> Body:
    """What the response says of its request, each in the shape that OpenAI's schema gives it."""
    reasoning, text = body.get("reasoning", {}), body.get("text", {})
    instructions, parallel = body.get("instructions"), body.get("parallel_tool_calls", True)
    return {
        "previous_response_id": body.get("previous_response_id"),
        "instructions": instructions if isinstance(instructions, str) else None,
        "max_output_tokens": body.get("max_output_tokens"),
        "max_tool_calls": body.get("max_tool_calls"),
        "tools": responses_tools.echo(body.get("tools", [])),
        "tool_choice": responses_tools.echo_choice(body.get("tool_choice")),
        "parallel_tool_calls": parallel is not False,
        "text": _echo_text(text),
        "reasoning": {"effort": reasoning.get("effort"), "summary": _one_of(reasoning.get("summary"), _SUMMARIES)},
        "temperature": body.get("temperature", 1),
        "top_p": body.get("top_p", 1),
        "metadata": _metadata(body.get("metadata")),
        "safety_identifier": _text(body.get("safety_identifier"), 64),
        "prompt_cache_key": _text(body.get("prompt_cache_key"), 1024),
    }


_SUMMARIES = ("auto", "concise", "detailed")
_VERBOSITIES = ("low", "medium", "high")


def _echo_text(text: Body) -> Body:
    given = text.get("format") or {}
    form: Body = {"type": given.get("type", "text")}
    if form["type"] == "json_schema":
        form |= {
            "name": str(given.get("name") or "answer"),
            "description": given.get("description"),
            "schema": given.get("schema", {}),
            "strict": given.get("strict") is True,
        }
        form = {name: value for name, value in form.items() if value is not None}
    return {"format": form, "verbosity": _one_of(text.get("verbosity"), _VERBOSITIES) or "medium"}


def _one_of(value: Any, options: tuple[str, ...]) -> str | None:
    return value if value in options else None


def _text(value: Any, longest: int) -> str | None:
    return value[:longest] if isinstance(value, str) else None


def _metadata(value: Any) -> Body:
    return {name: one for name, one in value.items() if isinstance(one, str)} if isinstance(value, dict) else {}
