"""Reads request headers once: the key among the credentials, the client's address, and what the record wants to know.

Clients send keys in three places, some in all three, some with a foreign key beside ours: the first that has the form
of our keys wins, in the order Authorization, x-api-key, api-key.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from django.conf import settings

from bridge.errors import ApiError
from tenants import keys, networks
from tenants.keys import Key

_ANTHROPICS = re.compile(r"sk-ant-[0-9A-Za-z_-]{16,240}")
_SOURCES = (b"authorization", b"x-api-key", b"api-key")


@dataclass(slots=True)
class Credentials:
    """`key`: well-formed, not yet known to exist. Without one `reason` says why: missing, malformed or foreign."""

    key: Key | None = None
    reason: str = "missing"
    shown: str = field(default="", repr=False)
    theirs: str = field(default="", repr=False)  # a key of Anthropic's, where callers may bring their own

    def problem(self) -> ApiError:
        """The 401 that fits; the same text for an unknown key as for a malformed one."""
        if self.reason == "missing":
            text = (
                "You didn't provide an API key. Send it as Authorization: Bearer YOUR_KEY, or as x-api-key or api-key."
            )
            return ApiError("no_key", text)
        return ApiError("bad_key", f"Incorrect API key provided: {self.shown}.")


@dataclass(slots=True)
class Headers:
    """The request headers that matter here."""

    credentials: Credentials
    content_length: int = 0
    content_encoding: str = ""
    origin: str = ""
    requested_headers: str = ""
    user_agent: str = ""
    retry_count: int = 0
    forwarded_for: str = ""


def read_headers(raw: Iterable[tuple[bytes, bytes]]) -> Headers:
    """Raises ApiError (400) for a repeated Authorization header: two readers could each take another one. Likewise for
    a folded header line, which the server hands on as a header without a name (RFC 9112, 5.2)."""
    found: dict[bytes, str] = {}
    for name, value in raw:
        if not name:
            raise ApiError("bad_header", "A header line must not be folded.")
        if name in found and name in _SOURCES:
            raise ApiError("bad_header", f"The header '{name.decode('latin-1')}' must not be repeated.")
        text = value.decode("latin-1")
        found[name] = f"{found[name]}, {text}" if name == b"x-forwarded-for" and name in found else text
    return Headers(
        credentials=_credentials(found),
        content_length=_number(found.get(b"content-length", "")),
        content_encoding=found.get(b"content-encoding", "").strip().lower(),
        origin=found.get(b"origin", ""),
        requested_headers=found.get(b"access-control-request-headers", ""),
        user_agent=found.get(b"user-agent", ""),
        retry_count=min(_number(found.get(b"x-stainless-retry-count", "")), 1000),
        forwarded_for=found.get(b"x-forwarded-for", ""),
    )


def _credentials(found: dict[bytes, str]) -> Credentials:
    foreign = ""
    malformed = ""
    for source in _SOURCES:
        text = _token(found.get(source, ""), bearer=source == b"authorization")
        if not text:
            continue
        if keys.looks_ours(text):
            key = keys.recognise(text)
            if key is not None:
                return Credentials(key, "unknown", key.hint)
            malformed = malformed or text
        foreign = foreign or text
    if malformed or foreign:
        theirs = foreign if settings.ALLOW_CALLER_KEYS and not malformed and _ANTHROPICS.fullmatch(foreign) else ""
        return Credentials(None, "malformed" if malformed else "foreign", keys.mask(malformed or foreign), theirs)
    return Credentials()


def _token(value: str, bearer: bool) -> str:
    if not bearer:
        return value.strip()
    scheme, _, token = value.strip().partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else 0


def remote_address(peer: tuple[str, int] | None, forwarded_for: str) -> str | None:
    """The client's address: the peer's, or behind trusted proxies the last one that is not theirs."""
    address = str(peer[0]) if peer else ""
    hops = [hop.strip() for hop in forwarded_for.split(",") if hop.strip()] if settings.TRUSTED_PROXIES else []
    while hops and _trusted(address):
        address = hops.pop()
    found = networks.read_address(address)
    return str(found) if found else None


def _trusted(text: str) -> bool:
    address = networks.read_address(text)
    return address is not None and networks.contain(settings.TRUSTED_PROXIES, address)
