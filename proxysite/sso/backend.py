"""From a code to a person: mozilla-django-oidc's exchange, with what it leaves unchecked checked here.

The package asks for the token (with PKCE), finds the key and compares the nonce. Ours: the algorithm, the issuer, the
audience, the times, whether the e-mail is verified, and who that is here. docs/decisions/0020-oidc.md says why each.
"""

from __future__ import annotations

from typing import Any, cast

import jwt
from django.conf import settings
from django.core.exceptions import SuspiciousOperation
from django.http import HttpRequest
from django.urls import reverse
from mozilla_django_oidc.auth import OIDCAuthenticationBackend

from proxysite.sso.provider import TIMEOUT, Provider, ProviderFault
from tenants.models import User
from tenants.provider_accounts import NotLetIn, person_of

LEEWAY = 60  # seconds that two clocks may differ
REQUIRED = ["iss", "sub", "aud", "exp", "iat"]
TRUE = (True, "true", "1")  # booleans as providers write them; 1 equals True

DISTRUSTED = (
    "What the provider answered could not be trusted. Try again; an administrator finds why on the audit trail."
)
UNVERIFIED = "The provider does not vouch for the e-mail address of that account."

_WRONG: tuple[tuple[type[jwt.PyJWTError], str], ...] = (
    (jwt.InvalidSignatureError, "the signature of the ID token is wrong"),
    (jwt.ExpiredSignatureError, "the ID token has expired"),
    (jwt.ImmatureSignatureError, "the ID token is of a time to come"),
    (jwt.InvalidIssuerError, "the ID token is of another issuer"),
    (jwt.InvalidAudienceError, "the ID token is for another audience"),
    (jwt.InvalidAlgorithmError, "the ID token is signed in a way that is not taken here"),
    (jwt.MissingRequiredClaimError, "the ID token lacks what it must have"),
)
# RFC 6749, 5.2: all that is repeated of a refusal, whose text could hold anything.
_TOKEN_ERRORS = frozenset(
    ("invalid_request", "invalid_client", "invalid_grant", "unauthorized_client", "unsupported_grant_type",
     "invalid_scope")
)  # fmt: skip


def callback_url() -> str:
    """Where the provider sends people back to: under PUBLIC_URL, whatever the request's Host says."""
    return str(settings.PUBLIC_URL) + reverse("sso:callback")


def package_settings(provider: Provider) -> dict[str, Any]:
    """The package's settings; what is not here has its default, whatever Django's settings hold."""
    return {
        "OIDC_OP_AUTHORIZATION_ENDPOINT": provider.authorization_endpoint,
        "OIDC_OP_TOKEN_ENDPOINT": provider.token_endpoint,
        "OIDC_OP_USER_ENDPOINT": provider.userinfo_endpoint,
        "OIDC_OP_JWKS_ENDPOINT": provider.jwks_uri,
        "OIDC_RP_CLIENT_ID": settings.OIDC_CLIENT_ID,
        "OIDC_RP_CLIENT_SECRET": settings.OIDC_CLIENT_SECRET,
        "OIDC_RP_SCOPES": settings.OIDC_SCOPES,
        "OIDC_RP_SIGN_ALGO": "RS256",  # makes the package look into the JWKS; what is taken is decided below
        "OIDC_USE_PKCE": True,
        "OIDC_TIMEOUT": TIMEOUT,
        "OIDC_TOKEN_USE_BASIC_AUTH": provider.basic_auth,
        "OIDC_AUTHENTICATION_CALLBACK_URL": "sso:callback",
    }


class ProviderBackend(OIDCAuthenticationBackend):  # type: ignore[misc]
    """One exchange. Not among AUTHENTICATION_BACKENDS: it gives no permission, and no session names it."""

    def __init__(self, provider: Provider) -> None:
        self.provider = provider
        self._settings = package_settings(provider)
        self.auth_time: float | None = None  # when they proved to the provider who they are, if it says
        super().__init__()

    def get_settings(self, attr: str, *default: Any) -> Any:
        return self._settings[attr] if attr in self._settings else default[0]

    def sign_in(self, request: HttpRequest, nonce: str, code_verifier: str) -> User:
        """Who comes with this code. Raises NotLetIn and ProviderFault."""
        try:
            person = self.authenticate(request, nonce=nonce, code_verifier=code_verifier)
        except jwt.PyJWTError:
            raise NotLetIn("there is no ID token that can be read", DISTRUSTED) from None
        except SuspiciousOperation:
            raise NotLetIn("the ID token has another nonce", DISTRUSTED) from None
        except OSError as error:  # every error of requests is one
            raise ProviderFault(_told_by(error)) from None
        except (AttributeError, LookupError, TypeError, ValueError) as error:
            raise ProviderFault(f"it does not answer as OpenID Connect says ({type(error).__name__})") from None
        if not isinstance(person, User):
            raise NotLetIn("the provider sent no code", DISTRUSTED)
        return person

    def get_token(self, payload: dict[str, Any]) -> Any:
        return super().get_token({**payload, "redirect_uri": callback_url()})

    def retrieve_matching_jwk(self, token: str) -> Any:
        try:
            return super().retrieve_matching_jwk(token)
        except (KeyError, SuspiciousOperation):
            raise NotLetIn("the provider has no key of the name that the ID token gives", DISTRUSTED) from None

    def get_payload_data(self, token: str, key: Any) -> dict[str, Any]:
        """The claims of a token that is signed, ours, of this provider and of now. Raises NotLetIn.

        In place of the package's, which looks at the signature alone.
        """
        client = settings.OIDC_CLIENT_ID
        try:
            claims = jwt.decode(
                token,
                key,
                algorithms=list(self.provider.algorithms),
                audience=client,
                issuer=self.provider.issuer,
                leeway=LEEWAY,
                options={"require": REQUIRED},
            )
        except jwt.PyJWTError as error:
            why = next((words for kind, words in _WRONG if isinstance(error, kind)), "the ID token is not valid")
            raise NotLetIn(why, DISTRUSTED) from None
        several = isinstance(claims["aud"], list) and len(claims["aud"]) > 1
        if claims.get("azp", None if several else client) != client:
            raise NotLetIn("the ID token was made for another party", DISTRUSTED)
        if not claims.get("nonce"):
            raise NotLetIn("the ID token has no nonce", DISTRUSTED)
        return claims

    def get_or_create_user(self, access_token: str, id_token: str, payload: dict[str, Any]) -> User:
        """The person whose verified address it is; nobody is made. Raises NotLetIn."""
        at = payload.get("auth_time")
        self.auth_time = float(at) if isinstance(at, int | float) and not isinstance(at, bool) else None
        told = self._with_email(access_token, id_token, payload)
        email = told.get("email")
        if not isinstance(email, str) or not email:
            raise NotLetIn("the provider tells no e-mail address", UNVERIFIED)
        if told.get(settings.OIDC_VERIFIED_CLAIM) not in TRUE:
            raise NotLetIn("the e-mail address is not verified", UNVERIFIED)
        return cast(User, person_of(self.provider.issuer, payload["sub"], email))

    def _with_email(self, access_token: str, id_token: str, payload: dict[str, Any]) -> dict[str, Any]:
        """Some leave the claims out of the ID token and tell them at another address: then both are from there."""
        if {"email", settings.OIDC_VERIFIED_CLAIM} <= payload.keys() or not self.provider.userinfo_endpoint:
            return payload
        told: dict[str, Any] = self.get_userinfo(access_token, id_token, payload)
        if told.get("sub") != payload["sub"]:  # OpenID Connect Core, 5.3.2
            raise NotLetIn("the provider tells of somebody else than the ID token", DISTRUSTED)
        return told


def _told_by(error: OSError) -> str:
    """What became of a call, without its address or the answer's text."""
    response = getattr(error, "response", None)
    if response is None:
        return f"it cannot be reached ({type(error).__name__})"
    try:
        code = response.json().get("error")
    except (AttributeError, ValueError):
        code = ""
    return f"it answered {response.status_code} {code if code in _TOKEN_ERRORS else ''}".strip()
