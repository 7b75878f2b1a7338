"""Tools, the choice among them, and answers in a given form: OpenAI's ways of saying it → Anthropic's."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import msgspec

from bridge.dialects import checks, content, schema
from bridge.dialects.names import Names
from bridge.errors import ApiError
from bridge.receipt import Receipt

Tool = dict[str, Any]

MOST_STRICT = 20
NO_PARAMETERS: dict[str, Any] = {"type": "object", "properties": {}}
WEB_SEARCH = "web_search_20250305"  # the basic version, which every model and platform that searches knows
_SEARCHES = {"low": 2, "medium": 5, "high": 10}
# Tools that Anthropic defined, or runs itself; clients that know them name them by their dated type. Which there are is
# for the API to say: as a function without its type such a tool would be another.
_DATED = re.compile(r"[a-z][a-z0-9_]*_20\d{6}")
_CHOICES = {"none": "none", "auto": "auto", "required": "any", "any": "any"}


@dataclass(slots=True)
class ToolSet:
    """What a request offers. `custom`: names of free-text tools; `legacy`: asked for in the API of 2023."""

    tools: list[Tool] = field(default_factory=list)
    choice: dict[str, Any] | None = None
    custom: frozenset[str] = frozenset()
    legacy: bool = False


def read(body: dict[str, Any], names: Names, receipt: Receipt, allowance: schema.Allowance) -> ToolSet:
    """Those of a chat request. `allowance`: what the form of the answer has left for strict schemas. Raises ApiError
    (400)."""
    legacy = bool(body.get("functions")) and not body.get("tools")
    given = (
        [{"type": "function", "function": one} for one in _list(body, "functions")] if legacy else _list(body, "tools")
    )
    listed = [(tool, f"{'functions' if legacy else 'tools'}[{index}]") for index, tool in enumerate(given)]
    chosen = body.get("function_call" if legacy else "tool_choice")
    searched = body.get("web_search_options")
    if searched is not None:
        searched = web_search(checks.an_object(searched, "web_search_options"))
    return offer(listed, chosen, names, receipt, allowance, body.get("parallel_tool_calls") is False, searched, legacy)


def offer(
    listed: list[tuple[Any, str]],
    chosen: Any,
    names: Names,
    receipt: Receipt,
    allowance: schema.Allowance,
    one_at_a_time: bool,
    search: Tool | None = None,
    legacy: bool = False,
) -> ToolSet:
    """These tools, each with its place in the request, and the choice among them. Raises ApiError (400)."""
    reader = _Reader(names, receipt, allowance)
    tools = [reader.tool(tool, path) for tool, path in listed]
    _check_unique(tools)
    choice = _choice(chosen, tools, names, legacy)
    tools, choice = _allowed(tools, choice)
    if search is not None and not any(str(tool.get("type")).startswith("web_search_") for tool in tools):
        tools = [*tools, search]
        _check_unique(tools)
    if one_at_a_time or legacy:
        choice = choice or ({"type": "auto"} if tools else None)
        if choice and choice["type"] != "none":
            choice["disable_parallel_tool_use"] = True
    return ToolSet(tools, choice if tools else None, frozenset(reader.custom), legacy)


def is_server_tool(tool: Tool) -> bool:
    """One that Anthropic defined, by its dated type."""
    kind = tool.get("type")
    return isinstance(kind, str) and _DATED.fullmatch(kind) is not None


def _list(body: dict[str, Any], name: str) -> list[Any]:
    value = body.get(name) or []
    if not isinstance(value, list):
        raise checks.wrong_type(name, "an array of objects", value)
    return value


def _check_unique(tools: list[Tool]) -> None:
    names = [tool.get("name") for tool in tools]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ApiError("invalid_value", f"Invalid 'tools': the name '{twice}' is used twice.", "tools")


class _Reader:
    def __init__(self, names: Names, receipt: Receipt, allowance: schema.Allowance) -> None:
        self._names, self._receipt, self._allowance = names, receipt, allowance
        self._strict = 0
        self.custom: set[str] = set()

    def tool(self, tool: Any, path: str) -> Tool:
        tool = checks.an_object(tool, path)
        kind = tool.get("type", "function" if "function" in tool else "custom" if "custom" in tool else "")
        if kind == "function" and "function" in tool:
            read = self._function(checks.an_object(tool["function"], f"{path}.function"), f"{path}.function")
        elif kind == "custom" and "custom" in tool:
            read = self._custom(checks.an_object(tool["custom"], f"{path}.custom"), f"{path}.custom")
        elif kind == "custom" and "input_schema" not in tool:  # the flat shape of the Responses API
            read = self._custom(tool, path)
        elif is_server_tool(tool):
            read = self._server_tool(tool, path)
        elif "input_schema" in tool:
            read = self._function({**tool, "parameters": tool["input_schema"]}, path)
        elif "name" in tool:  # the flat shape of the Responses API
            read = self._function(tool, path)
        elif kind == "function":
            raise checks.missing(f"{path}.function")
        else:
            text = f"Invalid value: '{str(kind)[:40]}'. Supported values are: 'function' and 'custom'."
            raise ApiError("invalid_value", text, f"{path}.type")
        mark = content.cache_control(tool) or content.cache_control(_mapping(tool.get("function")))
        return {**read, "cache_control": mark} if mark else read

    def _function(self, function: dict[str, Any], path: str) -> Tool:
        tool: Tool = {"name": self._name(function, path)}
        if isinstance(function.get("description"), str) and function["description"].strip():
            tool["description"] = function["description"]
        parameters = function.get("parameters")
        if parameters is not None and not isinstance(parameters, dict):
            raise checks.wrong_type(f"{path}.parameters", "an object", parameters)
        tool["input_schema"] = self._object(parameters or NO_PARAMETERS)
        if function.get("strict") is True:
            self._make_strict(tool)
        return tool

    def _server_tool(self, tool: dict[str, Any], path: str) -> Tool:
        """As it is: its name is Anthropic's."""
        name = self._name(tool, path)
        if name != tool["name"]:
            raise ApiError(
                "invalid_value", f"Invalid '{path}.name': it is not the name of such a tool.", f"{path}.name"
            )
        return {key: value for key, value in tool.items() if key != "cache_control"}

    def _name(self, function: dict[str, Any], path: str) -> str:
        name = function.get("name")
        if name is None:
            raise checks.missing(f"{path}.name")
        if not checks.a_string(name, f"{path}.name").strip():
            raise ApiError("invalid_value", f"Invalid '{path}.name': it must not be empty.", f"{path}.name")
        return self._names.legal(name)

    def _object(self, parameters: dict[str, Any]) -> dict[str, Any]:
        """The API wants an object at the top, not a choice of them."""
        options = [part for name in ("anyOf", "oneOf", "allOf") for part in _objects(parameters.get(name))]
        if not options:
            return {**parameters, "type": "object"}
        self._receipt.add("tools.parameters", "merged")
        merged = {name: value for part in options for name, value in _mapping(part.get("properties")).items()}
        kept = {name: value for name, value in parameters.items() if name not in ("anyOf", "oneOf", "allOf")}
        return {**kept, "type": "object", "properties": {**merged, **_mapping(parameters.get("properties"))}}

    def _make_strict(self, tool: Tool) -> None:
        if self._strict == MOST_STRICT:
            self._receipt.add("tools.strict", f"dropped(over {MOST_STRICT})")
            return
        try:
            closed = schema.closed(tool["input_schema"], self._allowance)
        except schema.NotPossible:
            self._receipt.add("tools.strict", "dropped")
            return
        self._strict += 1
        tool.update(input_schema=closed, strict=True)

    def _custom(self, custom: dict[str, Any], path: str) -> Tool:
        """A tool that takes free text: one text parameter, its grammar told in words."""
        name = self._name(custom, path)
        self.custom.add(name)
        description = str(custom.get("description") or "")
        form = custom.get("format") or {}
        if isinstance(form, dict) and form.get("type") == "grammar":
            grammar = _mapping(form.get("grammar")) or form
            description += (
                f"\n\nThe input follows this {grammar.get('syntax')} grammar exactly:\n{grammar.get('definition')}"
            )
            self._receipt.add("tools.custom", "emulated(grammar described)")
        else:
            self._receipt.add("tools.custom", "emulated")
        parameters = {"type": "object", "properties": {"input": {"type": "string"}}, "required": ["input"]}
        return {"name": name, "description": description.strip() or name, "input_schema": parameters}


def _choice(given: Any, tools: list[Tool], names: Names, legacy: bool) -> dict[str, Any] | None:
    param = "function_call" if legacy else "tool_choice"
    if given is None:
        return None
    if isinstance(given, str):
        if given not in _CHOICES:
            text = f"Invalid value: '{given[:40]}'. Supported values are: 'none', 'auto', and 'required'."
            raise ApiError("invalid_value", text, param)
        if _CHOICES[given] == "any" and not tools:
            raise ApiError("invalid_value", f"'{param}' is only allowed when 'tools' are specified.", param)
        return {"type": _CHOICES[given]}
    given = checks.an_object(given, param)
    kind = given.get("type")
    if kind == "allowed_tools":
        return _allowed_choice(given, names)
    if isinstance(kind, str) and kind in _CHOICES:
        return {"type": _CHOICES[kind]}
    named = given if legacy or kind == "tool" else given.get("function") or given.get("custom") or given
    name = named.get("name") if isinstance(named, dict) else None
    if not isinstance(name, str):
        raise checks.missing(f"{param}.function.name")
    if names.legal(name) not in {tool.get("name") for tool in tools}:
        raise ApiError("invalid_value", f"Tool choice '{name[:64]}' not found in 'tools' parameter.", param)
    return {"type": "tool", "name": names.legal(name)}


def _allowed_choice(given: dict[str, Any], names: Names) -> dict[str, Any]:
    allowed = checks.an_object(given.get("allowed_tools", given), "tool_choice.allowed_tools")
    listed = [
        _mapping(tool.get("function")) or _mapping(tool.get("custom")) or tool
        for tool in _objects(allowed.get("tools"))
    ]
    only = [names.legal(str(tool.get("name"))) for tool in listed]
    return {"type": "any" if allowed.get("mode") == "required" else "auto", "only": only}


def _allowed(tools: list[Tool], choice: dict[str, Any] | None) -> tuple[list[Tool], dict[str, Any] | None]:
    if choice is None or "only" not in choice:
        return tools, choice
    only = choice.pop("only")
    kept = [tool for tool in tools if tool.get("name") in only]
    if not kept:
        raise ApiError("invalid_value", "'tool_choice.allowed_tools' names no tool of 'tools'.", "tool_choice")
    return kept, choice


def web_search(options: dict[str, Any]) -> Tool:
    tool: Tool = {"type": WEB_SEARCH, "name": "web_search"}
    tool["max_uses"] = _SEARCHES.get(str(options.get("search_context_size")), _SEARCHES["medium"])
    location = options.get("user_location")
    if isinstance(location, dict):
        place = _mapping(location.get("approximate")) or location
        known = {
            name: place[name] for name in ("city", "region", "country", "timezone") if isinstance(place.get(name), str)
        }
        if known:
            tool["user_location"] = {"type": "approximate", **known}
    return tool


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _objects(value: Any) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


# --- The form of an answer ------------------------------------------------------------------------------------------

JSON_ONLY = "Answer with a single JSON object and nothing else: no words before or after it, no code fence around it."


@dataclass(frozen=True, slots=True)
class AnswerForm:
    """`format`: for the API to enforce. `instruction`: where it cannot; then the answer is made plain JSON."""

    format: dict[str, Any] | None = None
    instruction: str = ""


def read_form(given: Any, path: str, receipt: Receipt, allowance: schema.Allowance) -> AnswerForm:
    """`response_format` of chat, where a schema is nested, or `text.format` of Responses, where it is flat. Raises
    ApiError (400)."""
    if given is None:
        return AnswerForm()
    given = checks.an_object(given, path)
    kind = given.get("type")
    if kind == "text":
        return AnswerForm()
    if kind == "json_object":
        receipt.add(path, "emulated")
        return AnswerForm(instruction=JSON_ONLY)
    if kind != "json_schema":
        text = f"Invalid value: '{str(kind)[:40]}'. Supported values are: 'text', 'json_object', and 'json_schema'."
        raise ApiError("invalid_value", text, f"{path}.type")
    place = f"{path}.json_schema" if path == "response_format" else path
    wanted = checks.an_object(given.get("json_schema", given), place)
    form = wanted.get("schema")
    if form is None:
        raise checks.missing(f"{place}.schema")
    form = checks.an_object(form, f"{place}.schema")
    try:
        return AnswerForm({"type": "json_schema", "schema": schema.closed(form, allowance)})
    except schema.NotPossible:
        receipt.add(path, "prompted")
        text = msgspec.json.encode(form).decode()
        return AnswerForm(instruction=f"{JSON_ONLY} It must be valid against this JSON Schema:\n{text}")
