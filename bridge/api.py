"""The API's DRF view: asynchronous, JSON whatever the client accepts, every error in its dialect's shape.

Rendered inside dispatch and answered as a plain HttpResponse: a DRF Response costs a thread hop per request under ASGI
(docs/decisions/0005-api-view.md).
"""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from django.http.response import HttpResponseBase
from rest_framework.request import Request
from rest_framework.views import APIView

from bridge.call import Call
from bridge.chat import CHAT
from bridge.pipeline import Services
from bridge.responses import as_json
from bridge.speech import Asked, Dialect
from tenants.values import Caller


class ApiRequest(Request):
    """What the door found out before the view was called rides on the Django request."""

    @property
    def call(self) -> Call:
        call: Call = self._request.call  # type: ignore[attr-defined]
        return call

    @property
    def caller(self) -> Caller:
        caller: Caller = self._request.caller  # type: ignore[attr-defined]
        return caller

    @property
    def services(self) -> Services:
        services: Services = self._request.services  # type: ignore[attr-defined]
        return services

    def asked(self, model_in_url: str | None = None) -> Asked:
        """What a dialect reads. Raises ApiError (400) if the body is not JSON."""
        request_id, seal = self._request.request_id, self.services.seal(self.caller)  # type: ignore[attr-defined]
        chain = self._request.scope.get("bridge.chain")  # type: ignore[attr-defined]
        size = int(self._request.META["CONTENT_LENGTH"])
        return Asked(self.data, self._header, request_id, model_in_url, seal, chain, size)

    def _header(self, name: str) -> str:
        value: str = self._request.META.get(f"HTTP_{name.upper().replace('-', '_')}", "")
        return value


class AsyncAPIView(APIView):
    """A DRF view with asynchronous handlers that return an HttpResponse or something to encode as JSON.

    `needs_key`: the door refuses requests without a known key. `inference`: they are counted, limited and recorded.
    `dialect`: what is spoken here, by errors too, the door's own among them. `websocket`: it may be asked over one.
    """

    view_is_async = True
    needs_key = True
    inference = False
    websocket = False
    dialect: Dialect = CHAT

    async def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:  # type: ignore[override]
        self.args, self.kwargs, self.headers = args, kwargs, {}
        wrapped = self.initialize_request(request, *args, **kwargs)
        self.request = wrapped
        try:
            self.initial(wrapped, *args, **kwargs)
            handler = getattr(self, str(request.method).lower())
            answer = await handler(wrapped, *args, **kwargs)
        except Exception as error:
            answer = self.handle_exception(error)
        finally:
            wrapped.parser_context = None  # type: ignore[assignment]  # breaks a cycle that costs a collector run
        return answer if isinstance(answer, HttpResponseBase) else as_json(answer)

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Nothing: the door has identified the key and limits are taken on the road, and JSON is not negotiated."""

    def initialize_request(self, request: HttpRequest, *args: Any, **kwargs: Any) -> ApiRequest:
        return ApiRequest(
            request,
            parsers=self.get_parsers(),
            authenticators=self.get_authenticators(),
            negotiator=self.get_content_negotiator(),
            parser_context=self.get_parser_context(request),
        )

    @classmethod
    def methods(cls) -> list[str]:
        """The methods this view answers, upper case."""
        found = [name.upper() for name in ("get", "post") if hasattr(cls, name)]
        return [*found, "HEAD"] if "GET" in found else found
