"""What is stored encrypted: sealed under the newest of numbered keys, opened with any of them. Pure.

A sealed value is `2:TOKEN`: the number of its key and a Fernet token (AES-128-CBC and HMAC-SHA256). The token holds its
purpose too (such as `credential:7`), so that a value moved to another row does not open there.
"""

from __future__ import annotations

import base64
import hmac
from collections.abc import Mapping

from cryptography.fernet import Fernet, InvalidToken, MultiFernet


class Unreadable(Exception):
    """A sealed value that these keys do not open, or that was sealed for something else."""


class Box:
    """Seals and opens. `keys`: numbered secrets of at least 32 bytes; the highest number seals what is new."""

    def __init__(self, keys: Mapping[int, bytes]) -> None:
        ordered = sorted(keys.items(), reverse=True)
        self._newest = ordered[0][0]
        self._fernet = MultiFernet([Fernet(_fernet_key(secret)) for _, secret in ordered])

    def seal(self, purpose: str, data: bytes) -> bytes:
        return self._numbered(self._fernet.encrypt(purpose.encode() + b"\0" + data))

    def open(self, purpose: str, sealed: bytes) -> bytes:
        """Raises Unreadable."""
        try:
            found, _, data = self._fernet.decrypt(_token(sealed)).partition(b"\0")
        except InvalidToken:
            raise Unreadable(purpose) from None
        if found != purpose.encode():
            raise Unreadable(purpose)
        return data

    def renew(self, sealed: bytes) -> bytes:
        """The same value under the newest key. Raises Unreadable."""
        try:
            return self._numbered(self._fernet.rotate(_token(sealed)))
        except InvalidToken:
            raise Unreadable("renew") from None

    def is_current(self, sealed: bytes) -> bool:
        """Whether the newest key sealed it."""
        return bytes(sealed).startswith(self._numbered(b""))

    def _numbered(self, token: bytes) -> bytes:
        return b"%d:%b" % (self._newest, token)


def _token(sealed: bytes) -> bytes:
    return bytes(sealed).partition(b":")[2]


def _fernet_key(secret: bytes) -> bytes:
    """Fernet wants 32 bytes in its own alphabet; a secret is any long text."""
    return base64.urlsafe_b64encode(hmac.digest(secret, b"bridge:encryption", "sha256"))
