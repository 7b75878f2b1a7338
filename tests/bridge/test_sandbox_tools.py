"""The sandbox calls tools, answers in JSON, sees files, thinks and searches as Claude does."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import httpx
import pytest

from bridge.dialects.tools import JSON_ONLY
from tests.bridge.sandbox_client import Json, events, fold, refused, request, text_of, whole


def tool(name: str, **properties: str) -> Json:
    known = {key: {"type": kind} for key, kind in properties.items()}
    return {"name": name, "input_schema": {"type": "object", "properties": known, "required": list(known)}}


ADD, NOW = tool("add", a="integer", b="integer"), tool("now")
SEARCH = {"type": "web_search_20250305", "name": "web_search"}
BOOK = {"type": "object", "properties": {"title": {"type": "string"}}, "required": ["title"]}
ADAPTIVE = {"type": "adaptive", "display": "summarized"}


def calls(message: Json) -> list[Any]:
    return [(block["name"], block["input"]) for block in message["content"] if block["type"] == "tool_use"]


def kinds(message: Json) -> list[str]:
    return [block["type"] for block in message["content"]]


def answered(message: Json, asked: str, *results: str) -> list[Json]:
    """The conversation that goes on with results for the calls of `message`."""
    used = [block for block in message["content"] if block["type"] == "tool_use"]
    content = [
        {"type": "tool_result", "tool_use_id": block["id"], "content": result}
        for block, result in zip(used, results, strict=True)
    ]
    return [
        {"role": "user", "content": asked},
        {"role": "assistant", "content": message["content"]},
        {"role": "user", "content": content},
    ]


# Who is called


@pytest.mark.parametrize(
    ("text", "fields", "called"),
    [
        ("Hello", {}, []),
        ("Please `add` 5 and 7", {}, [("add", {"a": 5, "b": 7})]),
        ("Now add 5 and 7", {}, [("add", {"a": 5, "b": 7})]),
        ("addition, nowhere, add_up, re-add", {}, []),
        ("`add` 5 and 7 `now`", {}, [("add", {"a": 5, "b": 7}), ("now", {})]),
        (
            "`add` `now`",
            {"tool_choice": {"type": "auto", "disable_parallel_tool_use": True}},
            [("add", {"a": 1, "b": 1})],
        ),
        ("`add` `now`", {"tool_choice": {"type": "none"}}, []),
        ("[sandbox:tool]", {"tool_choice": {"type": "none"}}, []),
        ("Hello", {"tool_choice": {"type": "any"}}, [("add", {"a": 1, "b": 1})]),
        ("`now`", {"tool_choice": {"type": "any"}}, [("now", {})]),
        ("`add`", {"tool_choice": {"type": "tool", "name": "now"}}, [("now", {})]),
        ("[sandbox:tool]", {}, [("add", {"a": 1, "b": 1})]),
        ("[sandbox:tool name=now]", {}, [("now", {})]),
        ("[sandbox:tool name=now]", {"tool_choice": {"type": "any"}}, [("now", {})]),
        ("[sandbox:tools count=3] 4 5 6 7", {}, [("add", {"a": 4, "b": 5}), ("now", {}), ("add", {"a": 6, "b": 7})]),
    ],
)
async def test_the_right_tools_are_called_with_fitting_arguments(
    api: httpx.AsyncClient, text: str, fields: Mapping[str, Any], called: list[Any]
) -> None:
    message = await whole(api, text, tools=[ADD, NOW], **fields)
    assert calls(message) == called
    assert message["stop_reason"] == ("tool_use" if called else "end_turn")
    assert kinds(message) == (["tool_use"] * len(called) or ["text"])


@pytest.mark.parametrize(
    ("name", "text", "called"),
    [
        ("get_weather", "What's the weather like?", True),
        ("get_weather", "Whether it rains?", False),
        ("weather_now", "What's the weather like?", False),
        ("get_it", "Is it so?", False),
    ],
)
async def test_a_tool_that_gets_something_is_called_by_that(
    api: httpx.AsyncClient, name: str, text: str, called: bool
) -> None:
    tool = {"name": name, "input_schema": {"type": "object", "properties": {}}}
    message = await whole(api, text, tools=[tool])
    assert (message["stop_reason"] == "tool_use") is called


async def test_a_call_can_come_with_words_before_it(api: httpx.AsyncClient) -> None:
    message = await whole(api, "[sandbox:tool][sandbox:echo] I see", tools=[ADD])
    assert (kinds(message), text_of(message)) == (["text", "tool_use"], "I see")


@pytest.mark.parametrize(
    ("text", "fields", "explained"),
    [
        ("[sandbox:tool]", {}, "[sandbox:tool] needs `tools` in the request."),
        ("[sandbox:tools]", {"tools": [SEARCH]}, "[sandbox:tools] needs `tools` in the request."),
        ("[sandbox:tool name=x]", {"tools": [ADD, NOW]}, "There is no tool x. There are add, now."),
        (
            "[sandbox:tool name=]",
            {"tools": [ADD]},
            "[sandbox:tool] cannot take 'name='. It takes name=…, times=1…1000.",
        ),
    ],
)
async def test_a_call_that_is_not_possible_is_explained(
    api: httpx.AsyncClient, text: str, fields: Mapping[str, Any], explained: str
) -> None:
    assert text_of(await whole(api, text, **fields)).endswith(explained)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"tool_choice": {"type": "any"}}, "tool_choice: tool_choice may only be specified while providing tools"),
        (
            {"tools": [ADD], "tool_choice": {"type": "tool", "name": "x"}},
            "tool_choice: Tool 'x' not found in provided tools",
        ),
        ({"tools": [ADD], "tool_choice": {"type": "some"}}, "tool_choice.type: Invalid enum value 'some'"),
        (
            {"tools": [{"name": "x", "input_schema": {"type": "picture"}}], "tool_choice": {"type": "any"}},
            "tools.0.custom.input_schema: JSON schema is invalid (KeyError). It must match JSON Schema draft 2020-12.",
        ),
    ],
)
async def test_a_request_with_tools_that_the_api_would_refuse_is_refused(
    api: httpx.AsyncClient, fields: Mapping[str, Any], said: str
) -> None:
    assert await refused(api, request(**fields)) == said


# The loop


async def test_results_are_answered_by_a_text_that_has_them(api: httpx.AsyncClient) -> None:
    asked = "`add` 5 and 7, then tell `now`"
    first = await whole(api, asked, tools=[ADD, NOW])
    last = await whole(api, messages=answered(first, asked, "twelve", "noon"), tools=[ADD, NOW])
    assert (last["stop_reason"], text_of(last)[-11:]) == ("end_turn", "twelve\nnoon")


async def test_a_tool_is_called_again_when_it_is_asked_for_again(api: httpx.AsyncClient) -> None:
    asked = "`add` 5 and 7"
    first = await whole(api, asked, tools=[ADD])
    turns = [*answered(first, asked, "twelve"), {"role": "assistant", "content": "12"}]
    again = await whole(api, messages=[*turns, {"role": "user", "content": "`add` 1 and 2"}], tools=[ADD])
    assert calls(again) == [("add", {"a": 1, "b": 2})]


async def test_one_after_the_other_when_they_may_not_be_parallel(api: httpx.AsyncClient) -> None:
    fields = {"tools": [ADD, NOW], "tool_choice": {"type": "auto", "disable_parallel_tool_use": True}}
    first = await whole(api, "`add` `now`", **fields)
    second = await whole(api, messages=answered(first, "`add` `now`", "2"), **fields)
    assert [name for name, _ in calls(second)] == ["now"]


async def test_forced_calls_go_through_the_tools_and_stay_with_the_last(api: httpx.AsyncClient) -> None:
    fields = {"tools": [ADD, NOW], "tool_choice": {"type": "any"}}
    first = await whole(api, "Hello", **fields)
    turns = answered(first, "Hello", "2")
    second = await whole(api, messages=turns, **fields)
    third = await whole(api, messages=[*turns, *answered(second, "", "noon")[1:]], **fields)
    assert [calls(message)[0][0] for message in (first, second, third)] == ["add", "now", "now"]


async def test_the_tool_marker_counts_rounds(api: httpx.AsyncClient) -> None:
    asked = "[sandbox:tool times=2] go"
    first = await whole(api, asked, tools=[ADD])
    turns = answered(first, asked, "one")
    second = await whole(api, messages=turns, tools=[ADD])
    last = await whole(api, messages=[*turns, *answered(second, "", "two")[1:]], tools=[ADD])
    assert [message["stop_reason"] for message in (first, second, last)] == ["tool_use", "tool_use", "end_turn"]
    assert text_of(last).endswith("You said: two")


# The wire


async def test_arguments_are_streamed_in_pieces_the_first_of_them_empty(api: httpx.AsyncClient) -> None:
    stream = await events(api, "`add` 123456 and 7", tools=[ADD])
    start = next(event for event in stream if event["type"] == "content_block_start")
    pieces = [event["delta"] for event in stream if event["type"] == "content_block_delta"]
    assert start["content_block"]["input"] == {}
    assert {piece["type"] for piece in pieces} == {"input_json_delta"}
    assert pieces[0]["partial_json"] == ""
    assert len(pieces) > 2
    assert json.loads("".join(piece["partial_json"] for piece in pieces)) == {"a": 123456, "b": 7}


async def test_without_arguments_nothing_but_the_empty_piece_is_streamed(api: httpx.AsyncClient) -> None:
    stream = await events(api, "`now`", tools=[NOW])
    assert [event["delta"]["partial_json"] for event in stream if event["type"] == "content_block_delta"] == [""]


@pytest.mark.parametrize(
    "text",
    [
        "`add` 5 and 7",
        "[sandbox:tools count=3] 1 2 3",
        "[sandbox:tool][sandbox:max_tokens]",
        "[sandbox:think][sandbox:tool][sandbox:echo] So",
        "[sandbox:cite][sandbox:echo] It is so",
        "[sandbox:pause] Go",
        "[sandbox:fence] {}",
    ],
)
@pytest.mark.parametrize("fields", [{}, {"max_tokens": 9}, {"max_tokens": 30}])
async def test_the_stream_and_the_whole_answer_are_the_same_message(
    api: httpx.AsyncClient, text: str, fields: Mapping[str, Any]
) -> None:
    made = [await whole(api, text, tools=[ADD, NOW], **fields)]
    made.append(fold(await events(api, text, tools=[ADD, NOW], **fields)))
    for message in made:
        for block in [message, *message["content"]]:
            assert block.pop("id", "").split("_sandbox")[0] in ("", "msg", "toolu", "srvtoolu")
            block.pop("tool_use_id", None)
    assert made[0] == made[1]


async def test_a_call_that_is_cut_has_half_its_json(api: httpx.AsyncClient) -> None:
    stream = await events(api, "[sandbox:tool][sandbox:max_tokens]", tools=[ADD])
    said = "".join(event["delta"].get("partial_json", "") for event in stream if event["type"] == "content_block_delta")
    assert (said, stream[-2]["delta"]["stop_reason"]) == ('{"a":1', "max_tokens")


# The form of a text


async def test_a_format_is_kept(api: httpx.AsyncClient) -> None:
    config = {"format": {"type": "json_schema", "schema": BOOK}}
    assert json.loads(text_of(await whole(api, output_config=config))) == {"title": "title"}
    assert text_of(await whole(api, "[sandbox:echo] no", output_config=config)) == "no"


@pytest.mark.parametrize(
    ("system", "text", "said"),
    [
        (JSON_ONLY, "keys 'a' and 'b'", {"a": "a", "b": "b"}),
        (f"{JSON_ONLY} It must be valid against this JSON Schema:\n{json.dumps(BOOK)}", "Hi", {"title": "title"}),
        (f"Follow this: {json.dumps(BOOK)} and be brief {{}}.", "Hi", {"title": "title"}),
    ],
)
async def test_an_instruction_for_json_is_followed(api: httpx.AsyncClient, system: str, text: str, said: Json) -> None:
    assert json.loads(text_of(await whole(api, text, system=system))) == said
    fenced = text_of(await whole(api, f"[sandbox:fence] {text}", system=[{"type": "text", "text": system}]))
    assert fenced.startswith("```json\n{") and fenced.endswith("}\n```")


# What it sees, thinks and finds


async def test_files_are_noticed(api: httpx.AsyncClient) -> None:
    png = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AA=="}}
    page = {"type": "document", "source": {"type": "url", "url": "https://example.com/a.pdf"}}
    assert "You sent 2 image, image/png; 1 document, url. You said: Hi" in text_of(
        await whole(api, [png, png, page, {"type": "text", "text": "Hi"}])
    )
    result = {"type": "tool_result", "tool_use_id": "toolu_1", "content": [png, {"type": "text", "text": "done"}]}
    assert text_of(await whole(api, [result, {"type": "text", "text": "So?"}])).endswith(
        "You sent 1 image, image/png. The tools answered: done You said: So?"
    )


@pytest.mark.parametrize(
    ("thinking", "effort", "thought"),
    [
        (ADAPTIVE, "low", True),
        ({"type": "adaptive"}, "low", False),
        ({"type": "enabled", "budget_tokens": 1024}, None, True),
        ({"type": "disabled"}, "low", None),
        (ADAPTIVE, None, None),
        (None, "low", None),
    ],
)
async def test_it_thinks_when_it_is_to_and_shows_it_when_it_may(
    api: httpx.AsyncClient, thinking: Json | None, effort: str | None, thought: bool | None
) -> None:
    message = await whole(api, thinking=thinking, output_config={"effort": effort})
    blocks = [block for block in message["content"] if block["type"] == "thinking"]
    assert len(blocks) == (thought is not None)
    for block in blocks:
        assert (bool(block["thinking"]), bool(block["signature"])) == (thought, True)
        assert message["usage"]["output_tokens_details"] == {"thinking_tokens": 20}


async def test_thinking_comes_before_a_call(api: httpx.AsyncClient) -> None:
    message = await whole(api, "`now`", tools=[NOW], thinking=ADAPTIVE, output_config={"effort": "high"})
    assert kinds(message) == ["thinking", "tool_use"]


async def test_a_citation_names_a_page_that_was_found(api: httpx.AsyncClient) -> None:
    stream = await events(api, "[sandbox:cite][sandbox:echo] It is so")
    message = fold(stream)
    assert kinds(message) == ["server_tool_use", "web_search_tool_result", "text"]
    use, found, said = message["content"]
    assert found["tool_use_id"] == use["id"]
    (citation,) = said["citations"]
    assert (citation["type"], citation["url"]) == ("web_search_result_location", found["content"][0]["url"])
    assert stream[-2]["usage"]["server_tool_use"] == {"web_search_requests": 1}


async def test_it_pauses_once(api: httpx.AsyncClient) -> None:
    text = "[sandbox:pause][sandbox:echo] After it"
    paused = await whole(api, text, tools=[SEARCH])
    assert (kinds(paused), paused["stop_reason"]) == (["server_tool_use"], "pause_turn")
    turns = [{"role": "user", "content": text}, {"role": "assistant", "content": paused["content"]}]
    assert text_of(await whole(api, messages=turns, tools=[SEARCH])) == "After it"
