"""How often someone may try to sign in, over all workers: counted in the database before a password is looked at.

A try is one conditional UPDATE, so that any number of guesses at once are told apart: the sixth is not looked at. What
is counted is kept under a keyed digest, because people type passwords into the field for the name.
"""

from __future__ import annotations

import ipaddress
import unicodedata
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import NamedTuple

from django.db import models
from django.db.models import F
from django.utils import timezone
from django.utils.crypto import salted_hmac

WINDOW = timedelta(minutes=15)
FROM_ONE_PLACE = 5  # tries with one name from one address, in a window
FROM_ONE_ADDRESS = 50  # with whatever names


class Bucket(NamedTuple):
    digest: str
    most: int


class SignInTries(models.Model):
    """The tries of one bucket since its window began."""

    bucket = models.CharField(max_length=64, primary_key=True)
    began_at = models.DateTimeField()
    tries = models.PositiveIntegerField()

    def __str__(self) -> str:
        return f"{self.tries} since {self.began_at:%H:%M:%S}"


def wait(username: str, address: str, now: datetime | None = None) -> timedelta | None:
    """Counts a try. None: it may be made. Otherwise how long to wait; it must not be looked at."""
    return _wait(_buckets(username, address), now or timezone.now())


def wait_at(address: str) -> timedelta | None:
    """The same for a try without a name, which counts as one from that address alone."""
    there, _ = _buckets("", address)
    return _wait((there,), timezone.now())


def _wait(buckets: Iterable[Bucket], now: datetime) -> timedelta | None:
    for bucket in buckets:
        if not _take(bucket, now):
            row = SignInTries.objects.filter(pk=bucket.digest).first()
            return max(row.began_at + WINDOW - now, timedelta(seconds=1)) if row else timedelta(seconds=1)
    return None


def forgive(username: str, address: str) -> None:
    """That was all that is asked for: it does not count, and neither do the wrong ones before it."""
    _, account = _buckets(username, address)
    SignInTries.objects.filter(pk=account.digest).delete()
    forgive_at(address)


def forgive_at(address: str) -> None:
    """The same for the address alone: with that name, it still counts."""
    there, _ = _buckets("", address)
    SignInTries.objects.filter(pk=there.digest, tries__gt=0).update(tries=F("tries") - 1)


def _take(bucket: Bucket, now: datetime) -> bool:
    row = SignInTries.objects.filter(pk=bucket.digest)
    if row.filter(began_at__gt=now - WINDOW, tries__lt=bucket.most).update(tries=F("tries") + 1):
        return True
    if row.filter(began_at__lte=now - WINDOW).update(tries=1, began_at=now):
        return True
    if row.exists():
        return False
    SignInTries.objects.filter(began_at__lte=now - WINDOW).delete()
    SignInTries.objects.bulk_create([SignInTries(bucket=bucket.digest, began_at=now, tries=0)], ignore_conflicts=True)
    return bool(row.filter(tries__lt=bucket.most).update(tries=F("tries") + 1))


def _buckets(username: str, address: str) -> tuple[Bucket, Bucket]:
    name = unicodedata.normalize("NFKC", username).casefold()[:200]
    place = _place(address)
    return Bucket(_digest(place), FROM_ONE_ADDRESS), Bucket(_digest(f"{place} {name}"), FROM_ONE_PLACE)


def _place(address: str) -> str:
    """An IPv6 host has a whole /64 to itself."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return ""
    return str(ipaddress.ip_network((found, 64), strict=False)) if found.version == 6 else str(found)


def _digest(text: str) -> str:
    return salted_hmac("bridge.sign-in", text, algorithm="sha256").hexdigest()
