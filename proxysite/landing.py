"""What a browser sees outside the console: the landing page, and small pages for errors."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string
from django.views.decorators.http import require_safe

from proxysite.settings import VERSION
from tenants.admin import connect
from tenants.admin.middleware import POLICY


@require_safe
def landing(request: HttpRequest) -> HttpResponse:
    """What this is, where the console is, and how to call the API."""
    base = connect.base_url(request)
    context = {
        "base_url": base,
        "curl": connect.snippets(base, connect.PLACEHOLDER)[0],
        "upstream": connect.upstream(),
        "version": VERSION,
    }
    return HttpResponse(render_to_string("landing.html", context))


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    return _error(400, "Bad request", "The address or the form is not one that this page understands.")


def forbidden(request: HttpRequest, exception: Exception) -> HttpResponse:
    return _error(
        403, "Not allowed", "Your account does not have the permission for this. An administrator can grant it."
    )


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    return _error(404, "Not found", "There is no page at this address.")


def server_error(request: HttpRequest) -> HttpResponse:
    return _error(500, "Something went wrong", "The error is in the log of this site.")


def _error(status: int, title: str, text: str) -> HttpResponse:
    """Needs neither session nor database, and is guarded even where no middleware of ours ran."""
    page = render_to_string("error.html", {"status": status, "title": title, "text": text})
    return HttpResponse(page, status=status, headers={"Content-Security-Policy": POLICY, "Cache-Control": "no-store"})
