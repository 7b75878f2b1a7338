"""The password again, before a live key is issued or rotated in a session whose owner gave it some time ago.

A session that was left open, or stolen, must not be enough to let somebody in for good.
"""

from __future__ import annotations

import time
from typing import Any

from django import forms
from django.http import HttpRequest

FRESH_SECONDS = 15 * 60
MOST_TRIES = 5

_AT, _TRIES = "password_given_at", "password_tries"


class TooManyTries(Exception):
    """Whoever sits there does not know the password: the session is to end."""


def note(request: HttpRequest) -> None:
    """The password was given just now."""
    request.session[_AT] = time.time()
    request.session.pop(_TRIES, None)


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


def problem(request: HttpRequest, password: Any) -> str:
    """What is wrong with the password that was given; nothing if it is right. Raises TooManyTries."""
    if not password:
        return "Give your password: you signed in more than 15 minutes ago."
    if request.user.check_password(password):
        note(request)
        return ""
    tries = request.session[_TRIES] = request.session.get(_TRIES, 0) + 1
    if tries >= MOST_TRIES:
        raise TooManyTries
    return "That is not your password."
