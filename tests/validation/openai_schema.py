"""OpenAI's published schema of its answers, as a validator: nullable made a union.

`system_fingerprint` is deprecated: null in real traffic, where the schema of the whole answer wants text. So is `usage`
of a response in progress, where the schema wants it absent.
"""

from __future__ import annotations

import json
from functools import cache
from typing import Any

from jsonschema import Draft202012Validator

from tests.shared import OPENAI_SCHEMA

_REF = "#/components/schemas/"


@cache
def _document() -> dict[str, Any]:
    content: dict[str, Any] = _rewritten(json.loads(OPENAI_SCHEMA.read_text()))
    for name in ("CreateChatCompletionResponse", "CreateChatCompletionStreamResponse"):
        schema = content["components"]["schemas"][name]
        schema["properties"]["system_fingerprint"] = {"type": ["string", "null"]}
        schema["required"] = [one for one in schema["required"] if one != "system_fingerprint"]
    for part in content["components"]["schemas"]["Response"]["allOf"]:
        if "usage" in part.get("properties", {}):
            part["properties"]["usage"] = {"anyOf": [part["properties"]["usage"], {"type": "null"}]}
    return content


def _rewritten(node: Any) -> Any:
    """OpenAPI 3.0's `nullable` as JSON Schema says it; names of formats that only annotate are left alone."""
    if isinstance(node, list):
        return [_rewritten(item) for item in node]
    if not isinstance(node, dict):
        return node
    made = {name: _rewritten(value) for name, value in node.items()}
    if made.pop("nullable", False) is not True:
        return made
    return {"anyOf": [made, {"type": "null"}]}


@cache
def validator(name: str) -> Draft202012Validator:
    """Of one schema of the document."""
    return Draft202012Validator({"$ref": f"{_REF}{name}", "components": _document()["components"]})


def errors(name: str, value: Any) -> list[str]:
    """What is wrong with a value; empty for a good one."""
    return [f"{error.json_path}: {error.message[:200]}" for error in validator(name).iter_errors(value)]


def required(name: str) -> set[str]:
    return set(_document()["components"]["schemas"][name]["required"])
