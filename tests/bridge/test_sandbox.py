"""The sandbox answers as Anthropic's API would, whatever it is asked."""

from __future__ import annotations

import asyncio
import json
import math
import re
from collections.abc import Mapping

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.sandbox import Sandbox
from bridge.sandbox_request import ERRORS
from bridge.sandbox_script import MARKERS
from tests.bridge.sandbox_client import (
    HAIKU,
    OPUS,
    Clock,
    Json,
    events,
    fold,
    frames,
    refused,
    request,
    row,
    text_of,
    texts,
    whole,
)

# What the real API refuses


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({}, "model: Field required"),
        ({"model": OPUS, "max_tokens": 1}, "messages: Field required"),
        ({"model": OPUS, "messages": [{"role": "user", "content": "Hi"}]}, "max_tokens: Field required"),
        (request(max_tokens="many"), "max_tokens: Expected `int`, got `str`"),
        (request(max_tokens=-1), "max_tokens: Expected `int` >= 0"),
        (request(max_tokens=True), "max_tokens: Expected `int`, got `bool`"),
        (
            request(max_tokens=128_001),
            f"max_tokens: 128001 > 128000, which is the maximum allowed number of {{}} {OPUS}",
        ),
        (request(messages=[]), "messages: Expected `array` of length >= 1"),
        (request(messages="Hi"), "messages: Expected `array`, got `str`"),
        (request(messages=[{"content": "Hi"}]), "messages.0.role: Field required"),
        (request(messages=[{"role": "tool", "content": "Hi"}]), "messages.0.role: Invalid enum value 'tool'"),
        (request(messages=[{"role": "user"}]), "messages.0.content: Field required"),
        (request([{"text": "Hi"}]), "messages.0.content.0.type: Field required"),
        (request([{"type": "text", "text": 7}]), "messages.0.content.0.text: Expected `str`, got `int`"),
        (request(""), "messages.0: all messages must have non-empty content {}"),
        (request([]), "messages.0: all messages must have non-empty content {}"),
        (request(" \n"), "messages: text content blocks must contain non-whitespace text"),
        (request([{"type": "text", "text": ""}]), "messages: text content blocks must contain non-whitespace text"),
        (request(system=[{"type": "text", "text": " "}]), "messages: text content blocks {}"),
        (request(temperature=1.5), "temperature: Expected `float` <= 1.0"),
        (request(stop_sequences=["\n"]), "stop_sequences: each stop sequence must contain non-whitespace"),
    ],
)
async def test_a_request_the_api_would_refuse_is_refused_with_the_place(
    api: httpx.AsyncClient, body: object, said: str
) -> None:
    pattern = re.escape(said).replace(r"\{\}", ".*")
    assert re.fullmatch(pattern, await refused(api, body))


@pytest.mark.parametrize("body", [b"", b"{", b"null", b"[]", b'{"model": "\xff"}', b"[" * 100_000])
async def test_a_body_that_is_not_a_json_object_is_a_400(api: httpx.AsyncClient, body: bytes) -> None:
    response = await api.post("/v1/messages", content=body)
    assert response.status_code == 400
    assert response.json()["error"]["type"] == "invalid_request_error"


async def test_content_nested_deeper_than_python_can_follow_is_a_400(api: httpx.AsyncClient) -> None:
    for depth in (100, 400, 600, 900, 1200):
        inside = '[{"type":"tool_result","content":' * depth + '"deep"' + "}]" * depth
        body = f'{{"model":"{OPUS}","max_tokens":9,"messages":[{{"role":"user","content":{inside}}}]}}'
        response = await api.post("/v1/messages", content=body)
        assert response.status_code in (200, 400)
    assert response.status_code == 400


@pytest.mark.parametrize("path", ["/v1/messages", "/v1/messages/count_tokens"])
async def test_an_unknown_model_is_not_found(api: httpx.AsyncClient, path: str) -> None:
    response = await api.post(path, json=request(model="claude-none"))
    assert response.status_code == 404
    assert response.json()["error"] == {"type": "not_found_error", "message": "model: claude-none"}


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/"), ("GET", "/v1/messages"), ("POST", "/v1/models"), ("POST", "/v1/complete")]
)
async def test_any_other_path_is_not_found_in_anthropics_shape(api: httpx.AsyncClient, method: str, path: str) -> None:
    response = await api.request(method, path)
    body = response.json()
    assert (response.status_code, body["type"], body["error"]["type"]) == (404, "error", "not_found_error")
    assert body["request_id"] == response.headers["request-id"]


# What it answers


async def test_without_a_marker_it_says_that_it_is_the_sandbox_and_what_it_heard(api: httpx.AsyncClient) -> None:
    message = await whole(api, "Hello there")
    said = "This answer comes from Bridge's sandbox, not from Claude. You said: Hello there"
    assert message["content"] == [{"type": "text", "text": said}]
    assert message["model"] == OPUS
    assert message["id"].startswith("msg_sandbox")
    assert (message["type"], message["role"], message["stop_reason"]) == ("message", "assistant", "end_turn")
    assert message["usage"]["input_tokens"] == 3
    assert message["usage"]["output_tokens"] == math.ceil(len(said) / 4)


async def test_a_long_question_is_repeated_in_part(api: httpx.AsyncClient) -> None:
    said = text_of(await whole(api, "x" * 1000))
    assert said.endswith("You said: " + "x" * 399 + "…")


async def test_a_stream_has_anthropics_events_in_anthropics_order(api: httpx.AsyncClient) -> None:
    stream = await events(api, "[sandbox:echo] one two three")
    kinds = [event["type"] for event in stream]
    deltas = ["content_block_delta"] * 3
    opening, closing = ["message_start", "content_block_start", "ping"], ["content_block_stop", "message_delta"]
    assert kinds == [*opening, *deltas, *closing, "message_stop"]
    assert texts(stream) == ["one", " two", " three"]
    start = stream[0]["message"]
    assert (start["content"], start["stop_reason"], start["usage"]["output_tokens"]) == ([], None, 1)
    assert stream[-2]["usage"]["output_tokens"] == 4


@pytest.mark.parametrize(
    "text",
    [
        "Hello there",
        "[sandbox:echo]",
        "[sandbox:echo] « ça va ? » 你好\n\n\tbye  ",
        "[sandbox:lorem tokens=300]",
        "[sandbox:think tokens=9][sandbox:echo] and then",
        "[sandbox:think][sandbox:max_tokens] one two three four",
        "[sandbox:refusal]",
        "[sandbox:refusal after=2] as I was saying",
        "[sandbox:cached tokens=1000 write_5m=20 write_1h=3]",
        "[sandbox:stop][sandbox:echo] one",
        "[sandbox:nonsense]",
    ],
)
@pytest.mark.parametrize("fields", [{}, {"max_tokens": 5}, {"max_tokens": 0}, {"stop_sequences": ["STOP"]}])
async def test_the_stream_and_the_whole_answer_are_the_same_message(
    api: httpx.AsyncClient, text: str, fields: Mapping[str, object]
) -> None:
    message, folded = await whole(api, text, **fields), fold(await events(api, text, **fields))
    assert message.pop("id") != folded.pop("id")
    assert folded == message


async def test_every_answer_has_a_request_id(api: httpx.AsyncClient) -> None:
    answers = [
        await api.post("/v1/messages", json=request()),
        await api.post("/v1/messages", json=request(stream=True)),
        await api.post("/v1/messages", json={}),
        await api.post("/v1/messages/count_tokens", json=request()),
        await api.get("/v1/models"),
        await api.get("/nowhere"),
    ]
    ids = {answer.headers["request-id"] for answer in answers}
    assert len(ids) == len(answers)
    assert all(name.startswith("req_sandbox") for name in ids)


async def test_answers_are_still_to_be_read_as_those_of_a_network_are() -> None:
    for body in ({}, request()):
        asked = httpx.Request("POST", "https://api.anthropic.com/v1/messages", json=body)
        answer = await Sandbox([row(OPUS)]).handle_async_request(asked)
        read = b"".join([chunk async for chunk in answer.aiter_raw()])
        assert len(read) == int(answer.headers["content-length"]) > 0


async def test_user_messages_that_follow_each_other_are_one_turn(api: httpx.AsyncClient) -> None:
    said = [
        {"role": "user", "content": "not this"},
        {"role": "assistant", "content": "nor this"},
        {"role": "user", "content": "[sandbox:echo] one"},
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": [{"type": "text", "text": "two"}]},
        {"role": "assistant", "content": "and a prefill"},
    ]
    assert text_of(await whole(api, messages=said)) == "one\ntwo"


async def test_a_turn_of_tool_results_is_answered_by_their_text(api: httpx.AsyncClient) -> None:
    result = {"type": "tool_result", "tool_use_id": "toolu_1", "content": [{"type": "text", "text": "22 degrees"}]}
    assert text_of(await whole(api, [result])).endswith("You said: 22 degrees")


# Counting


async def test_counting_refuses_what_it_cannot_count(api: httpx.AsyncClient) -> None:
    response = await api.post("/v1/messages/count_tokens", json={"model": OPUS, "messages": []})
    assert response.status_code == 400


@pytest.mark.parametrize(
    ("fields", "tokens"),
    [
        ({"messages": [{"role": "user", "content": "x"}]}, 1),
        ({"messages": [{"role": "user", "content": "12345"}]}, 2),
        ({"messages": [{"role": "user", "content": "éé"}]}, 1),
        ({"messages": [{"role": "user", "content": "1234"}], "system": "1234"}, 2),
        ({"messages": [{"role": "user", "content": [{"type": "image", "source": {"data": "A" * 99_999}}]}]}, 1600),
        ({"messages": [{"role": "user", "content": "1234"}], "tools": [{"name": "x"}]}, 4),
    ],
)
async def test_input_tokens_are_a_quarter_of_the_bytes(
    api: httpx.AsyncClient, fields: Mapping[str, object], tokens: int
) -> None:
    counted = await api.post("/v1/messages/count_tokens", json={"model": OPUS, **fields})
    assert counted.json() == {"input_tokens": tokens}
    message = await whole(api, **fields)
    assert message["usage"]["input_tokens"] == tokens


# Models


@pytest.mark.parametrize("query", ["limit=0", "limit=1001", "limit=x", "limit=-1", "after_id=claude-none"])
async def test_a_page_that_does_not_exist_is_a_400(api: httpx.AsyncClient, query: str) -> None:
    assert (await api.get(f"/v1/models?{query}")).status_code == 400


async def test_a_model_that_does_not_exist_is_not_found(api: httpx.AsyncClient) -> None:
    assert (await api.get("/v1/models/claude-none")).status_code == 404


async def test_models_are_listed_page_by_page(api: httpx.AsyncClient) -> None:
    first = (await api.get("/v1/models?limit=1")).json()
    assert first == {"data": [row(OPUS)], "has_more": True, "first_id": OPUS, "last_id": OPUS}
    second = (await api.get("/v1/models", params={"limit": 1, "after_id": first["last_id"]})).json()
    assert second == {"data": [row(HAIKU, 64_000)], "has_more": False, "first_id": HAIKU, "last_id": HAIKU}
    beyond = (await api.get("/v1/models", params={"after_id": HAIKU})).json()
    assert beyond == {"data": [], "has_more": False, "first_id": None, "last_id": None}
    assert (await api.get(f"/v1/models/{OPUS}")).json() == row(OPUS)


async def test_a_page_has_twenty_models_unless_more_are_asked_for() -> None:
    transport = Sandbox([row(f"claude-{n}") for n in range(25)])
    async with httpx.AsyncClient(transport=transport, base_url="https://api.anthropic.com") as client:
        assert len((await client.get("/v1/models")).json()["data"]) == 20
        assert len((await client.get("/v1/models?limit=1000")).json()["data"]) == 25


# Anything at all


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
BLOCK = st.fixed_dictionaries(
    {"type": st.sampled_from(["text", "image", "tool_use", "tool_result", "thinking", "document", "new"])},
    optional={"text": st.text() | JSON, "content": JSON, "input": JSON, "thinking": st.text() | JSON},
)
TURN = st.fixed_dictionaries(
    {"role": st.sampled_from(["user", "assistant", "system"]) | JSON, "content": st.text() | st.lists(BLOCK) | JSON}
)
ARGUMENT = st.tuples(
    st.sampled_from(["tokens", "rate", "first", "after", "times", "retry", "status", "write_5m", "x"]),
    st.integers(-1, 300).map(str) | st.sampled_from(["", "nan", "inf", "1e9", "9" * 150, "٣", "1_0", "-0"]),
).map("=".join)
WRITTEN_MARKER = st.tuples(st.sampled_from([*MARKERS, "", "nonsense"]), st.lists(ARGUMENT, max_size=3)).map(
    lambda drawn: f"[sandbox:{' '.join([drawn[0], *drawn[1]])}]"
)
MARKED = st.lists(WRITTEN_MARKER | st.text(), min_size=1, max_size=5).map("".join)
SCHEMA = st.fixed_dictionaries(
    {"type": st.sampled_from(["object", "array", "string", "integer", "number", "boolean", "null"]) | JSON},
    optional={
        "properties": st.dictionaries(st.text(max_size=3), JSON, max_size=3),
        "required": st.lists(st.text(max_size=3), max_size=3) | JSON,
        "$ref": st.sampled_from(["#", "#/$defs/x", "#/properties", "elsewhere"]),
        **dict.fromkeys(("anyOf", "allOf", "enum", "items", "minItems", "minimum", "multipleOf", "maxLength"), JSON),
    },
)
LIKELY = st.fixed_dictionaries(
    {"model": st.just(OPUS) | JSON, "max_tokens": st.integers(0, 200) | JSON, "messages": st.lists(TURN) | JSON},
    optional={
        "stream": st.booleans() | JSON,
        "stop_sequences": st.lists(st.text()) | JSON,
        "system": st.text() | JSON,
        "thinking": JSON,
        "tools": st.lists(st.fixed_dictionaries({"name": st.text(max_size=3), "input_schema": SCHEMA})) | JSON,
        "tool_choice": st.fixed_dictionaries({"type": st.sampled_from(["auto", "any", "none"])}) | JSON,
        "output_config": st.fixed_dictionaries(
            {"format": st.fixed_dictionaries({"type": st.just("json_schema"), "schema": SCHEMA})}
        )
        | JSON,
    },
)


async def _post(body: bytes) -> httpx.Response:
    clock = Clock()
    transport = Sandbox([row(OPUS)], sleep=clock.sleep, clock=clock)
    async with httpx.AsyncClient(transport=transport, base_url="https://api.anthropic.com") as client:
        return await client.post("/v1/messages", content=body)


@settings(max_examples=200, deadline=None)
@given(st.binary() | JSON.map(lambda value: json.dumps(value).encode()))
def test_no_body_crashes_it(body: bytes) -> None:
    assert asyncio.run(_post(body)).status_code == 400


@settings(max_examples=300, deadline=None)
@given(LIKELY)
def test_no_request_crashes_it(body: Json) -> None:
    response = asyncio.run(_post(json.dumps(body).encode()))
    assert response.status_code in (200, 400, 404)


@settings(max_examples=300, deadline=None)
@given(
    text=MARKED.filter(str.strip),
    max_tokens=st.integers(0, 300),
    stops=st.lists(st.text(min_size=1, max_size=3).filter(str.strip), max_size=2),
    stream=st.booleans(),
)
def test_no_marker_crashes_it(text: str, max_tokens: int, stops: list[str], stream: bool) -> None:
    body = json.dumps(request(text, max_tokens=max_tokens, stop_sequences=stops, stream=stream)).encode()
    try:
        response = asyncio.run(_post(body))
    except httpx.ReadError:
        assert "[sandbox:cut" in text
        return
    assert response.status_code == 200 or response.status_code in ERRORS
    if response.headers["content-type"] != "application/json":
        stream_of = frames(response.content)
        if stream_of[-1]["type"] != "error":
            usage = fold(stream_of)["usage"]
            assert usage["output_tokens"] <= max_tokens
