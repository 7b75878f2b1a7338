"""The sandbox answers as Anthropic's API would, and does what the markers ask."""

from __future__ import annotations

import asyncio
import copy
import json
import math
import re
from collections.abc import AsyncIterator, Mapping
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge import sandbox
from bridge.sandbox import Sandbox

Json = dict[str, Any]

OPUS, HAIKU = "claude-opus-5-5", "claude-haiku-5-5"
FRAME = re.compile(rb"event: (\w+)\ndata: (\{[^\n]*\})\n\n")


def row(name: str, max_tokens: int = 128_000) -> Json:
    return {
        "id": name,
        "type": "model",
        "display_name": name,
        "created_at": "2026-09-22T00:00:00Z",
        "max_input_tokens": 1_000_000,
        "max_tokens": max_tokens,
    }


class Clock:
    """Time that passes only while someone sleeps."""

    def __init__(self) -> None:
        self.now = 0.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        if seconds:
            self.slept.append(seconds)
        self.now += seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def api(clock: Clock) -> AsyncIterator[httpx.AsyncClient]:
    transport = Sandbox([row(OPUS), row(HAIKU, 64_000)], sleep=clock.sleep, clock=clock)
    async with httpx.AsyncClient(transport=transport, base_url="https://api.anthropic.com") as client:
        yield client


def request(text: object = "Hello there", **fields: object) -> Json:
    return {"model": OPUS, "max_tokens": 1024, "messages": [{"role": "user", "content": text}], **fields}


async def whole(api: httpx.AsyncClient, text: object = "Hello there", **fields: object) -> Json:
    response = await api.post("/v1/messages", json=request(text, **fields))
    assert response.status_code == 200, response.text
    message: Json = response.json()
    return message


async def events(api: httpx.AsyncClient, text: object = "Hello there", **fields: object) -> list[Json]:
    response = await api.post("/v1/messages", json=request(text, stream=True, **fields))
    assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
    return frames(response.content)


async def refused(api: httpx.AsyncClient, body: object) -> str:
    response = await api.post("/v1/messages", json=body)
    assert response.status_code == 400
    assert response.json()["error"]["type"] == "invalid_request_error"
    message: str = response.json()["error"]["message"]
    return message


def frames(body: bytes) -> list[Json]:
    """The events of a stream; every byte of it must belong to a well-formed frame whose two names agree."""
    assert FRAME.sub(b"", body) == b""
    found = [(name.decode(), json.loads(data)) for name, data in FRAME.findall(body)]
    assert all(name == event["type"] for name, event in found)
    return [event for _, event in found]


def fold(stream: list[Json]) -> Json:
    """The message that a client makes of a stream, as the SDK does: usage is replaced, not added."""
    message: Json = {}
    for event in copy.deepcopy(stream):
        match event["type"]:
            case "message_start":
                message = event["message"]
            case "content_block_start":
                assert event["index"] == len(message["content"])
                message["content"].append(event["content_block"])
            case "content_block_delta":
                block, (kind, (field, text)) = message["content"][event["index"]], _delta(event["delta"])
                block[field] = text if kind == "signature_delta" else block[field] + text
            case "message_delta":
                message |= event["delta"]
                message["usage"] |= event["usage"]
    assert stream[-1] == {"type": "message_stop"}
    return message


def _delta(delta: Json) -> tuple[str, tuple[str, str]]:
    (field,) = delta.keys() - {"type"}
    return delta["type"], (field, delta[field])


def texts(stream: list[Json]) -> list[str]:
    return [event["delta"]["text"] for event in stream if event.get("delta", {}).get("type") == "text_delta"]


def text_of(message: Json) -> str:
    return "".join(block["text"] for block in message["content"] if block["type"] == "text")


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


# Markers


def test_every_marker_is_in_the_documented_table() -> None:
    documented = re.findall(r"^\| `\[sandbox:(\w+)", sandbox.__doc__ or "", re.MULTILINE)
    assert sorted(documented) == sorted(sandbox.MARKERS)


@pytest.mark.parametrize(
    ("text", "explained"),
    [
        ("[sandbox:] hi", "There is no [sandbox:]. There are slow, echo, lorem"),
        ("[sandbox:nonsense] hi", "There is no [sandbox:nonsense]."),
        ("[sandbox:lorem tokens=many]", "[sandbox:lorem] cannot take 'tokens=many'. It takes tokens=1…100000, rate="),
        ("[sandbox:lorem tokens=100001]", "tokens=1…100000"),
        ("[sandbox:lorem tokens=0]", "tokens=1…100000"),
        ("[sandbox:lorem tokens=1.5]", "tokens=1…100000"),
        ("[sandbox:lorem rate=nan]", "rate=0.1…100000"),
        ("[sandbox:slow first=121]", "first=0…120"),
        ("[sandbox:slow first=inf]", "first=0…120"),
        ("[sandbox:echo loudly]", "[sandbox:echo] cannot take 'loudly'. It takes nothing."),
        ("[sandbox:error status=418]", "[sandbox:error] takes one of these: status=400,"),
        ("[sandbox:stop]", "needs `stop_sequences`"),
    ],
)
async def test_a_marker_that_cannot_be_followed_is_explained(api: httpx.AsyncClient, text: str, explained: str) -> None:
    message = await whole(api, text)
    assert text_of(message).startswith("This answer comes from Bridge's sandbox, not from Claude. ")
    assert explained in text_of(message)
    assert message["stop_reason"] == "end_turn"


@pytest.mark.parametrize("said", ["hello", "  two spaces before", "a\n\nb", "[not a marker]", "你好 " * 200])
async def test_echo_answers_with_exactly_the_rest(api: httpx.AsyncClient, said: str) -> None:
    assert text_of(await whole(api, f"[sandbox:echo] {said}")) == said


async def test_an_echo_of_nothing_has_no_content(api: httpx.AsyncClient) -> None:
    message = await whole(api, "[sandbox:echo]")
    assert (message["content"], message["stop_reason"]) == ([], "end_turn")


@pytest.mark.parametrize("tokens", [1, 2, 200, 100_000])
async def test_lorem_has_as_many_tokens_as_it_was_asked_for(api: httpx.AsyncClient, tokens: int) -> None:
    stream = await events(api, f"[sandbox:lorem tokens={tokens}]", max_tokens=100_000)
    assert fold(stream)["usage"]["output_tokens"] == tokens
    assert len(texts(stream)) == tokens


async def test_a_rate_spreads_the_tokens_over_time(api: httpx.AsyncClient, clock: Clock) -> None:
    await events(api, "[sandbox:lorem tokens=200 rate=50]")
    assert len(clock.slept) == 200
    assert clock.now == pytest.approx(4.0)
    await whole(api, "[sandbox:lorem tokens=200 rate=50]")
    assert clock.now == pytest.approx(8.0)


async def test_a_rate_holds_when_every_wake_up_is_late() -> None:
    clock = Clock()

    async def oversleep(seconds: float) -> None:
        await clock.sleep(seconds + 0.01)

    transport = Sandbox([row(OPUS)], sleep=oversleep, clock=clock)
    async with httpx.AsyncClient(transport=transport, base_url="https://api.anthropic.com") as client:
        await events(client, "[sandbox:lorem tokens=200 rate=50]")
    assert clock.now == pytest.approx(4.0, abs=0.03)


async def test_a_rate_holds_for_a_clock_that_stands_still() -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    transport = Sandbox([row(OPUS)], sleep=sleep, clock=lambda: 0.0)
    async with httpx.AsyncClient(transport=transport, base_url="https://api.anthropic.com") as client:
        await events(client, "[sandbox:slow first=2.5 rate=2] eight by")
    assert slept == pytest.approx([2.5, 5 / 8, 3 / 8])


async def test_no_answer_takes_longer_than_half_an_hour(api: httpx.AsyncClient, clock: Clock) -> None:
    await events(api, "[sandbox:lorem tokens=100000 rate=0.1]", max_tokens=100_000)
    assert clock.now == pytest.approx(1800)


async def test_slow_waits_before_the_first_event_and_then_echoes(api: httpx.AsyncClient, clock: Clock) -> None:
    async with api.stream("POST", "/v1/messages", json=request("[sandbox:slow first=7] hi", stream=True)) as response:
        assert clock.now == 0
        chunks = response.aiter_bytes()
        assert b"message_start" in await anext(chunks)
        assert clock.now == 7
        rest = b"".join([chunk async for chunk in chunks])
    assert b'"text":"hi"' in rest
    assert clock.slept == [7]


async def test_a_client_may_leave_in_the_middle(api: httpx.AsyncClient, clock: Clock) -> None:
    body = request("[sandbox:lorem tokens=200 rate=50]", stream=True)
    async with api.stream("POST", "/v1/messages", json=body) as response:
        async for _ in response.aiter_bytes():
            if clock.now > 1:
                break
    assert clock.now < 1.1
    assert text_of(await whole(api, "[sandbox:echo] next")) == "next"


async def test_an_answer_without_a_rate_is_not_delayed(api: httpx.AsyncClient, clock: Clock) -> None:
    await events(api, "[sandbox:lorem tokens=5000]", max_tokens=5000)
    await whole(api)
    assert clock.slept == []


async def test_a_long_answer_at_once_lets_others_run(api: httpx.AsyncClient) -> None:
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    task = asyncio.create_task(other())
    await events(api, "[sandbox:lorem tokens=5000]", max_tokens=5000)
    task.cancel()
    assert turns > 50


async def test_thinking_comes_first_and_is_signed(api: httpx.AsyncClient) -> None:
    stream = await events(api, "[sandbox:think tokens=20][sandbox:echo] done")
    thinking, said = fold(stream)["content"]
    kinds = [event["delta"]["type"] for event in stream if event["type"] == "content_block_delta"]
    assert kinds[-2:] == ["signature_delta", "text_delta"]
    assert set(kinds[:-2]) == {"thinking_delta"}
    assert (thinking["type"], len(thinking["thinking"]), said["text"]) == ("thinking", 80, "done")
    assert thinking["signature"]
    assert stream[-2]["usage"]["output_tokens"] == 21
    assert stream[-2]["usage"]["output_tokens_details"] == {"thinking_tokens": 20}
    assert "output_tokens_details" not in stream[0]["message"]["usage"]


async def test_omitted_thinking_is_empty_but_counted(api: httpx.AsyncClient) -> None:
    stream = await events(api, "[sandbox:think tokens=20]", thinking={"type": "adaptive", "display": "omitted"})
    message = fold(stream)
    assert message["content"][0]["thinking"] == ""
    assert message["content"][0]["signature"]
    assert message["usage"]["output_tokens_details"] == {"thinking_tokens": 20}


async def test_disabled_thinking_stays_off(api: httpx.AsyncClient) -> None:
    message = await whole(api, "[sandbox:think] hi", thinking={"type": "disabled"})
    assert [block["type"] for block in message["content"]] == ["text"]
    assert "output_tokens_details" not in message["usage"]


async def test_an_answer_longer_than_max_tokens_is_cut_there(api: httpx.AsyncClient) -> None:
    message = await whole(api, "[sandbox:lorem tokens=50]", max_tokens=10)
    assert (message["stop_reason"], message["usage"]["output_tokens"]) == ("max_tokens", 10)
    assert len(text_of(message)) == 40


async def test_a_cut_never_splits_a_character(api: httpx.AsyncClient) -> None:
    assert text_of(await whole(api, "[sandbox:echo] x你好", max_tokens=1)) == "x你"
    assert text_of(await whole(api, "[sandbox:echo] xx你好", max_tokens=1)) == "xx"


async def test_no_tokens_at_all_is_no_content_at_all(api: httpx.AsyncClient) -> None:
    message = await whole(api, max_tokens=0)
    assert (message["content"], message["stop_reason"]) == ([], "max_tokens")
    assert message["usage"]["output_tokens"] == 0


async def test_the_max_tokens_marker_breaks_the_answer_off(api: httpx.AsyncClient) -> None:
    message = await whole(api, "[sandbox:max_tokens][sandbox:echo] 12345678")
    assert (text_of(message), message["stop_reason"]) == ("1234", "max_tokens")


async def test_a_stop_sequence_cuts_the_answer_and_is_named(api: httpx.AsyncClient) -> None:
    message = await whole(api, "[sandbox:echo] one two three", stop_sequences=["three", " two", "four"])
    assert text_of(message) == "one"
    assert (message["stop_reason"], message["stop_sequence"]) == ("stop_sequence", " two")


async def test_the_stop_marker_runs_into_the_first_stop_sequence(api: httpx.AsyncClient) -> None:
    message = await whole(api, "[sandbox:stop][sandbox:echo] one", stop_sequences=["END", "one more"])
    assert text_of(message) == "one "
    assert (message["stop_reason"], message["stop_sequence"]) == ("stop_sequence", "END")


async def test_a_refusal_is_a_200_with_an_explanation(api: httpx.AsyncClient) -> None:
    message = await whole(api, "[sandbox:refusal]")
    assert (message["content"], message["stop_reason"]) == ([], "refusal")
    assert message["stop_details"]["type"] == "refusal"
    assert message["stop_details"]["explanation"]
    stream = await events(api, "[sandbox:refusal after=2][sandbox:echo] one two three")
    assert texts(stream) == ["one", " two"]
    assert stream[-2]["delta"]["stop_reason"] == "refusal"


async def test_cached_tokens_are_in_the_usage(api: httpx.AsyncClient) -> None:
    usage = (await whole(api, "[sandbox:cached tokens=1000 write_5m=20 write_1h=3] hi"))["usage"]
    assert (usage["cache_read_input_tokens"], usage["cache_creation_input_tokens"]) == (1000, 23)
    assert usage["cache_creation"] == {"ephemeral_5m_input_tokens": 20, "ephemeral_1h_input_tokens": 3}


@pytest.mark.parametrize(("after", "arrived"), [(0, 0), (2, 2), (3, 3), (100_000, 3)])
async def test_a_cut_breaks_the_stream_after_so_many_deltas(api: httpx.AsyncClient, after: int, arrived: int) -> None:
    body = request(f"[sandbox:cut after={after}][sandbox:echo] one two three", stream=True)
    received = b""
    async with api.stream("POST", "/v1/messages", json=body) as response:
        with pytest.raises(httpx.ReadError):
            async for chunk in response.aiter_bytes():
                received += chunk
    assert len(texts(frames(received))) == arrived
    assert b"message_delta" not in received


async def test_a_cut_breaks_a_whole_answer_too(api: httpx.AsyncClient) -> None:
    with pytest.raises(httpx.ReadError):
        await api.post("/v1/messages", json=request("[sandbox:cut]"))


@pytest.mark.parametrize(("after", "arrived"), [(0, 0), (2, 2), (3, 3), (100_000, 3)])
async def test_an_error_event_ends_the_stream_after_so_many_deltas(
    api: httpx.AsyncClient, after: int, arrived: int
) -> None:
    stream = await events(api, f"[sandbox:error_midstream after={after}][sandbox:echo] one two three")
    assert len(texts(stream)) == arrived
    assert (stream[-1]["type"], stream[-1]["error"]["type"]) == ("error", "overloaded_error")
    assert "message_delta" not in {event["type"] for event in stream}


async def test_an_error_midstream_is_a_529_for_a_whole_answer(api: httpx.AsyncClient) -> None:
    response = await api.post("/v1/messages", json=request("[sandbox:error_midstream]"))
    assert response.status_code == 529


@pytest.mark.parametrize(
    ("marker", "status", "kind", "retry_after"),
    [
        ("overloaded", 529, "overloaded_error", None),
        ("overloaded retry=1", 529, "overloaded_error", "1"),
        ("rate_limited", 429, "rate_limit_error", None),
        ("rate_limited retry=7", 429, "rate_limit_error", "7"),
        ("error", 500, "api_error", None),
        *((f"error status={status}", status, kind, None) for status, kind in sandbox.ERRORS.items()),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
async def test_an_error_has_its_status_type_and_retry_after(
    api: httpx.AsyncClient, marker: str, status: int, kind: str, retry_after: str | None, stream: bool
) -> None:
    response = await api.post("/v1/messages", json=request(f"[sandbox:{marker}]", stream=stream))
    assert (response.status_code, response.json()["error"]["type"]) == (status, kind)
    assert response.headers.get("retry-after") == retry_after
    assert response.headers["content-type"] == "application/json"


async def test_a_failure_with_times_passes_for_that_very_text(api: httpx.AsyncClient) -> None:
    async def status(text: str) -> int:
        return (await api.post("/v1/messages", json=request(text))).status_code

    text = "[sandbox:overloaded times=2] hello"
    assert [await status(text) for _ in range(4)] == [529, 529, 200, 200]
    assert await status(f"{text} again") == 529
    assert text_of(await whole(api, text)).endswith("You said: hello")


async def test_the_memory_of_failures_is_bounded(api: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "REMEMBERED", 2)

    async def status(text: str) -> int:
        return (await api.post("/v1/messages", json=request(f"[sandbox:error times=1] {text}"))).status_code

    assert [await status(text) for text in ("a", "b", "b", "c", "b", "a")] == [500, 500, 200, 500, 200, 500]


async def test_an_error_can_be_slow(api: httpx.AsyncClient, clock: Clock) -> None:
    response = await api.post("/v1/messages", json=request("[sandbox:error status=500] [sandbox:slow first=2]"))
    assert (response.status_code, clock.now) == (500, 2)


async def test_markers_combine_in_any_order(api: httpx.AsyncClient) -> None:
    asked = ["[sandbox:echo]", "[sandbox:think tokens=5]", "[sandbox:cached tokens=10]", "[sandbox:slow first=1]"]
    one, other = await whole(api, " ".join(asked) + " hi"), await whole(api, "hi" + "".join(reversed(asked)))
    assert one.pop("id") != other.pop("id")
    assert one.pop("usage")["output_tokens"] == other.pop("usage")["output_tokens"] == 6
    assert one == other


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
WRITTEN_MARKER = st.tuples(st.sampled_from([*sandbox.MARKERS, "", "nonsense"]), st.lists(ARGUMENT, max_size=3)).map(
    lambda drawn: f"[sandbox:{' '.join([drawn[0], *drawn[1]])}]"
)
MARKED = st.lists(WRITTEN_MARKER | st.text(), min_size=1, max_size=5).map("".join)
LIKELY = st.fixed_dictionaries(
    {"model": st.just(OPUS) | JSON, "max_tokens": st.integers(0, 200) | JSON, "messages": st.lists(TURN) | JSON},
    optional={
        "stream": st.booleans() | JSON,
        "stop_sequences": st.lists(st.text()) | JSON,
        "system": st.text() | JSON,
        "thinking": JSON,
        "tools": JSON,
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
    assert response.status_code == 200 or response.status_code in sandbox.ERRORS
    if response.headers["content-type"] != "application/json":
        stream_of = frames(response.content)
        if stream_of[-1]["type"] != "error":
            usage = fold(stream_of)["usage"]
            assert usage["output_tokens"] <= max_tokens
