"""The golden cases of the Responses API: every parameter has one, and each comes out as written."""

from __future__ import annotations

import pytest

from bridge.dialects.responses_params import RESPONSES
from bridge.errors import ApiError
from tests import golden
from tests.bridge import rules
from tests.responses import assert_agree, kinds, streamed, whole


@pytest.mark.parametrize("param", RESPONSES)
def test_every_parameter_has_a_case(param: str) -> None:
    assert param == "model" or [name for name, case in golden.RESPONSES.items() if param in case["request"]]


@pytest.mark.parametrize("name", golden.RESPONSES)
def test_a_request(name: str) -> None:
    case = golden.RESPONSES[name]
    if "error" in case:
        with pytest.raises(ApiError) as caught:
            golden.translated_response(golden.response_body(case))
        assert {"code": caught.value.code, "param": caught.value.param} == case["error"]
        assert caught.value.status == 400
        return
    reading = golden.translated_response(golden.response_body(case))
    assert reading.request == golden.upstream(case)
    assert str(reading.receipt) == case.get("receipt", "")
    plain = {"stream": False, "end_user": ""}
    assert {key: getattr(reading, key) for key in plain} == {**plain, **case.get("reads", {})}


@pytest.mark.parametrize("name", golden.RESPONSES_ACCEPTED)
def test_what_a_case_expects_is_what_the_api_takes(name: str) -> None:
    case = golden.RESPONSES_ACCEPTED[name]
    assert rules.problems(golden.upstream(case), golden.CATALOG.resolve(case["model"])) == []


@pytest.mark.parametrize("name", golden.RESPONSES_ANSWERS)
def test_an_answer(name: str) -> None:
    case = golden.RESPONSES_ANSWERS[name]
    parts, shape = golden.events(case), golden.response_shape(case)
    response = whole(parts, shape)
    assert response["output"] == case["output"]
    assert (response["status"], response["incomplete_details"]) == (case["status"], case.get("incomplete_details"))
    told = streamed(parts, golden.response_shape(case))
    assert kinds(told) == case["told"]
    assert_agree(response, told)


@pytest.mark.parametrize("name", golden.ANSWERS)
def test_what_chat_can_tell_is_told_here_too(name: str) -> None:
    parts = golden.events(golden.ANSWERS[name])
    assert_agree(whole(parts), streamed(parts))
