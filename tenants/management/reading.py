"""What the commands about keys read alike: a key, a stretch of time."""

from __future__ import annotations

import re
import uuid
from datetime import timedelta

from django.core.management.base import CommandError

from tenants import keys
from tenants.models import ApiKey

KEY_HELP = "the key's id, its 8-character public id, or the key itself"
_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def find_key(text: str) -> ApiKey:
    """The key that this text names. Raises CommandError."""
    key = keys.recognise(text)
    found: ApiKey | None = ApiKey.objects.filter(secrets__public_id=key.public_id if key else text).first()
    if found is None:
        try:
            found = ApiKey.objects.filter(pk=uuid.UUID(text)).first()
        except ValueError:
            found = None
    if found is None:
        raise CommandError("There is no such key.")
    return found


def duration(option: str, text: str) -> timedelta:
    """`30d` as a stretch of time. Raises CommandError that names the option."""
    match = re.fullmatch(r"(\d{1,5})([mhdw])", text)
    if match is None or int(match[1]) == 0:
        raise CommandError(f"{option}={text} is not valid: it accepts a number and m, h, d or w, e.g. 30d.")
    return timedelta(**{_UNITS[match[2]]: int(match[1])})
