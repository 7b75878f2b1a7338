"""The golden cases: every parameter has one, and each comes out as written."""

from __future__ import annotations

import pytest

from bridge.dialects.params import PARAMS
from bridge.errors import ApiError
from tests import golden
from tests.bridge import rules
from tests.chat import assert_agree, chunks, run, whole


@pytest.mark.parametrize("param", PARAMS)
def test_every_parameter_has_a_case(param: str) -> None:
    assert [name for name, case in golden.REQUESTS.items() if param in case["request"]]


@pytest.mark.parametrize("name", golden.REQUESTS)
def test_a_request(name: str) -> None:
    case = golden.REQUESTS[name]
    if "error" in case:
        with pytest.raises(ApiError) as caught:
            golden.translated(golden.body(case))
        assert {"code": caught.value.code, "param": caught.value.param} == case["error"]
        assert caught.value.status == 400
        return
    reading = golden.translated(golden.body(case))
    assert reading.request == golden.upstream(case)
    assert str(reading.receipt) == case.get("receipt", "")
    plain = {"stream": False, "include_usage": False, "end_user": ""}
    expected = {**plain, "include_usage": "stream_options" in case["request"], **case.get("reads", {})}
    assert {key: getattr(reading, key) for key in plain} == expected


@pytest.mark.parametrize("name", golden.ACCEPTED)
def test_what_a_case_expects_is_what_the_api_takes(name: str) -> None:
    case = golden.ACCEPTED[name]
    assert rules.problems(golden.upstream(case), golden.CATALOG.resolve(case["model"])) == []


@pytest.mark.parametrize("name", golden.ANSWERS)
def test_an_answer(name: str) -> None:
    case = golden.ANSWERS[name]
    parts, shape = golden.events(case), golden.shape(case)
    answer = whole(parts, shape)
    (choice,) = answer["choices"]
    assert (choice["message"], choice["finish_reason"]) == (case["message"], case["finish_reason"])
    usage, told = case["usage"], answer["usage"]
    assert (told["prompt_tokens"], told["completion_tokens"]) == (usage["prompt"], usage["completion"])
    assert told["total_tokens"] == usage["prompt"] + usage["completion"]
    assert told["prompt_tokens_details"]["cached_tokens"] == usage["cached"]
    assert told["prompt_tokens_details"]["cache_write_tokens"] == usage["written"]
    assert told["completion_tokens_details"]["reasoning_tokens"] == usage["reasoning"]
    out = run(parts, include_usage=True, shape=shape)[1]
    _, *body, end, last, done = chunks(out)
    assert [chunk["choices"][0]["delta"] for chunk in body] == case["deltas"]
    assert end["choices"][0]["finish_reason"] == case["finish_reason"]
    assert (last["usage"], done) == (told, "[DONE]")
    assert_agree(answer, out)
