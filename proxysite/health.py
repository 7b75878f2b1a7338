"""For whoever watches the process: is it alive, should it get traffic, and its numbers."""

from __future__ import annotations

import hmac
import ipaddress
from typing import Any

from django.conf import settings
from django.http import HttpResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from bridge.api import ApiRequest, AsyncAPIView
from bridge.errors import ApiError
from bridge.responses import as_json
from tenants import metrics


class Alive(AsyncAPIView):
    """200 as long as the event loop turns."""

    needs_key = False

    async def get(self, request: ApiRequest) -> dict[str, Any]:
        return {"status": "ok", "version": settings.VERSION}


class Ready(AsyncAPIView):
    """200 when this worker should get traffic; 503 while it drains or the database is not as the code needs it."""

    needs_key = False

    async def get(self, request: ApiRequest) -> HttpResponse:
        problem = await request._request.unready()  # type: ignore[attr-defined]  # set by the door
        return as_json({"status": "not ready", "reason": problem}, 503) if problem else as_json({"status": "ready"})


class Metrics(AsyncAPIView):
    """Prometheus' text format, for the machine itself or whoever has METRICS_TOKEN."""

    needs_key = False

    async def get(self, request: ApiRequest) -> HttpResponse:
        if not (_is_local(request) or _has_token(request)):
            raise ApiError("no_key", "Metrics are for this machine, or with METRICS_TOKEN as a bearer token.")
        return HttpResponse(generate_latest(metrics.registry()), content_type=CONTENT_TYPE_LATEST)


def _is_local(request: ApiRequest) -> bool:
    """A direct connection from this machine. Behind a proxy everyone comes from there, so a forwarded one is not."""
    if "HTTP_X_FORWARDED_FOR" in request.META or "HTTP_FORWARDED" in request.META:
        return False
    try:
        return ipaddress.ip_address(request.META.get("REMOTE_ADDR", "")).is_loopback
    except ValueError:
        return False


def _has_token(request: ApiRequest) -> bool:
    given = request.META.get("HTTP_AUTHORIZATION", "").removeprefix("Bearer ")
    return bool(settings.METRICS_TOKEN) and hmac.compare_digest(given.encode(), settings.METRICS_TOKEN.encode())
