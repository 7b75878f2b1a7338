"""What a tenant's clients carry for us between requests: sealed for that tenant, and stored nowhere."""

from __future__ import annotations

from collections.abc import Mapping

from tenants.encryption import Box, Unreadable


class Seals:
    """One per worker; each tenant has a seal of its own."""

    def __init__(self, keys: Mapping[int, bytes]) -> None:
        self._box = Box(keys)

    def of(self, tenant_id: int) -> TenantSeal:
        return TenantSeal(self._box, tenant_id)


class TenantSeal:
    """Encrypted and authenticated: what another tenant's seal made, or anybody changed, does not open."""

    def __init__(self, box: Box, tenant_id: int) -> None:
        self._box, self._purpose = box, f"carried:{tenant_id}"

    def seal(self, data: bytes) -> str:
        return self._box.seal(self._purpose, data).decode("ascii")

    def open(self, text: str) -> bytes | None:
        """None: it is no text of this tenant's."""
        try:
            return self._box.open(self._purpose, text.encode("ascii"))
        except (Unreadable, UnicodeEncodeError):
            return None
