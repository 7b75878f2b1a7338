"""LangChain's ChatOpenAI works, and LangChain's standard tests of chat models pass."""

from __future__ import annotations

import pytest

from tests.contract import environment
from tests.contract.environment import SANDBOX, WEATHER, Results, said
from tests.live import Server


@pytest.fixture(scope="module")
def results(server: Server) -> Results:
    return environment.run("langchain_chat", server)


def test_it_reads_a_text_and_a_stream(results: Results) -> None:
    assert said(results, "text") == ["Hello there", 3, "stop"]
    assert said(results, "stream") == ["Hello there, you", 4]


@pytest.mark.parametrize("how", ["tool_loop", "tool_loop_streamed"])
def test_tools_are_called_and_answered(results: Results, how: str) -> None:
    assert said(results, how) == [["weather", "calendar"], f"{WEATHER}\nMonday"]


def test_structured_output_by_every_method(results: Results) -> None:
    made = said(results, "structured")
    assert len(made) == 12
    for how, book in made.items():
        wanted = {"title": "title", "pages": 300, "authors": [{"name": "name"}]}
        assert book == (["answer"] if "json_mode" in how else wanted), how


def test_an_image_arrives(results: Results) -> None:
    assert said(results, "image") == f"{SANDBOX}You sent 1 image, image/png. You said: What is this?"


def test_reasoning_is_counted(results: Results) -> None:
    assert said(results, "reasoning") == ["Hello", 20]


def test_an_unknown_model_is_not_found(results: Results) -> None:
    assert said(results, "error") == [404, "model_not_found"]


@pytest.mark.parametrize("model", ["claude-sonnet-5-5", "claude-haiku-5-5"])
def test_the_standard_tests_pass(server: Server, model: str) -> None:
    ended = environment.standard_tests("langchain_chat", "langchain_standard.py", server, BRIDGE_MODEL=model)
    assert (ended["failed"], ended["error"]) == ([], [])
    assert len(ended["passed"]) >= 47
    left_out = {name.partition("[")[0] for name in ended["skipped"]}
    assert left_out == {"test_audio_inputs", "test_stream_time"}  # why: docs/clients.md


def test_a_loop_of_tools_works_by_responses_too(results: Results) -> None:
    kinds, text = said(results, "responses")
    assert [kind for kind in kinds if kind != "tool_call_chunk"] == ["reasoning", "tool_call", "tool_call"]
    assert text == f"{WEATHER}\nMonday"
