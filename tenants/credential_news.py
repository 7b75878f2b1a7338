"""Writes down when upstream refuses a tenant's key, or takes it again: the console shows it, the gate hears of it."""

from __future__ import annotations

import asyncio
import logging
from functools import partial

from django.db import Error

from tenants.database import Database
from tenants.models import UpstreamCredential
from tenants.values import Credential

log = logging.getLogger(__name__)


class CredentialNews:
    """One per worker. `tell` returns at once; of several requests that learn the same, one is written."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._writing: dict[int, asyncio.Task[None]] = {}

    def tell(self, credential: Credential, refused: str) -> None:
        if credential.id and credential.id not in self._writing:
            task = self._writing[credential.id] = asyncio.create_task(self._write(credential.id, refused))
            task.add_done_callback(lambda _: self._writing.pop(credential.id, None))

    async def _write(self, pk: int, refused: str) -> None:
        try:
            await self._database(partial(UpstreamCredential.objects.note, pk, refused))
        except Error as error:
            log.warning("what upstream thinks of a tenant's key was not written down", extra={"error": str(error)})
