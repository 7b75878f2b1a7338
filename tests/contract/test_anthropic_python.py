"""Anthropic's own Python client against a running server: only `base_url` and `api_key` are changed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any
from uuid import uuid4

import anthropic
import pytest
from anthropic.types import Message, MessageParam

from tenants.keys import recognise
from tests.live import Server, until

Connect = Callable[..., anthropic.Anthropic]

MODEL = "claude-sonnet-5-5"


def said(text: str) -> list[MessageParam]:
    return [{"role": "user", "content": text}]


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with Server({"UPSTREAM": "sandbox"}, workers=1) as server:  # one, for each has a sandbox that counts for itself
        yield server


@pytest.fixture(scope="module")
def key(server: Server) -> str:
    """A live key of Acme's."""
    return server.issue_key("acme", "native contract")


@pytest.fixture
def connect(server: Server) -> Iterator[Connect]:
    """Makes clients, and closes them."""
    with ExitStack() as stack:
        yield lambda api_key, max_retries=0: stack.enter_context(
            anthropic.Anthropic(base_url=server.url, api_key=api_key, max_retries=max_retries)
        )


@pytest.fixture
def client(connect: Connect, key: str) -> anthropic.Anthropic:
    return connect(key)


@pytest.fixture
def once() -> str:
    """A text that no other test sends: the sandbox counts `times` by it."""
    return uuid4().hex


def text_of(message: Message) -> str:
    return "".join(block.text for block in message.content if block.type == "text")


# --- Answers --------------------------------------------------------------------------------------------------------


def test_a_whole_answer_and_its_record(client: anthropic.Anthropic, server: Server) -> None:
    message = client.messages.create(model=MODEL, max_tokens=100, messages=said("Hello, who is there?"))
    assert text_of(message).endswith("You said: Hello, who is there?")
    assert (message.type, message.role, message.model, message.stop_reason) == (
        "message",
        "assistant",
        MODEL,
        "end_turn",
    )
    assert message.usage.input_tokens > 0 and message.usage.output_tokens > 0
    assert message._request_id is not None
    (record,) = until(lambda: server.records(id=message._request_id, state="settled"))
    assert (record["dialect"], record["mode"], record["usage_source"]) == ("messages", "live", "exact")
    assert (record["input_tokens"], record["output_tokens"]) == (
        message.usage.input_tokens,
        message.usage.output_tokens,
    )


def test_the_stream_helper_ends_with_the_message_that_the_whole_answer_is(client: anthropic.Anthropic) -> None:
    request: Any = {"model": MODEL, "max_tokens": 100, "messages": said("[sandbox:think] Hello there")}
    request["thinking"] = {"type": "adaptive", "display": "summarized"}
    whole = client.messages.create(**request)
    with client.messages.stream(**request) as stream:
        texts = list(stream.text_stream)
        final = stream.get_final_message()
    assert len(texts) > 1 and "".join(texts) == text_of(final)
    assert final.to_dict() | {"id": ""} == whole.to_dict() | {"id": ""}
    assert [block.type for block in final.content] == ["thinking", "text"]


def test_raw_events_come_in_anthropics_order(client: anthropic.Anthropic) -> None:
    events = list(client.messages.create(model=MODEL, max_tokens=100, messages=said("Hello"), stream=True))
    kinds = [event.type for event in events]
    assert kinds[0] == "message_start" and kinds[-2:] == ["message_delta", "message_stop"]


def test_the_async_client_does_the_same(server: Server, key: str) -> None:
    async def ask() -> tuple[Message, Message]:
        async with anthropic.AsyncAnthropic(base_url=server.url, api_key=key) as client:
            whole = await client.messages.create(model=MODEL, max_tokens=100, messages=said("Hello"))
            async with client.messages.stream(model=MODEL, max_tokens=100, messages=said("Hello")) as stream:
                return whole, await stream.get_final_message()

    whole, streamed = asyncio.run(ask())
    assert text_of(whole) == text_of(streamed)


def test_a_refusal_is_an_answer(client: anthropic.Anthropic) -> None:
    message = client.messages.create(model=MODEL, max_tokens=100, messages=said("[sandbox:refusal]"))
    assert message.stop_reason == "refusal" and message.stop_details is not None
    assert message.stop_details.type == "refusal"


def test_tokens_can_be_counted_and_leave_no_record(server: Server, connect: Connect) -> None:
    key = server.issue_key("acme", "counts")
    client = connect(key)
    count = client.messages.count_tokens(model=MODEL, messages=said("Hello " * 50))
    longer = client.messages.count_tokens(model=MODEL, messages=said("Hello " * 500))
    assert 0 < count.input_tokens < longer.input_tokens
    client.messages.create(model=MODEL, max_tokens=100, messages=said("Hello"))
    hint = recognise(key).hint  # type: ignore[union-attr]
    assert len(until(lambda: server.records(key_hint=hint, state="settled"))) == len(server.records(key_hint=hint)) == 1


def test_a_test_key_gets_the_same_answers(server: Server, connect: Connect) -> None:
    client = connect(server.test_key)
    assert text_of(client.messages.create(model=MODEL, max_tokens=100, messages=said("Hello"))).endswith("Hello")


def test_known_betas_pass_and_others_are_refused(client: anthropic.Anthropic) -> None:
    request: Any = {"model": MODEL, "max_tokens": 50, "messages": said("Hello")}
    assert client.beta.messages.create(**request, betas=["context-1m-2025-08-07"]).stop_reason == "end_turn"
    with pytest.raises(anthropic.BadRequestError, match="files-api"):
        client.beta.messages.create(**request, betas=["files-api-2025-04-14"])


# --- Errors ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("marker", "error", "kind"),
    [
        ("[sandbox:error status=400]", anthropic.BadRequestError, "invalid_request_error"),
        ("[sandbox:error status=413]", anthropic.APIStatusError, "request_too_large"),
        ("[sandbox:error status=429]", anthropic.RateLimitError, "rate_limit_error"),
        ("[sandbox:error status=500]", anthropic.InternalServerError, "api_error"),
        ("[sandbox:error status=504]", anthropic.InternalServerError, "timeout_error"),
        ("[sandbox:overloaded]", anthropic.InternalServerError, "overloaded_error"),
    ],
)
@pytest.mark.parametrize("streamed", [False, True])
def test_an_error_of_upstream_is_the_exception_it_would_be(
    client: anthropic.Anthropic, marker: str, error: type[anthropic.APIStatusError], kind: str, streamed: bool
) -> None:
    with pytest.raises(error) as caught:
        client.messages.create(model=MODEL, max_tokens=50, messages=said(marker), stream=streamed)
    found: Any = caught.value
    assert found.body["error"]["type"] == found.type == kind
    assert found.request_id == found.body["request_id"] == found.response.headers["x-request-id"]


def test_a_mistake_a_stranger_and_an_unknown_model(client: anthropic.Anthropic, connect: Connect) -> None:
    with pytest.raises(anthropic.BadRequestError, match="max_tokens: Input should"):
        client.messages.create(model=MODEL, max_tokens=-1, messages=said("Hello"))
    with pytest.raises(anthropic.NotFoundError, match="model: claude-nothing"):
        client.messages.create(model="claude-nothing", max_tokens=9, messages=said("Hello"))
    stranger = connect("sk-ant-not-ours")
    with pytest.raises(anthropic.AuthenticationError):
        stranger.messages.create(model=MODEL, max_tokens=9, messages=said("Hello"))
    with pytest.raises(anthropic.AuthenticationError):
        stranger.messages.count_tokens(model=MODEL, messages=said("Hello"))


def test_a_model_that_the_key_may_not_use_does_not_exist(server: Server, connect: Connect) -> None:
    key = server.issue_key("acme", "haiku only", "--models", "claude-haiku-4-5")
    client = connect(key)
    with pytest.raises(anthropic.NotFoundError, match=f"model: {MODEL}"):
        client.messages.create(model=MODEL, max_tokens=9, messages=said("Hello"))
    assert client.messages.create(model="claude-haiku-4-5-20251001", max_tokens=9, messages=said("Hello")).content


def test_overload_is_retried_until_it_is_over(connect: Connect, key: str, once: str) -> None:
    """Three attempts are the gateway's, for the first of the client's; each retry of the client is one more."""
    client = connect(key, max_retries=3)
    text = f"[sandbox:overloaded times=4] {once}"
    assert client.messages.create(model=MODEL, max_tokens=100, messages=said(text)).stop_reason == "end_turn"


@pytest.mark.parametrize("marker", ["[sandbox:cut after=2]", "[sandbox:error_midstream after=2]"])
def test_a_broken_stream_is_an_exception_and_never_a_short_answer(client: anthropic.Anthropic, marker: str) -> None:
    texts: list[str] = []
    request: Any = {"model": MODEL, "max_tokens": 100, "messages": said(f"{marker} one two three four five")}
    with pytest.raises(anthropic.APIError), client.messages.stream(**request) as stream:
        texts.extend(stream.text_stream)
    assert texts
