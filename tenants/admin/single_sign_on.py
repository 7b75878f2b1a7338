"""What the sign-in page says of single sign-on, where there is one. Knows nothing of how it is done (proxysite/sso)."""

from __future__ import annotations

from django.conf import settings
from django.http import HttpRequest
from django.urls import reverse
from django.utils.http import urlencode

SINGLE_SIGN_ON = "single sign-on"  # as the audit trail calls it


def link(request: HttpRequest) -> str:
    """From the page for signing in, where the other way begins, with the way back; empty without one."""
    if not settings.OIDC_ISSUER or request.path_info != reverse("admin:login"):
        return ""
    back = request.GET.get("next", "")
    return f"{reverse('sso:begin')}?{urlencode({'next': back})}" if back else reverse("sso:begin")
