"""LlamaIndex works through OpenAILike."""

from __future__ import annotations

import pytest

from tests.contract import environment
from tests.contract.environment import SANDBOX, Results, said
from tests.live import Server


@pytest.fixture(scope="module")
def results(server: Server) -> Results:
    return environment.run("llama_index_llm", server)


def test_it_reads_a_text_and_a_stream(results: Results) -> None:
    assert said(results, "text") == ["Hello there", "Hi"]
    assert said(results, "stream") == ["Hello there, you", True]
    assert said(results, "stream_async") == "Hello there, you"


def test_a_tool_is_called_and_answered(results: Results) -> None:
    assert said(results, "tool_loop") == "city in 3 days: 22 degrees"
    assert said(results, "tool_results") == f"{SANDBOX}You said: 22 degrees"


def test_a_forced_call_happens_whole_and_streamed(results: Results) -> None:
    assert said(results, "forced_tool") == [[["weather", {"city": "city", "days": 1}]] * 2] * 2


def test_structured_prediction(results: Results) -> None:
    assert said(results, "structured") == [{"title": "title", "pages": 300, "authors": [{"name": "name"}]}] * 4


def test_an_image_arrives(results: Results) -> None:
    assert said(results, "image") == f"{SANDBOX}You sent 1 image, image/png. You said: What is this?"


def test_reasoning_is_shown(results: Results) -> None:
    assert said(results, "reasoning") == ["Hello", "I am a sandbox"]


def test_an_unknown_model_is_not_found(results: Results) -> None:
    assert said(results, "error") == ["NotFoundError", True]


def test_its_default_works_too(results: Results) -> None:
    assert said(results, "completions") == ["Hello there", "Hello there, you", True]
