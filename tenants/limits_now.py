"""How limits stand now, for the console: asked for in passing, from outside the event loop, and never in its way."""

from __future__ import annotations

from collections.abc import Sequence

import redis
from django.conf import settings
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from tenants.limits import Limit, Standing
from tenants.limits_memory import look
from tenants.limits_redis import TIMEOUT, installation, levels


def stand(limits: Sequence[Limit]) -> list[Standing] | None:
    """Where they are counted: in Redis if there is one (None while it is away), else in this host's table."""
    if not settings.REDIS_URL:
        return look(settings.LIMITS_DIR, limits)
    client = redis.Redis.from_url(
        settings.REDIS_URL, socket_timeout=TIMEOUT, socket_connect_timeout=TIMEOUT, retry=Retry(NoBackoff(), 0)
    )
    try:
        return levels(client.eval, limits, installation(settings.SECRET_KEY))
    except (RedisError, OSError):
        return None
    finally:
        client.close()
