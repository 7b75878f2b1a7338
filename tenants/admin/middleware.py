"""What holds on every page of the console door: what browsers may do with it, no caching, and what comes first."""

from __future__ import annotations

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse

from tenants.admin import password_again, second_factor

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

CODE = "admin:second_factor_code"


class ConsoleMiddleware:
    """Sync only: every view behind it is, and static files are answered before it."""

    sync_capable = True
    async_capable = False

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        in_console = request.path_info.startswith("/admin/")
        detour = _detour(request) if in_console else None
        response = detour or self.get_response(request)
        for name, value in HEADERS.items():
            response.headers[name] = value
        if in_console:
            response.headers["Cache-Control"] = "no-store"
        return response


def _detour(request: HttpRequest) -> HttpResponse | None:
    """A redirect for someone to whom the console does not open yet. They may always leave."""
    step = first_step(request)
    if not step or request.path_info in (reverse(step), reverse("admin:logout")):
        return None
    if step == CODE:
        return second_factor.asked_first(request)
    return HttpResponseRedirect(reverse(step))


def first_step(request: HttpRequest) -> str:
    """The page that someone who is signed in has to pass before any other: the code of their second factor, a password
    in place of the one they were given, a second factor where this site wants one. Nothing: the console is open.
    """
    if second_factor.is_due(request):
        return CODE
    if _own_password_first(request):
        return "admin:password_change"
    return "admin:second_factor" if second_factor.is_missing(request) else ""


def _own_password_first(request: HttpRequest) -> bool:
    """Whether they still have the password that they were given, and used it."""
    given = getattr(request.user, "must_change_password", False)
    return given and not password_again.came_by_provider(request)
