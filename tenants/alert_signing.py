"""How a webhook's receiver knows that a message is ours: an HMAC of the time and the body under the tenant's secret."""

from __future__ import annotations

import hashlib
import hmac

from django.conf import settings


def secret(tenant_id: int) -> str:
    """The tenant's secret for webhooks. It is derived, so no table holds it; another SECRET_KEY makes another one."""
    digest = hmac.digest(settings.SECRET_KEY.encode(), f"bridge:webhook:{tenant_id}".encode(), hashlib.sha256)
    return f"whsec_{digest.hex()}"


def signature(tenant_id: int, timestamp: int, body: bytes) -> str:
    """The value of `x-bridge-signature`: `t=…,v1=…`, the HMAC-SHA256 of `<t>.<body>` in hex."""
    digest = hmac.digest(secret(tenant_id).encode(), b"%d." % timestamp + body, hashlib.sha256)
    return f"t={timestamp},v1={digest.hex()}"
