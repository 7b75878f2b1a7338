"""What the environment may say about the OpenID provider. Imports nothing of the extra: it is read at every start."""

from __future__ import annotations

import importlib.util
from urllib.parse import urlsplit

from django.core.exceptions import ImproperlyConfigured

ISSUER = "https://…, as the provider's discovery document has it"
PACKAGE = "mozilla_django_oidc"
_LONGEST = 255  # of an issuer, as its column takes it


def is_safe(url: str) -> bool:
    """Over TLS, or on this very machine."""
    try:
        found = urlsplit(url)
        return bool(found.hostname) and (
            found.scheme == "https" or (found.scheme == "http" and _is_here(found.hostname))
        )
    except ValueError:
        return False


def _is_here(host: str | None) -> bool:
    return host in ("localhost", "127.0.0.1", "::1")


def issuer(text: str) -> str:
    """Character by character what an ID token must say: a slash at its end stays. Raises ValueError."""
    if text and (not is_safe(text) or len(text) > _LONGEST or urlsplit(text).query or urlsplit(text).fragment):
        raise ValueError(text)
    return text


def scopes(text: str) -> str:
    words = text.replace(",", " ").split()
    if not {"openid", "email"} <= set(words):
        raise ValueError(text)
    return " ".join(words)


def check(issuer: str, client_id: str, client_secret: str, public_url: str, only: bool) -> None:
    """Stops a start that could let nobody in. The provider is not asked: it may be down, and the API needs none."""
    if not issuer:
        if only:
            raise ImproperlyConfigured("OIDC_ONLY is on, but OIDC_ISSUER is not set: nobody could sign in.")
        return
    for name, value in (
        ("OIDC_CLIENT_ID", client_id),
        ("OIDC_CLIENT_SECRET", client_secret),
        ("PUBLIC_URL", public_url),
    ):
        if not value:
            raise ImproperlyConfigured(f"{name} is not set: OIDC_ISSUER needs it (docs/sso.md).")
    if importlib.util.find_spec(PACKAGE) is None:
        raise ImproperlyConfigured(
            "OIDC_ISSUER is set, but its package is not installed: pip install -r requirements-oidc.txt."
        )
