"""The gate: who is let in from memory, and how soon a change is heard."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.conf import settings
from django.db import OperationalError
from django.utils import timezone

from tenants import gate as gate_module
from tenants import keys
from tenants.database import Database
from tenants.gate import Gate, GateUnavailable
from tenants.models import ApiKey, KeySecret, Tenant
from tenants.values import Mode
from tests.conftest import issue


class Counting(Database):
    """A database executor that counts its units and can be away."""

    def __init__(self) -> None:
        super().__init__(threads=2)
        self.units = 0
        self.away = False

    async def __call__(self, unit: Any) -> Any:
        self.units += 1
        if self.away:
            raise OperationalError("away")
        return await super().__call__(unit)


@pytest.fixture
async def database() -> AsyncIterator[Counting]:
    database = Counting()
    yield database
    await asyncio.to_thread(database.close)


@pytest.fixture
async def gate(acme: Tenant, database: Counting) -> Gate:
    gate = Gate(database, settings.KEY_PEPPERS)
    await gate.poll()
    return gate


async def test_a_stranger_is_nobody_and_is_not_asked_for_twice(gate: Gate, database: Counting) -> None:
    stranger = keys.mint(Mode.LIVE)
    before = database.units
    assert await gate.identify(stranger) is None
    assert await gate.identify(stranger) is None
    assert database.units == before + 1


async def test_a_known_key_costs_one_query_once(gate: Gate, database: Counting, acme: Tenant) -> None:
    key = await sync_to_async(issue)(acme)
    before = database.units
    callers = await asyncio.gather(*(gate.identify(key) for _ in range(50)))
    assert database.units == before + 1
    assert {caller.tenant for caller in callers if caller} == {"acme"}


async def test_the_right_public_id_with_another_secret_is_nobody(gate: Gate, acme: Tenant) -> None:
    key = await sync_to_async(issue)(acme)
    forged = keys.Key(keys.mint(Mode.LIVE).text, Mode.LIVE, key.public_id)
    assert await gate.identify(forged) is None


@pytest.mark.parametrize("change", ["revoke", "suspend", "expire", "allow", "update"])
async def test_a_change_is_heard_with_the_next_poll(gate: Gate, acme: Tenant, change: str) -> None:
    key = await sync_to_async(issue)(acme)
    assert await gate.identify(key) is not None

    def make() -> None:
        row = ApiKey.objects.get()
        if change == "revoke":
            row.revoke("why not")
        elif change == "suspend":
            acme.suspend()
        elif change == "expire":
            KeySecret.objects.update(expires_at=timezone.now())
        elif change == "allow":
            row.allowed_models = ["claude-opus-5"]
            row.save()
        else:
            ApiKey.objects.filter(pk=row.pk).update(revoked_at=timezone.now())

    await sync_to_async(make)()
    await gate.poll()
    caller = await gate.identify(key)
    assert caller is not None
    assert caller.barred in ("revoked", "suspended") or caller.expires_at or caller.models == {"claude-opus-5"}


async def test_a_last_use_is_not_a_change(gate: Gate, acme: Tenant, database: Counting) -> None:
    key = await sync_to_async(issue)(acme)
    await gate.poll()
    caller = await gate.identify(key)
    assert caller is not None
    await sync_to_async(KeySecret.objects.all().touch)({caller.secret_id: timezone.now()})
    await gate.poll()
    before = database.units
    await gate.identify(key)
    assert database.units == before


async def test_what_was_read_before_a_change_is_not_remembered_after_it(
    gate: Gate, acme: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = await sync_to_async(issue)(acme)
    read = asyncio.Event()
    go_on = asyncio.Event()

    async def slow(self: Counting, unit: Any) -> Any:
        result = await Database.__call__(self, unit)
        read.set()
        await go_on.wait()
        return result

    with monkeypatch.context() as patch:
        patch.setattr(Counting, "__call__", slow)
        lookup = asyncio.create_task(gate.identify(key))
        await read.wait()
    await sync_to_async(lambda: ApiKey.objects.get().revoke("leaked"))()
    await gate.poll()
    go_on.set()
    caller = await lookup
    assert caller is not None and caller.barred == "revoked"


async def test_known_keys_work_while_the_database_is_away_and_others_cannot_tell(
    gate: Gate, database: Counting, acme: Tenant
) -> None:
    key = await sync_to_async(issue)(acme)
    await gate.identify(key)
    database.away = True
    await gate.poll()
    assert await gate.identify(key) is not None
    with pytest.raises(GateUnavailable):
        await gate.identify(keys.mint(Mode.LIVE))


async def test_memory_does_not_serve_for_ever(
    gate: Gate, database: Counting, acme: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = await sync_to_async(issue)(acme)
    await gate.identify(key)
    database.away = True
    monkeypatch.setattr(gate_module, "STALE_SECONDS", -1.0)
    with pytest.raises(GateUnavailable):
        await gate.identify(key)


async def test_an_older_pepper_still_opens(acme: Tenant, database: Counting) -> None:
    old = {1: b"a" * 32}
    key = await sync_to_async(lambda: ApiKey.objects.issue(acme, "old", peppers=old).key)()
    both = Gate(database, {**old, 2: b"b" * 32})
    assert await both.identify(key) is not None
    assert await Gate(database, {2: b"b" * 32}).identify(key) is None
