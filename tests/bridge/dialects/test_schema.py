"""JSON Schema in the subset that Anthropic enforces."""

from __future__ import annotations

from typing import Any

import pytest

from bridge.dialects.schema import FORMATS, MOST_OPTIONAL, MOST_UNIONS, NotPossible, closed


def an_object(required: bool = True, **properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties) if required else []}


TEXT = {"type": "string"}


# --- not possible ---


@pytest.mark.parametrize(
    "schema",
    [
        an_object(a={"$ref": "#"}),
        an_object(a={"$ref": "other.json"}),
        an_object(a={"$ref": "#/properties/b"}, b=TEXT),
        an_object(a={"$ref": "#/$defs/Gone"}),
        {**an_object(a={"$ref": "#/$defs/A"}), "$defs": {"A": an_object(a={"$ref": "#/$defs/A"})}},
        {
            **an_object(a={"$ref": "#/$defs/A"}),
            "$defs": {"A": an_object(b={"$ref": "#/$defs/B"}), "B": {"anyOf": [TEXT, {"$ref": "#/$defs/A"}]}},
        },
        {**an_object(a={"$ref": "#/definitions/A"}), "definitions": {"A": {"items": {"$ref": "#/definitions/A"}}}},
        an_object(a={"type": "object", "additionalProperties": True}),
        an_object(a={"type": "object", "additionalProperties": {"type": "string"}}),
        an_object(a={"type": "object"}),
        an_object(a={"type": ["object", "null"]}),
        an_object(a={"type": "object", "properties": {}, "additionalProperties": True}),
        {**an_object(a={"allOf": [{"$ref": "#/$defs/A"}, TEXT]}), "$defs": {"A": TEXT}},
        an_object(a=False),
        an_object(a={"type": "array", "items": [TEXT]}),
        an_object(False, **{f"p{number}": TEXT for number in range(MOST_OPTIONAL + 1)}),
        an_object(**{f"p{number}": {"type": ["string", "null"]} for number in range(MOST_UNIONS + 1)}),
        an_object(**{f"p{number}": {"anyOf": [TEXT, {"type": "null"}]} for number in range(MOST_UNIONS + 1)}),
    ],
)
def test_what_cannot_be_enforced_is_known_as_such(schema: dict[str, Any]) -> None:
    with pytest.raises(NotPossible):
        closed(schema)


# --- possible ---


def test_every_object_is_closed() -> None:
    schema = an_object(a=an_object(b=TEXT), c={"type": "array", "items": an_object(d=TEXT)})
    result = closed(schema)
    inner = result["properties"]["a"], result["properties"]["c"]["items"]
    assert all(node["additionalProperties"] is False for node in (result, *inner))
    assert [node["required"] for node in (result, *inner)] == [["a", "c"], ["b"], ["d"]]


def test_what_is_optional_stays_optional() -> None:
    assert closed({"type": "object", "properties": {"a": TEXT, "b": TEXT}, "required": ["b"]})["required"] == ["b"]


def test_a_required_property_that_does_not_exist_is_left_out() -> None:
    assert closed({"type": "object", "properties": {"a": TEXT}, "required": ["a", "b"]})["required"] == ["a"]


@pytest.mark.parametrize(
    "kept",
    [
        {"type": "string", "enum": ["a", "b"]},
        {"const": 5},
        {"type": "integer", "default": 3},
        {"type": "string", "title": "T", "description": "D"},
        {"type": ["string", "null"]},
        {"anyOf": [{"type": "string"}, {"type": "null"}]},
        {"type": "array", "items": {"type": "string"}, "minItems": 1},
        {"type": "array", "minItems": 0},
        *({"type": "string", "format": name} for name in sorted(FORMATS)),
    ],
)
def test_what_the_api_enforces_is_kept(kept: dict[str, Any]) -> None:
    assert closed(an_object(a=kept))["properties"]["a"] == kept


@pytest.mark.parametrize(
    ("given", "note"),
    [
        ({"minimum": 1}, '{"minimum":1}'),
        ({"minLength": 1, "maxLength": 5}, '{"minLength":1,"maxLength":5}'),
        ({"pattern": "^a"}, '{"pattern":"^a"}'),
        ({"minItems": 2}, '{"minItems":2}'),
        ({"uniqueItems": True}, '{"uniqueItems":true}'),
        ({"format": "phone"}, '{"format":"phone"}'),
        ({"examples": ["x"]}, '{"examples":["x"]}'),
        ({"patternProperties": {}}, '{"patternProperties":{}}'),
    ],
)
def test_what_it_does_not_is_told_in_the_description(given: dict[str, Any], note: str) -> None:
    assert closed({"type": "string", **given}) == {
        "type": "string",
        "description": note,
    }
    described = closed({"type": "string", "description": "A name.", **given})
    assert described["description"] == f"A name.\n\n{note}"


@pytest.mark.parametrize(
    "node", [{"type": "object", "properties": {}}, {"type": "object", "additionalProperties": False}]
)
def test_an_object_that_is_to_be_empty_may_be(node: dict[str, Any]) -> None:
    assert closed(node) == {"type": "object", "properties": {}, "required": [], "additionalProperties": False}


def test_an_object_or_nothing_is_closed_too() -> None:
    assert closed({"type": ["object", "null"], "properties": {"a": TEXT}})["additionalProperties"] is False


@pytest.mark.parametrize("required", [5, "a", None, [["a"]], [5]])
def test_a_list_of_required_properties_that_is_none_requires_nothing(required: Any) -> None:
    assert closed({"type": "object", "properties": {"a": TEXT}, "required": required})["required"] == []


def test_one_schema_that_holds_is_that_schema() -> None:
    """As older generators of schemas write a reference with a description."""
    schema = an_object(a={"allOf": [{"$ref": "#/$defs/A"}], "title": "A"}, b={"allOf": [TEXT], "description": "d"})
    result = closed({**schema, "$defs": {"A": TEXT}})["properties"]
    assert result == {"a": {"title": "A", "$ref": "#/$defs/A"}, "b": {"type": "string", "description": "d"}}


def test_one_of_is_any_of() -> None:
    assert closed({"oneOf": [TEXT, {"type": "null"}]}) == {"anyOf": [TEXT, {"type": "null"}]}


def test_references_and_definitions_are_kept_and_closed_under_one_name() -> None:
    old = {**an_object(a={"$ref": "#/definitions/A", "description": "d"}), "definitions": {"A": an_object(b=TEXT)}}
    result = closed(old)
    assert result["properties"]["a"] == {"$ref": "#/$defs/A"}
    assert result["$defs"] == {"A": {**an_object(b=TEXT), "additionalProperties": False}}
    assert "definitions" not in result


def test_a_reference_at_the_top_keeps_its_definitions() -> None:
    result = closed({"$ref": "#/$defs/A", "$defs": {"A": an_object(b=TEXT)}})
    assert result["$ref"] == "#/$defs/A" and result["$defs"]["A"]["additionalProperties"] is False


def test_a_definition_used_twice_is_no_recursion() -> None:
    schema = an_object(a={"$ref": "#/$defs/A"}, b={"$ref": "#/$defs/A"}, c={"$ref": "#/$defs/B"})
    definitions = {"A": an_object(b=TEXT), "B": an_object(a={"$ref": "#/$defs/A"})}
    assert set(closed({**schema, "$defs": definitions})["$defs"]) == {"A", "B"}


def test_words_about_the_schema_itself_are_dropped_in_silence() -> None:
    assert closed({"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": "x", **TEXT}) == TEXT


def test_anything_goes_where_a_schema_says_so() -> None:
    assert closed(an_object(a=True))["properties"]["a"] == {}


def test_the_schema_that_was_given_is_not_changed() -> None:
    schema = an_object(a={"type": "string", "minLength": 1})
    copy = {**schema, "properties": {"a": dict(schema["properties"]["a"])}}
    closed(schema)
    assert schema == copy


def test_a_format_that_is_no_name_is_told_in_words() -> None:
    assert closed({"type": "string", "format": {"a": 1}}) == {"type": "string", "description": '{"format":{"a":1}}'}
