"""pydantic-ai's agents work over Chat Completions and Responses."""

from __future__ import annotations

import pytest

from tests.contract import environment
from tests.contract.environment import SANDBOX, WEATHER, Results, said
from tests.live import Server


@pytest.fixture(scope="module")
def results(server: Server) -> Results:
    return environment.run("pydantic_agent", server)


def test_it_reads_a_text_and_a_stream(results: Results) -> None:
    assert said(results, "text") == ["Hello there", 3, "stop"]
    assert said(results, "stream") == ["Hello there, you", True, 4]


def test_an_agent_calls_its_tools(results: Results) -> None:
    assert said(results, "tool_loop") == [["weather", "calendar"], f"{WEATHER}\nMonday"]
    assert said(results, "tool_loop_streamed") == f"{WEATHER}\nMonday"


def test_output_is_typed_in_every_mode(results: Results) -> None:
    made = said(results, "typed_output")
    assert len(made) == 6
    book = {"title": "title", "pages": 300, "authors": [{"name": "name"}]}
    assert [*made.values(), *said(results, "typed_output_streamed")] == [book] * 8


def test_an_agent_with_tools_and_typed_output_comes_to_an_end(results: Results) -> None:
    made = said(results, "tools_and_typed_output")
    assert list(made.values()) == [[["weather", "final_result"], "title"]] * 2


def test_a_history_with_tools_goes_on(results: Results) -> None:
    assert said(results, "history") == "and now?"


def test_an_image_arrives(results: Results) -> None:
    assert said(results, "image") == f"{SANDBOX}You sent 1 image, image/png. You said: What is this?"


def test_reasoning_is_shown_and_sent_back(results: Results) -> None:
    (thought,), tokens, text = said(results, "reasoning")
    assert thought.startswith("I am a sandbox")
    assert (tokens, text) == (20, "Go on")


def test_an_agent_works_by_responses_too(results: Results) -> None:
    text, calls, thoughts, sealed, again, book = said(results, "responses")
    assert (text, calls) == (f"{WEATHER}\nMonday", ["weather", "calendar"])
    assert thoughts == 2 and sealed
    assert again == "Go on"
    assert book == {"title": "title", "pages": 300, "authors": [{"name": "name"}]}


def test_an_unknown_model_is_not_found(results: Results) -> None:
    assert said(results, "error") == [404, "model_not_found"]
