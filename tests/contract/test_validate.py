"""The validator accepts what OpenAI's API sends and refuses everything that breaks some client."""

from __future__ import annotations

import copy
import json
import re
import time
import uuid
from collections.abc import Callable
from typing import Any

import pytest

from tests.contract import validate
from tests.contract.checks import Invalid, Json
from tests.contract.validate import Exchange

USAGE = {
    "prompt_tokens": 12,
    "completion_tokens": 5,
    "total_tokens": 17,
    "prompt_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 2, "audio_tokens": 0},
    "completion_tokens_details": {
        "reasoning_tokens": 1,
        "audio_tokens": 0,
        "accepted_prediction_tokens": 0,
        "rejected_prediction_tokens": 0,
    },
    "cache_creation_input_tokens": 2,
    "cache_read_input_tokens": 4,
}
FAILURE = {"message": "It broke.", "type": "server_error", "param": None, "code": "upstream_truncated"}
HEADERS = {
    "x-request-id": str(uuid.uuid4()),
    "openai-processing-ms": "4",
    "content-type": "text/event-stream; charset=utf-8",
    "cache-control": "no-cache",
    "x-accel-buffering": "no",
}


def chunk(delta: Json, finish: str | None = None) -> Json:
    return {
        "id": "chatcmpl-01Test",
        "object": "chat.completion.chunk",
        "created": int(time.time()),
        "model": "claude-sonnet-5-5",
        "choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}],
        "service_tier": "default",
        "system_fingerprint": None,
        "usage": None,
    }


def said() -> list[Json]:
    """The chunks of a good stream with usage."""
    return [
        chunk({"role": "assistant", "content": "", "refusal": None}),
        chunk({"reasoning_content": "Hm."}),
        chunk({"content": "Hel"}),
        chunk({}),
        chunk({"content": "lo 🙂"}),
        chunk({}, "stop"),
        {**chunk({}), "choices": [], "usage": USAGE},
    ]


def framed(events: list[Json], end: bytes = b"data: [DONE]\n\n") -> bytes:
    return b"".join(b"data: " + json.dumps(event, ensure_ascii=False).encode() + b"\n\n" for event in events) + end


def whole() -> Json:
    message = {"role": "assistant", "content": "Hello", "refusal": None, "annotations": []}
    return {
        **{name: value for name, value in chunk({}).items() if name in validate.HEAD},
        "object": "chat.completion",
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}],
        "usage": USAGE,
    }


def test_a_good_stream_is_read() -> None:
    stream = validate.stream(b": keep-alive\n\n" + framed(said()), include_usage=True)
    assert (stream.text, stream.reasoning, stream.finish_reason) == ("Hello 🙂", "Hm.", "stop")
    assert stream.usage == USAGE


def test_a_stream_without_usage_has_no_key_for_it() -> None:
    chunks = [{name: value for name, value in one.items() if name != "usage"} for one in said()[:-1]]
    assert validate.stream(framed(chunks)).usage is None
    with pytest.raises(Invalid, match="usage"):
        validate.stream(framed(said()[:-1]))


Planted = Callable[[list[Json]], Any]


def delta(events: list[Json], number: int) -> Json:
    found: Json = events[number]["choices"][0]["delta"]
    return found


BAD_CHUNKS: dict[str, Planted] = {
    "the role again": lambda events: delta(events, 2).update(role="assistant"),
    "no role": lambda events: delta(events, 0).pop("role"),
    "no refusal in the first delta": lambda events: delta(events, 0).pop("refusal"),
    "empty content": lambda events: delta(events, 2).update(content=""),
    "empty tool calls": lambda events: delta(events, 2).update(tool_calls=[]),
    "an error key": lambda events: events[2].update(error=None),
    "an error instead of a chunk": lambda events: events.insert(3, {"error": FAILURE}),
    "another id": lambda events: events[3].update(id="chatcmpl-02Test"),
    "Anthropic's id": lambda events: [event.update(id="msg_01Test") for event in events],
    "another created": lambda events: events[3].update(created=events[3]["created"] + 1),
    "a fractional created": lambda events: [event.update(created=time.time()) for event in events],
    "an old created": lambda events: [event.update(created=1) for event in events],
    "another model": lambda events: events[3].update(model="claude-opus-5-5"),
    "another object": lambda events: events[3].update(object="chat.completion"),
    "no choices": lambda events: events[3].pop("choices"),
    "an empty list of choices": lambda events: events[3].update(choices=[]),
    "two choices": lambda events: events[3].update(choices=events[3]["choices"] * 2),
    "choices that are null": lambda events: events[3].update(choices=None),
    "no logprobs": lambda events: events[3]["choices"][0].pop("logprobs"),
    "an index from one": lambda events: events[3]["choices"][0].update(index=1),
    "an index that is false": lambda events: events[3]["choices"][0].update(index=False),
    "Anthropic's stop reason": lambda events: events[5]["choices"][0].update(finish_reason="end_turn"),
    "an empty finish reason": lambda events: events[5]["choices"][0].update(finish_reason=""),
    "a finish reason twice": lambda events: events.insert(5, chunk({}, "stop")),
    "a finish reason beside content": lambda events: delta(events, 5).update(content="!"),
    "content after the finish reason": lambda events: events.insert(6, chunk({"content": "!"})),
    "no finish reason": lambda events: events.pop(5),
    "a filter without a refusal": lambda events: events[5]["choices"][0].update(finish_reason="content_filter"),
    "a refusal without a filter": lambda events: events.insert(5, chunk({"refusal": "No."})),
    "no usage": lambda events: events.pop(),
    "usage twice": lambda events: events.append(copy.deepcopy(events[-1])),
    "usage with a choice": lambda events: events[-1].update(choices=events[2]["choices"]),
    "usage too early": lambda events: events[2].update(usage=USAGE),
    "no usage key": lambda events: events[2].pop("usage"),
    "a wrong total": lambda events: events[-1].update(usage={**USAGE, "total_tokens": 12}),
    "a negative count": lambda events: events[-1].update(usage={**USAGE, "prompt_tokens": -1, "total_tokens": 4}),
    "a cache that is larger than the prompt": lambda events: events[-1].update(
        usage={**USAGE, "prompt_tokens": 5, "total_tokens": 10}
    ),
    "something after the usage": lambda events: events.append(chunk({})),
    "an unknown key": lambda events: events[2].update(obfuscation="xx"),
    "an unknown tier": lambda events: events[2].update(service_tier="standard"),
    "nothing at all": lambda events: events.clear(),
}


@pytest.mark.parametrize("plant", BAD_CHUNKS.values(), ids=BAD_CHUNKS)
def test_a_bad_chunk_is_found(plant: Planted) -> None:
    events = said()
    plant(events)
    with pytest.raises(Invalid):
        validate.stream(framed(events), include_usage=True)


BAD_BYTES: dict[str, Callable[[bytes], bytes]] = {
    "no [DONE]": lambda body: body.removesuffix(b"data: [DONE]\n\n"),
    "[DONE] twice": lambda body: body + b"data: [DONE]\n\n",
    "[DONE] in the middle": lambda body: body.replace(b"\n\n", b"\n\ndata: [DONE]\n\n", 1),
    "something after [DONE]": lambda body: body + b": keep-alive\n\n",
    "another end": lambda body: body.replace(b"[DONE]", b"[done]"),
    "a cut end": lambda body: body[:-1],
    "carriage returns": lambda body: body.replace(b"\n", b"\r\n"),
    "a ping": lambda body: b": ping\n\n" + body,
    "an event name": lambda body: b"event: ping\n" + body,
    "a named event": lambda body: b'event: ping\ndata: {"type": "ping"}\n\n' + body,
    "an id": lambda body: b"id: 1\n" + body,
    "empty data": lambda body: b"data: \n\n" + body,
    "data without a space": lambda body: body.replace(b"data: {", b"data:{"),
    "a lone line feed": lambda body: body.replace(b"\n\n", b"\n", 1),
    "an empty event": lambda body: body.replace(b"\n\n", b"\n\n\n\n", 1),
    "cut JSON": lambda body: body.replace(b"}]", b"}", 1),
    "a cut character": lambda body: body.replace("🙂".encode(), "🙂".encode()[:2]),
    "Latin-1": lambda body: body.replace("🙂".encode(), b"\xe9"),
    "a key twice": lambda body: body.replace(b'{"id"', b'{"model": "x", "id"', 1),
    "NaN": lambda body: body.replace(b'"prompt_tokens": 12', b'"prompt_tokens": NaN'),
    "a list": lambda body: b"data: []\n\n" + body,
    "nothing": lambda body: b"",
}


@pytest.mark.parametrize("plant", BAD_BYTES.values(), ids=BAD_BYTES)
def test_a_bad_frame_is_found(plant: Callable[[bytes], bytes]) -> None:
    with pytest.raises(Invalid):
        validate.stream(plant(framed(said())), include_usage=True)


def test_a_broken_stream_ends_with_its_error() -> None:
    stream = validate.broken_stream(framed([*said()[:3], {"error": FAILURE}], b""), include_usage=True)
    assert stream.text == "Hel"
    assert stream.error == FAILURE


BROKEN: dict[str, bytes] = {
    "no error": framed(said()[:3], b""),
    "[DONE] after the error": framed([*said()[:3], {"error": FAILURE}]),
    "a finish reason": framed([*said()[:6], {"error": FAILURE}], b""),
    "a text for an error": framed([*said()[:3], {"error": "It broke."}], b""),
    "an error without a code": framed([*said()[:3], {"error": {"message": "It broke.", "type": "x"}}], b""),
    "an error that is not last": framed([said()[0], {"error": FAILURE}, said()[2]], b""),
    "a good end": framed(said()),
    "an event name": framed(said()[:3], b"event: error\ndata: " + json.dumps({"error": FAILURE}).encode() + b"\n\n"),
    "a silent end": b"",
}


@pytest.mark.parametrize("body", BROKEN.values(), ids=BROKEN)
def test_a_broken_stream_that_does_not_say_so_is_found(body: bytes) -> None:
    with pytest.raises(Invalid):
        validate.broken_stream(body, include_usage=True)


def test_a_client_may_leave_in_the_middle_of_a_chunk() -> None:
    assert validate.beginning(framed(said())[:-200], include_usage=True).text == "Hello 🙂"
    assert validate.beginning(b"", include_usage=True).chunks == []
    with pytest.raises(Invalid):
        validate.beginning(framed([chunk({"content": "no role"}), chunk({})])[:-100], include_usage=True)


def test_a_good_whole_answer_is_read() -> None:
    assert validate.completion(json.dumps(whole()).encode()) == whole()


BAD_ANSWERS: dict[str, Callable[[Json, Json], Any]] = {
    "no refusal": lambda answer, message: message.pop("refusal"),
    "no content": lambda answer, message: message.pop("content"),
    "content that is null": lambda answer, message: message.update(content=None),
    "empty tool calls": lambda answer, message: message.update(tool_calls=[]),
    "another role": lambda answer, message: message.update(role="model"),
    "no logprobs": lambda answer, message: answer["choices"][0].pop("logprobs"),
    "no finish reason": lambda answer, message: answer["choices"][0].update(finish_reason=None),
    "a refusal that is not a filter": lambda answer, message: message.update(refusal="No."),
    "no choices": lambda answer, message: answer.update(choices=[]),
    "no usage": lambda answer, message: answer.pop("usage"),
    "an error key": lambda answer, message: answer.update(error=None),
    "another object": lambda answer, message: answer.update(object="chat.completion.chunk"),
}


@pytest.mark.parametrize("plant", BAD_ANSWERS.values(), ids=BAD_ANSWERS)
def test_a_bad_whole_answer_is_found(plant: Callable[[Json, Json], Any]) -> None:
    answer = whole()
    plant(answer, answer["choices"][0]["message"])
    with pytest.raises(Invalid):
        validate.completion(json.dumps(answer).encode())


BAD_ERRORS: dict[str, Json] = {
    "DRF's": {"detail": "Not found."},
    "Anthropic's": {"type": "error", "error": {"type": "not_found_error", "message": "model: x"}},
    "no param": {"error": {"message": "x", "type": "x", "code": None}},
    "a number for a code": {"error": {**FAILURE, "code": 503}},
    "no message": {"error": {**FAILURE, "message": ""}},
    "a text": {"error": "It broke."},
    "more beside it": {"error": FAILURE, "detail": "x"},
}


@pytest.mark.parametrize("body", BAD_ERRORS.values(), ids=BAD_ERRORS)
def test_a_bad_error_is_found(body: Json) -> None:
    assert validate.error(json.dumps({"error": FAILURE}).encode()) == FAILURE
    with pytest.raises(Invalid):
        validate.error(json.dumps(body).encode())


def exchange(status: int = 200, body: bytes = b"", **headers: str) -> Exchange:
    asked = json.dumps({"stream": True, "stream_options": {"include_usage": True}}).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Exchange("POST", "/v1/chat/completions", asked, status, {**HEADERS, **named}, body, complete=True)


def test_an_exchange_is_judged_by_what_was_asked() -> None:
    good = exchange(body=framed(said()))
    assert isinstance(validate.exchange(good), validate.Stream)
    with pytest.raises(Invalid, match="content-type"):
        validate.exchange(Exchange(good.method, good.path, b"{}", 200, good.headers, good.body, complete=True))
    with pytest.raises(Invalid, match="DONE"):
        validate.exchange(good, may_break=True)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("content-type", "text/event-stream"),
        ("content-type", "application/json"),
        ("cache-control", ""),
        ("x-accel-buffering", "yes"),
        ("content-length", "100"),
        ("content-encoding", "gzip"),
        ("x-request-id", ""),
        ("x-request-id", "req_123"),
        ("openai-processing-ms", "4.2"),
        ("x-bridge-compat", "temperature"),
        ("anthropic-ratelimit-requests-limit", "4000"),
    ],
)
def test_a_bad_header_is_found(name: str, value: str) -> None:
    made = exchange(body=framed(said()), **{name.replace("-", "_"): value})
    with pytest.raises(Invalid, match=re.escape(name)):
        validate.exchange(made)


@pytest.mark.parametrize(
    ("status", "headers"),
    [(409, {}), (529, {}), (302, {}), (405, {}), (429, {"retry-after": "soon"}), (503, {"x-should-retry": "no"})],
)
def test_a_bad_status_is_found(status: int, headers: dict[str, str]) -> None:
    body = json.dumps({"error": FAILURE}).encode()
    made = Exchange(
        "POST",
        "/v1/chat/completions",
        b"{}",
        status,
        {**HEADERS, "content-type": "application/json", "content-length": str(len(body)), **headers},
        body,
        complete=True,
    )
    with pytest.raises(Invalid):
        validate.exchange(made)


def test_models_are_checked() -> None:
    row = {"id": "claude-sonnet-5-5", "object": "model", "created": 1, "owned_by": "anthropic"}
    page = {"object": "list", "data": [row], "has_more": False, "first_id": row["id"], "last_id": row["id"]}
    assert validate.models(json.dumps(page).encode()) == page
    for change in ({"data": [row, row]}, {"data": None}, {"object": "models"}, {"first_id": None}, {"has_more": 0}):
        with pytest.raises(Invalid):
            validate.models(json.dumps({**page, **change}).encode())
    for bad in ({**row, "created": "2026-09-28"}, {**row, "object": "Model"}, {**row, "type": "model"}):
        with pytest.raises(Invalid):
            validate.model(bad)
