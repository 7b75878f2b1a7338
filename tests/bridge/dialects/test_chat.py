"""Reading a chat request: what is refused, the table of parameters, and the request that comes of it."""

from __future__ import annotations

from typing import Any

import pytest

from bridge.dialects import chat, reading
from bridge.dialects.params import PARAMS, Verdict
from bridge.errors import ApiError
from tests.chat import USER, read, refusal, said, turns

# --- refused ---


@pytest.mark.parametrize(
    ("change", "code", "param"),
    [
        ({"model": None}, "missing_required_parameter", "model"),
        ({"model": 5}, "invalid_type", "model"),
        ({"model": " "}, "invalid_value", "model"),
        ({"messages": None}, "missing_required_parameter", "messages"),
        ({"max_tokens": 0}, "integer_below_min_value", "max_tokens"),
        ({"max_tokens": "9"}, "invalid_type", "max_tokens"),
        ({"max_tokens": True}, "invalid_type", "max_tokens"),
        ({"max_completion_tokens": 1.5}, "invalid_type", "max_completion_tokens"),
        ({"temperature": 2.1}, "decimal_above_max_value", "temperature"),
        ({"temperature": -0.1}, "decimal_below_min_value", "temperature"),
        ({"temperature": True}, "invalid_type", "temperature"),
        ({"top_p": "1"}, "invalid_type", "top_p"),
        ({"top_p": 1.1}, "decimal_above_max_value", "top_p"),
        ({"top_k": -1}, "integer_below_min_value", "top_k"),
        ({"top_k": "5"}, "invalid_type", "top_k"),
        ({"stop": 5}, "invalid_type", "stop"),
        ({"stop": ["a", 5]}, "invalid_type", "stop[1]"),
        ({"stream": "yes"}, "invalid_type", "stream"),
        ({"stream": True, "stream_options": 5}, "invalid_type", "stream_options"),
        ({"stream": True, "stream_options": {"include_usage": 1}}, "invalid_type", "stream_options.include_usage"),
        ({"reasoning_effort": "huge"}, "invalid_value", "reasoning_effort"),
        ({"reasoning_effort": 5}, "invalid_value", "reasoning_effort"),
        ({"reasoning": "high"}, "invalid_type", "reasoning"),
        ({"reasoning": {"effort": "huge"}}, "invalid_value", "reasoning_effort"),
        ({"thinking": "adaptive"}, "invalid_type", "thinking"),
        ({"n": 9}, "integer_above_max_value", "n"),
        ({"n": True}, "invalid_type", "n"),
        ({"logprobs": True}, "unsupported_parameter", "logprobs"),
        ({"top_logprobs": 3}, "unsupported_parameter", "top_logprobs"),
        ({"audio": {}}, "unsupported_parameter", "audio"),
        ({"modalities": ["text", "audio"]}, "unsupported_parameter", "modalities"),
    ],
)
def test_what_cannot_be_honoured_is_a_400_with_its_place(change: dict[str, Any], code: str, param: str) -> None:
    assert refusal(**change) == (code, param)


@pytest.mark.parametrize("body", [None, [], "text", 5, True])
def test_a_body_that_is_no_object_is_a_400(body: Any) -> None:
    with pytest.raises(ApiError) as caught:
        chat.read(body)
    assert (caught.value.code, caught.value.status) == ("invalid_type", 400)


# --- the table ---


@pytest.mark.parametrize("name", PARAMS)
def test_null_means_absent_for_every_parameter_that_may_be(name: str) -> None:
    if name not in ("model", "messages"):
        assert str(read(**{name: None}).receipt) == ""


@pytest.mark.parametrize("param", PARAMS.values(), ids=lambda param: param.name)
def test_harmless_values_are_accepted_in_silence(param: Any) -> None:
    for value in param.harmless:
        assert str(read(**{param.name: value}).receipt) == ""


@pytest.mark.parametrize(
    ("name", "value"), [("frequency_penalty", 0.0), ("presence_penalty", 0.0), ("n", 1.0), ("top_logprobs", 0.0)]
)
def test_a_default_is_one_however_the_number_is_written(name: str, value: Any) -> None:
    assert str(read(**{name: value}).receipt) == ""


def test_but_a_boolean_is_no_number() -> None:
    assert str(read(frequency_penalty=False).receipt) == "frequency_penalty=ignored"


HINTS = {
    "frequency_penalty": 0.5,
    "presence_penalty": -1,
    "logit_bias": {"1": 2},
    "seed": 7,
    "prediction": {"type": "content", "content": "x"},
    "verbosity": "low",
    "moderation": {"model": "m"},
    "store": True,
    "metadata": {"a": "b"},
    "prompt_cache_key": "k",
    "prompt_cache_options": {"mode": "implicit"},
    "prompt_cache_retention": "24h",
    "min_p": 0.1,
    "include_reasoning": False,
    "chat_template_kwargs": {"enable_thinking": True},
    "x": {},
}


@pytest.mark.parametrize("name", HINTS)
def test_a_hint_without_an_equivalent_is_named_on_the_receipt(name: str) -> None:
    reading = read(**{name: HINTS[name]})
    assert str(reading.receipt) == f"{name}=ignored" and set(reading.request) == {"model", "messages"}


def test_every_row_that_is_ignored_has_its_test() -> None:
    assert {name for name, param in PARAMS.items() if param.verdict is Verdict.IGNORED} <= set(HINTS)


def test_every_verdict_is_one_the_reader_knows() -> None:
    assert {param.verdict for param in PARAMS.values()} <= set(Verdict)


def test_a_hostile_parameter_name_cannot_break_a_header() -> None:
    reading = read(**{"a\r\nset-cookie: x": 1, "é" * 100: 1, **{f"p{n}": 1 for n in range(100)}})
    line = str(reading.receipt)
    assert line.isascii() and "\n" not in line and ":" not in line
    assert line.endswith("more=62")


# --- translated ---


def test_a_plain_request() -> None:
    reading = read(
        max_tokens=50, temperature=0.5, top_p=0.9, stop="END", stream=True, stream_options={"include_usage": True}
    )
    assert reading.request == {
        "model": "claude-opus-5",
        "messages": [said("user", "Hello")],
        "max_tokens": 50,
        "stop_sequences": ["END"],
        "temperature": 0.5,
        "top_p": 0.9,
    }
    assert (reading.stream, reading.include_usage, str(reading.receipt)) == (True, True, "")


def test_the_model_may_come_from_the_url_and_the_body_wins() -> None:
    assert chat.read({"messages": [USER]}, "from-url").request["model"] == "from-url"
    assert chat.read({"messages": [USER], "model": "mine"}, "from-url").request["model"] == "mine"


def test_max_completion_tokens_wins_and_a_whole_decimal_is_an_integer() -> None:
    assert read(max_tokens=5, max_completion_tokens=9.0).request["max_tokens"] == 9


def test_stop_sequences_of_white_space_are_dropped_and_named() -> None:
    reading = read(stop=["\n", "END"])
    assert reading.request["stop_sequences"] == ["END"] and str(reading.receipt) == "stop=dropped(whitespace)"
    assert "stop_sequences" not in read(stop="\n").request and "stop_sequences" not in read(stop=[]).request


def test_stream_options_without_a_stream_are_named_and_harmless() -> None:
    reading = read(stream_options={"include_usage": True})
    assert str(reading.receipt) == "stream_options=ignored" and not reading.stream


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"user": "u"}, "u"),
        ({"user": "u", "safety_identifier": "s"}, "s"),
        ({"user": {"id": 5}}, "{'id': 5}"),
        ({}, ""),
    ],
)
def test_the_end_user(fields: dict[str, Any], expected: str) -> None:
    assert read(**fields).end_user == expected


@pytest.mark.parametrize(
    ("tier", "sent", "receipt"),
    [
        ("auto", "auto", ""),
        ("priority", "auto", ""),
        ("default", "standard_only", ""),
        ("flex", None, "service_tier=ignored"),
        ("scale", None, "service_tier=ignored"),
        ("fast", None, "service_tier=ignored"),
        ([], None, "service_tier=ignored"),
    ],
)
def test_service_tiers(tier: Any, sent: str | None, receipt: str) -> None:
    reading = read(service_tier=tier)
    assert reading.request.get("service_tier") == sent and str(reading.receipt) == receipt


@pytest.mark.parametrize(
    ("fields", "effort", "thinking"),
    [
        ({"reasoning_effort": "high"}, "high", None),
        ({"reasoning": {"effort": "low"}}, "low", None),
        ({"reasoning_effort": "max", "reasoning": {"effort": "low"}}, "max", None),
        ({"reasoning": {"enabled": True}}, "medium", None),
        ({"reasoning": {"enabled": False}}, "none", None),
        ({"reasoning": {"enabled": False, "effort": "high"}}, "none", None),
        ({"reasoning": {"max_tokens": 2000}}, None, {"type": "enabled", "budget_tokens": 2000}),
        ({"reasoning": {"max_tokens": True}}, None, None),
        ({"thinking": {"type": "adaptive", "display": "omitted"}}, None, {"type": "adaptive", "display": "omitted"}),
        ({"reasoning": {}}, None, None),
    ],
)
def test_the_ways_to_ask_for_reasoning(fields: dict[str, Any], effort: str | None, thinking: Any) -> None:
    request = read(**fields).request
    assert (request.get("output_config", {}).get("effort"), request.get("thinking")) == (effort, thinking)


@pytest.mark.parametrize("effort", reading.EFFORTS)
def test_every_effort_of_openais_is_read(effort: str) -> None:
    assert read(reasoning_effort=effort).request["output_config"] == {"effort": effort}


def test_anthropics_own_parameters_are_passed_on() -> None:
    request = read(top_k=5, cache_control={"type": "ephemeral", "ttl": "1h"}).request
    assert (request["top_k"], request["cache_control"]) == (5, {"type": "ephemeral", "ttl": "1h"})


# --- the system prompt ---


def test_leading_system_and_developer_messages_become_the_system_prompt() -> None:
    reading = read({"role": "system", "content": "Be kind."}, {"role": "developer", "content": "Be brief."}, USER)
    assert reading.request["system"] == said("", "Be kind.", "Be brief.")["content"]
    assert reading.request["messages"] == [said("user", "Hello")]


def test_a_later_system_message_stays_where_it_is() -> None:
    assert [turn["role"] for turn in turns(USER, {"role": "system", "content": "Now French."})] == ["user", "system"]


def test_a_conversation_of_system_messages_only_is_asked_as_a_user() -> None:
    reading = read({"role": "system", "content": "Say hi."})
    assert reading.request["messages"] == [said("user", "Say hi.")] and "system" not in reading.request
    assert str(reading.receipt) == "messages.system=as_user"


def test_the_same_history_always_gives_the_same_bytes() -> None:
    messages = [{"role": "system", "content": "x"}, USER, {"role": "assistant", "content": "y"}]
    shorter, longer = turns(*messages, USER), turns(*messages, USER, {"role": "assistant", "content": "z"}, USER)
    assert longer[: len(shorter)] == shorter
