"""Everything upstream gets, against the request types of Anthropic's own SDK: over golden cases and recordings."""

from __future__ import annotations

import importlib.util
import sys
from types import ModuleType
from typing import Any

import pytest

pytest.importorskip("anthropic", reason="tests/validation needs anthropic")

from tests import golden
from tests.bridge import rules
from tests.fuzz import bodies
from tests.shared import REPLAY, needs_recordings, needs_replay, recordings
from tests.validation.anthropic_types import errors

NEW, OLD = golden.CATALOG.resolve("claude-opus-5-5"), golden.CATALOG.resolve("claude-sonnet-4-5")
TEXT = {"type": "text", "text": "Hello"}
GOOD: dict[str, Any] = {
    "model": "claude-opus-5-5",
    "max_tokens": 5,
    "messages": [{"role": "user", "content": [TEXT]}],
}


def asked(*blocks: Any) -> dict[str, Any]:
    return {**GOOD, "messages": [{"role": "user", "content": list(blocks)}]}


# --- the validator is one ---


@pytest.mark.parametrize(
    "bad",
    [
        {**GOOD, "new": 1},
        {**GOOD, "max_tokens": "5"},
        {**GOOD, "stop_sequences": [5]},
        {**GOOD, "messages": [{"role": "king", "content": [TEXT]}]},
        {name: value for name, value in GOOD.items() if name != "max_tokens"},
        asked({**TEXT, "new": 1}),
        asked({"type": "text"}),
        asked({"type": "text", "text": 5}),
        asked({"type": "input_text", "text": "Hi"}),
        asked({"type": "image", "source": {"type": "base64", "media_type": "image/bmp", "data": ""}}),
        asked({"type": "tool_result", "tool_use_id": "a", "content": [{"type": "tool_use"}]}),
        asked({"type": "tool_result", "tool_use_id": "a", "content": [{**TEXT, "cache_control": {"type": "x"}}]}),
        {**GOOD, "system": [{**TEXT, "cache_control": {"type": "ephemeral", "ttl": "7d"}}]},
        {**GOOD, "thinking": {"type": "on"}},
        {**GOOD, "thinking": {"type": "enabled"}},
        {**GOOD, "output_config": {"effort": "huge"}},
        {**GOOD, "tools": [{"name": "f"}]},
        {**GOOD, "tool_choice": {"type": "none", "disable_parallel_tool_use": True}},
        {**GOOD, "context_management": {"edits": [{"type": "clear_everything"}]}},
        {**GOOD, "context_management": {"edits": []}, "new": 1},
    ],
)
def test_a_bad_request_is_found(bad: dict[str, Any]) -> None:
    assert errors(GOOD, NEW) == [] and errors(bad, NEW)


@pytest.mark.parametrize("name", ["temperature", "top_p", "top_k"])
def test_sampling_is_good_where_the_model_takes_it(name: str) -> None:
    assert errors({**GOOD, name: 1}, NEW) and errors({**GOOD, name: 1}, OLD) == []


# --- requests ---


def check(body: dict[str, Any]) -> None:
    """A client's request makes one that is typed well and keeps the API's rules."""
    reading = golden.translated(body)
    model = golden.CATALOG.resolve(reading.request["model"])
    assert errors(reading.request, model) == []
    assert rules.problems(reading.request, model) == []


@pytest.mark.parametrize("name", golden.ACCEPTED)
def test_a_golden_request(name: str) -> None:
    check(golden.body(golden.ACCEPTED[name]))


@pytest.mark.parametrize("model", bodies.NAMES)
@pytest.mark.parametrize("name", golden.RESPONSES_ACCEPTED)
def test_a_golden_request_of_the_responses_api_for_every_model(name: str, model: str) -> None:
    reading = golden.translated_response({**golden.response_body(golden.RESPONSES_ACCEPTED[name]), "model": model})
    found = golden.CATALOG.resolve(model)
    assert errors(reading.request, found) == []
    assert rules.problems(reading.request, found) == []


@pytest.mark.parametrize("model", bodies.NAMES)
@pytest.mark.parametrize("number", range(len(bodies.GOOD)))
def test_the_seeds_of_the_fuzz_for_every_model(number: int, model: str) -> None:
    check({**bodies.GOOD[number], "model": model})


def _replay() -> ModuleType | None:
    """What re-expresses a recorded request as OpenAI's; it stays outside the repository."""
    place = REPLAY / "check.py"
    if not place.is_file():
        return None
    spec = importlib.util.spec_from_file_location("replay_check", place)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(REPLAY))
    try:
        spec.loader.exec_module(module)
    except ImportError:  # of the OpenAI SDK
        return None
    finally:
        sys.path.remove(str(REPLAY))
    return module


@needs_recordings
@needs_replay
@pytest.mark.parametrize("newer", [True, False])
@pytest.mark.parametrize(
    "model", ["claude-opus-5-5", "claude-sonnet-5-5", "claude-opus-5", "claude-sonnet-4-6", "claude-haiku-4-5"]
)
def test_recorded_requests_said_in_openais_words(model: str, newer: bool) -> None:
    replay = _replay()
    if replay is None:
        pytest.skip("the replay cannot be loaded here")
    checked = 0
    for name, one in recordings().items():
        given = one["request"].get("body")
        if not isinstance(given, dict) or not given.get("messages"):
            continue
        reduced, _ = replay.reduce_request(given)
        said = replay.to_openai(reduced, newer)
        extra = said.pop("extra_body", {})
        try:
            check({**said, **extra, "model": model})
        except Exception as error:
            raise AssertionError(name) from error
        checked += 1
    assert checked > 150
