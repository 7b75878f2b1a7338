"""What holds on every page of the console door: what browsers may do with it, no caching, own passwords first."""

from __future__ import annotations

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse

from tenants.admin import password_again

# The console shows what strangers wrote and issues keys: nothing runs or loads here that we did not ship.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
# Beside what Django sets (nosniff, DENY, same-origin referrers and openers, HSTS behind https).
HEADERS = {
    "Content-Security-Policy": POLICY,
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()",
}


class ConsoleMiddleware:
    """Sync only: every view behind it is, and static files are answered before it."""

    sync_capable = True
    async_capable = False

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        in_console = request.path_info.startswith("/admin/")
        detour = _own_password_first(request) if in_console else None
        response = detour or self.get_response(request)
        for name, value in HEADERS.items():
            response.headers[name] = value
        if in_console:
            response.headers["Cache-Control"] = "no-store"
        return response


def _own_password_first(request: HttpRequest) -> HttpResponse | None:
    """A redirect for someone who still has the password that they were given, and used it."""
    own, leave = reverse("admin:password_change"), reverse("admin:logout")
    if request.path_info in (own, leave) or not getattr(request.user, "must_change_password", False):
        return None
    if password_again.came_by_provider(request):
        return None
    return HttpResponseRedirect(own)
