"""What has to be done once a night, by one of all workers, while they serve."""

from __future__ import annotations

import asyncio
import logging
import threading
from datetime import UTC, datetime, timedelta

from django.conf import settings
from django.contrib.sessions.backends.db import SessionStore
from django.db import Error, connection

from tenants import payload_retention, retention, seals
from tenants.installation import Installation
from tenants.retention import Pruned

log = logging.getLogger(__name__)

LOOK_SECONDS = 600.0
HOUR = 3  # UTC; from then on it is tonight's turn


class Nightly:
    """One per worker; whichever asks first after the hour does the work, in a thread of its own."""

    def __init__(self) -> None:
        self._stopping = threading.Event()

    async def run(self) -> None:
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            await asyncio.to_thread(self.look)

    def stop(self) -> None:
        """The work ends after its current batch; the next night does the rest."""
        self._stopping.set()

    def look(self, now: datetime | None = None) -> Pruned | None:
        """Prunes, if it is time and nobody else did. None if there was nothing to do here."""
        now = now or datetime.now(UTC)
        try:
            if self._stopping.is_set() or not Installation.claim_pruning((now - timedelta(hours=HOUR)).date()):
                return None
            SessionStore.clear_expired()
            sealed = seals.seal_due(now, stop=self._stopping.is_set)
            payloads = payload_retention.prune(settings.RETENTION_DAYS, now=now, stop=self._stopping.is_set)
            pruned = retention.prune(settings.RETENTION_DAYS, now=now, stop=self._stopping.is_set)
        except Error as error:
            log.error("the nightly pruning broke off; the next night does the rest", extra={"error": str(error)})
            return None
        finally:
            connection.close()
        log.info(
            "sealed and pruned",
            extra={
                "sealed": sealed,
                "records": pruned.total,
                "months": len(pruned.months),
                "held": len(pruned.held),
                "payloads": sum(payloads.values()),
            },
        )
        return pruned
