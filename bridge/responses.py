"""Answers over HTTP: JSON, an error, or a stream that can be closed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any

import msgspec
from django.http import HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase

from bridge.errors import ApiError
from bridge.reply import Events, Reply
from bridge.speech import Dialect

_NO_HEADERS: Mapping[str, str] = {}


class EventStream(StreamingHttpResponse):
    """Server-sent events. Iterated directly, so that whoever iterates it can also close it: Django's own class wraps
    the iterator and, when the client hangs up, leaves it to the garbage collector."""

    def __init__(self, events: Events) -> None:
        super().__init__(events.parts, content_type="text/event-stream; charset=utf-8", headers=events.headers)
        self.beat, self.tap = events.beat, events.tap
        self["cache-control"] = "no-cache"
        self["x-accel-buffering"] = "no"

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._iterator  # type: ignore[attr-defined,no-any-return]

    def __iter__(self) -> Iterator[bytes]:
        raise TypeError("an EventStream is asynchronous")


def as_json(data: Any, status: int = 200, headers: Mapping[str, str] = _NO_HEADERS) -> HttpResponse:
    return _json(msgspec.json.encode(data), status, headers)


def as_response(answer: Reply | Events) -> HttpResponseBase:
    """The pipeline's answer over HTTP."""
    if isinstance(answer, Reply):
        return _json(answer.body, 200, answer.headers)
    return EventStream(answer)


def error_response(problem: ApiError, dialect: Dialect, request_id: str) -> HttpResponse:
    return as_json(dialect.error(problem, request_id), dialect.status(problem), problem.all_headers())


def _json(body: bytes, status: int, headers: Mapping[str, str]) -> HttpResponse:
    return HttpResponse(body, status=status, content_type="application/json", headers=headers)
