"""JSON Schema as Anthropic's structured outputs take it.

Supported: basic types, enum and const, anyOf, allOf, local $ref, a few formats, minItems 0 or 1; every object closed.
What is not supported moves into the description, where the model still reads it. Source: platform.claude.com/docs/en/
build-with-claude/structured-outputs, and the transformation in the SDK (anthropic/lib/_parse/_transform.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec

Schema = dict[str, Any]

MOST_OPTIONAL = 24
MOST_UNIONS = 16
FORMATS = frozenset({"date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid"})
_KEPT = frozenset({"type", "enum", "const", "anyOf", "allOf", "$ref", "default", "description", "title"})
_SILENT = frozenset(
    {"$schema", "$id", "$defs", "definitions", "additionalProperties", "required", "properties", "items", "oneOf"}
)


class NotPossible(ValueError):
    """This schema cannot be enforced: it recurses, refers elsewhere, or is larger than the API compiles."""


@dataclass(slots=True)
class Allowance:
    """What is left of the limits, which hold for all the schemas of a request together."""

    optional: int = MOST_OPTIONAL
    unions: int = MOST_UNIONS

    def take(self, optional: int, unions: int) -> None:
        """Raises NotPossible, and takes nothing, if that is more than is left."""
        if optional > self.optional or unions > self.unions:
            raise NotPossible("too many optional parameters or unions")
        self.optional, self.unions = self.optional - optional, self.unions - unions


def closed(schema: Schema, allowance: Allowance | None = None, prefix: str = "") -> Schema:
    """The schema in the supported subset, its definitions' names after `prefix`. Raises NotPossible."""
    transform = _Transform(schema, prefix)
    result = transform.schema(schema)
    (allowance or Allowance()).take(transform.optional, transform.unions)
    return result


class _Transform:
    def __init__(self, root: Schema, prefix: str) -> None:
        self.optional = self.unions = 0
        self._prefix = prefix
        self._definitions = {**_mapping(root.get("definitions")), **_mapping(root.get("$defs"))}
        self._check_recursion()

    def schema(self, node: Any) -> Schema:
        if node is True or node is None:
            return {}
        if not isinstance(node, dict):
            raise NotPossible("a schema that is not an object")
        kept = {name: value for name, value in node.items() if name in _KEPT}
        lost = {name: value for name, value in node.items() if name not in _KEPT and name not in _SILENT}
        if "$ref" in kept:
            return {"$ref": self._reference(kept["$ref"]), **self._definitions_of(node)}
        self._combined(node, kept)
        if "object" in _types(node) or "properties" in node:
            self._object(node, kept)
        if "items" in node:
            kept["items"] = self.schema(node["items"])
        for name in ("format", "minItems"):
            if name in lost and (str(lost[name]) in FORMATS if name == "format" else lost[name] in (0, 1)):
                kept[name] = lost.pop(name)
        if lost:
            note = msgspec.json.encode(lost).decode()
            kept["description"] = f"{kept['description']}\n\n{note}" if kept.get("description") else note
        return {**kept, **self._definitions_of(node)}

    def _combined(self, node: Schema, kept: Schema) -> None:
        """`oneOf` becomes `anyOf`; unions are counted, for the API has a limit."""
        for name in ("anyOf", "allOf", "oneOf"):
            kept.pop(name, None)
            if isinstance(node.get(name), list) and node[name]:
                kept["allOf" if name == "allOf" else "anyOf"] = [self.schema(part) for part in node[name]]
        if len(kept.get("allOf", ())) == 1:
            kept.update(kept.pop("allOf")[0])
        elif any("$ref" in part for part in kept.get("allOf", ())):
            raise NotPossible("a reference among schemas that all hold")
        self.unions += "anyOf" in kept or isinstance(node.get("type"), list)

    def _object(self, node: Schema, kept: Schema) -> None:
        properties = _mapping(node.get("properties"))
        if not properties and node.get("additionalProperties", None if "properties" in node else True) not in (
            None,
            False,
        ):
            raise NotPossible("an object of any properties")
        wanted = node.get("required")
        required = [name for name in properties if name in wanted] if isinstance(wanted, list) else []
        self.optional += len(properties) - len(required)
        kept["properties"] = {name: self.schema(value) for name, value in properties.items()}
        kept["required"] = required
        kept["additionalProperties"] = False

    def _definitions_of(self, node: Schema) -> Schema:
        inside = {**_mapping(node.get("definitions")), **_mapping(node.get("$defs"))}
        return {"$defs": {self._prefix + name: self.schema(value) for name, value in inside.items()}} if inside else {}

    def _reference(self, reference: Any) -> str:
        name = _target(reference)
        if name not in self._definitions:
            raise NotPossible("a reference to something outside the schema")
        return f"#/$defs/{self._prefix}{name}"

    def _check_recursion(self) -> None:
        for start in self._definitions:
            seen: set[str] = set()
            level = _references(self._definitions[start])
            while level:
                if start in level:
                    raise NotPossible("a schema that recurses")
                seen |= level
                level = {t for name in level for t in _references(self._definitions.get(name))} - seen


def _references(node: Any) -> set[str]:
    if isinstance(node, dict):
        own = {_target(node["$ref"])} if isinstance(node.get("$ref"), str) else set()
        return own.union(*(_references(value) for value in node.values()))
    return set().union(*(_references(item) for item in node)) if isinstance(node, list) else set()


def _target(reference: Any) -> str:
    if not isinstance(reference, str) or not reference.startswith(("#/$defs/", "#/definitions/")):
        raise NotPossible("a reference to something outside the schema")
    return reference.split("/", 2)[2]


def _types(node: Schema) -> list[Any]:
    given = node.get("type")
    return given if isinstance(given, list) else [given]


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
