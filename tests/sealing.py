"""A seal that a test can read: it binds to a tenant, and hides nothing."""

from __future__ import annotations


class PlainSeal:
    """Seals for one tenant, so that a test can read it."""

    def __init__(self, tenant: str = "acme") -> None:
        self._tenant = tenant

    def seal(self, data: bytes) -> str:
        return f"{self._tenant}:{data.hex()}"

    def open(self, text: str) -> bytes | None:
        tenant, _, data = text.partition(":")
        return bytes.fromhex(data) if tenant == self._tenant else None
