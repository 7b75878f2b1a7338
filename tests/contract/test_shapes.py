"""Requests in the shapes that aider, Cursor and others send are understood: raw, as they cross the wire."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.contract.environment import SANDBOX
from tests.live import Server

MODEL = "claude-sonnet-5-5"
EPHEMERAL = {"cache_control": {"type": "ephemeral"}}
READ_FILE = {
    "name": "read_file",
    "description": "Reads a file",
    "input_schema": {"type": "object", "properties": {"path": {"type": "string"}}, "required": ["path"]},
}

Json = dict[str, Any]


def user(text: Any) -> Json:
    return {"role": "user", "content": text}


@pytest.fixture(scope="module")
def client(server: Server) -> Iterator[httpx.Client]:
    headers = {"authorization": f"Bearer {server.test_key}"}
    with httpx.Client(base_url=server.base, headers=headers, timeout=30) as client:
        yield client


def ask(client: httpx.Client, *messages: Json, **more: Any) -> Json:
    """The first choice of a whole answer."""
    answer = client.post("/chat/completions", json={"model": MODEL, "messages": messages, **more})
    assert answer.status_code == 200, answer.text
    choice: Json = answer.json()["choices"][0]
    return choice


def called(choice: Json) -> list[Any]:
    return [
        [call["function"]["name"], json.loads(call["function"]["arguments"])]
        for call in choice["message"].get("tool_calls") or []
    ]


# aider


def test_a_reminder_after_the_last_message_does_not_hide_it(client: httpx.Client) -> None:
    reminder = {"role": "system", "content": "Answer with whole files only."}
    said = ask(client, {"role": "system", "content": "You code."}, user("Write a test"), reminder, temperature=0)
    assert "Write a test" in said["message"]["content"]


def test_parts_may_be_marked_for_the_cache(client: httpx.Client) -> None:
    system = {"role": "system", "content": [{"type": "text", "text": "You code.", **EPHEMERAL}]}
    filler = {"role": "assistant", "content": "Ok."}
    said = ask(
        client,
        system,
        user([{"type": "text", "text": "The repository", **EPHEMERAL}]),
        filler,
        user([{"type": "text", "text": "[sandbox:echo] Write a test", **EPHEMERAL}]),
    )
    assert said["message"]["content"] == "Write a test"


def test_one_token_keeps_the_cache_warm(client: httpx.Client) -> None:
    said = ask(client, user([{"type": "text", "text": "Hello", **EPHEMERAL}]), max_tokens=1)
    assert said["finish_reason"] == "length"
    assert len(said["message"]["content"]) == 4


def test_edits_come_as_a_function_of_2023(client: httpx.Client) -> None:
    function = {"name": "write_file", "parameters": READ_FILE["input_schema"]}
    said = ask(client, user("Write 'a.py'"), functions=[function], function_call={"name": "write_file"})
    assert said["message"]["function_call"]["name"] == "write_file"
    assert json.loads(said["message"]["function_call"]["arguments"]) == {"path": "a.py"}


# Cursor


def test_tools_in_anthropics_shape_are_called(client: httpx.Client) -> None:
    said = ask(client, user("`read_file` 'a.py'"), tools=[READ_FILE], tool_choice={"type": "auto"})
    assert (called(said), said["finish_reason"]) == ([["read_file", {"path": "a.py"}]], "tool_calls")


@pytest.mark.parametrize("choice", [{"type": "any"}, {"type": "tool", "name": "read_file"}])
def test_a_choice_in_anthropics_shape_forces_the_call(client: httpx.Client, choice: Json) -> None:
    assert called(ask(client, user("Hello"), tools=[READ_FILE], tool_choice=choice)) == [
        ["read_file", {"path": "path"}]
    ]


def test_a_history_in_anthropics_shape_is_understood(client: httpx.Client) -> None:
    call = {"type": "tool_use", "id": "toolu_01", "name": "read_file", "input": {"path": "a.py"}}
    result = {"type": "tool_result", "tool_use_id": "toolu_01", "content": [{"type": "text", "text": "print(1)"}]}
    said = ask(
        client,
        user("`read_file` 'a.py'"),
        {"role": "assistant", "content": [{"type": "text", "text": "I look."}, call]},
        user([result]),
        tools=[READ_FILE],
    )
    assert said["message"]["content"] == f"{SANDBOX}You said: print(1)"


def test_a_system_prompt_beside_the_messages_is_not_lost(client: httpx.Client) -> None:
    prompt = "Answer as a pirate, and at length. " * 20
    body = {"model": MODEL, "messages": [user("Hello")]}
    plain, told = (client.post("/chat/completions", json=body | more) for more in ({}, {"system": prompt}))
    assert told.status_code == 400 or (
        told.json()["usage"]["prompt_tokens"] > plain.json()["usage"]["prompt_tokens"] + 100
    )


# Others


def test_an_assistants_white_space_beside_its_calls_is_no_text(client: httpx.Client) -> None:
    call = {"id": "call_1", "type": "function", "function": {"name": "read_file", "arguments": '{"path":"a.py"}'}}
    result = {"role": "tool", "tool_call_id": "call_1", "content": "print(1)"}
    asked = user("`read_file` please")
    said = ask(client, asked, {"role": "assistant", "content": " ", "tool_calls": [call]}, result, tools=[READ_FILE])
    assert said["message"]["content"] == f"{SANDBOX}You said: print(1)"


def test_results_with_pictures_arrive_as_results(client: httpx.Client) -> None:
    png = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
    call = {"id": "call_1", "type": "function", "function": {"name": "read_file", "arguments": "{}"}}
    picture = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{png}"}}
    said = ask(
        client,
        user("`read_file` please"),
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_1", "content": "(see below)"},
        user([picture]),
        tools=[READ_FILE],
    )
    assert "1 image, image/png" in said["message"]["content"]
    assert "(see below)" in said["message"]["content"]
