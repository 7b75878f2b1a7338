"""Tools and the choice among them."""

from __future__ import annotations

from typing import Any

import pytest

from bridge.dialects.tools import MOST_STRICT, NO_PARAMETERS
from tests.chat import USER, calls, function, read, refusal, result

SCHEMA = {"type": "object", "properties": {"at": {"type": "string"}}, "required": ["at"]}
CUSTOM = {"type": "custom", "custom": {"name": "patch", "description": "Changes files."}}


def tools(*given: Any, **more: Any) -> Any:
    return read(tools=list(given), **more).request.get("tools")


def choice(given: Any, *tools: Any, **more: Any) -> Any:
    return read(tools=list(tools) or [function("look"), function("find")], tool_choice=given, **more).request.get(
        "tool_choice"
    )


# --- refused ---


@pytest.mark.parametrize(
    ("change", "code", "param"),
    [
        ({"tools": "look"}, "invalid_type", "tools"),
        ({"tools": ["look"]}, "invalid_type", "tools[0]"),
        ({"tools": [{}]}, "invalid_value", "tools[0].type"),
        ({"tools": [{"type": "function"}]}, "missing_required_parameter", "tools[0].function"),
        ({"tools": [{"type": "function", "function": 5}]}, "invalid_type", "tools[0].function"),
        ({"tools": [{"type": "code_interpreter"}]}, "invalid_value", "tools[0].type"),
        ({"tools": [{"type": "function", "function": {}}]}, "missing_required_parameter", "tools[0].function.name"),
        ({"tools": [function(" ")]}, "invalid_value", "tools[0].function.name"),
        ({"tools": [function(5)]}, "invalid_type", "tools[0].function.name"),  # type: ignore[arg-type]
        ({"tools": [function("f", [])]}, "invalid_type", "tools[0].function.parameters"),
        ({"tools": [function("f", "x")]}, "invalid_type", "tools[0].function.parameters"),
        ({"tools": [function("f"), function("f")]}, "invalid_value", "tools"),
        ({"tools": [{"type": "custom", "custom": {}}]}, "missing_required_parameter", "tools[0].custom.name"),
        ({"tools": [{"type": "custom", "custom": "x"}]}, "invalid_type", "tools[0].custom"),
        ({"tools": [{"type": "bash_20250124"}]}, "missing_required_parameter", "tools[0].name"),
        ({"tools": [{"type": "bash_20250124", "name": []}]}, "invalid_type", "tools[0].name"),
        ({"tools": [{"type": "bash_20250124", "name": "a.b"}]}, "invalid_value", "tools[0].name"),
        ({"tools": [function("web_search")], "web_search_options": {}}, "invalid_value", "tools"),
        ({"functions": "f"}, "invalid_type", "functions"),
        ({"functions": [{}]}, "missing_required_parameter", "functions[0].function.name"),
        ({"tool_choice": "required"}, "invalid_value", "tool_choice"),
        ({"tool_choice": "always", "tools": [function()]}, "invalid_value", "tool_choice"),
        ({"tool_choice": 5, "tools": [function()]}, "invalid_type", "tool_choice"),
        (
            {"tool_choice": {"type": []}, "tools": [function()]},
            "missing_required_parameter",
            "tool_choice.function.name",
        ),
        ({"tool_choice": {"type": "allowed_tools", "tools": 5}, "tools": [function()]}, "invalid_value", "tool_choice"),
        ({"tool_choice": {}, "tools": [function()]}, "missing_required_parameter", "tool_choice.function.name"),
        (
            {"tool_choice": {"type": "function", "function": {"name": "other"}}, "tools": [function()]},
            "invalid_value",
            "tool_choice",
        ),
        (
            {"tool_choice": {"type": "allowed_tools", "allowed_tools": {"tools": []}}, "tools": [function()]},
            "invalid_value",
            "tool_choice",
        ),
        ({"function_call": {"name": "other"}, "functions": [{"name": "f"}]}, "invalid_value", "function_call"),
        ({"web_search_options": "yes"}, "invalid_type", "web_search_options"),
    ],
)
def test_what_cannot_be_offered_is_a_400_with_its_place(change: dict[str, Any], code: str, param: str) -> None:
    assert refusal(**change) == (code, param)


# --- functions ---


def test_a_function_is_a_tool() -> None:
    assert tools(function("look", SCHEMA, description="Looks.")) == [
        {"name": "look", "description": "Looks.", "input_schema": SCHEMA}
    ]


@pytest.mark.parametrize("parameters", [None, {}])
def test_a_function_without_parameters_takes_none(parameters: Any) -> None:
    assert tools(function("look", parameters)) == [{"name": "look", "input_schema": NO_PARAMETERS}]


@pytest.mark.parametrize("description", ["", " ", None, 5])
def test_an_empty_description_is_left_out(description: Any) -> None:
    assert "description" not in tools(function("look", description=description))[0]


@pytest.mark.parametrize("given", [[], None])
def test_an_empty_list_of_tools_is_none(given: Any) -> None:
    assert "tools" not in read(tools=given, tool_choice="auto").request


def test_a_missing_type_at_the_top_of_a_schema_is_added() -> None:
    assert tools(function("f", {"properties": {}}))[0]["input_schema"] == {"properties": {}, "type": "object"}


def test_a_choice_at_the_top_of_a_schema_is_merged_into_one_object_and_named() -> None:
    options = [{"properties": {"a": {"type": "string"}}}, {"properties": {"b": {"type": "string"}}}]
    reading = read(tools=[function("f", {"anyOf": options, "properties": {"c": {}}})])
    schema = reading.request["tools"][0]["input_schema"]
    assert schema["type"] == "object" and set(schema["properties"]) == {"a", "b", "c"} and "anyOf" not in schema
    assert str(reading.receipt) == "tools.parameters=merged"


@pytest.mark.parametrize("name", ["a.b", "é", "x" * 129, "a b"])
def test_a_foreign_name_is_made_legal_and_turned_back(name: str) -> None:
    reading = read(tools=[function(name)], tool_choice={"type": "function", "function": {"name": name}})
    legal = reading.request["tools"][0]["name"]
    assert legal != name and legal.isascii() and len(legal) <= 128 and "." not in legal and " " not in legal
    assert reading.request["tool_choice"]["name"] == legal and reading.form.names.original(legal) == name


def test_the_longest_legal_name_stays() -> None:
    assert tools(function("x" * 128))[0]["name"] == "x" * 128


def test_a_name_is_the_same_in_tools_and_history() -> None:
    reading = read(USER, calls(("1", "a.b", "{}")), result("1"), tools=[function("a.b")])
    assert reading.request["messages"][1]["content"][0]["name"] == reading.request["tools"][0]["name"]


def test_tools_in_other_shapes() -> None:
    expected = [{"name": "look", "input_schema": SCHEMA}]
    assert tools({"function": {"name": "look", "parameters": SCHEMA}}) == expected  # no type
    assert tools({"type": "function", "name": "look", "parameters": SCHEMA}) == expected  # Responses
    assert tools({"name": "look", "input_schema": SCHEMA}) == expected  # Anthropic's
    assert tools({"type": "custom", "name": "look", "input_schema": SCHEMA}) == expected


@pytest.mark.parametrize(
    "tool",
    [
        {"type": "web_search_20250305", "name": "web_search", "max_uses": 3},
        {"type": "bash_20250124", "name": "bash"},
        {"type": "text_editor_20250728", "name": "str_replace_based_edit_tool"},
        {"type": "computer_20251124", "name": "computer", "display_width_px": 1024, "display_height_px": 768},
        {"type": "of_tomorrow_20270101", "name": "new"},
    ],
)
def test_a_tool_that_anthropic_defines_is_passed_on(tool: dict[str, Any]) -> None:
    assert tools(tool) == [tool]


@pytest.mark.parametrize("place", ["outside", "inside"])
def test_a_tool_may_carry_a_breakpoint(place: str) -> None:
    mark = {"type": "ephemeral"}
    tool = {**function(), "cache_control": mark} if place == "outside" else function(cache_control=mark)
    assert tools(tool)[0]["cache_control"] == mark


@pytest.mark.parametrize(
    "parameters", [{"anyOf": 5}, {"anyOf": [5, {"properties": [1]}]}, {"anyOf": [{}], "properties": "x"}]
)
def test_a_schema_that_makes_no_sense_is_still_an_object(parameters: Any) -> None:
    assert tools(function("f", parameters))[0]["input_schema"]["type"] == "object"


# --- strict ---


def test_a_strict_function_is_strict_with_its_schema_closed() -> None:
    (tool,) = tools(function("f", SCHEMA, strict=True))
    assert tool["strict"] is True and tool["input_schema"] == {**SCHEMA, "additionalProperties": False}


@pytest.mark.parametrize("strict", [False, None])
def test_one_that_is_not_strict_keeps_its_schema(strict: Any) -> None:
    schema = {**SCHEMA, "minProperties": 1}
    assert tools(function("f", schema, strict=strict)) == [{"name": "f", "input_schema": schema}]


def test_a_schema_that_cannot_be_strict_is_sent_as_it_is_and_named() -> None:
    recursive = {"type": "object", "properties": {"a": {"$ref": "#/$defs/A"}}, "$defs": {"A": {"$ref": "#/$defs/A"}}}
    reading = read(tools=[function("f", recursive, strict=True)])
    assert reading.request["tools"] == [{"name": "f", "input_schema": recursive}]
    assert str(reading.receipt) == "tools.strict=dropped"


def test_only_so_many_tools_can_be_strict() -> None:
    reading = read(tools=[function(f"f{number}", SCHEMA, strict=True) for number in range(MOST_STRICT + 2)])
    assert sum("strict" in tool for tool in reading.request["tools"]) == MOST_STRICT
    assert str(reading.receipt) == "tools.strict=dropped(over 20)"


NULLABLE = {
    "type": "object",
    "properties": {f"p{number}": {"type": ["string", "null"]} for number in range(6)},
    "required": [f"p{number}" for number in range(6)],
}


def test_the_apis_limits_hold_for_all_the_schemas_of_a_request() -> None:
    reading = read(tools=[function(f"f{number}", NULLABLE, strict=True) for number in range(3)])
    assert ["strict" in tool for tool in reading.request["tools"]] == [True, True, False]
    assert str(reading.receipt) == "tools.strict=dropped"


def test_the_form_of_the_answer_has_its_share_first() -> None:
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": NULLABLE}}
    tools = [function(f"f{number}", NULLABLE, strict=True) for number in range(2)]
    reading = read(tools=tools, response_format=form)
    assert "format" in reading.request["output_config"]
    assert ["strict" in tool for tool in reading.request["tools"]] == [True, False]


# --- free text ---


def test_a_free_text_tool_takes_one_text() -> None:
    reading = read(tools=[CUSTOM])
    schema = {"type": "object", "properties": {"input": {"type": "string"}}, "required": ["input"]}
    assert reading.request["tools"] == [{"name": "patch", "description": "Changes files.", "input_schema": schema}]
    assert reading.form.custom == {"patch"} and str(reading.receipt) == "tools.custom=emulated"


@pytest.mark.parametrize("nested", [True, False])
def test_its_grammar_is_told_in_words(nested: bool) -> None:
    grammar = {"syntax": "lark", "definition": "start: /x+/"}
    form = {"type": "grammar", "grammar": grammar} if nested else {"type": "grammar", **grammar}
    reading = read(tools=[{"type": "custom", "custom": {"name": "patch", "format": form}}])
    assert reading.request["tools"][0]["description"] == ("The input follows this lark grammar exactly:\nstart: /x+/")
    assert str(reading.receipt) == "tools.custom=emulated(grammar described)"


@pytest.mark.parametrize("form", ["x", {"type": "grammar", "grammar": "x"}, {"type": "grammar"}, [], None])
def test_a_grammar_of_another_shape_is_no_reason_to_fail(form: Any) -> None:
    assert tools({"type": "custom", "custom": {"name": "patch", "format": form}, "function": "x"})[0]["name"] == "patch"


def test_free_text_needs_no_description() -> None:
    assert tools({"type": "custom", "custom": {"name": "patch", "format": {"type": "text"}}})[0]["description"] == (
        "patch"
    )


# --- the choice ---


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        (None, None),
        ("auto", {"type": "auto"}),
        ("none", {"type": "none"}),
        ("required", {"type": "any"}),
        ("any", {"type": "any"}),
        ({"type": "function", "function": {"name": "look"}}, {"type": "tool", "name": "look"}),
        ({"type": "function", "name": "look"}, {"type": "tool", "name": "look"}),
        ({"function": {"name": "look"}}, {"type": "tool", "name": "look"}),
        ({"type": "tool", "name": "look"}, {"type": "tool", "name": "look"}),
        ({"type": "auto"}, {"type": "auto"}),
        ({"type": "any"}, {"type": "any"}),
        ({"type": "none"}, {"type": "none"}),
    ],
)
def test_the_choice_in_every_form(given: Any, sent: Any) -> None:
    assert choice(given) == sent


def test_a_free_text_tool_can_be_chosen() -> None:
    assert choice({"type": "custom", "custom": {"name": "patch"}}, CUSTOM) == {"type": "tool", "name": "patch"}


@pytest.mark.parametrize(("mode", "sent"), [("auto", "auto"), ("required", "any"), (None, "auto")])
@pytest.mark.parametrize("nested", [True, False])
def test_allowed_tools_are_the_only_ones_sent(mode: Any, sent: str, nested: bool) -> None:
    allowed = {"mode": mode, "tools": [{"type": "function", "function": {"name": "find"}}, {"name": "gone"}, 5]}
    given = {"type": "allowed_tools", **({"allowed_tools": allowed} if nested else allowed)}
    request = read(tools=[function("look"), function("find")], tool_choice=given).request
    assert [tool["name"] for tool in request["tools"]] == ["find"]
    assert request["tool_choice"] == {"type": sent}


@pytest.mark.parametrize("given", ["auto", "none", {"type": "none"}])
def test_a_choice_without_tools_is_left_out(given: Any) -> None:
    assert "tool_choice" not in read(tool_choice=given).request


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        (None, {"type": "auto", "disable_parallel_tool_use": True}),
        ("required", {"type": "any", "disable_parallel_tool_use": True}),
        ("none", {"type": "none"}),
    ],
)
def test_calls_one_at_a_time(given: Any, sent: Any) -> None:
    assert choice(given, parallel_tool_calls=False) == sent


def test_one_at_a_time_means_nothing_without_tools_and_is_the_default_otherwise() -> None:
    assert "tool_choice" not in read(parallel_tool_calls=False).request
    assert choice(None, parallel_tool_calls=True) is None


# --- the API of 2023 ---


def test_functions_of_2023_are_tools_called_one_at_a_time() -> None:
    reading = read(functions=[{"name": "look", "parameters": SCHEMA}])
    assert reading.request["tools"] == [{"name": "look", "input_schema": SCHEMA}]
    assert reading.request["tool_choice"] == {"type": "auto", "disable_parallel_tool_use": True}
    assert reading.form.legacy


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ("none", {"type": "none"}),
        ("auto", {"type": "auto", "disable_parallel_tool_use": True}),
        ({"name": "look"}, {"type": "tool", "name": "look", "disable_parallel_tool_use": True}),
    ],
)
def test_function_call_is_the_choice_of_2023(given: Any, sent: Any) -> None:
    assert read(functions=[{"name": "look"}], function_call=given).request["tool_choice"] == sent


def test_tools_win_over_functions() -> None:
    reading = read(tools=[function("find")], functions=[{"name": "look"}])
    assert [tool["name"] for tool in reading.request["tools"]] == ["find"] and not reading.form.legacy


# --- web search ---


@pytest.mark.parametrize(("size", "uses"), [(None, 5), ("low", 2), ("medium", 5), ("high", 10), ("other", 5)])
def test_web_search_is_anthropics_own(size: Any, uses: int) -> None:
    options = {} if size is None else {"search_context_size": size}
    assert read(web_search_options=options).request["tools"] == [
        {"type": "web_search_20250305", "name": "web_search", "max_uses": uses}
    ]


@pytest.mark.parametrize("nested", [True, False])
def test_the_place_of_a_search(nested: bool) -> None:
    place = {"city": "Bern", "country": "CH", "timezone": "Europe/Zurich", "region": None}
    location = {"type": "approximate", **({"approximate": place} if nested else place)}
    (tool,) = read(web_search_options={"user_location": location}).request["tools"]
    assert tool["user_location"] == {
        "type": "approximate", "city": "Bern", "country": "CH", "timezone": "Europe/Zurich"
    }  # fmt: skip


def test_a_place_that_says_nothing_is_left_out() -> None:
    (tool,) = read(web_search_options={"user_location": {"type": "approximate", "approximate": {}}}).request["tools"]
    assert "user_location" not in tool


def test_a_search_is_offered_once() -> None:
    own = {"type": "web_search_20260209", "name": "web_search"}
    assert tools(own, web_search_options={}) == [own]


@pytest.mark.parametrize("location", ["Bern", {"approximate": "Bern"}, [], {"approximate": {"city": 5}}])
def test_a_place_of_another_shape_is_left_out(location: Any) -> None:
    assert "user_location" not in read(web_search_options={"user_location": location}).request["tools"][0]


def test_a_search_stands_beside_other_tools_and_after_them() -> None:
    request = read(tools=[function("look")], web_search_options={}).request
    assert [tool["name"] for tool in request["tools"]] == ["look", "web_search"]
