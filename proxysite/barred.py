"""Known keys that may not come in: which rule, and what to do about it."""

from __future__ import annotations

import time
from datetime import UTC, datetime

from django.conf import settings

from bridge.errors import ApiError
from tenants import networks
from tenants.values import Caller

# What became of the key (or its tenant) → what its holder can do.
_REMEDIES = {
    "revoked": "A revoked key never works again: ask whoever runs this gateway for another one.",
    "suspended": "Its tenant is suspended, with all of its keys: ask whoever runs this gateway.",
}


def refuse_entry(caller: Caller, address: str | None) -> None:
    """Raises ApiError (401, 403) for a known key that may not be used, or not from this address."""
    refuse_barred(caller)
    if caller.networks:
        refuse_address(caller, address)


def refuse_barred(caller: Caller) -> None:
    """Raises ApiError (401) for a key that is revoked, suspended or past its end."""
    if caller.barred:
        raise _refused(caller, caller.barred, f"has been {caller.barred}. {_REMEDIES[caller.barred]}")
    if caller.expires_at is not None and caller.expires_at <= time.time():
        ended = f"{datetime.fromtimestamp(caller.expires_at, UTC):%Y-%m-%dT%H:%M:%SZ}"
        if caller.rotated:
            text = f"was rotated; this secret of it ended at {ended}. Use the key's new secret."
            raise _refused(caller, "rotated", text, ended=ended)
        text = f"has expired, at {ended}. Ask whoever issued it for a later end or another key."
        raise _refused(caller, "expired", text, ended=ended)


def refuse_address(caller: Caller, text: str | None) -> None:
    """Raises ApiError (403) for a key with networks that may not be used from this address.

    The address of a trusted proxy is never a client's: where the proxy did not say whose request it is, nobody knows.
    """
    address = networks.read_address(text or "")
    if address is None or networks.contain(settings.TRUSTED_PROXIES, address):
        seen = f"{text}, which is a proxy that named no client" if address else "an address that cannot be told"
    elif networks.contain(caller.networks, address):
        return
    else:
        seen = str(address)
    raise ApiError(
        "wrong_network",
        f"This API key ({caller.hint}) may not be used from here: the request came from {seen}, and the key's list of "
        "networks does not hold that. Ask whoever issued the key to add your address.",
        retry=False,
        facts={"rule": "networks", "level": "key", "address": text},
    )


def _refused(caller: Caller, rule: str, text: str, **numbers: str) -> ApiError:
    level = "tenant" if rule == "suspended" else "key"
    return ApiError("bad_key", f"This API key ({caller.hint}) {text}", facts={"rule": rule, "level": level, **numbers})
