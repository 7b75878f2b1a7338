"""The form of a virtual key: making one, recognising one without a database, and its digest. Pure.

sk-bridge_live_ + 8 characters of public id + 32 of secret + 6 of CRC32 over all before it
"""

from __future__ import annotations

import hmac
import re
import secrets
from dataclasses import dataclass
from functools import cache
from zlib import crc32

from tenants.values import Mode

ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_FORM = re.compile(r"sk-bridge_(live|test)_([0-9A-Za-z]{8})[0-9A-Za-z]{38}")
_LOOKS_OURS = "sk-bridge_"


@dataclass(frozen=True, slots=True)
class Key:
    """A well-formed key. Its repr never shows the secret."""

    text: str
    mode: Mode
    public_id: str

    def __repr__(self) -> str:
        return f"Key({self.hint})"

    __str__ = __repr__

    @property
    def hint(self) -> str:
        """What lists and logs may show: `sk-bridge_live_AbCd1234…wxyz`."""
        return f"sk-bridge_{self.mode}_{self.public_id}…{self.text[-4:]}"

    def digest(self, pepper: bytes) -> bytes:
        """HMAC-SHA256 of the whole key: 190 random bits need no slow hash, the pepper keeps a stolen table useless."""
        keyed = _keyed(pepper).copy()
        keyed.update(self.text.encode())
        return keyed.digest()


@cache
def _keyed(pepper: bytes) -> hmac.HMAC:
    """To be copied: taking the pepper in costs several times what hashing a key does."""
    return hmac.new(pepper, digestmod="sha256")


def mint(mode: Mode) -> Key:
    """A new key."""
    public_id = "".join(secrets.choice(ALPHABET) for _ in range(8))
    secret = "".join(secrets.choice(ALPHABET) for _ in range(32))
    body = f"sk-bridge_{mode}_{public_id}{secret}"
    return Key(body + _checksum(body), mode, public_id)


def recognise(text: str) -> Key | None:
    """The key in this text, or None if its form or checksum is wrong (a typo never costs a query)."""
    match = _FORM.fullmatch(text)
    if match is None or _checksum(text[:-6]) != text[-6:]:
        return None
    return Key(text, Mode(match[1]), match[2])


def looks_ours(text: str) -> bool:
    """Whether a credential claims to be one of our keys, well-formed or not."""
    return text.startswith(_LOOKS_OURS)


def mask(text: str) -> str:
    """A credential as an error may quote it: a little of each end, never enough to use."""
    shown = "".join(character if character in ALPHABET + "-_" else "?" for character in text)
    return f"{shown[:12]}…{shown[-4:]}" if len(shown) > 24 else "…"


def _checksum(body: str) -> str:
    number, digits = crc32(body.encode()), ""
    while number:
        number, digit = divmod(number, 62)
        digits = ALPHABET[digit] + digits
    return digits.rjust(6, "0")
