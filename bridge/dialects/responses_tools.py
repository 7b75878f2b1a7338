"""Tools of a Responses request: flat ones, groups of them (namespaces), and those that OpenAI would run itself.

Web search has its equivalent here. Others of OpenAI's own (file search, computers, shells, image generation, MCP) are
left out, on the receipt: clients send them unasked.
"""

from __future__ import annotations

from typing import Any

from bridge.dialects import checks, schema, tools
from bridge.dialects.names import Names
from bridge.receipt import Receipt

Tool = dict[str, Any]

_SEARCHES = ("web_search", "web_search_preview", "web_search_2025_08_26", "web_search_preview_2025_03_11")
_CHOICES = ("none", "auto", "required")


class Places:
    """Where tools with a namespace stand: the API knows flat names only."""

    def __init__(self) -> None:
        self._places: dict[str, tuple[str, str]] = {}

    def flat(self, namespace: Any, name: str) -> str:
        """The name of a tool among all of them."""
        if not isinstance(namespace, str) or not namespace:
            return name
        flat = f"{namespace}{name}" if namespace.endswith("__") else f"{namespace}__{name}"
        self._places[flat] = (namespace, name)
        return flat

    def told(self, flat: str) -> dict[str, str]:
        """The name as the client knows it, and the namespace, if there is one."""
        if flat not in self._places:
            return {"name": flat}
        namespace, name = self._places[flat]
        return {"name": name, "namespace": namespace}


class Tools:
    """Reads what a request offers, and the choice among it."""

    def __init__(self, names: Names, places: Places, receipt: Receipt, allowance: schema.Allowance) -> None:
        self._names, self._places, self._receipt, self._allowance = names, places, receipt, allowance
        self._listed: list[tuple[Tool, str]] = []
        self._most_searches: int | None = None
        self._dropped = False

    def read(self, body: dict[str, Any], more: list[tuple[Any, str]]) -> tools.ToolSet:
        """The tools in `tools` and those in items of the input (`more`). Raises ApiError (400)."""
        given = body.get("tools") or []
        if not isinstance(given, list):
            raise checks.wrong_type("tools", "an array of objects", given)
        if body.get("max_tool_calls") is not None:
            self._most_searches = checks.an_integer(body["max_tool_calls"], "max_tool_calls", 1)
        for tool, path in [*((tool, f"tools[{index}]") for index, tool in enumerate(given)), *more]:
            self._read(_flat(checks.an_object(tool, path)), path)
        choice, one_at_a_time = self._choice(body.get("tool_choice")), body.get("parallel_tool_calls") is False
        return tools.offer(self._listed, choice, self._names, self._receipt, self._allowance, one_at_a_time)

    def _read(self, tool: Tool, path: str) -> None:
        kind = tool.get("type")
        if kind == "namespace":
            self._group(tool, path)
        elif kind in _SEARCHES:
            self._add(self._search(tool), path)
        elif kind in ("function", "custom") or "input_schema" in tool or tools.is_server_tool(tool):
            self._add(tool, path)
        else:
            self._dropped = True
            self._receipt.add(f"tools.{str(kind)[:40]}", "dropped")

    def _add(self, tool: Tool, path: str) -> None:
        """The first of a name: items may define again what `tools` has."""
        name = tool.get("name")
        if path.startswith("input") and any(other.get("name") == name for other, _ in self._listed):
            return
        self._listed.append((tool, path))

    def _group(self, group: Tool, path: str) -> None:
        name = group.get("name")
        if not isinstance(name, str) or not name.strip():
            raise checks.missing(f"{path}.name")
        inside = group.get("tools") or []
        if not isinstance(inside, list):
            raise checks.wrong_type(f"{path}.tools", "an array of objects", inside)
        for index, tool in enumerate(inside):
            place = f"{path}.tools[{index}]"
            tool = checks.an_object(tool, place)
            if not isinstance(tool.get("name"), str):
                raise checks.missing(f"{place}.name")
            self._read({**tool, "name": self._places.flat(name, tool["name"])}, place)

    def _search(self, tool: Tool) -> Tool:
        made = tools.web_search(tool)
        filters = tool.get("filters")
        allowed = filters.get("allowed_domains") if isinstance(filters, dict) else None
        if isinstance(allowed, list) and allowed and all(isinstance(domain, str) for domain in allowed):
            made["allowed_domains"] = allowed
        if self._most_searches is not None:
            made["max_uses"] = self._most_searches
        return made

    def _choice(self, given: Any) -> Any:
        """As chat has it. One among tools that were left out is left out too."""
        if isinstance(given, str):
            if given == "required" and not self._listed and self._dropped:
                self._receipt.add("tool_choice", "dropped")
                return None
            return given
        if not isinstance(given, dict):
            return given
        kind = given.get("type")
        if kind in _SEARCHES:
            return {"type": "tool", "name": "web_search"}
        if kind == "allowed_tools":
            listed = given.get("tools")
            allowed = (
                [self._named(tool) for tool in listed if isinstance(tool, dict)] if isinstance(listed, list) else []
            )
            return {**given, "tools": allowed}
        if kind in ("function", "custom") or "name" in given:
            return {"type": "function", "name": self._named(given).get("name")}
        self._receipt.add("tool_choice", "dropped")
        return None

    def _named(self, tool: Tool) -> Tool:
        if tool.get("type") in _SEARCHES:
            return {"name": "web_search"}
        name = tool.get("name")
        return {**tool, "name": self._places.flat(tool.get("namespace"), name)} if isinstance(name, str) else tool


def _flat(tool: Tool) -> Tool:
    """A tool in chat's nested shape, as some clients send it here too."""
    kind = tool.get("type")
    inner = tool.get(kind) if kind in ("function", "custom") else None
    return {"type": kind, **inner} if isinstance(inner, dict) else tool


# --- What the response repeats ---------------------------------------------------------------------------------------


def echo(given: Any) -> list[Tool]:
    """The tools in the shape that OpenAI's schema gives them; those that were left out are not there."""
    listed = [_flat(tool) for tool in given if isinstance(tool, dict)] if isinstance(given, list) else []
    return [made for tool in listed if (made := _echo(tool))]


def _echo(tool: Tool) -> Tool | None:
    kind, described = tool.get("type"), tool.get("description")
    described = described if isinstance(described, str) else None
    if kind == "function":
        given = {"name": tool["name"], "parameters": tool.get("parameters"), "strict": tool.get("strict") is True}
        return {"type": kind, **given, "description": described}
    if kind == "custom":
        form = tool.get("format")
        more = {"description": described, "format": form if isinstance(form, dict) else None}
        return {"type": kind, "name": tool["name"], **{name: one for name, one in more.items() if one is not None}}
    if kind == "namespace":
        name = tool["name"]
        return {"type": kind, "name": name, "description": described or name, "tools": echo(tool.get("tools"))}
    return {"type": kind} if kind in _SEARCHES else None


def echo_choice(given: Any) -> Any:
    if isinstance(given, str) and given in _CHOICES:
        return given
    if isinstance(given, dict) and given.get("type") in ("function", "custom", "allowed_tools"):
        return {name: given[name] for name in ("type", "name", "mode", "tools") if name in given}
    return "auto"
