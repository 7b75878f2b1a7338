"""A second factor in tests: what the app shows, and what its owner sends."""

from __future__ import annotations

import time

from django.http import HttpResponse
from django.test import Client
from django_otp.oath import TOTP

from tenants.models import AuditEvent, SecondFactor, User

OWN, ASKS, RENEW, REMOVE = (f"/admin/second-factor/{page}" for page in ("", "code/", "recovery-codes/", "remove/"))
LOGIN, LEAVE, PASSWORD_PAGE = "/admin/login/", "/admin/logout/", "/admin/password_change/"
SECRET = b"12345678901234567890"


def code(secret: bytes = SECRET, ahead: int = 0) -> str:
    """What the app shows now, or in so many half minutes: codes are used up, and a test does not wait."""
    totp = TOTP(secret)
    totp.time = time.time() + 30 * ahead
    return f"{totp.token():06}"


def wrong() -> str:
    """A code that is none of those around now."""
    right = {code(ahead=ahead) for ahead in (-2, -1, 0, 1, 2)}
    return next(text for text in ("000000", "111111", "222222", "333333", "444444", "555555") if text not in right)


def enrol(user: User) -> list[str]:
    """Sets up a factor, half a minute ago; returns its recovery codes."""
    _, codes = SecondFactor.objects.enrol(user, SECRET, code(ahead=-1))
    return codes


def give_password(client: Client, name: str = "alice") -> HttpResponse:
    return client.post(LOGIN, {"username": name, "password": "correct horse battery", "next": "/admin/tenants/apikey/"})


def give(client: Client, text: str, **more: str) -> HttpResponse:
    return client.post(ASKS, {"code": text, **more})


def told(user: User) -> list[str]:
    """The newest first."""
    return [event.action for event in AuditEvent.objects.of(user)]
