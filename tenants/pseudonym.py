"""What a record and upstream know of a client's own users: not who they are, only that two requests are one user's."""

from __future__ import annotations

import hashlib
import hmac


def pseudonym(tenant_id: int, end_user: str) -> str:
    """The same for the same user of the same tenant, unlike any other tenant's; empty without a user."""
    if not end_user:
        return ""
    return hmac.digest(f"bridge:end-user:{tenant_id}".encode(), end_user.encode(errors="replace"), hashlib.sha256).hex()
