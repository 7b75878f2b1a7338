"""What no SDK sends by itself, but other clients do, as bytes over HTTP against a running server."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.contract import validate
from tests.contract.checks import Json
from tests.contract.clients import ECHO, MODEL, AsyncClient, Tape, asked
from tests.contract.validate import Exchange, Stream
from tests.live import Server, until


class Wire:
    """Sends what it is given; every answer is judged."""

    def __init__(self, server: Server, key: str) -> None:
        self.url = server.url
        self.http = httpx.Client(headers={"authorization": f"Bearer {key}"}, timeout=30)

    def send(self, method: str, path: str, body: bytes = b"", **headers: str | None) -> tuple[httpx.Response, Any]:
        request = self.http.build_request(method, self.url + path, content=body or None)
        for name, value in headers.items():
            request.headers.pop(name.replace("_", "-"), None)
            if value is not None:
                request.headers[name.replace("_", "-")] = value
        answer = self.http.send(request)
        made = Exchange(method, path, body, answer.status_code, dict(answer.headers), answer.content, complete=True)
        return answer, validate.exchange(made)

    def ask(
        self, text: str = ECHO + "Hello", path: str = "/v1/chat/completions", **more: Any
    ) -> tuple[httpx.Response, Any]:
        return self.send("POST", path, json.dumps(asked(text, **more)).encode(), content_type="application/json")


@pytest.fixture
def wire(server: Server, key: str) -> Iterator[Wire]:
    wire = Wire(server, key)
    with wire.http:
        yield wire


def text_of(answer: Stream | Json) -> str:
    return answer.text if isinstance(answer, Stream) else answer["choices"][0]["message"]["content"]


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("accept", ["*/*", "application/json", "text/event-stream", "text/html", "nonsense"])
@pytest.mark.parametrize(
    "kind", ["application/json", "application/x-www-form-urlencoded", "text/plain; charset=x", None]
)
def test_the_headers_of_content_do_not_matter(wire: Wire, accept: str, kind: str | None, stream: bool) -> None:
    """curl names the wrong type, the AI SDK accepts one kind only."""
    body = json.dumps(asked(ECHO + "Hello", stream=stream)).encode()
    _, answer = wire.send("POST", "/v1/chat/completions", body, accept=accept, content_type=kind)
    assert text_of(answer) == "Hello"


OPTIONAL = (
    *("max_tokens", "stop", "tools", "temperature", "top_p", "n", "user", "stream", "stream_options", "seed"),
    *("response_format", "tool_choice", "logprobs", "logit_bias", "functions", "metadata"),
)
CLIENTS: dict[str, Json] = {
    "LangChain": {
        "max_completion_tokens": 500,
        "stream": False,
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": ECHO + "Hello", "name": "Bob"},
        ],
    },
    "the AI SDK": {
        "max_tokens": 500,
        "temperature": 0,
        "stream": True,
        "stream_options": {"include_usage": True},
        "messages": [
            {"role": "user", "content": "Good morning"},
            {"role": "assistant", "content": "Good morning!", "reasoning_content": "A greeting."},
            {"role": "user", "content": [{"type": "text", "text": ECHO + "Hello"}]},
        ],
    },
    "a client that sends null for nothing": dict.fromkeys(OPTIONAL),
    "a client that echoes its answer": {
        "messages": [
            {"role": "user", "content": "Good morning"},
            {
                "role": "assistant",
                "content": "Good morning!",
                "refusal": None,
                "annotations": [],
                "audio": None,
                "function_call": None,
                "tool_calls": [],
            },
            {"role": "user", "content": ECHO + "Hello"},
        ],
    },
    "a client that repeats the defaults": {
        "n": 1,
        "temperature": 1,
        "top_p": 1.0,
        "presence_penalty": 0,
        "frequency_penalty": 0.0,
        "logit_bias": {},
        "logprobs": False,
        "tools": [],
        "response_format": {"type": "text"},
        "max_tokens": 100.0,
    },
    "parameters of other services": {
        "top_k": 40,
        "min_p": 0.1,
        "repetition_penalty": 1.1,
        "chat_template_kwargs": {"enable_thinking": False},
        "provider": {"order": ["anthropic"]},
        "transforms": [],
        "extra_body": {"x": 1},
        "timeout": 60,
        "user": {"id": 7},
    },
}


@pytest.mark.parametrize("change", CLIENTS.values(), ids=CLIENTS)
def test_a_request_as_others_send_it_is_understood(wire: Wire, change: Json) -> None:
    _, answer = wire.ask(**{**asked(ECHO + "Hello"), **change})
    assert text_of(answer) == "Hello"


BAD_BODIES = {
    "nothing": b"",
    "no JSON": b"hello",
    "half of it": b'{"model": "x", "messages": [',
    "a list": b"[]",
    "a text": b'"hello"',
    "null": b"null",
    "NaN": b'{"model": "claude-sonnet-5-5", "temperature": NaN, "messages": [{"role": "user", "content": "x"}]}',
    "no UTF-8": b'{"model": "claude-sonnet-5-5", "messages": [{"role": "user", "content": "\xff\xfe"}]}',
    "too deep": b'{"messages": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "a huge number": b'{"max_tokens": ' + b"9" * 10_000 + b"}",
}


@pytest.mark.parametrize("body", BAD_BODIES.values(), ids=BAD_BODIES)
def test_a_body_that_is_no_request_is_the_clients_mistake(wire: Wire, body: bytes) -> None:
    answer, error = wire.send("POST", "/v1/chat/completions", body, content_type="application/json")
    assert answer.status_code == 400
    assert error["type"] == "invalid_request_error"


def test_half_a_character_is_explained(wire: Wire) -> None:
    """JavaScript cuts texts in the middle of a surrogate pair."""
    body = json.dumps(asked("cut: \ud83d")).encode()
    answer, error = wire.send("POST", "/v1/chat/completions", body, content_type="application/json")
    assert answer.status_code == 400
    assert "surrogate" in error["message"]


def test_a_coding_that_is_not_known_and_a_broken_one_are_refused_with_a_reason(wire: Wire) -> None:
    answer, error = wire.send("POST", "/v1/chat/completions", b"\x1f\x8b", content_encoding="br")
    assert (answer.status_code, error["code"]) == (415, "unsupported_media_type")
    answer, error = wire.send("POST", "/v1/chat/completions", b"\x1f\x8b", content_encoding="gzip")
    assert answer.status_code == 400 and "gzip" in error["message"]


def test_a_compressed_body_is_read(wire: Wire) -> None:
    body = gzip.compress(json.dumps(asked("Hello")).encode())
    answer, said = wire.send("POST", "/v1/chat/completions", body, content_encoding="gzip")
    assert answer.status_code == 200 and text_of(said)


@pytest.mark.parametrize("name", ["authorization", "x-api-key", "api-key"])
def test_one_header_with_the_key_is_enough(wire: Wire, key: str, name: str) -> None:
    del wire.http.headers["authorization"]
    wire.http.headers[name] = f"Bearer {key}" if name == "authorization" else key
    assert text_of(wire.ask()[1]) == "Hello"


@pytest.mark.parametrize("path", ["/v1/models", "/v1/chat/completions", "/v1/key"])
def test_without_a_key_nothing_is_told(wire: Wire, path: str) -> None:
    del wire.http.headers["authorization"]
    answer, error = wire.send("POST" if "chat" in path else "GET", path, b"{" if "chat" in path else b"")
    assert (answer.status_code, error["code"]) == (401, "invalid_api_key")
    assert "You didn't provide an API key" in error["message"]


@pytest.mark.parametrize(
    "path",
    [
        "/v1/chat/completions",
        "/chat/completions",
        "/v1/chat/completions/",
        "/v1//chat//completions",
        "//chat/completions",
        f"/v1/engines/{MODEL}/chat/completions",
        f"/openai/deployments/{MODEL}/chat/completions?api-version=2026-06-01",
        f"/v1/openai/deployments/{MODEL}/chat/completions",
    ],
)
def test_every_spelling_of_the_path_answers(wire: Wire, path: str) -> None:
    assert text_of(wire.ask(path=path)[1]) == "Hello"


def test_a_model_with_a_slash_may_be_quoted(wire: Wire) -> None:
    for path in ("/v1/models/org%2Fmodel", "/v1/models/org/model"):
        answer, error = wire.send("GET", path)
        assert (answer.status_code, error["code"]) == (404, "model_not_found")
        assert "`org/model`" in error["message"]


@pytest.mark.parametrize("path", ["/v1/nothing", "/nothing.html", "/v1", "/v1/chat", "/v1/files"])
def test_an_unknown_path_is_json_too(wire: Wire, path: str) -> None:
    answer, error = wire.send("GET", path)
    assert (answer.status_code, error["code"]) == (404, "unknown_url")


@pytest.mark.parametrize(("method", "path"), [("GET", "/v1/chat/completions"), ("DELETE", "/v1/models/x")])
def test_a_wrong_method_names_the_right_one(wire: Wire, method: str, path: str) -> None:
    answer, error = wire.send(method, path)
    assert (answer.status_code, error["code"]) == (405, "method_not_supported")
    assert answer.headers["allow"] not in ("", method)


def test_a_probe_may_ask_for_the_head_only(wire: Wire) -> None:
    answer = wire.http.head(wire.url + "/v1/models")
    assert (answer.status_code, answer.content) == (200, b"")


def test_the_key_describes_itself(wire: Wire) -> None:
    answer = wire.http.get(wire.url + "/v1/key")
    assert answer.json() | {"id": ""} == {
        "object": "key",
        "id": "",
        "name": "contract",
        "tenant": "acme",
        "mode": "live",
        "expires_at": None,
        "models": None,
        "limits": [],
        "budgets": [],
    }


def test_a_silent_stream_is_kept_alive(server: Server, key: str, tape: Tape) -> None:
    """Proxies close what is silent: a comment after 15 s; LangChain counts chunks only: one after 30 s."""
    client = AsyncClient(tape, base_url=server.base, api_key=key)
    stream = client.streamed("[sandbox:echo] [sandbox:slow first=0 rate=0.3] a " + "x" * 40)
    assert stream.text == "a " + "x" * 40
    assert b"\n\n: keep-alive\n\n" in tape.last.body
    assert {} in [chunk["choices"][0]["delta"] for chunk in stream.chunks[:-1]]
    until(lambda: server.records(id=tape.last.headers["x-request-id"], state="settled"))
