"""The second factor of people at the console: one-time codes from an app on their phone (TOTP, RFC 6238).

The secret is kept encrypted. django-otp has the algorithm, the throttle, and checks a code under the row's lock.
"""

from __future__ import annotations

import base64
import logging
import re
import secrets
import time
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import quote, urlencode

import django_otp
from django.conf import settings
from django.db import models, transaction
from django_otp.models import Device, DeviceManager, ThrottlingMixin, TimestampMixin
from django_otp.oath import TOTP

from tenants import audit
from tenants.audited import AuditedOfPerson, AuditedQuerySet
from tenants.encryption import Box, Unreadable

if TYPE_CHECKING:
    from tenants.models import User

log = logging.getLogger(__name__)

SECRET_BYTES = 20  # what RFC 4226 recommends, and every app takes
THROTTLE_SECONDS = 1  # after a wrong code; twice as long after each that follows
_CODE = re.compile(r"[0-9]{6}")


class WrongCode(Exception):
    """Not what the app shows now."""


class AlreadyEnrolled(Exception):
    """They have a factor: it has to be removed first."""


class SecondFactorQuerySet(AuditedQuerySet):
    def enrol(self, user: User, secret: bytes, code: str) -> tuple[SecondFactor, list[str]]:
        """Their factor from now on, and its recovery codes, which nothing shows again.

        Raises WrongCode where the app does not show what this secret gives, and AlreadyEnrolled.
        """
        step = step_of(secret, code)
        if step is None:
            raise WrongCode
        with transaction.atomic():
            audit.lock()
            if self.filter(user=user).exists():
                raise AlreadyEnrolled
            sealed = _box().seal(_purpose(user.pk), secret)
            factor: SecondFactor = self.create(user=user, sealed=sealed, last_step=step)
            return factor, factor.recovery_codes.make(factor)


class SecondFactor(AuditedOfPerson, ThrottlingMixin, TimestampMixin, Device):  # type: ignore[misc]
    """Somebody's app. Whoever has a row has confirmed it with a code; one code is good for one sign-in."""

    audit_part = "second_factor"
    audit_ignored = AuditedOfPerson.audit_ignored | {
        "name", "confirmed", "created_at", "last_step", "throttling_failure_timestamp", "throttling_failure_count",
    }  # fmt: skip

    user = models.OneToOneField("tenants.User", models.CASCADE, related_name="second_factor")
    name = models.CharField(max_length=64, default="authenticator app", editable=False)
    sealed = models.BinaryField(editable=False)
    last_step = models.BigIntegerField(default=-1, editable=False, help_text="Codes up to this time step are used up.")

    objects: ClassVar[Any] = DeviceManager.from_queryset(SecondFactorQuerySet)()

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"second factor of person {self.user_id}"

    def accept(self, text: str) -> str:
        """What was given, a "code" or a "recovery code", if it is right; it is used up then. Nothing if it is wrong."""
        digits = re.sub(r"[\s-]", "", text)
        if _CODE.fullmatch(digits):
            return "code" if django_otp.verify_token(self.user, self.persistent_id, digits) else ""
        return "recovery code" if self.recovery_codes.use(self, text) else ""

    def throttled_until(self, text: str) -> datetime | None:
        """Until when no code is looked at, after wrong ones. Recovery codes are too long to be guessed: they are."""
        if not _CODE.fullmatch(re.sub(r"[\s-]", "", text)):
            return None
        allowed, why = self.verify_is_allowed()
        return None if allowed else why["locked_until"]

    def verify_token(self, token: str) -> bool:
        """Whether it is a code of now that was not used. For django_otp.verify_token, which holds the row's lock."""
        allowed, _ = self.verify_is_allowed()
        if not allowed:
            return False
        try:
            step = step_of(self._secret(), token, after=self.last_step)
        except Unreadable:
            log.error("a second factor cannot be decrypted", extra={"user_id": self.user_id})
            return False
        if step is None:
            self.throttle_increment(commit=False)
        else:
            self.last_step = step
            self.set_last_used_timestamp(commit=False)
            self.throttle_reset(commit=False)
        self._keep("last_step")
        return step is not None

    def forgive(self) -> None:
        """A recovery code let its owner in: wrong codes before it keep nobody waiting."""
        self.set_last_used_timestamp(commit=False)
        self.throttle_reset(commit=False)
        self._keep()

    def get_throttle_factor(self) -> int:
        return THROTTLE_SECONDS

    def _secret(self) -> bytes:
        """Raises Unreadable."""
        return _box().open(_purpose(self.user_id), bytes(self.sealed))

    def _keep(self, *more: str) -> None:
        throttle = ["throttling_failure_timestamp", "throttling_failure_count"]
        self.save(update_fields=["last_used_at", *throttle, *more])


def new_secret() -> bytes:
    return secrets.token_bytes(SECRET_BYTES)


def as_text(secret: bytes) -> str:
    """As apps take it, typed: base32."""
    return base64.b32encode(secret).decode()


def as_uri(secret: bytes, name: str, host: str) -> str:
    """As apps take it, scanned. It says where the account is, for whoever has several."""
    issuer = f"Bridge {host}"
    told = {"secret": as_text(secret), "issuer": issuer, "algorithm": "SHA1", "digits": 6, "period": 30}
    return f"otpauth://totp/{quote(issuer)}:{quote(name, safe='')}?{urlencode(told, quote_via=quote)}"


def step_of(secret: bytes, code: str, after: int = -1) -> int | None:
    """The time step that a code is of: this half minute, the one before or the next, and later than `after`."""
    totp = TOTP(secret)
    totp.time = time.time()
    if not _CODE.fullmatch(code) or not totp.verify(int(code), tolerance=1, min_t=after + 1):
        return None
    return int(totp.t())


def _box() -> Box:
    return Box(settings.ENCRYPTION_KEYS)


def _purpose(user_id: int) -> str:
    return f"second-factor:{user_id}"
