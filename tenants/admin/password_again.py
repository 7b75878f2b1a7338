"""The password again, before a live key is issued or rotated in a session whose owner gave it some time ago.

A session that was left open, or stolen, must not be enough to let somebody in for good. Who came through the OpenID
provider has no password here: they are sent there again, and it has to say that it asked them.
"""

from __future__ import annotations

import time
from typing import Any

from django import forms
from django.conf import settings
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.http import urlencode
from django.utils.safestring import SafeString

FRESH_SECONDS = 15 * 60
MOST_TRIES = 5

_AT, _TRIES, _PROVIDER = "password_given_at", "password_tries", "signed_in_by_provider"


class TooManyTries(Exception):
    """Whoever sits there does not know the password: the session is to end."""


def note(request: HttpRequest) -> None:
    """The password was given just now."""
    request.session[_AT] = time.time()
    request.session.pop(_TRIES, None)
    request.session.pop(_PROVIDER, None)


def note_provider(request: HttpRequest, at: float | None) -> None:
    """The provider says that they proved who they are at that moment; None: it does not say, so it may be long ago."""
    request.session[_AT] = min(at, time.time()) if at else None
    request.session[_PROVIDER] = True


def came_by_provider(request: HttpRequest) -> bool:
    """Whether this session was opened by the provider, and no password given in it since."""
    return bool(settings.OIDC_ISSUER and request.session.get(_PROVIDER))


def asks_provider(request: HttpRequest) -> bool:
    """Whether the provider is to be asked about whose session this is, in place of a password."""
    return came_by_provider(request) or settings.OIDC_ONLY


def is_fresh(request: HttpRequest) -> bool:
    given_at = request.session.get(_AT)
    return isinstance(given_at, int | float) and time.time() - given_at < FRESH_SECONDS


def field() -> forms.CharField:
    return forms.CharField(
        required=False,
        strip=False,
        label="Your password",
        help_text="You signed in a while ago: a live key needs it again.",
        widget=forms.PasswordInput(attrs={"autocomplete": "current-password", "class": "vTextField"}),
    )


def fit(form: Any, request: HttpRequest, needed: bool = True) -> None:
    """The form's field as this session needs it: none at all, the password, or the way to the provider and back."""
    if not needed or is_fresh(request):
        del form.fields["password"]
    elif asks_provider(request):
        text = "You signed in a while ago. Do this first: what you typed here is not kept on the way."
        form.fields["password"] = forms.CharField(
            required=False, label="Sign in again", help_text=text, widget=ProviderLink(request)
        )


class ProviderLink(forms.Widget):
    """Leads to the provider, and from there back to the page that it stands on."""

    def __init__(self, request: HttpRequest) -> None:
        super().__init__()
        self.address = f"{reverse('sso:begin')}?{urlencode({'again': 'yes', 'next': request.get_full_path()})}"

    def render(self, name: str, value: Any, attrs: Any = None, renderer: Any = None) -> SafeString:
        text = "Sign in again with single sign-on"
        return format_html('<a href="{}" class="button quiet-button" id="id_{}">{}</a>', self.address, name, text)


def problem(request: HttpRequest, password: Any) -> str:
    """What is wrong with the password that was given; nothing if it is right. Raises TooManyTries."""
    if asks_provider(request):
        return "Sign in again first: you did more than 15 minutes ago."
    if not password:
        return "Give your password: you signed in more than 15 minutes ago."
    if request.user.check_password(password):
        note(request)
        return ""
    tries = request.session[_TRIES] = request.session.get(_TRIES, 0) + 1
    if tries >= MOST_TRIES:
        raise TooManyTries
    return "That is not your password."
