"""The provider, as its discovery document describes it: asked for when someone signs in, never before."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import requests
from django.conf import settings

from proxysite.sso.configured import is_safe

PATH = "/.well-known/openid-configuration"
TIMEOUT = 5  # seconds to connect, and for each part of an answer
KEPT_SECONDS = 3600
# With a key pair alone: a secret that both sides know would let either sign.
ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")


class ProviderFault(Exception):
    """It cannot be reached, or does not answer as OpenID Connect says. The text is ours: for the log and the trail."""


@dataclass(frozen=True, slots=True)
class Provider:
    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    userinfo_endpoint: str  # empty where there is none
    algorithms: tuple[str, ...]
    basic_auth: bool  # our secret goes into a header, because the form is not offered


_kept: dict[str, tuple[float, Provider]] = {}


def provider() -> Provider:
    """As it was described within the last hour, or last of all while it is away. Raises ProviderFault."""
    issuer = settings.OIDC_ISSUER
    known = _kept.get(issuer)
    if known and time.monotonic() - known[0] < KEPT_SECONDS:
        return known[1]
    try:
        found = read(issuer, _fetch(issuer.rstrip("/") + PATH))
    except ProviderFault:
        if known is None:
            raise
        return known[1]
    _kept[issuer] = (time.monotonic(), found)
    return found


def forget() -> None:
    """Asks anew with the next sign-in."""
    _kept.clear()


def _fetch(url: str) -> Any:
    try:
        response = requests.get(url, timeout=TIMEOUT, allow_redirects=False)  # elsewhere, nobody checked for TLS
        response.raise_for_status()
        return response.json()
    except (OSError, ValueError) as error:  # every error of requests is the one or the other
        raise ProviderFault(f"the discovery document cannot be had ({type(error).__name__})") from None


def read(issuer: str, document: Any) -> Provider:
    """The document as we need it. Raises ProviderFault."""
    if not isinstance(document, dict):
        raise ProviderFault("the discovery document is not an object")
    told = str(document.get("issuer", ""))
    if told.rstrip("/") != issuer.rstrip("/"):
        raise ProviderFault("the discovery document is that of another issuer")
    places = {name: str(document.get(name, "")) for name in ("authorization_endpoint", "token_endpoint", "jwks_uri")}
    if unsafe := [name for name, place in places.items() if not is_safe(place)]:
        raise ProviderFault(f"the discovery document has no safe address for {', '.join(unsafe)}")
    signs = _words(document, "id_token_signing_alg_values_supported", ["RS256"])
    algorithms = tuple(name for name in ALGORITHMS if name in signs)
    if not algorithms:
        raise ProviderFault("the provider signs in no way that is taken here")
    userinfo = str(document.get("userinfo_endpoint", ""))
    ways = _words(document, "token_endpoint_auth_methods_supported", ["client_secret_basic"])
    return Provider(
        issuer=told,
        **places,
        userinfo_endpoint=userinfo if is_safe(userinfo) else "",
        algorithms=algorithms,
        basic_auth="client_secret_post" not in ways,
    )


def _words(document: dict[str, Any], name: str, default: list[str]) -> list[str]:
    found = document.get(name)
    return [str(word) for word in found] if isinstance(found, list) else default
