"""Django REST framework's pluggable parts, set in REST_FRAMEWORK: JSON in and out, errors.

(Apart from the views, because the framework imports these while it is being imported itself.)
"""

from __future__ import annotations

import logging
from typing import Any

import msgspec
from django.http import HttpResponse
from rest_framework.exceptions import APIException
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.parsers import BaseParser
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request

from bridge.call import Call
from bridge.errors import ApiError, forget, internal
from bridge.responses import error_response
from bridge.wire import strict

log = logging.getLogger(__name__)


class AlwaysJSON(BaseContentNegotiation):
    """JSON (or an event stream), whatever `Accept` and `Content-Type` say: clients get both wrong."""

    def select_parser(self, request: Request, parsers: Any) -> Any:
        return parsers[0]

    def select_renderer(self, request: Request, renderers: Any, format_suffix: str | None = None) -> Any:
        return renderers[0], renderers[0].media_type


class StrictJSONParser(BaseParser):
    media_type = "application/json"

    def parse(self, stream: Any, media_type: str | None = None, parser_context: Any = None) -> Any:
        try:
            return strict.loads(stream.read())
        except ValueError as error:
            text = f"We could not parse the JSON body of your request: {error}."
            raise ApiError("invalid_json", text) from None


class JSONRenderer(BaseRenderer):
    media_type = "application/json"
    format = "json"
    charset = None

    def render(self, data: Any, accepted_media_type: str | None = None, renderer_context: Any = None) -> bytes:
        return msgspec.json.encode(data)


def exception_handler(error: Exception, context: dict[str, Any]) -> HttpResponse:
    """Any exception of a view as an error object of its dialect; the call it belongs to is settled with it."""
    if isinstance(error, ApiError):
        problem = error
    elif isinstance(error, APIException):
        problem = ApiError("invalid_value", str(error.detail))
    else:
        log.exception("a view failed", exc_info=error)
        problem = internal()
    request, dialect = context["request"]._request, context["view"].dialect
    call: Call | None = getattr(request, "call", None)
    if call is not None:
        call.fail(problem, dialect.status(problem))
    forget(error)
    return error_response(problem, dialect, request.request_id)
