"""openai's Node client of today against a running server."""

from __future__ import annotations

import base64
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.contract import validate
from tests.contract.clients import ECHO, MODEL, asked, is_over
from tests.contract.validate import Exchange, Stream
from tests.live import Server, until

FOLDER = Path(__file__).with_name("node")
UNICODE = "Grüße, 你好世界, 👩‍👩‍👧‍👦🏳️‍🌈 e\u0301 \u2028\u0085 𝄞"


class Result:
    """What the client made of a call; every exchange in it is judged."""

    def __init__(self, printed: dict[str, Any], may_break: bool) -> None:
        self.answer: Any = printed.get("answer")
        self.request_id: str | None = printed.get("requestId")
        self.chunks: list[Any] = printed["chunks"]
        self.events: dict[str, int] = printed["events"]
        self.error: dict[str, Any] | None = printed.get("error")
        self.exchanges = [_exchange(made) for made in printed["exchanges"]]
        self.judged = [validate.exchange(made, may_break=may_break) for made in self.exchanges]

    @property
    def statuses(self) -> list[int]:
        return [made.status for made in self.exchanges]

    @property
    def stream(self) -> Stream:
        """The last exchange, which has to be a stream and no error."""
        assert self.error is None, self.error
        found = self.judged[-1]
        assert isinstance(found, Stream)
        return found

    @property
    def text(self) -> str:
        """The text of a whole answer, or of what a helper made of a stream."""
        assert self.error is None, self.error
        return str(self.answer["choices"][0]["message"]["content"])


def _exchange(made: dict[str, Any]) -> Exchange:
    body = base64.b64decode(made["body"])
    complete = made["complete"] or is_over(body)
    return Exchange(
        made["method"], made["path"], made["sent"].encode(), made["status"], made["headers"], body, complete
    )


@pytest.fixture(scope="module")
def script() -> Path:
    """The script, with what it needs beside it."""
    wanted = json.loads((FOLDER / "package.json").read_text())["dependencies"]["openai"]
    installed = FOLDER / "node_modules" / "openai" / "package.json"
    if not installed.exists() or json.loads(installed.read_text())["version"] != wanted:
        command = ["npm", "install", "--no-package-lock", "--no-audit", "--no-fund", "--loglevel=error"]
        subprocess.run(command, cwd=FOLDER, check=True)
    return FOLDER / "client.mjs"


Run = Callable[..., Result]


@pytest.fixture
def run(script: Path, server: Server, key: str) -> Run:
    def run(
        call: str,
        params: dict[str, Any] | None = None,
        *,
        may_break: bool = False,
        azure: bool = False,
        leave_after: int | None = None,
        **options: Any,
    ) -> Result:
        where = {} if azure else {"baseURL": server.base}
        order = {
            "options": {**where, "apiKey": key, **options},
            "azure": azure,
            "call": call,
            "params": params or {},
            "leaveAfter": leave_after,
        }
        done = subprocess.run(
            ["node", script], input=json.dumps(order), capture_output=True, text=True, encoding="utf-8", timeout=120
        )
        assert done.returncode == 0, done.stderr
        return Result(json.loads(done.stdout), may_break)

    return run


# --- Answers --------------------------------------------------------------------------------------------------------


def test_a_whole_answer(run: Run, server: Server) -> None:
    result = run("whole", asked(ECHO + UNICODE))
    assert result.text == UNICODE
    until(lambda: server.records(id=result.request_id, state="settled"))


def test_a_streamed_answer_comes_in_pieces_that_add_up_to_the_whole_one(run: Run) -> None:
    whole, streamed = run("whole", asked("Hello")), run("streamed", asked("Hello"))
    assert streamed.stream.text == whole.text
    assert streamed.chunks == streamed.stream.chunks


def test_the_stream_helper_builds_the_whole_answer(run: Run) -> None:
    params = asked("[sandbox:think] " + ECHO + UNICODE, stream_options={"include_usage": True})
    whole, helped = run("whole", params), run("helped", params)
    assert helped.text == whole.text == UNICODE
    assert helped.answer["usage"] == whole.answer["usage"]
    assert helped.answer["choices"][0]["finish_reason"] == "stop"
    once = ("connect", "message", "finalContent", "end")
    assert [helped.events.get(name) for name in once] == [1, 1, 1, 1]
    assert helped.events["content"] > 3
    assert "error" not in helped.events and "abort" not in helped.events


def test_usage_ends_the_stream_that_asked_for_it(run: Run) -> None:
    *others, last = run("streamed", asked("Hello", stream_options={"include_usage": True})).chunks
    assert last["choices"] == [] and last["usage"]["completion_tokens"] > 0
    assert all(chunk["usage"] is None for chunk in others)


@pytest.mark.parametrize(
    ("text", "finish_reason"), [("[sandbox:refusal] Hello", "content_filter"), ("[sandbox:max_tokens] Hello", "length")]
)
def test_an_answer_that_ends_otherwise_says_how(run: Run, text: str, finish_reason: str) -> None:
    assert run("whole", asked(text)).answer["choices"][0]["finish_reason"] == finish_reason
    assert run("streamed", asked(text)).stream.finish_reason == finish_reason
    assert run("helped", asked(text)).answer["choices"][0]["finish_reason"] == finish_reason


def test_a_refusal_has_its_reason_however_it_is_read(run: Run) -> None:
    wanted = "Bridge's sandbox refused, as the request asked."
    for call in ("whole", "helped"):
        assert run(call, asked("[sandbox:refusal] Hello")).answer["choices"][0]["message"]["refusal"] == wanted


# --- Ways in --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["", "/", "/v1", "/v1/"])
def test_the_base_url_may_end_as_it_likes(run: Run, server: Server, path: str) -> None:
    assert run("whole", asked(ECHO + "Hello"), baseURL=server.url + path).text == "Hello"
    assert run("streamed", asked(ECHO + "Hello"), baseURL=server.url + path).stream.text == "Hello"


def test_the_key_may_come_in_another_header(run: Run, key: str) -> None:
    for header in ("api-key", "x-api-key"):
        headers = {header: key}
        assert run("whole", asked(ECHO + "Hello"), apiKey="sk-of-another", defaultHeaders=headers).text == "Hello"


def test_an_azure_client_finds_its_deployment(run: Run, server: Server) -> None:
    azure = {"azure": True, "endpoint": server.url, "apiVersion": "2026-06-01"}
    assert run("whole", asked(ECHO + "Hello"), **azure).text == "Hello"
    result = run("streamed", asked(ECHO + "Hello"), **azure)
    assert result.stream.text == "Hello"
    assert result.exchanges[0].path.startswith(f"/openai/deployments/{MODEL}/chat/completions")


# --- Models ---------------------------------------------------------------------------------------------------------


def test_models_are_listed_page_by_page_and_found(run: Run) -> None:
    every = [model["id"] for model in run("models", {"limit": 1000}).answer]
    first = [model["id"] for model in run("models", {"limit": 3}).answer]
    assert first == every[:3]
    assert [model["id"] for model in run("models", {"limit": 3, "after": first[-1]}).answer] == every[3:6]
    assert run("model", {"id": MODEL}).answer["id"] == MODEL


@pytest.mark.parametrize("name", ["nobody", "org/model"])
def test_an_unknown_model_is_not_found(run: Run, name: str) -> None:
    for result in (run("model", {"id": name}), run("streamed", asked("Hello", model=name))):
        assert result.error is not None
        assert (result.error["class"], result.error["code"]) == ("NotFoundError", "model_not_found")
        assert result.error["requestID"] == result.exchanges[-1].headers["x-request-id"]


# --- Errors ---------------------------------------------------------------------------------------------------------


ERRORS: dict[str, tuple[dict[str, Any], str, int, str]] = {
    "probabilities": ({"logprobs": True}, "BadRequestError", 400, "unsupported_parameter"),
    "no messages": ({"messages": []}, "BadRequestError", 400, "empty_array"),
    "a rate limit": (asked("[sandbox:rate_limited retry=7]"), "RateLimitError", 429, "rate_limit_exceeded"),
    "an overload": (asked("[sandbox:overloaded retry=7]"), "InternalServerError", 503, "server_is_overloaded"),
    "a bug": (asked("[sandbox:error status=500 retry=7]"), "InternalServerError", 502, "upstream_error"),
}


@pytest.mark.parametrize(("change", "error", "status", "code"), ERRORS.values(), ids=ERRORS)
def test_an_error_has_its_class(run: Run, change: dict[str, Any], error: str, status: int, code: str) -> None:
    for call in ("whole", "streamed", "helped"):
        result = run(call, {**asked("Hello"), **change})
        assert result.error is not None
        assert [result.error[name] for name in ("class", "status", "code")] == [error, status, code]
        assert result.error["requestID"] == result.exchanges[-1].headers["x-request-id"]


def test_a_bad_key_is_an_authentication_error(run: Run) -> None:
    result = run("streamed", asked("Hello"), apiKey="sk-of-another-service")
    assert result.error is not None
    assert (result.error["class"], result.error["code"]) == ("AuthenticationError", "invalid_api_key")


@pytest.mark.parametrize("call", ["streamed", "helped"])
@pytest.mark.parametrize(
    ("marker", "code"), [("cut", "upstream_truncated"), ("error_midstream", "server_is_overloaded")]
)
def test_a_stream_that_breaks_is_an_error_and_never_an_end(run: Run, call: str, marker: str, code: str) -> None:
    result = run(call, asked(f"[sandbox:{marker} after=3] one two three four five"), may_break=True)
    assert result.error is not None
    assert (result.error["class"], result.error["code"]) == ("APIError", code)
    assert len(result.chunks) == 4
    assert not any(chunk["choices"][0]["finish_reason"] for chunk in result.chunks)
    assert "finalContent" not in result.events


@pytest.mark.parametrize(("text", "error"), [("refusal", "ContentFilter"), ("max_tokens", "Length")])
def test_an_answer_that_cannot_be_parsed_is_the_helpers_own_error(run: Run, text: str, error: str) -> None:
    result = run("parsed", asked(f"[sandbox:{text}] Hello"))
    assert result.error is not None
    assert result.error["class"] == f"{error}FinishReasonError"


def test_the_client_repeats_what_has_to_wait_longer(run: Run, once: str) -> None:
    """Each worker fails once, so the third try succeeds whichever workers had the others."""
    result = run("whole", asked(f"[sandbox:rate_limited times=1 retry=3] [sandbox:echo] {once}"), maxRetries=2)
    assert result.text == once
    assert set(result.statuses[:-1]) == {429} and result.statuses[-1] == 200


def test_a_long_wait_is_not_repeated_too_early(run: Run) -> None:
    """This client does not believe a retry-after above 60 s, and would come back within a second."""
    result = run("whole", asked("[sandbox:rate_limited retry=90]"), maxRetries=2)
    assert result.exchanges[0].headers["retry-after"] == "90"
    assert result.statuses == [429]


@pytest.mark.parametrize("call", ["streamed", "helped"])
def test_a_client_that_leaves_is_on_record_as_gone(run: Run, server: Server, call: str) -> None:
    result = run(call, asked("[sandbox:lorem tokens=2000 rate=50]"), leave_after=5)
    assert len(result.chunks) == 5
    assert (result.error or {}).get("class") == (None if call == "streamed" else "APIUserAbortError")
    (made,) = result.exchanges
    assert not made.complete
    (record,) = until(lambda: server.records(id=made.headers["x-request-id"], state="cancelled"))
    assert 0 < record["output_tokens"] < 2000
