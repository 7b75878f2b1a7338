"""A value for a JSON Schema, always the same one.

The required properties (all, where none is), the first choice, the least number, a text that is its property's name.
Whole numbers and texts in quotes come from what the user said, in their order, where the schema allows them: 7 is the
first number in "add 7 and 5".
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

Schema = dict[str, Any]

DEEPEST = 12  # beyond, only what must be there: schemas may recurse
MOST = 64  # items and characters, whatever the schema demands
NUMBER = re.compile(r"(?<![\w.])-?\d{1,15}(?![\w.]*\d)")
QUOTED = re.compile(r"""(?<!\w)(?:'([^'\n]{1,80})'|"([^"\n]{1,80})")(?!\w)""")
FORMATS = {
    "date-time": "2026-01-02T03:04:05Z",
    "date": "2026-01-02",
    "time": "03:04:05Z",
    "duration": "PT1H",
    "email": "someone@example.com",
    "hostname": "example.com",
    "uri": "https://example.com/",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "uuid": "00000000-0000-4000-8000-000000000000",
}
_CHOICES = ("anyOf", "oneOf")


def fill(schema: Schema, said: str = "", prefer: Callable[[Schema], bool] = lambda option: True) -> Any:
    """The value. `prefer`: which options of the outermost choice come first. Raises ValueError for bad schemas."""
    for name in _CHOICES:
        if isinstance(schema.get(name), list):
            schema = {**schema, name: sorted(schema[name], key=lambda option: not prefer(option))}
    try:
        return _Filling(schema, said).value(schema, "", 0)
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"JSON schema is invalid ({type(error).__name__})") from None


def quoted(said: str) -> list[str]:
    return [one or other for one, other in QUOTED.findall(said)]


class _Filling:
    def __init__(self, root: Schema, said: str) -> None:
        self._root, self._texts = root, quoted(said)
        self._numbers = [int(number) for number in NUMBER.findall(said)]
        self._makers: dict[str, Callable[[Schema, str, int], Any]] = {
            "object": self._object,
            "array": self._array,
            "string": self._string,
            "integer": self._integer,
            "number": self._number,
            "boolean": lambda node, name, depth: True,
            "null": lambda node, name, depth: None,
        }

    def value(self, node: Any, name: str, depth: int) -> Any:
        """`name`: of the property, which is what texts say."""
        if not isinstance(node, dict):
            return name or "text"
        if "const" in node:
            return node["const"]
        if node.get("enum"):
            return node["enum"][0]
        if "$ref" in node:
            if depth > 2 * DEEPEST:
                return None
            return self.value(self._referred(node["$ref"]), name, depth + 1)
        for choice in _CHOICES:
            if node.get(choice):
                return self.value(self._chosen(node, choice, depth), name, depth + 1)
        if node.get("allOf"):
            return self.value(self._merged(node), name, depth + 1)
        return self._makers[_kind(node)](node, name, depth)

    def _chosen(self, node: Schema, choice: str, depth: int) -> Any:
        options = [option for option in node[choice] if option != {"type": "null"}] or node[choice]
        option = options[0] if depth < DEEPEST else options[-1]
        if not isinstance(option, dict) or "properties" not in node:
            return option
        return {**node, **option, "properties": {**node["properties"], **option.get("properties", {})}, choice: None}

    def _merged(self, node: Schema) -> Schema:
        whole: Schema = {**node, "allOf": None}
        for part in node["allOf"]:
            part = self._referred(part["$ref"]) if "$ref" in part else part
            properties = {**(whole.get("properties") or {}), **part.get("properties", {})}
            required = [*(whole.get("required") or []), *part.get("required", [])]
            whole = {**whole, **part, "properties": properties, "required": required}
            if not properties:
                del whole["properties"]
        return whole

    def _referred(self, reference: str) -> Any:
        node: Any = self._root
        for step in reference.removeprefix("#").split("/")[1:]:
            node = node[step.replace("~1", "/").replace("~0", "~")]
        return node

    def _object(self, node: Schema, name: str, depth: int) -> Any:
        if depth > 2 * DEEPEST:
            return {}
        known = node.get("properties") or {}
        wanted = node.get("required") or (known if depth < DEEPEST // 2 else ())
        return {key: self.value(known.get(key, {}), key, depth + 1) for key in wanted}

    def _array(self, node: Schema, name: str, depth: int) -> Any:
        if node.get("prefixItems"):
            return [self.value(item, name, depth + 1) for item in node["prefixItems"]]
        least = int(node.get("minItems") or 0)
        count = max(least, 0 if depth > DEEPEST else 1)
        most = node.get("maxItems")
        count = min(count, MOST, count if most is None else int(most))
        return [self.value(node.get("items", {}), name.removesuffix("s"), depth + 1) for _ in range(count)]

    def _string(self, node: Schema, name: str, depth: int) -> str:
        text = FORMATS.get(node.get("format", "")) or (self._texts.pop(0) if self._texts else name or "text")
        least, most = min(int(node.get("minLength") or 0), MOST), node.get("maxLength")
        text = text.ljust(least, "x")
        return text if most is None else text[: int(most)]

    def _integer(self, node: Schema, name: str, depth: int) -> int:
        said = self._said(node)
        return said if said is not None else math.ceil(_least(node, node.get("multipleOf") or 1))

    def _number(self, node: Schema, name: str, depth: int) -> float:
        said = self._said(node)
        return said if said is not None else _least(node, node.get("multipleOf") or 0.5)

    def _said(self, node: Schema) -> int | None:
        """The next whole number of what the user said, if the schema allows it."""
        low, high = node.get("minimum", -math.inf), node.get("maximum", math.inf)
        over, under = node.get("exclusiveMinimum", -math.inf), node.get("exclusiveMaximum", math.inf)
        for number in self._numbers:
            if low <= number <= high and over < number < under and not number % (node.get("multipleOf") or 1):
                self._numbers.remove(number)
                return number
        return None


def _least(node: Schema, step: float) -> float:
    """The least number allowed, but at least 1 where nothing is said."""
    high = node["maximum"] if "maximum" in node else node.get("exclusiveMaximum", math.inf)
    low = node["exclusiveMinimum"] + step if "exclusiveMinimum" in node else node.get("minimum", min(1, high))
    return float(math.ceil(low / step) * step if "multipleOf" in node else low)


def _kind(node: Schema) -> str:
    kind = node.get("type")
    if isinstance(kind, list):
        kind = next((one for one in kind if one != "null"), "null")
    if kind is None:
        kind = next((kind for kind, key in (("object", "properties"), ("array", "items")) if key in node), "string")
    return str(kind)
