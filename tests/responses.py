"""Responses in a test: requests read, answers run whole and streamed, streams put together again."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from bridge.dialects import responses
from bridge.dialects.responses import ResponseShape
from bridge.dialects.responses_answer import Response, ResponseStream
from bridge.dialects.sealing import NO_SEAL, Seal
from bridge.errors import ApiError
from bridge.usage import Meter
from tests import wire
from tests.chat import CREATED, MODEL, MOST

REQUEST_ID = "019a0000-0000-7000-8000-000000000001"


def read(*items: Any, seal: Seal = NO_SEAL, **more: Any) -> responses.Reading:
    return responses.read({"model": MODEL, "input": list(items) or "Hello", **more}, seal)


def turns(*items: Any, **more: Any) -> Any:
    return read(*items, **more).request["messages"]


def refusal(*items: Any, **more: Any) -> tuple[str | None, str | None]:
    """The code and the parameter of the 400 that this request gets."""
    with pytest.raises(ApiError) as caught:
        responses.read({"model": MODEL, "input": list(items) or "Hello", **more})
    assert caught.value.status == 400
    return caught.value.code, caught.value.param


def made(shape: ResponseShape | None = None) -> tuple[Response, Meter]:
    meter = Meter(MOST)
    shape = shape or read().form
    return Response(meter.usage, CREATED, shape, REQUEST_ID, lambda: CREATED + 5.5), meter


def whole(parts: list[bytes], shape: ResponseShape | None = None) -> dict[str, Any]:
    """The whole response to these events."""
    response, meter = made(shape)
    for event in wire.events(parts):
        meter.feed(event)
        response.feed(event)
    return response.resource()


def output(parts: list[bytes], shape: ResponseShape | None = None) -> Any:
    return whole(parts, shape)["output"]


def run(
    parts: list[bytes], shape: ResponseShape | None = None, broken: ApiError | None = None
) -> tuple[ResponseStream, bytes]:
    """The streamed response to these events, broken by this problem after them."""
    response, meter = made(shape)
    stream, out = ResponseStream(response), b""
    for event in wire.events(parts):
        meter.feed(event)
        out += stream.feed(event)
    return stream, out + (stream.error(broken) if broken else b"")


def events(out: bytes) -> list[dict[str, Any]]:
    """What a client reads: numbered from 0, named as they say."""
    frames = [frame for frame in out.split(b"\n\n") if frame]
    read = []
    for number, frame in enumerate(frames):
        name, data = frame.split(b"\n")
        event = msgspec.json.decode(data.removeprefix(b"data: "))
        assert name == b"event: " + event["type"].encode()
        assert event["sequence_number"] == number
        read.append(event)
    return read


def streamed(parts: list[bytes], shape: ResponseShape | None = None) -> list[dict[str, Any]]:
    return events(run(parts, shape)[1])


def kinds(told: list[dict[str, Any]]) -> list[str]:
    return [event["type"].removeprefix("response.") for event in told]


def assembled(told: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The output that the deltas amount to, put together as the SDKs do: strict about order, place and id."""
    assert kinds(told)[:2] == ["created", "in_progress"]
    items: list[dict[str, Any]] = []
    open_items: set[int] = set()
    for event in told[2:]:
        kind, place = event["type"].removeprefix("response."), event.get("output_index")
        if place is None:
            assert kind in ("in_progress", "completed", "incomplete", "failed", "error"), kind
            continue
        if kind == "output_item.added":
            assert place == len(items), "items are numbered as they come"
            items.append({**event["item"]})
            open_items.add(place)
            continue
        assert place in open_items, f"{kind} of an item that is not open"
        item = items[place]
        if kind == "output_item.done":
            open_items.remove(place)
            _assert_same_item(item, event["item"])
            items[place] = event["item"]
        else:
            assert event["item_id"] == item["id"]
            _apply(kind, event, item)
    assert not open_items or told[-1]["type"] == "response.failed", "an item that never ends"
    return items


def _apply(kind: str, event: dict[str, Any], item: dict[str, Any]) -> None:
    match kind:
        case "content_part.added":
            assert event["content_index"] == len(item["content"])
            item["content"] = [*item["content"], dict(event["part"])]
        case "output_text.delta":
            item["content"][event["content_index"]]["text"] += event["delta"]
        case "refusal.delta":
            item["content"][event["content_index"]]["refusal"] += event["delta"]
        case "output_text.annotation.added":
            part = item["content"][event["content_index"]]
            assert event["annotation_index"] == len(part["annotations"])
            part["annotations"] = [*part["annotations"], event["annotation"]]
        case "output_text.done":
            assert event["text"] == item["content"][event["content_index"]]["text"]
        case "refusal.done":
            assert event["refusal"] == item["content"][event["content_index"]]["refusal"]
        case "content_part.done":
            assert event["part"] == item["content"][event["content_index"]]
        case "reasoning_summary_part.added":
            assert event["summary_index"] == len(item["summary"])
            item["summary"] = [*item["summary"], dict(event["part"])]
        case "reasoning_summary_text.delta":
            item["summary"][event["summary_index"]]["text"] += event["delta"]
        case "reasoning_summary_text.done":
            assert event["text"] == item["summary"][event["summary_index"]]["text"]
        case "reasoning_summary_part.done":
            assert event["part"] == item["summary"][event["summary_index"]]
        case "function_call_arguments.delta":
            item["arguments"] += event["delta"]
        case "function_call_arguments.done":
            assert (event["name"], event["arguments"]) == (item["name"], item["arguments"])
        case "custom_tool_call_input.delta":
            item["input"] += event["delta"]
        case "custom_tool_call_input.done":
            assert event["input"] == item["input"]
        case "web_search_call.in_progress" | "web_search_call.searching" | "web_search_call.completed":
            assert item["type"] == "web_search_call"
        case other:
            raise AssertionError(f"an unknown event: {other}")


_LATE = ("status", "encrypted_content", "action")  # known only at the end


def _assert_same_item(built: dict[str, Any], told: dict[str, Any]) -> None:
    for item in (built, told):
        for name in ("content", "summary"):
            assert name not in item or isinstance(item[name], list)
    assert {name: value for name, value in built.items() if name not in _LATE} == {
        name: value for name, value in told.items() if name not in _LATE
    }


def assert_agree(response: dict[str, Any], told: list[dict[str, Any]]) -> None:
    """The whole response and the stream say the same."""
    last = told[-1]
    assert last["type"] == f"response.{response['status']}"
    assert last["response"] == response
    assert assembled(told) == response["output"]
