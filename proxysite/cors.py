"""CORS for browser clients, for the origins in CORS_ALLOW_ORIGINS only (`*`: all)."""

from __future__ import annotations

from django.conf import settings
from django.http import HttpResponse
from django.http.response import HttpResponseBase

EXPOSED = (
    "x-request-id, request-id, x-bridge-compat, retry-after, retry-after-ms, x-should-retry, openai-processing-ms, "
    "x-ratelimit-limit-requests, x-ratelimit-remaining-requests, x-ratelimit-reset-requests, "
    "x-ratelimit-limit-tokens, x-ratelimit-remaining-tokens, x-ratelimit-reset-tokens, "
    "anthropic-ratelimit-requests-limit, anthropic-ratelimit-requests-remaining, anthropic-ratelimit-requests-reset, "
    "anthropic-ratelimit-tokens-limit, anthropic-ratelimit-tokens-remaining, anthropic-ratelimit-tokens-reset"
)


def preflight(origin: str, requested_headers: str) -> HttpResponse:
    """The answer to OPTIONS. Needs no key: browsers send none. The requested headers are echoed, because `*` does not
    cover Authorization."""
    response = HttpResponse(status=204)
    del response["content-type"]
    if _allowed(origin):
        response["access-control-allow-methods"] = "GET, POST"
        response["access-control-allow-headers"] = requested_headers[:1000] or "authorization, content-type"
        response["access-control-max-age"] = "600"
    return response


def allow(response: HttpResponseBase, origin: str) -> None:
    """Lets the page of an allowed origin read the answer."""
    if not settings.CORS_ALLOW_ORIGINS:
        return
    response["vary"] = "Origin"
    if _allowed(origin):
        response["access-control-allow-origin"] = origin
        response["access-control-expose-headers"] = EXPOSED


def _allowed(origin: str) -> bool:
    return bool(origin) and (origin in settings.CORS_ALLOW_ORIGINS or "*" in settings.CORS_ALLOW_ORIGINS)
