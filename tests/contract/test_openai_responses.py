"""openai's Node client works by the Responses API."""

from __future__ import annotations

import pytest

from tests.contract import environment
from tests.contract.environment import SANDBOX, Results, said
from tests.live import Server


@pytest.fixture(scope="module")
def results(server: Server) -> Results:
    return environment.run("openai_responses", server)


def test_it_reads_a_text_and_a_stream(results: Results) -> None:
    assert said(results, "create") == ["Hello there", "completed"]
    assert said(results, "stream") == ["Hello there, you", "Hello there, you"]


def test_a_loop_of_tools_takes_its_reasoning_along(results: Results) -> None:
    kinds, text = said(results, "tool_loop")
    assert kinds == ["message", "reasoning", "function_call", "function_call_output", "reasoning", "message"]
    assert text == f"{SANDBOX}You said: city in 3 days: 22 degrees"


def test_a_stream_that_breaks_raises(results: Results) -> None:
    name, code = said(results, "a_stream_that_breaks")
    assert (name, code) == ("APIError", "upstream_truncated")
