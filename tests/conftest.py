"""The cast and the stage: Acme's keys, an application with a scripted upstream, and its records."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from asgiref.sync import SyncToAsync, sync_to_async
from django.conf import settings
from django.db import connection, connections
from django.test import override_settings

from bridge.upstream import Upstream
from proxysite.asgi import Application
from tenants import append_only, exports
from tenants.keys import Key
from tenants.models import ApiKey, RequestRecord, Tenant
from tenants.values import Mode
from tests import wire
from tests.asgi import Client


def issue(tenant: Tenant, mode: Mode = Mode.LIVE, **more: Any) -> Key:
    return ApiKey.objects.issue(tenant, "a key", peppers=settings.KEY_PEPPERS, mode=mode, **more).key


@pytest.fixture(scope="session", autouse=True)
def flushable() -> Iterator[None]:
    """The end of a transactional test empties all tables: the audit trail would refuse it."""

    def flush(statements: list[str]) -> None:
        append_only.unprotect(connection)
        plain(statements)
        append_only.protect(connection)

    plain, connection.ops.execute_sql_flush = connection.ops.execute_sql_flush, flush  # type: ignore[method-assign]
    yield
    connection.ops.execute_sql_flush = plain  # type: ignore[method-assign]


@pytest.fixture(scope="session")
def no_connection_left(django_db_setup: None) -> Iterator[None]:
    """PostgreSQL drops no database that someone is connected to, as asgiref's thread and the exports' stay."""
    yield
    exports.reader.close()
    SyncToAsync.single_thread_executor.submit(connections.close_all).result()


@pytest.fixture
def acme(no_connection_left: None, transactional_db: None) -> Tenant:
    return Tenant.objects.create(slug="acme", name="Acme")


class Stage:
    """An application that is open, with Acme's key and an upstream that plays what a test gives it."""

    def __init__(self, app: Application, key: str) -> None:
        self.app, self.client = app, Client(app, key)
        self.transport = wire.Transport(wire.streamed(*wire.answer("Hello", " there")))

    def play(self, *steps: wire.Step) -> wire.Transport:
        """What upstream answers from now on."""
        self.transport = wire.Transport(*steps)
        self.app._services.live = Upstream(self.transport, "http://upstream", {"x-api-key": "sk-ant-secret"})
        return self.transport

    async def left_before_the_first_byte(self, path: str, body: dict[str, Any]) -> RequestRecord:
        """The record of a client that hung up while upstream had not begun to answer, and was let go of."""
        response = wire.streamed(asyncio.get_running_loop().create_future())
        self.play(response)
        visit = self.client.open("POST", path, body)
        while not self.transport.requests:
            assert not visit.task.done(), visit.got.body
            await asyncio.sleep(0)
        visit.hang_up()
        await visit.done()
        assert response.stream.closed.is_set()  # type: ignore[union-attr]
        return await self.record()

    async def records(self) -> list[RequestRecord]:
        """Every record, oldest first, once the ledger has written what there is."""
        assert await self.app._ledger.flush()
        return await sync_to_async(lambda: list(RequestRecord.objects.order_by("id")))()

    async def record(self) -> RequestRecord:
        (record,) = await self.records()
        return record


@pytest.fixture
async def stage(acme: Tenant, tmp_path: Any) -> AsyncIterator[Stage]:
    key = await sync_to_async(issue)(acme)
    with override_settings(
        JOURNAL_DIR=tmp_path / "journal", LIMITS_DIR=tmp_path / "limits", ANTHROPIC_API_KEY="sk-ant-secret"
    ):
        app = Application()
        await app._open()
        stage = Stage(app, key.text)
        stage.play(lambda _: wire.streamed(*wire.answer("Hello", " there")))
        yield stage
        await app._close()


@pytest.fixture
def another_key(acme: Tenant) -> Callable[..., Any]:
    """Issues one more key of Acme's from an async test."""
    return sync_to_async(lambda mode=Mode.LIVE, **more: issue(acme, mode, **more))
