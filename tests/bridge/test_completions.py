"""Completions, the API of 2021: the prompt is a chat of one turn, the answer its text."""

from __future__ import annotations

from typing import Any

import pytest

from bridge.dialects import completions
from bridge.dialects.completions import COMPLETIONS
from bridge.errors import ApiError
from tests import wire
from tests.conftest import Stage

PATH = "/v1/completions"


def hello(**more: Any) -> dict[str, Any]:
    return {"model": "claude-sonnet-5-5", "prompt": "Hello", **more}


async def test_a_whole_completion_and_its_record(stage: Stage) -> None:
    got = await stage.client.post(PATH, hello(seed=1, echo=False, best_of=1, max_tokens=9))
    answer = got.json()
    assert {name: answer[name] for name in ("id", "object", "model")} == {
        "id": "cmpl-01Test", "object": "text_completion", "model": "claude-sonnet-5-5",
    }  # fmt: skip
    assert answer["choices"] == [{"text": "Hello there", "index": 0, "logprobs": None, "finish_reason": "stop"}]
    assert answer["usage"]["total_tokens"] == 18
    assert got.headers["x-bridge-compat"] == "seed=ignored"
    assert stage.transport.sent() == {
        "model": "claude-sonnet-5-5", "max_tokens": 9, "stream": True,
        "messages": [{"role": "user", "content": [{"type": "text", "text": "Hello"}]}],
    }  # fmt: skip
    record = await stage.record()
    assert (record.dialect, record.state, record.receipt) == ("completions", "settled", "seed=ignored")


async def test_a_streamed_completion_says_the_same(stage: Stage) -> None:
    got = await stage.client.post(PATH, hello(stream=True, stream_options={"include_usage": True}))
    *chunks, usage, done = got.chunks()
    assert done == "[DONE]" and usage["usage"]["total_tokens"] == 18 and usage["choices"] == []
    assert len({(chunk["id"], chunk["created"]) for chunk in chunks}) == 1
    choices = [chunk["choices"][0] for chunk in chunks]
    assert "".join(choice["text"] for choice in choices) == "Hello there"
    assert [choice["finish_reason"] for choice in choices] == [None, None, "stop"]


@pytest.mark.parametrize("stream", [False, True])
async def test_several_choices_are_as_many_calls(stage: Stage, stream: bool) -> None:
    stage.play(lambda _: wire.streamed(*wire.answer("Hi")))
    got = await stage.client.post(PATH, hello(n=2, stream=stream))
    parts = [part for part in got.chunks() if part != "[DONE]"] if stream else [got.json()]
    texts = {0: "", 1: ""}
    for choice in [choice for part in parts for choice in part["choices"]]:
        texts[choice["index"]] += choice["text"]
    assert texts == {0: "Hi", 1: "Hi"}
    assert not stream or got.body.count(b"[DONE]") == 1


@pytest.mark.parametrize("path", ["/v1/engines/claude-haiku-4-5/completions", "/completions"])
async def test_the_oldest_urls(stage: Stage, path: str) -> None:
    body = {"prompt": ["Hello"], **({} if "engines" in path else {"model": "claude-haiku-4-5"})}
    assert (await stage.client.post(path, body)).json()["choices"][0]["text"] == "Hello there"


@pytest.mark.parametrize("name", wire.BREAKS)
async def test_a_stream_that_breaks_says_so_and_has_no_end(stage: Stage, name: str) -> None:
    stage.play(wire.broken(name))
    got = await stage.client.post(PATH, hello(stream=True))
    assert "error" in got.chunks()[-1] and b"[DONE]" not in got.body and b'"stop"' not in got.body
    assert (await stage.record()).state == "failed"


@pytest.mark.parametrize(
    ("more", "code", "param"),
    [
        ({"suffix": "end"}, "unsupported_parameter", "suffix"),
        ({"echo": True}, "unsupported_parameter", "echo"),
        ({"logprobs": 0}, "unsupported_parameter", "logprobs"),
        ({"prompt": None}, "missing_required_parameter", "prompt"),
        ({"prompt": " "}, "invalid_value", "prompt"),
        ({"prompt": 5}, "invalid_type", "prompt"),
        ({"prompt": ["a", "b"]}, "unsupported_value", "prompt"),
        ({"prompt": [1, 2]}, "unsupported_value", "prompt"),
        ({"model": None}, "missing_required_parameter", "model"),
        ({"n": 9}, "integer_above_max_value", "n"),
    ],
)
def test_what_cannot_be_done_is_a_400_that_says_so(more: dict[str, Any], code: str, param: str) -> None:
    with pytest.raises(ApiError) as caught:
        completions.read(hello(**more))
    assert (caught.value.status, caught.value.code, caught.value.param) == (400, code, param)


def test_every_parameter_of_the_table_has_a_meaning() -> None:
    values: dict[str, Any] = {"stop": ["x"], "temperature": 0.5, "top_p": 1, "max_tokens": 5, "user": "u", "n": 2}
    reading = completions.read(hello(**values, best_of=3, frequency_penalty=1, presence_penalty=1, logit_bias={"1": 1}))
    assert reading.request["stop_sequences"] == ["x"] and reading.choices == 2 and reading.end_user == "u"
    ignored = [name for name, param in COMPLETIONS.items() if param.verdict == "ignored" and name != "seed"]
    assert set(str(reading.receipt).split(", ")) == {f"{name}=ignored" for name in ignored}
