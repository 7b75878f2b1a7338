"""OpenAI's Python client gets what it knows from OpenAI, tools, files, JSON and reasoning included."""

from __future__ import annotations

import pytest

from tests.contract import environment
from tests.contract.environment import SANDBOX, Results, said
from tests.live import Server


@pytest.fixture(scope="module")
def results(server: Server) -> Results:
    return environment.run("openai_sdk", server)


def test_it_reads_a_text(results: Results) -> None:
    assert said(results, "text") == ["Hello there", "stop", None, 3]


def test_it_reads_a_stream_with_its_usage(results: Results) -> None:
    assert said(results, "stream") == ["Hello there", 3, "stop", True]


@pytest.mark.parametrize("how", ["tool_loop", "tool_loop_streamed"])
def test_a_tool_is_called_and_its_result_understood(results: Results, how: str) -> None:
    assert said(results, how) == {
        "calls": [["get_weather", {"city": "city", "days": 3}]],
        "finish": ["tool_calls", "stop"],
        "text": f"{SANDBOX}You said: 22 degrees and sunny",
    }


def test_parallel_calls_arrive_apart_and_their_results_in_any_order(results: Results) -> None:
    whole, in_pieces, ids, text = said(results, "parallel_tools")
    assert whole == in_pieces
    assert [name for name, _ in whole] == ["get_weather", "get_time", "get_weather"]
    assert [given["days"] for name, given in whole if given] == [4, 5]
    assert ids == 6
    assert text.endswith("result 0\nresult 1\nresult 2")


def test_without_parallel_calls_there_is_one(results: Results) -> None:
    assert len(said(results, "one_call_at_a_time")) == 1


def test_a_forced_call_happens_on_every_model_whole_and_streamed(results: Results) -> None:
    made = said(results, "forced_tools")
    assert len(made) == 8
    for calls, finish, _ in made.values():
        assert (calls, finish) == ([["get_weather", {"city": "city", "days": 1}]], "tool_calls")


def test_no_tool_is_called_when_none_is_wanted(results: Results) -> None:
    assert said(results, "no_tools_wanted") == ["stop", None]


def test_a_call_without_arguments_has_an_empty_object(results: Results) -> None:
    assert said(results, "tool_without_arguments") == ["{}", "{}"]


def test_a_call_that_was_cut_ends_for_its_length(results: Results) -> None:
    finish, whole, in_pieces = said(results, "call_cut_by_its_length")
    assert finish == "length"
    assert whole == in_pieces == '{"city":"cit'


@pytest.mark.parametrize("model", ["claude-sonnet-5-5", "claude-haiku-5-5"])
def test_a_forced_call_that_was_cut_is_still_a_call(results: Results, model: str) -> None:
    assert said(results, "forced_call_cut_by_its_length")[model] == ["length", ["get_weather"], None]


def test_names_come_back_as_they_were(results: Results) -> None:
    whole, in_pieces, finish = said(results, "names_that_claude_does_not_take")
    assert whole == in_pieces == [["weather.get now", {"city": "city"}]]
    assert finish == "stop"


def test_a_tool_that_takes_free_text_gets_it(results: Results) -> None:
    assert said(results, "free_text_tool") == ["custom", "patch", "input", f"{SANDBOX}You said: applied"]


def test_functions_of_2023_are_called_and_answered(results: Results) -> None:
    assert said(results, "functions_of_2023") == ["function_call", "get_weather", f"{SANDBOX}You said: 22 degrees"]


def test_answers_are_parsed_into_models(results: Results) -> None:
    book = {"title": "title", "mood": "calm", "authors": [{"name": "name", "born": 1}], "sequel": True}
    assert said(results, "parsed") == [book, book]


def test_calls_are_parsed_into_models(results: Results) -> None:
    assert said(results, "parsed_tools") == [["Book", "Book"]] * 4


def test_a_parsed_answer_that_was_cut_is_told_so(results: Results) -> None:
    assert said(results, "parsed_but_cut") == "length"


def test_json_mode_is_json_even_where_claude_fences_it(results: Results) -> None:
    answer, same = said(results, "json_mode")
    assert answer["answer"].startswith(SANDBOX)
    assert same


def test_images_and_files_arrive(results: Results) -> None:
    sent = "You sent 1 image, image/png; 1 image, url; 1 document, application/pdf."
    assert said(results, "files") == f"{SANDBOX}{sent} You said: What is this?"


def test_reasoning_is_shown_counted_and_taken_back(results: Results) -> None:
    found = said(results, "reasoning")
    assert found["thought"].startswith("I am a sandbox")
    assert found["same"]
    assert found["signed"] == found["signed in pieces"] == ["thinking"]
    assert found["tokens"] == [20, 20]
    assert found["next"] == "Go on"


def test_sources_are_told_whole_and_streamed(results: Results) -> None:
    text, whole, in_pieces = said(results, "sources")
    page = {"title": "Bridge's sandbox", "url": "https://example.com/sandbox"}
    assert text == "It is so"
    assert whole == in_pieces == [{"type": "url_citation", "url_citation": {"start_index": 0, "end_index": 8, **page}}]


def test_a_pause_of_anthropics_own_tools_is_not_the_end(results: Results) -> None:
    assert said(results, "a_pause_is_not_an_end") == ["After it", "After it"]


def test_a_conversation_goes_on_over_a_websocket(results: Results) -> None:
    *turns, refusal = said(results, "a_conversation_over_a_websocket")
    assert [text for text, _ in turns] == ["One", "Two", "Three"]
    assert turns[0][1] < turns[1][1] < turns[2][1], "each turn has those before it"
    assert refusal == ["error", "previous_response_not_found", 400]


def test_a_conversation_is_made_shorter_and_goes_on(results: Results) -> None:
    kinds, counted, said_last = said(results, "a_conversation_made_shorter")
    assert (kinds, counted) == (["message", "compaction"], True)
    assert (said_last[0], said_last[-1]) == ("Where is it?", "Go on")
    assert "The conversation before this was made shorter. Its summary:" in said_last


def test_errors_are_of_the_class_that_programs_catch(results: Results) -> None:
    assert said(results, "errors") == {
        "no such model": ["NotFoundError", 404, "model_not_found", "model"],
        "no messages": ["BadRequestError", 400, "empty_array", "messages"],
        "limited": ["RateLimitError", 429, "rate_limit_exceeded", None],
        "overloaded": ["InternalServerError", 503, "server_is_overloaded", None],
        "no such tool": ["BadRequestError", 400, "invalid_value", "tool_choice"],
    }


def test_a_stream_that_breaks_says_so(results: Results) -> None:
    assert said(results, "a_stream_that_breaks") == [True, "server_is_overloaded", "APIError"]
