"""Tells the audit trail who is at the console, and from where."""

from __future__ import annotations

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse

from proxysite.headers import remote_address
from tenants.actors import Actor, Kind, acting


class ActorMiddleware:
    """Sync only, like everything behind it. Someone who has not signed in is a user without a name."""

    sync_capable = True
    async_capable = False

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if not request.path_info.startswith("/admin/"):
            return self.get_response(request)
        with acting(_actor(request)):
            return self.get_response(request)


def _actor(request: HttpRequest) -> Actor:
    peer = (request.META.get("REMOTE_ADDR", ""), 0)
    address = remote_address(peer, request.META.get("HTTP_X_FORWARDED_FOR", "")) or ""
    agent = {"user_agent": request.META.get("HTTP_USER_AGENT", "")[:200]}
    return Actor(Kind.USER, request.user.get_username(), str(request.user.pk or ""), address, agent)
