"""Where a session stands with the second factor: after the password it opens nothing until the code was given."""

from __future__ import annotations

import math
import time
from datetime import timedelta

import django_otp
from django.conf import settings
from django.contrib import messages
from django.contrib.auth import logout
from django.db import transaction
from django.http import HttpRequest, HttpResponseRedirect
from django.middleware.csrf import rotate_token
from django.urls import reverse
from django.utils import timezone
from django.utils.http import urlencode

from tenants import actors, sign_ins, throttle
from tenants.models import SecondFactor, User

CODE_SECONDS = 15 * 60  # to give the code in, after the password

_DUE = "second_factor_due"


class TooSoon(Exception):
    """The code was not looked at: there were too many tries. How long to wait."""

    def __init__(self, wait: timedelta) -> None:
        self.wait = max(wait, timedelta(seconds=1))


def is_due(request: HttpRequest) -> bool:
    """Whether this session was opened with a password alone by someone who has a second factor.

    Also true of sessions from before it was set up, and of those whose factor was removed while the code was due.
    """
    if not isinstance(request.user, User):
        return False
    if _DUE in request.session:
        return True
    factor = request.user.factor
    return factor is not None and request.session.get(django_otp.DEVICE_ID_SESSION_KEY) != factor.persistent_id


def is_missing(request: HttpRequest) -> bool:
    """Whether this site wants a second factor of someone who has none."""
    return settings.CONSOLE_TOTP == "required" and isinstance(request.user, User) and request.user.factor is None


def begin(request: HttpRequest) -> bool:
    """The password was right: whether the code is due now."""
    due = is_due(request)
    if due:
        request.session[_DUE] = True
    return due


def is_over(request: HttpRequest) -> bool:
    """Whether the code can no longer be given in this session: too late, or the factor is gone."""
    began = request.session.get("began_at", 0)
    return not isinstance(request.user, User) or request.user.factor is None or time.time() - began > CODE_SECONDS


def leave(request: HttpRequest, why: str) -> HttpResponseRedirect:
    """Ends the session."""
    logout(request)
    messages.warning(request, why)
    return HttpResponseRedirect(reverse("admin:login"))


def try_code(request: HttpRequest, text: str) -> str:
    """Lets the session in if this is the code, or a recovery code; returns which, or nothing. Raises TooSoon."""
    user = request.user
    assert isinstance(user, User) and user.factor is not None
    name, address = user.get_username(), actors.current().address
    try:
        _wait(user.factor, name, address, text)
        given = user.factor.accept(text)
    except TooSoon:
        _tell_failure(name)
        raise
    if not given:
        _tell_failure(name)
        return ""
    with transaction.atomic():
        sign_ins.signed_in(user, {"second_factor": given})
        let_in(request, user.factor)
        throttle.forgive(name, address)
    return given


def let_in(request: HttpRequest, factor: SecondFactor) -> None:
    """The session under a new key, which whoever knew the old one does not know."""
    request.session.pop(_DUE, None)
    django_otp.login(request, factor)
    request.session.cycle_key()
    rotate_token(request)


def asked_first(request: HttpRequest) -> HttpResponseRedirect:
    """To the page that asks for the code, and from there to where they wanted to go."""
    wanted = urlencode({"next": request.get_full_path()}) if request.method == "GET" else ""
    return HttpResponseRedirect(f"{reverse('admin:second_factor_code')}?{wanted}".rstrip("?"))


def words(wait: timedelta) -> str:
    seconds = math.ceil(wait.total_seconds())
    count, unit = (seconds, "second") if seconds < 60 else (math.ceil(seconds / 60), "minute")
    return f"Too many tries. Wait {count} {unit}{'' if count == 1 else 's'}, then try again."


def _tell_failure(name: str) -> None:
    """By someone who has not proved that they are who the session says."""
    with actors.acting(actors.somebody()):
        sign_ins.failures.tell(name, told={"step": "second factor"})


def _wait(factor: SecondFactor, name: str, address: str, text: str) -> None:
    """Counts a try, from here and of this person. Raises TooSoon."""
    if too_soon := throttle.wait(name, address):
        raise TooSoon(too_soon)
    if until := factor.throttled_until(text):
        raise TooSoon(until - timezone.now())
