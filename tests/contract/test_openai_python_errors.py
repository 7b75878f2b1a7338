"""openai's Python client of today when something is wrong: errors, streams that break, retries."""

from __future__ import annotations

from typing import Any

import openai
import pytest
from openai.types.chat import ChatCompletionChunk

from tenants.keys import mint
from tenants.values import Mode
from tests.contract.clients import MODEL, Client, asked
from tests.live import Server, until

STRANGER = mint(Mode.LIVE).text  # well-formed, and nobody has it


# --- Errors ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "key", [STRANGER, "sk-proj-of-another-service", "nonsense"], ids=["unknown", "foreign", "no key"]
)
def test_a_bad_key_is_an_authentication_error(client: Client, key: str) -> None:
    for ask in (client.but(api_key=key).models, lambda: client.but(api_key=key).streamed("Hello")):
        with pytest.raises(openai.AuthenticationError) as caught:
            ask()
        assert (caught.value.code, caught.value.type) == ("invalid_api_key", "invalid_request_error")
        assert caught.value.request_id == client.tape.last.headers["x-request-id"]
        assert key not in caught.value.message


BAD_REQUESTS: dict[str, tuple[dict[str, Any], str, str]] = {
    "a tool without a name": (
        {"tools": [{"type": "function", "function": {"parameters": {}}}]},
        "missing_required_parameter",
        "tools[0].function.name",
    ),
    "a format": ({"response_format": {"type": "xml"}}, "invalid_value", "response_format.type"),
    "nine choices": ({"n": 9}, "integer_above_max_value", "n"),
    "probabilities": ({"logprobs": True}, "unsupported_parameter", "logprobs"),
    "an image": (
        {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "ftp://x/y.png"}}]}]},
        "invalid_image_url",
        "messages[0].content[0].image_url.url",
    ),
    "a tool's answer": (
        {"messages": [{"role": "tool", "content": "y"}]},
        "missing_required_parameter",
        "messages[0].tool_call_id",
    ),
    "no messages": ({"messages": []}, "empty_array", "messages"),
    "messages that are a text": ({"messages": "Hello"}, "invalid_type", "messages"),
    "content that is a number": ({"messages": [{"role": "user", "content": 5}]}, "invalid_type", "messages[0].content"),
    "an unknown role": ({"messages": [{"role": "bot", "content": "x"}]}, "invalid_value", "messages[0].role"),
    "no role": ({"messages": [{"content": "x"}]}, "missing_required_parameter", "messages[0].role"),
    "a hot temperature": ({"temperature": 3}, "decimal_above_max_value", "temperature"),
    "a negative top_p": ({"top_p": -1}, "decimal_below_min_value", "top_p"),
    "a temperature in words": ({"temperature": "hot"}, "invalid_type", "temperature"),
    "no tokens": ({"max_tokens": 0}, "integer_below_min_value", "max_tokens"),
    "half a token": ({"max_tokens": 1.5}, "invalid_type", "max_tokens"),
    "a stop that is a number": ({"stop": 5}, "invalid_type", "stop"),
    "a model that is a number": ({"model": 5}, "invalid_type", "model"),
}


@pytest.mark.parametrize(("change", "code", "param"), BAD_REQUESTS.values(), ids=BAD_REQUESTS)
def test_a_bad_request_is_explained(
    client: Client, server: Server, change: dict[str, Any], code: str, param: str
) -> None:
    for ask in (client.whole, client.streamed):
        with pytest.raises(openai.BadRequestError) as caught:
            ask("Hello", extra_body=change)
        assert (caught.value.code, caught.value.param) == (code, param)
        assert caught.value.type == "invalid_request_error"
        until(lambda error=caught.value: server.records(id=error.request_id, state="refused", error_code=code))


@pytest.mark.parametrize("name", ["model", "messages"])
def test_a_missing_parameter_is_named(client: Client, name: str) -> None:
    body = {other: value for other, value in asked("Hello").items() if other != name}
    with pytest.raises(openai.BadRequestError) as caught:
        client.post("/chat/completions", body)
    assert (caught.value.code, caught.value.param) == ("missing_required_parameter", name)


@pytest.mark.parametrize(
    "path", ["/embeddings", "/moderations", "/chat/completions/chatcmpl-1", "/responses/resp_1/cancel"]
)
def test_an_endpoint_that_is_not_there_is_not_found(client: Client, path: str) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        client.post(path, {"model": MODEL})
    assert caught.value.type == "invalid_request_error"
    assert "Invalid URL" in caught.value.message


def test_a_body_that_is_too_large_is_refused_so_that_the_client_hears_it(client: Client) -> None:
    with pytest.raises(openai.APIStatusError) as caught:
        client.whole("x" * 33 * 1024 * 1024)
    assert (caught.value.status_code, caught.value.code) == (413, "request_too_large")


def test_a_bad_key_is_told_to_a_client_that_sends_a_large_body(client: Client) -> None:
    with pytest.raises(openai.AuthenticationError):
        client.but(api_key=STRANGER).whole("x" * 20 * 1024 * 1024)


UPSTREAM_FAILURES: dict[str, tuple[str, type[openai.APIStatusError], int, str]] = {
    "a rate limit": ("[sandbox:rate_limited retry=7]", openai.RateLimitError, 429, "rate_limit_exceeded"),
    "an overload": ("[sandbox:overloaded retry=7]", openai.InternalServerError, 503, "server_is_overloaded"),
    "a bug": ("[sandbox:error status=500 retry=7]", openai.InternalServerError, 502, "upstream_error"),
    "a refused account": ("[sandbox:error status=401]", openai.InternalServerError, 503, "upstream_auth_error"),
    "a forbidden account": ("[sandbox:error status=403]", openai.InternalServerError, 503, "upstream_auth_error"),
    "an unpaid account": ("[sandbox:error status=402]", openai.InternalServerError, 503, "upstream_billing_error"),
    "a conflict": ("[sandbox:error status=409]", openai.InternalServerError, 502, "upstream_error"),
    "a time-out": ("[sandbox:error status=504]", openai.InternalServerError, 504, "upstream_timeout"),
    "a request too large": ("[sandbox:error status=413]", openai.APIStatusError, 413, "request_too_large"),
}


@pytest.mark.parametrize(("text", "error", "status", "code"), UPSTREAM_FAILURES.values(), ids=UPSTREAM_FAILURES)
def test_a_failure_upstream_keeps_its_meaning(
    client: Client, server: Server, text: str, error: type[openai.APIStatusError], status: int, code: str
) -> None:
    for ask in (client.whole, client.streamed, client.helped):
        with pytest.raises(error) as caught:
            ask(text)
        assert (caught.value.status_code, caught.value.code) == (status, code)
        assert caught.value.response.headers.get("retry-after") == ("7" if "retry" in text else None)
        until(lambda error=caught.value: server.records(id=error.request_id, state="failed", error_code=code))


@pytest.mark.parametrize("after", [0, 3])
@pytest.mark.parametrize(
    ("marker", "code"), [("cut", "upstream_truncated"), ("error_midstream", "server_is_overloaded")]
)
def test_a_stream_that_breaks_is_an_error_and_never_an_end(
    client: Client, server: Server, marker: str, code: str, after: int
) -> None:
    client.tape.may_break = True
    text = f"[sandbox:{marker} after={after}] one two three four five"
    chunks: list[ChatCompletionChunk] = []
    with pytest.raises(openai.APIError) as caught:
        client.streamed(text, into=chunks)
    assert type(caught.value) is openai.APIError
    assert caught.value.code == code
    assert len(chunks) == 1 + after
    assert not any(choice.finish_reason for chunk in chunks for choice in chunk.choices)
    assert client.tape.said().error == caught.value.body
    request_id = client.tape.last.headers["x-request-id"]
    until(lambda: server.records(id=request_id, state="failed", error_code=code))

    events: list[Any] = []
    with pytest.raises(openai.APIError) as caught:
        client.helped(text, into=events)
    assert caught.value.code == code
    assert not any(event.type == "content.done" for event in events)


@pytest.mark.parametrize(("marker", "status"), [("cut", 502), ("error_midstream", 503)])
def test_a_whole_answer_that_breaks_is_an_error(client: Client, marker: str, status: int) -> None:
    with pytest.raises(openai.InternalServerError) as caught:
        client.whole(f"[sandbox:{marker} after=3] one two three four five")
    assert caught.value.status_code == status


# --- Retries --------------------------------------------------------------------------------------------------------


def test_an_overload_that_passes_is_not_the_clients_business(client: Client, server: Server, once: str) -> None:
    whole = client.whole(f"[sandbox:overloaded times=1] [sandbox:echo] {once}")
    assert whole.choices[0].message.content == once
    assert client.tape.statuses == [200]
    (record,) = until(lambda: server.records(id=whole._request_id, state="settled"))
    assert record["attempts"] == 2


def test_a_stream_is_repeated_before_it_has_begun(client: Client, once: str) -> None:
    assert client.streamed(f"[sandbox:overloaded times=1] [sandbox:echo] {once}").text == once
    assert client.tape.statuses == [200]


@pytest.mark.parametrize("marker", ["overloaded", "rate_limited"])
def test_the_client_repeats_what_has_to_wait_longer(client: Client, server: Server, once: str, marker: str) -> None:
    """Each worker fails once, so the third try succeeds whichever workers had the others."""
    client = client.but(max_retries=2)
    whole = client.whole(f"[sandbox:{marker} times=1 retry=3] [sandbox:echo] {once}")
    assert whole.choices[0].message.content == once
    *failures, last = client.tape.statuses
    assert set(failures) == {503 if marker == "overloaded" else 429} and last == 200
    until(lambda: server.records(id=whole._request_id, state="settled", client_retry=len(failures)))


def test_what_cannot_succeed_is_not_repeated(client: Client) -> None:
    client = client.but(max_retries=2)
    for text, more in (("[sandbox:error status=400]", {}), ("Hello", {"n": 9}), ("Hello", {"model": "nobody"})):
        with pytest.raises(openai.APIStatusError):
            client.whole(text, **more)
    assert client.tape.statuses == [400, 400, 404]
