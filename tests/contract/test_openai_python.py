"""openai's Python client of today, with and without async, against a running server."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import httpx2
import openai
import pytest
from openai.types.chat import ChatCompletionChunk

from tests.contract.clients import (
    ECHO,
    MODEL,
    AsyncAzureClient,
    AsyncTransport,
    AzureClient,
    Client,
    Tape,
    asked,
)
from tests.live import Server, until

UNICODE = "Grüße, žluťoučký kůň, 你好世界, שלום, 👩‍👩‍👧‍👦🏳️‍🌈 e\u0301 \u2028\u0085 𝄞"


# --- Answers --------------------------------------------------------------------------------------------------------


def test_a_whole_answer(client: Client, server: Server) -> None:
    answer = client.whole("Hello, who is there?")
    assert answer.choices[0].message.content == (
        "This answer comes from Bridge's sandbox, not from Claude. You said: Hello, who is there?"
    )
    assert answer.choices[0].finish_reason == "stop"
    assert answer.model == MODEL
    (record,) = until(lambda: server.records(id=answer._request_id, state="settled"))
    assert (record["mode"], record["status"], record["streamed"], record["usage_source"]) == (
        "live",
        200,
        False,
        "exact",
    )


def test_a_streamed_answer_comes_in_pieces_that_add_up_to_the_whole_one(client: Client) -> None:
    whole = client.whole("Hello, who is there?")
    chunks: list[ChatCompletionChunk] = []
    streamed = client.streamed("Hello, who is there?", into=chunks)
    assert streamed.text == whole.choices[0].message.content
    assert len(chunks) == len(streamed.chunks) > 5
    assert [chunk.to_dict() for chunk in chunks] == streamed.chunks


def test_a_test_key_gets_the_same_answers(client: Client, server: Server) -> None:
    rehearsing = client.but(api_key=server.test_key)
    assert rehearsing.whole(ECHO + "Hello").choices[0].message.content == "Hello"
    assert rehearsing.streamed(ECHO + "Hello").text == "Hello"
    until(lambda: server.records(id=client.tape.last.headers["x-request-id"], state="settled", mode="test"))


def test_usage_ends_the_stream_that_asked_for_it(client: Client) -> None:
    whole = client.whole("How much is this?")
    chunks: list[ChatCompletionChunk] = []
    client.streamed("How much is this?", into=chunks, stream_options={"include_usage": True})
    *others, last = chunks
    assert last.choices == []
    assert last.usage == whole.usage
    assert whole.usage is not None and whole.usage.prompt_tokens > 0 and whole.usage.completion_tokens > 0
    assert all(chunk.usage is None and chunk.choices for chunk in others)


def test_cached_tokens_are_counted_where_clients_look_for_them(client: Client) -> None:
    usage = client.whole("[sandbox:cached tokens=1000 write_5m=200 write_1h=30] Hello").usage
    assert usage is not None and usage.prompt_tokens_details is not None
    assert usage.prompt_tokens_details.cached_tokens == 1000
    assert usage.prompt_tokens_details.to_dict()["cache_write_tokens"] == 230
    assert usage.prompt_tokens > 1230


@pytest.mark.parametrize("stop", ["END", ["nowhere", "END"]], ids=["text", "list"])
def test_a_stop_sequence_ends_the_answer_before_it(client: Client, stop: Any) -> None:
    said = "[sandbox:echo] one two END three"
    whole = client.whole(said, stop=stop).choices[0]
    assert (whole.message.content, whole.finish_reason) == ("one two ", "stop")
    streamed = client.streamed(said, stop=stop)
    assert (streamed.text, streamed.finish_reason) == ("one two ", "stop")


def test_an_answer_that_runs_into_a_stop_sequence_stops(client: Client) -> None:
    assert client.whole("[sandbox:stop] Hello", stop="###").choices[0].finish_reason == "stop"
    assert "###" not in client.streamed("[sandbox:stop] Hello", stop="###").text


@pytest.mark.parametrize("limit", ["max_tokens", "max_completion_tokens"])
def test_a_limit_of_tokens_ends_the_answer_with_length(client: Client, limit: str) -> None:
    more: dict[str, Any] = {limit: 7}
    whole = client.whole("[sandbox:lorem tokens=50]", **more)
    assert whole.choices[0].finish_reason == "length"
    assert whole.usage is not None and whole.usage.completion_tokens == 7
    assert client.streamed("[sandbox:lorem tokens=50]", **more).finish_reason == "length"


def test_a_refusal_is_a_filtered_answer_with_its_reason(client: Client) -> None:
    whole = client.whole("[sandbox:refusal] How do I do harm?").choices[0]
    assert whole.finish_reason == "content_filter"
    assert whole.message.refusal == "Bridge's sandbox refused, as the request asked."
    assert not whole.message.content
    streamed = client.streamed("[sandbox:refusal after=3] How do I do harm?")
    assert streamed.finish_reason == "content_filter"
    assert streamed.refusal == whole.message.refusal
    assert streamed.text == "This answer comes"


def test_thinking_comes_before_the_answer(client: Client) -> None:
    streamed = client.streamed("[sandbox:think tokens=30] [sandbox:echo] Hello")
    assert (streamed.reasoning[:14], streamed.text) == ("I am a sandbox", "Hello")
    whole = client.whole("[sandbox:think tokens=30] [sandbox:echo] Hello").choices[0].message
    assert whole.to_dict()["reasoning_content"] == streamed.reasoning
    kinds = [kind for chunk in streamed.chunks[1:] for kind in chunk["choices"][0]["delta"] if chunk["choices"]]
    assert list(dict.fromkeys(kinds)) == ["reasoning_content", "content", "thinking_blocks"]


def test_an_answer_without_a_word_is_still_an_answer(client: Client) -> None:
    whole = client.whole("[sandbox:echo]").choices[0]
    assert (whole.message.content, whole.finish_reason) == ("", "stop")
    assert client.streamed("[sandbox:echo]").finish_reason == "stop"


def test_every_script_arrives_as_it_was_sent(client: Client) -> None:
    assert client.whole(ECHO + UNICODE).choices[0].message.content == UNICODE
    assert client.streamed(ECHO + UNICODE).text == UNICODE


def test_a_long_answer_arrives_whole(client: Client) -> None:
    streamed = client.streamed("[sandbox:lorem tokens=5000]", stream_options={"include_usage": True})
    assert streamed.text == client.whole("[sandbox:lorem tokens=5000]").choices[0].message.content
    assert streamed.usage is not None and streamed.usage["completion_tokens"] == 5000


def test_a_conversation_of_every_role_is_understood(client: Client) -> None:
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "developer", "content": [{"type": "text", "text": "Be kind."}]},
        {"role": "user", "content": "Hello", "name": "Bob"},
        {"role": "assistant", "content": None, "refusal": None, "tool_calls": None},
        {"role": "assistant", "content": "Good morning."},
        {
            "role": "user",
            "content": [{"type": "text", "text": "[sandbox:echo] How "}, {"type": "text", "text": "are you?"}],
        },
    ]
    answer = client.whole("", messages=messages).choices[0].message.content
    assert answer is not None and answer.split() == ["How", "are", "you?"]


# --- The helpers ----------------------------------------------------------------------------------------------------


def test_the_stream_helper_builds_the_whole_answer(client: Client) -> None:
    events: list[Any] = []
    final = client.helped("[sandbox:think] Hello", into=events, stream_options={"include_usage": True})
    whole = client.whole("[sandbox:think] Hello")
    assert final.choices[0].message.content == whole.choices[0].message.content
    assert final.choices[0].message.role == "assistant"
    assert final.choices[0].finish_reason == "stop"
    assert final.usage == whole.usage
    assert [event.content for event in events if event.type == "content.done"] == [final.choices[0].message.content]
    deltas = [event.delta for event in events if event.type == "content.delta"]
    assert "".join(deltas) == final.choices[0].message.content and len(deltas) > 5


@pytest.mark.parametrize("way", [Client.helped, Client.parsed], ids=["stream", "parse"])
@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("[sandbox:refusal] Hello", openai.ContentFilterFinishReasonError),
        ("[sandbox:max_tokens] Hello", openai.LengthFinishReasonError),
    ],
    ids=["refusal", "length"],
)
def test_an_answer_that_cannot_be_parsed_is_the_helpers_own_error(
    client: Client, way: Callable[..., Any], text: str, error: type[Exception]
) -> None:
    with pytest.raises(error):
        getattr(client, way.__name__)(text)


def test_parse_returns_a_plain_answer(client: Client) -> None:
    assert client.parsed(ECHO + "Hello").choices[0].message.content == "Hello"


def test_the_raw_response_shows_the_headers(client: Client, server: Server) -> None:
    headers, answer = client.raw("Hello", temperature=0.3, seed=7, extra_body={"top_k": 5})
    until(lambda: server.records(id=headers["x-request-id"], state="settled"))
    assert answer._request_id == headers["x-request-id"]
    receipt = set(headers["x-bridge-compat"].split(", "))
    assert receipt == {"temperature=dropped", "seed=ignored", "top_k=dropped"}


RECEIPTS: dict[str, tuple[dict[str, Any], str]] = {
    "an older model's temperature": ({"model": "claude-opus-4-6", "temperature": 1.7}, "temperature=clamped(1)"),
    "more tokens than there are": ({"max_tokens": 10_000_000}, "max_tokens=clamped(128000)"),
    "no thinking": ({"reasoning_effort": "none"}, "reasoning_effort=between_tools"),
    "an answer that was begun": (
        {"messages": [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Good"}]},
        "messages.prefill=emulated",
    ),
}


@pytest.mark.parametrize(("change", "receipt"), RECEIPTS.values(), ids=RECEIPTS)
def test_what_is_lost_or_changed_is_on_the_receipt(client: Client, change: dict[str, Any], receipt: str) -> None:
    for ask in (client.whole, client.streamed):
        ask("Hello", extra_body=change)
        assert client.tape.last.headers["x-bridge-compat"] == receipt


def test_a_request_that_loses_nothing_has_no_receipt(client: Client) -> None:
    headers, _ = client.raw("Hello", max_tokens=100, stop=["x"], n=1, user="bob")
    assert "x-bridge-compat" not in headers


# --- Ways in --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["", "/", "/v1", "/v1/", "//v1//"])
def test_the_base_url_may_end_as_it_likes(client: Client, server: Server, path: str) -> None:
    client = client.but(base_url=server.url + path)
    assert client.whole(ECHO + "Hello").choices[0].message.content == "Hello"
    assert client.streamed(ECHO + "Hello").text == "Hello"
    assert client.model(MODEL).id == MODEL


@pytest.mark.parametrize("header", ["api-key", "x-api-key"])
@pytest.mark.parametrize("bearer", ["none", "sk-proj-of-another-service"])
def test_the_key_may_come_in_another_header(client: Client, key: str, header: str, bearer: str) -> None:
    client = client.but(api_key=bearer, default_headers={header: key})
    assert client.whole(ECHO + "Hello").choices[0].message.content == "Hello"


@pytest.mark.parametrize("kind", [AzureClient, AsyncAzureClient], ids=["sync", "async"])
@pytest.mark.parametrize("slash", ["", "/"])
def test_an_azure_client_finds_its_deployment(
    server: Server, key: str, tape: Tape, kind: type[Client], slash: str
) -> None:
    client = kind(tape, azure_endpoint=server.url + slash, api_key=key, api_version="2026-06-01")
    assert client.whole(ECHO + "Hello").choices[0].message.content == "Hello"
    assert client.streamed(ECHO + "Hello").text == "Hello"
    assert tape.last.path.startswith(f"/openai/deployments/{MODEL}/chat/completions?api-version=")


def test_the_model_may_stand_in_the_azure_url_only(server: Server, key: str, tape: Tape) -> None:
    client = AzureClient(tape, azure_endpoint=server.url, azure_deployment=MODEL, api_key=key, api_version="2026-06-01")
    body = {"messages": [{"role": "user", "content": ECHO + "Hello"}]}
    assert client.post("/chat/completions", body)["choices"][0]["message"]["content"] == "Hello"


# --- Many at once ---------------------------------------------------------------------------------------------------


async def test_forty_streams_at_once_do_not_mix(server: Server, key: str, tape: Tape) -> None:
    count = 40
    all_begun = asyncio.Barrier(count)

    async def one(client: openai.AsyncOpenAI, number: int) -> tuple[str, str]:
        """The stream's id and text. No stream is read on before all of them have begun."""
        text = f"[sandbox:echo] [sandbox:slow first=0.5 rate=20] {number}:" + f" {number}🙂" * 20
        async with await client.chat.completions.create(**asked(text, stream=True)) as stream:
            first = await anext(stream)
            async with asyncio.timeout(30):
                await all_begun.wait()
            return first.id, "".join([chunk.choices[0].delta.content or "" async for chunk in stream])

    async with (
        httpx2.AsyncClient(transport=AsyncTransport(tape)) as http,
        openai.AsyncOpenAI(base_url=server.base, api_key=key, http_client=http, max_retries=0) as client,
    ):
        ended = await asyncio.gather(*(one(client, number) for number in range(count)))
    assert [text for _, text in ended] == [f"{number}:" + f" {number}🙂" * 20 for number in range(count)]
    assert len({stream_id for stream_id, _ in ended}) == count
    ids = {made.headers["x-request-id"] for made in tape.exchanges}
    assert len(ids) == count
    until(lambda: len([row for row in server.records(state="settled") if row["id"] in ids]) == count)


async def test_a_client_that_leaves_is_on_record_as_gone(server: Server, key: str, tape: Tape) -> None:
    async with (
        httpx2.AsyncClient(transport=AsyncTransport(tape)) as http,
        openai.AsyncOpenAI(base_url=server.base, api_key=key, http_client=http, max_retries=0) as client,
    ):
        stream = await client.chat.completions.create(**asked("[sandbox:lorem tokens=2000 rate=50]", stream=True))
        async with stream:
            for _ in range(5):
                await anext(stream)
    assert not tape.last.complete
    request_id = tape.last.headers["x-request-id"]
    (record,) = await asyncio.to_thread(until, lambda: server.records(id=request_id, state="cancelled"))
    assert record["status"] == 200  # what it was told before it left
    assert 0 < record["output_tokens"] < 2000
