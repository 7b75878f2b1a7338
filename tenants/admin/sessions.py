"""How long a session lives: so long without use, and so long altogether."""

from __future__ import annotations

import time
from collections.abc import Callable
from urllib.parse import urlencode

from django.conf import settings
from django.contrib import messages
from django.contrib.auth import logout
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse

NOTE_EVERY = 60  # seconds between two notes that it is in use: a page view is not a write

_BEGAN, _SEEN = "began_at", "seen_at"


class SessionAgeMiddleware:
    """Sync only, like everything behind it."""

    sync_capable = True
    async_capable = False

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if not request.path_info.startswith("/admin/") or not request.user.is_authenticated:
            return self.get_response(request)
        if why := _over(request, time.time()):
            logout(request)
            messages.info(request, why)
            back = urlencode({"next": request.get_full_path()}) if request.method == "GET" else ""
            return HttpResponseRedirect(f"{reverse('admin:login')}?{back}".rstrip("?"))
        return self.get_response(request)


def _over(request: HttpRequest, now: float) -> str:
    """Why the session has ended; nothing while it has not. Notes that it is in use."""
    session = request.session
    began, seen = session.setdefault(_BEGAN, now), session.get(_SEEN, now)
    if now - began >= settings.SESSION_HOURS * 3600:
        return f"Signed out: a session ends after {settings.SESSION_HOURS} hours."
    if now - seen >= settings.SESSION_IDLE_MINUTES * 60:
        return f"Signed out: nothing was done for {settings.SESSION_IDLE_MINUTES} minutes."
    if _SEEN not in session or now - seen >= NOTE_EVERY:
        session[_SEEN] = now
    return ""
