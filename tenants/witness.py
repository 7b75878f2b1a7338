"""The head of the audit trail, said aloud: in the log at the start and every hour, by one of all workers.

A log that leaves the machine keeps it where nobody who edits the database can reach: an anchor for `audit_verify`.
"""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime, timedelta

from django.db import Error

from tenants.audit import AuditEvent, Head
from tenants.database import Database
from tenants.installation import Installation
from tenants.sign_ins import failures

log = logging.getLogger(__name__)

EVERY = timedelta(hours=1)
LOOK_SECONDS = 60.0


async def watch(database: Database) -> None:
    """Until cancelled."""
    while True:
        await asyncio.sleep(LOOK_SECONDS)
        try:
            await database(tell_if_due)
            await database(failures.tell_rest)
        except Error as error:
            log.warning("the head of the audit trail cannot be read", extra={"error": str(error)})


def tell_if_due(now: datetime | None = None) -> Head | None:
    """Says it if nobody has for an hour."""
    now = now or datetime.now(UTC)
    return tell(now) if Installation.claim_witness(now, EVERY) else None


def tell(now: datetime | None = None) -> Head:
    head: Head = AuditEvent.objects.head()
    log.info("audit trail", extra={"head": str(head)})
    return head
