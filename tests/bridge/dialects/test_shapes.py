"""Bodies of other APIs on the chat URL."""

from __future__ import annotations

from typing import Any

import pytest

from bridge.dialects import chat
from bridge.errors import ApiError


def read(**body: Any) -> dict[str, Any]:
    return chat.read({"model": "claude-opus-5", **body}).request


def test_a_responses_body_is_a_conversation() -> None:
    request = read(
        instructions="Be kind.",
        input=[
            {"role": "user", "content": [{"type": "input_text", "text": "Weather?"}]},
            {"type": "reasoning", "summary": []},
            {"type": "function_call", "call_id": "c1", "name": "weather", "arguments": '{"city": "Oslo"}'},
            {"type": "function_call_output", "call_id": "c1", "output": "rain"},
        ],
        tools=[{"type": "function", "name": "weather", "parameters": {"type": "object", "properties": {}}}],
        max_output_tokens=9,
        text={"format": {"type": "json_schema", "name": "x", "schema": {"type": "object", "properties": {}}}},
    )
    assert request["system"][0]["text"] == "Be kind."
    assert [turn["role"] for turn in request["messages"]] == ["user", "assistant", "user"]
    assert request["messages"][1]["content"][0]["input"] == {"city": "Oslo"}
    assert request["messages"][2]["content"][0]["content"] == [{"type": "text", "text": "rain"}]
    assert (request["max_tokens"], request["tools"][0]["name"]) == (9, "weather")
    assert request["output_config"]["format"]["type"] == "json_schema"


def test_an_input_that_is_a_text_is_what_the_user_says() -> None:
    assert read(input="Hello")["messages"] == [{"role": "user", "content": [{"type": "text", "text": "Hello"}]}]


def test_a_body_in_anthropics_shape_is_one_too() -> None:
    request = read(
        system=[{"type": "text", "text": "Be kind."}],
        messages=[
            {"role": "user", "content": "Weather?"},
            {"role": "assistant", "content": [{"type": "tool_use", "id": "t1", "name": "weather", "input": {}}]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "content": "rain"}]},
        ],
        tools=[{"name": "weather", "description": "d", "input_schema": {"type": "object", "properties": {}}}],
        tool_choice={"type": "any"},
        stop_sequences=["END"],
        max_tokens=5,
    )
    assert request["system"] == [{"type": "text", "text": "Be kind."}]
    (result,) = request["messages"][2]["content"]
    assert (result["tool_use_id"], result["content"]) == ("t1", [{"type": "text", "text": "rain"}])
    assert (request["tool_choice"], request["stop_sequences"]) == ({"type": "any"}, ["END"])


@pytest.mark.parametrize(
    "body", [{"input": 5}, {"input": [5]}, {"input": []}, {"system": "x"}, {"messages": 5, "system": "x"}]
)
def test_what_is_neither_is_a_400(body: dict[str, Any]) -> None:
    with pytest.raises(ApiError) as caught:
        read(**body)
    assert caught.value.status == 400
