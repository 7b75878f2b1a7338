"""Answers in a given form: `response_format`."""

from __future__ import annotations

from typing import Any

import pytest

from bridge.dialects.tools import JSON_ONLY
from tests.chat import USER, read, refusal, said

SCHEMA = {"type": "object", "properties": {"at": {"type": "string"}}, "required": ["at"]}


@pytest.mark.parametrize(
    ("change", "code", "param"),
    [
        ({"response_format": "json"}, "invalid_type", "response_format"),
        ({"response_format": {"type": "xml"}}, "invalid_value", "response_format.type"),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"name": "a"}}},
            "missing_required_parameter",
            "response_format.json_schema.schema",
        ),
        (
            {"response_format": {"type": "json_schema", "json_schema": 5}},
            "invalid_type",
            "response_format.json_schema",
        ),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"schema": 5}}},
            "invalid_type",
            "response_format.json_schema.schema",
        ),
    ],
)
def test_a_form_that_is_none_is_a_400_with_its_place(change: dict[str, Any], code: str, param: str) -> None:
    assert refusal(**change) == (code, param)


def test_plain_text_is_no_form() -> None:
    reading = read(response_format={"type": "text"})
    assert set(reading.request) == {"model", "messages"} and not reading.receipt and not reading.plain_json


def test_a_json_object_is_asked_for_in_words() -> None:
    reading = read({"role": "system", "content": "Be kind."}, USER, response_format={"type": "json_object"})
    assert reading.request["system"] == said("", "Be kind.", JSON_ONLY)["content"]
    assert reading.plain_json and str(reading.receipt) == "response_format=emulated"


@pytest.mark.parametrize("nested", [True, False])
@pytest.mark.parametrize("strict", [True, False, None])
def test_a_json_schema_is_enforced_by_the_api(nested: bool, strict: Any) -> None:
    wanted = {"name": "place", "strict": strict, "schema": SCHEMA}
    given = {"type": "json_schema", **({"json_schema": wanted} if nested else wanted)}
    reading = read(response_format=given)
    closed = {**SCHEMA, "additionalProperties": False}
    assert reading.request["output_config"] == {"format": {"type": "json_schema", "schema": closed}}
    assert not reading.receipt and not reading.plain_json


def test_a_schema_that_cannot_be_enforced_is_asked_for_in_words() -> None:
    recursive = {"type": "object", "properties": {"a": {"$ref": "#/$defs/A"}}, "$defs": {"A": {"$ref": "#/$defs/A"}}}
    reading = read(response_format={"type": "json_schema", "json_schema": {"name": "a", "schema": recursive}})
    (instruction,) = reading.request["system"]
    assert instruction["text"].startswith(JSON_ONLY) and '"$ref":"#/$defs/A"' in instruction["text"]
    assert reading.plain_json and str(reading.receipt) == "response_format=prompted"


def test_a_form_and_an_effort_stand_side_by_side() -> None:
    form = {"type": "json_schema", "json_schema": {"name": "a", "schema": SCHEMA}}
    request = read(response_format=form, reasoning_effort="low").request
    assert set(request["output_config"]) == {"effort", "format"}
