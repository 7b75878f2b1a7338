"""Vercel's AI SDK works with both of its providers, and by each API."""

from __future__ import annotations

import pytest

from tests.contract import environment
from tests.contract.environment import SANDBOX, WEATHER, Results, said
from tests.live import Server


@pytest.fixture(scope="module")
def results(server: Server) -> Results:
    return environment.run("ai_sdk", server)


@pytest.fixture(params=["compatible", "openai", "responses"])
def provider(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_it_reads_a_text_and_a_stream(results: Results, provider: str) -> None:
    assert said(results, "text")[provider] == ["Hello there", "stop", 3]
    assert said(results, "stream")[provider] == ["Hello there, you", "stop", 4]


@pytest.mark.parametrize("how", ["tool_loop", "tool_loop_streamed"])
def test_tools_are_called_in_steps(results: Results, provider: str, how: str) -> None:
    calls, steps, text = said(results, how)[provider]
    assert calls == [["weather", {"city": "city", "days": 3}], ["calendar", {}]]
    assert (steps, text) == (2, f"{WEATHER}\nMonday")


def test_a_forced_call_happens(results: Results, provider: str) -> None:
    assert said(results, "forced")[provider] == [[["weather"], "tool-calls"]] * 4


def test_objects_arrive_whole_and_streamed(results: Results) -> None:
    book = {"title": "title", "pages": 300, "authors": [{"name": "name"}]}
    assert said(results, "objects") == {"structured": [book, book], "openai": [book, book], "responses": [book, book]}


def test_json_without_a_schema_arrives(results: Results) -> None:
    assert said(results, "json") == {"answer": f"{SANDBOX}You said: JSON"}


def test_an_image_arrives(results: Results, provider: str) -> None:
    sent = "You sent 1 image, image/png. You said: What is this?"
    assert said(results, "image")[provider] == f"{SANDBOX}{sent}"


def test_reasoning_is_shown_and_sent_back(results: Results) -> None:
    text, streamed, whole, next_text = said(results, "reasoning")
    assert (text, next_text) == ("Hello", "Go on")
    assert streamed == whole
    assert whole.startswith("I am a sandbox")


def test_a_loop_of_tools_takes_its_reasoning_along(results: Results) -> None:
    """By default the SDK refers to thinking as stored, which is left out; without a store it sends it back sealed."""
    stored, sealed = said(results, "reasoning_loop")
    assert stored == [f"{WEATHER}\nMonday", ["I am a sandbox"] * 2, "input.item_reference=dropped"]
    assert sealed == [f"{WEATHER}\nMonday", ["I am a sandbox"] * 2, ""]


def test_an_unknown_model_is_not_found(results: Results, provider: str) -> None:
    failed, status, message = said(results, "error")[provider]
    assert (failed, status) == (True, 404)
    assert "gpt-none" in message


def test_a_stream_that_breaks_says_so(results: Results, provider: str) -> None:
    assert "overloaded" in said(results, "a_stream_that_breaks")[provider]
