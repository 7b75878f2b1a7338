"""The sandbox fills in any schema, always with the same value, and with what the user said."""

from __future__ import annotations

from typing import Any

import pytest

from bridge.sandbox_schema import fill

AUTHOR = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}
TREE = {
    "$ref": "#/$defs/tree",
    "$defs": {
        "tree": {
            "type": "object",
            "properties": {
                "name": {"type": "string"},
                "child": {"anyOf": [{"$ref": "#/$defs/tree"}, {"type": "null"}]},
            },
            "required": ["name", "child"],
        }
    },
}


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"type": "string"}, "text"),
        ({"type": "string", "minLength": 6}, "textxx"),
        ({"type": "string", "maxLength": 2}, "te"),
        ({"type": "string", "format": "date"}, "2026-01-02"),
        ({"type": "string", "format": "email"}, "someone@example.com"),
        ({"const": 7}, 7),
        ({"enum": ["b", "a"]}, "b"),
        ({"type": "boolean"}, True),
        ({"type": "null"}, None),
        ({"type": ["null", "integer"]}, 1),
        ({"type": "integer", "minimum": 5}, 5),
        ({"type": "integer", "exclusiveMinimum": 5}, 6),
        ({"type": "integer", "maximum": 0}, 0),
        ({"type": "integer", "minimum": 5, "multipleOf": 4}, 8),
        ({"type": "number", "minimum": 0.25}, 0.25),
        ({"type": "number", "exclusiveMinimum": 0, "maximum": 1}, 0.5),
        ({"type": "array", "items": {"type": "integer"}}, [1]),
        ({"type": "array", "items": {"type": "string"}, "minItems": 2}, ["text", "text"]),
        ({"type": "array", "items": {}, "maxItems": 0}, []),
        ({"anyOf": [{"type": "null"}, {"type": "integer"}]}, 1),
        ({"oneOf": [{"const": "a"}, {"const": "b"}]}, "a"),
        ({"allOf": [AUTHOR, {"properties": {"born": {"type": "integer"}}, "required": ["born"]}]}, None),
        ({"type": "object", "properties": {"a": {"type": "string"}, "b": {"type": "string"}}, "required": ["b"]}, None),
        ({"type": "object", "properties": {"a": {"type": "string"}}}, {"a": "a"}),
        ({"type": "object"}, {}),
        ({"type": "array", "items": {"$ref": "#/$defs/author"}, "$defs": {"author": AUTHOR}}, [{"name": "name"}]),
        ({}, "text"),
    ],
)
def test_a_schema_is_filled_in(schema: dict[str, Any], value: Any) -> None:
    wanted = {"allOf": {"name": "name", "born": 1}, "required": {"b": "b"}}
    special = next((made for key, made in wanted.items() if key in schema), None)
    assert fill(schema) == (special if value is None and schema.get("type") != "null" else value)


def test_a_schema_that_recurses_comes_to_an_end() -> None:
    tree, depth = fill(TREE), 0
    while tree:
        assert tree["name"] == "name"
        tree, depth = tree["child"], depth + 1
    assert 1 < depth < 20


def test_numbers_and_quoted_texts_come_from_what_was_said() -> None:
    properties = {
        "first": {"type": "integer"},
        "second": {"type": "number", "minimum": 6},
        "third": {"type": "integer"},
        "name": {"type": "string"},
        "day": {"type": "string", "format": "date"},
    }
    schema = {"type": "object", "properties": properties, "required": list(properties)}
    said = "Add 5 and 7 for 'Alice' (v1.2), but don't ask"
    assert fill(schema, said) == {"first": 5, "second": 7, "third": 1, "name": "Alice", "day": "2026-01-02"}


@pytest.mark.parametrize(
    "schema", [{"type": "picture"}, {"$ref": "#/nowhere"}, {"type": "object", "properties": [1]}, {"$ref": "#"}]
)
def test_what_is_no_schema_is_refused(schema: dict[str, Any]) -> None:
    if schema == {"$ref": "#"}:
        assert fill(schema) is None
        return
    with pytest.raises(ValueError, match="JSON schema is invalid"):
        fill(schema)
