"""openai 0.28, the client of 2023 that is still in many scripts, against a running server."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.contract import validate
from tests.contract.clients import ECHO, MODEL, asked
from tests.live import REPO, Server

VERSION = "0.28.1"
VENV = REPO / ".venv-openai-0.28"
SCRIPT = Path(__file__).with_name("openai_028.py")

Run = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def python() -> Path:
    """The interpreter of a virtualenv with that version, made once and kept."""
    python, made = VENV / "bin" / "python", VENV / f"openai-{VERSION}"
    if not made.exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", VENV], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", f"openai=={VERSION}"], check=True)
        made.touch()
    return python


@pytest.fixture
def run(python: Path, server: Server, key: str) -> Run:
    """Calls something in the old client: `run("Model.list")`; more settings are set on its module."""

    def run(call: str, arguments: dict[str, Any] | None = None, **settings: Any) -> dict[str, Any]:
        order = {
            "settings": {"api_base": server.base, "api_key": key, **settings},
            "call": call,
            "arguments": arguments or {},
        }
        done = subprocess.run(
            [python, "-I", SCRIPT], input=json.dumps(order), capture_output=True, text=True, timeout=120
        )
        assert done.returncode == 0, done.stderr
        result: dict[str, Any] = json.loads(done.stdout)
        assert result["version"] == VERSION
        return result

    return run


@pytest.fixture(params=["create", "acreate"], ids=["sync", "async"])
def create(request: pytest.FixtureRequest) -> str:
    return f"ChatCompletion.{request.param}"


def completed(result: dict[str, Any]) -> str:
    """The text of a whole answer, validated."""
    assert "error" not in result, result["error"]
    answer = validate.completion(json.dumps(result["answer"]).encode())
    return str(answer["choices"][0]["message"]["content"])


def streamed(result: dict[str, Any], *, include_usage: bool = False) -> validate.Stream:
    assert "error" not in result, result["error"]
    return validate.chunks(result["chunks"], include_usage=include_usage)


@pytest.mark.parametrize("path", ["/v1", "", "/v1/"], ids=["/v1", "without", "/v1/"])
def test_any_base_answers_whole_and_in_a_stream(run: Run, server: Server, create: str, path: str) -> None:
    """The client adds no version, and doubles the slash."""
    base = server.url + path
    assert completed(run(create, asked(ECHO + "Hello"), api_base=base)) == "Hello"
    assert streamed(run(create, asked(ECHO + "Hello, wörld 🙂", stream=True), api_base=base)).text == "Hello, wörld 🙂"


@pytest.mark.parametrize("path", ["/v1", ""], ids=["/v1", "without"])
def test_an_engine_is_a_model_in_the_url(run: Run, server: Server, path: str) -> None:
    arguments = {"engine": MODEL, "messages": [{"role": "user", "content": ECHO + "Hello"}]}
    assert completed(run("ChatCompletion.create", arguments, api_base=server.url + path)) == "Hello"
    assert (
        streamed(run("ChatCompletion.create", {**arguments, "stream": True}, api_base=server.url + path)).text
        == "Hello"
    )


@pytest.mark.parametrize("path", ["", "/"])
def test_azure_has_deployments_for_models(run: Run, server: Server, create: str, path: str) -> None:
    arguments = {"deployment_id": MODEL, "messages": [{"role": "user", "content": ECHO + "Hello"}]}
    azure = {"api_type": "azure", "api_base": server.url + path, "api_version": "2023-05-15"}
    assert completed(run(create, arguments, **azure)) == "Hello"
    assert streamed(run(create, {**arguments, "stream": True}, **azure)).text == "Hello"


def test_what_scripts_of_that_time_send_is_understood(run: Run) -> None:
    arguments = asked(ECHO + "Hello", temperature=0.7, max_tokens=256, top_p=1, frequency_penalty=0, presence_penalty=0)
    result = run("ChatCompletion.create", {**arguments, "user": "bob", "request_timeout": 30})
    assert completed(result) == "Hello"
    assert isinstance(result["response_ms"], int)


def test_usage_ends_the_stream_that_asked_for_it(run: Run) -> None:
    result = run("ChatCompletion.create", asked("Hello", stream=True, stream_options={"include_usage": True}))
    usage = streamed(result, include_usage=True).usage
    assert usage is not None and usage["completion_tokens"] > 0


def test_a_limit_of_tokens_and_a_refusal_have_their_finish_reasons(run: Run) -> None:
    assert streamed(
        run("ChatCompletion.create", asked("[sandbox:lorem]", max_tokens=3, stream=True))
    ).finish_reason == ("length")
    refused = run("ChatCompletion.create", asked("[sandbox:refusal] Hello", stream=True))
    assert streamed(refused).finish_reason == "content_filter"


def test_models_are_listed_and_found(run: Run) -> None:
    listed = run("Model.list")["answer"]
    assert MODEL in [row["id"] for row in validate.models(json.dumps(listed).encode())["data"]]
    assert validate.model(run("Model.retrieve", {"id": MODEL})["answer"])["id"] == MODEL


@pytest.mark.parametrize("name", ["nobody", "org/model"])
def test_an_unknown_model_is_not_found(run: Run, name: str) -> None:
    for error in (
        run("Model.retrieve", {"id": name})["error"],
        run("ChatCompletion.create", asked("x", model=name))["error"],
    ):
        assert (error["class"], error["http_status"]) == ("InvalidRequestError", 404)
        assert (error["code"], error["param"]) == ("model_not_found", "model")


ERRORS: dict[str, tuple[dict[str, Any], str, int]] = {
    "no messages": ({"messages": []}, "InvalidRequestError", 400),
    "probabilities": ({"logprobs": True}, "InvalidRequestError", 400),
    "a rate limit": (asked("[sandbox:rate_limited retry=7]"), "RateLimitError", 429),
    "an overload": (asked("[sandbox:overloaded retry=7]"), "ServiceUnavailableError", 503),
    "a bug": (asked("[sandbox:error status=500 retry=7]"), "APIError", 502),
    "a conflict, which it would repeat for ever": (asked("[sandbox:error status=409]"), "APIError", 502),
}


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize(("change", "error", "status"), ERRORS.values(), ids=ERRORS)
def test_an_error_has_its_class(run: Run, change: dict[str, Any], error: str, status: int, stream: bool) -> None:
    result = run("ChatCompletion.create", {**asked("Hello", stream=stream), **change})
    assert (result["error"]["class"], result["error"]["http_status"]) == (error, status)
    assert result["error"]["user_message"]
    assert "Invalid response object" not in result["error"]["user_message"]


def test_a_bad_key_is_an_authentication_error(run: Run, create: str) -> None:
    for arguments in (asked("Hello"), asked("Hello", stream=True)):
        error = run(create, arguments, api_key="sk-of-another-service")["error"]
        assert (error["class"], error["http_status"]) == ("AuthenticationError", 401)
        assert "Incorrect API key provided" in error["user_message"]


@pytest.mark.parametrize("marker", ["cut", "error_midstream"])
def test_a_stream_that_breaks_is_an_error_and_never_an_end(run: Run, create: str, marker: str) -> None:
    result = run(create, asked(f"[sandbox:{marker} after=3] one two three four five", stream=True))
    assert result["error"]["class"] == "APIError"
    assert "(Error occurred while streaming.)" in result["error"]["user_message"]
    assert len(result["chunks"]) == 4
    assert not any(chunk["choices"][0]["finish_reason"] for chunk in result["chunks"])
