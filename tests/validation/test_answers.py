"""Everything a client gets, against OpenAI's own schema: over the golden cases, the recordings and every error."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("jsonschema", reason="tests/validation needs jsonschema")

from bridge import catalog
from bridge.dialects import chat_answer, completions_answer
from bridge.dialects.chat import AnswerShape
from bridge.errors import KINDS, ApiError
from bridge.listing import as_openai, page
from tests import golden, wire
from tests.bridge.test_recordings import STREAMS, read_all, streamed
from tests.chat import CREATED, chunks, fold, run, whole
from tests.shared import needs_openai_schema
from tests.validation import openai_schema
from tests.validation.openai_schema import errors

pytestmark = needs_openai_schema
ANSWER, CHUNK = "CreateChatCompletionResponse", "CreateChatCompletionStreamResponse"
GOOD: Any = {name: whole(golden.events(case), golden.shape(case)) for name, case in golden.ANSWERS.items()}


def assert_valid(answer: Any, out: bytes) -> None:
    """An answer, and each chunk of the stream that says the same."""
    assert errors(ANSWER, answer) == []
    for chunk in chunks(out):
        if chunk != "[DONE]":
            assert errors("ErrorResponse" if "error" in chunk else CHUNK, chunk) == []


# --- the validator is one ---


@pytest.mark.parametrize(
    "change",
    [
        {"choices": [{}]},
        {"choices": None},
        {"created": "now"},
        {"object": "chat.completions"},
        {"service_tier": "standard"},
        {"usage": {"prompt_tokens": 1}},
    ],
)
def test_a_bad_answer_is_found(change: dict[str, Any]) -> None:
    good = GOOD["text"]
    assert errors(ANSWER, good) == [] and errors(ANSWER, {**good, **change})


@pytest.mark.parametrize(
    ("field", "value"),
    [("content", 5), ("role", "user"), ("tool_calls", [{"id": "a"}]), ("annotations", [{"type": "url_citation"}])],
)
def test_a_bad_message_is_found(field: str, value: Any) -> None:
    (choice,) = GOOD["text"]["choices"]
    bad = {**choice, "message": {**choice["message"], field: value}}
    assert errors(ANSWER, {**GOOD["text"], "choices": [bad]})


@pytest.mark.parametrize("delta", [{"content": 5}, {"tool_calls": [{"id": "a"}]}, {"role": "king"}])
def test_a_bad_chunk_is_found(delta: dict[str, Any]) -> None:
    chunk = chunks(run(golden.events(golden.ANSWERS["text"]))[1])[0]
    assert errors(CHUNK, chunk) == []
    assert errors(CHUNK, {**chunk, "choices": [{**chunk["choices"][0], "delta": delta}]})


def test_a_bad_error_is_found() -> None:
    assert errors("ErrorResponse", {"error": "no"}) and errors("ErrorResponse", {"error": {"message": "no"}})


def test_null_is_valid_where_openai_says_so_and_only_there() -> None:
    choice = {**GOOD["text"]["choices"][0], "logprobs": None}
    assert errors(ANSWER, {**GOOD["text"], "choices": [choice]}) == []
    assert errors(ANSWER, {**GOOD["text"], "id": None})


# --- answers and chunks ---


@pytest.mark.parametrize("name", golden.ANSWERS)
def test_a_golden_answer(name: str) -> None:
    case = golden.ANSWERS[name]
    out = run(golden.events(case), include_usage=True, shape=golden.shape(case))[1]
    assert_valid(GOOD[name], out)
    assert openai_schema.required(ANSWER) <= set(GOOD[name])


@pytest.mark.parametrize("name", golden.ANSWERS)
def test_a_golden_answer_without_usage_or_cut(name: str) -> None:
    parts, shape = golden.events(golden.ANSWERS[name]), golden.shape(golden.ANSWERS[name])
    assert_valid(GOOD[name], run(parts, shape=shape)[1])
    assert_valid(GOOD[name], run(parts[:-1], shape=shape)[1])


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("name", STREAMS)
async def test_a_recorded_answer(name: str, legacy: bool) -> None:
    shape = AnswerShape(legacy=legacy)
    events, problem = await read_all(STREAMS[name], 10_000)
    folded, meter = fold(events)
    answer = chat_answer.write(folded.message(), meter.usage(), CREATED, shape, meter.service_tier)
    assert_valid(answer, streamed(events, problem, shape))


@pytest.mark.parametrize("name", golden.ANSWERS)
def test_a_golden_answer_as_a_completion(name: str) -> None:
    folded, meter = fold(wire.events(golden.events(golden.ANSWERS[name])))
    answer = completions_answer.write_choices([folded.message()], meter.usage(), CREATED, AnswerShape())
    assert errors("CreateCompletionResponse", answer) == []


# --- models and errors ---


def test_the_list_of_models_and_each_of_them() -> None:
    listed = [as_openai(catalog.as_info(model)) for model in catalog.load().models]
    assert errors("ListModelsResponse", page(listed, 1000, None)) == []
    assert [errors("Model", model) for model in listed] == [[]] * len(listed)
    assert errors("ListModelsResponse", {"object": "list", "data": [{"id": "a"}]})


@pytest.mark.parametrize("kind", KINDS)
def test_every_error(kind: str) -> None:
    assert errors("ErrorResponse", ApiError(kind, "no").body()) == []
    assert errors("ErrorResponse", ApiError(kind, "no", "messages[0]").body()) == []
