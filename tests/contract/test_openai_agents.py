"""OpenAI's Agents SDK works by either API, and the client under it by Responses."""

from __future__ import annotations

import pytest

from tests.contract import environment
from tests.contract.environment import SANDBOX, WEATHER, Results, said
from tests.live import Server


@pytest.fixture(scope="module")
def results(server: Server) -> Results:
    return environment.run("openai_agents", server)


@pytest.mark.parametrize("api", ["responses", "chat"])
def test_an_agent_calls_its_tools_whole_and_streamed(results: Results, api: str) -> None:
    whole, streamed, calls, reasoned = said(results, f"agents_by_{api}")
    assert whole == streamed == f"{WEATHER}\nMonday"
    assert (calls, reasoned) == (2, True)


def test_it_reads_a_text_and_a_stream(results: Results) -> None:
    assert said(results, "create") == ["Hello there", "completed", 3, False]
    assert said(results, "stream") == ["Hello there, you", 3, "Hello there, you"]


def test_a_typed_answer_arrives_whole_and_streamed(results: Results) -> None:
    book = {"title": "title", "pages": 300, "authors": [{"name": "name"}]}
    assert said(results, "parse") == [book, book]


def test_a_loop_of_tools_takes_its_reasoning_along(results: Results) -> None:
    kinds, text, sealed, receipts = said(results, "tool_loop")
    assert kinds == ["", "reasoning", "function_call", "function_call_output", "reasoning", "message"]
    assert text == f"{SANDBOX}You said: city in 3 days: 22 degrees"
    assert sealed and receipts == [None, None], "nothing was left out on the way back"


def test_custom_tools_are_called_with_their_text(results: Results) -> None:
    assert said(results, "custom_tool") == ["custom_tool_call", "patch", True]


def test_a_web_search_has_its_item_and_its_source(results: Results) -> None:
    assert said(results, "web_search") == [["web_search_call", "message"], ["url_citation"]]


def test_an_image_arrives(results: Results) -> None:
    assert said(results, "image") == f"{SANDBOX}You sent 1 image, image/png. You said: What is this?"


def test_input_is_counted(results: Results) -> None:
    assert said(results, "counting") == 3


def test_what_needs_a_store_is_refused_by_its_name(results: Results) -> None:
    assert said(results, "refusals") == [400, "previous_response_not_found", "previous_response_id"]


def test_a_stream_that_breaks_raises(results: Results) -> None:
    assert said(results, "a_stream_that_breaks") == ["APIError", "upstream_truncated"]
