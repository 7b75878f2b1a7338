"""What is kept of thinking: for hours, within bounds, for its own key alone; gone when it has to be."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.core.management import call_command
from django.utils import timezone

from tenants import retention, vault
from tenants.database import Database
from tenants.encryption import Box
from tenants.models import KeptThinking, KeySecret, Tenant
from tenants.pseudonym import pseudonym
from tenants.values import Caller
from tenants.vault import Vault
from tests.conftest import issue

KEYS = {1: b"k" * 32}


@pytest.fixture
async def database() -> AsyncIterator[Database]:
    database = Database(2)
    yield database
    await sync_to_async(database.close)()


@pytest.fixture
def acme(acme: Tenant) -> Tenant:
    acme.thinking_vault = True
    acme.save()
    return acme


def caller_of(tenant: Tenant) -> Caller:
    issue(tenant)
    return KeySecret.objects.select_related("key__tenant").latest("pk").as_caller()


@pytest.fixture
def caller(acme: Tenant) -> Caller:
    return caller_of(acme)


@pytest.fixture
def vault_of(database: Database) -> Callable[..., Vault]:
    return lambda hours=8, keys=KEYS: Vault(database, keys, hours)


async def keep(kept: Vault, caller: Caller, end_user: str | None = None, **turns: bytes) -> None:
    await kept.keep(caller, lambda: turns, end_user)


async def count() -> int:
    return await KeptThinking.objects.acount()


async def expire() -> None:
    await sync_to_async(KeptThinking.objects.update)(until=timezone.now() - timedelta(seconds=1))


async def test_what_is_kept_is_found_by_its_call(caller: Caller, vault_of: Callable[..., Vault]) -> None:
    await keep(vault_of(), caller, a=b"one", b=b"two")
    assert await vault_of().find(caller, ["a", "b", "c"]) == {"a": b"one", "b": b"two"}


async def test_kept_again_it_is_what_it_is_now(caller: Caller, vault_of: Callable[..., Vault]) -> None:
    await keep(vault_of(), caller, a=b"one")
    await keep(vault_of(), caller, a=b"two")
    assert await vault_of().find(caller, ["a"]) == {"a": b"two"} and await count() == 1


async def test_past_its_time_it_is_not_found_and_then_not_there(caller: Caller, vault_of: Callable[..., Vault]) -> None:
    await keep(vault_of(), caller, a=b"one")
    row = await KeptThinking.objects.aget()
    assert timedelta(hours=7.9) < row.until - timezone.now() < timedelta(hours=8.1)
    await vault_of().look_after()
    assert await count() == 1
    await expire()
    assert await vault_of().find(caller, ["a"]) == {} and await count() == 1
    await vault_of().look_after()
    assert await count() == 0


async def test_under_other_encryption_keys_it_is_not_there(caller: Caller, vault_of: Callable[..., Vault]) -> None:
    await keep(vault_of(), caller, a=b"one")
    assert await vault_of(keys={1: b"x" * 32}).find(caller, ["a"]) == {}


async def test_another_tenant_finds_nothing(caller: Caller, vault_of: Callable[..., Vault]) -> None:
    await keep(vault_of(), caller, a=b"one")
    other = await Tenant.objects.acreate(slug="other", name="Other", thinking_vault=True)
    assert await vault_of().find(await sync_to_async(caller_of)(other), ["a"]) == {}


async def test_callers_with_keys_of_their_own_share_nothing_but_the_row(
    caller: Caller, vault_of: Callable[..., Vault]
) -> None:
    one, other = (replace(caller, secret_id=None, hint=hint) for hint in ("caller-1", "caller-2"))
    await keep(vault_of(), one, a=b"one")
    assert await vault_of().find(other, ["a"]) == {}
    assert await vault_of().find(one, ["a"]) == {"a": b"one"}


# --- Bounds ---


async def test_a_turn_that_is_too_large_is_not_kept(
    caller: Caller, vault_of: Callable[..., Vault], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vault, "TURN_BYTES", 2000)
    await keep(vault_of(), caller, small=b"one", large=os.urandom(3000))
    assert await vault_of().find(caller, ["small", "large"]) == {"small": b"one"}


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> int:
    """A tenant's share is ten rows and a bit."""
    size = len(Box(KEYS).seal("thinking:1:" + "x" * 36 + ":" + "x" * 64, b"x" * 20))
    monkeypatch.setattr(vault, "TENANT_BYTES", 10 * size + size // 2)
    monkeypatch.setattr(vault, "STEP_BYTES", 2 * size)
    return size


async def test_of_a_tenant_that_keeps_much_the_oldest_goes(
    caller: Caller, vault_of: Callable[..., Vault], small: int
) -> None:
    kept = vault_of()
    for number in range(30):
        await keep(kept, caller, **{f"call{number}": b"x"})
        assert await count() <= 12
    found = await kept.find(caller, [f"call{number}" for number in range(30)])
    assert "call29" in found and "call0" not in found and len(found) >= 8


async def test_under_legal_hold_nothing_goes_and_nothing_is_added_above_the_bound(
    caller: Caller, acme: Tenant, vault_of: Callable[..., Vault], small: int
) -> None:
    await sync_to_async(acme.hold)("a case")
    kept = vault_of()
    for number in range(30):
        await keep(kept, caller, **{f"call{number}": b"x"})
    assert await count() <= 12 and "call0" in await kept.find(caller, ["call0"])


async def test_a_worker_does_not_pile_up_what_the_database_does_not_take(
    caller: Caller, vault_of: Callable[..., Vault], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vault, "MOST_WAITING", 0)
    await keep(vault_of(), caller, a=b"one")
    assert await count() == 0


async def test_what_cannot_be_made_harms_nobody(caller: Caller, vault_of: Callable[..., Vault]) -> None:
    def broken() -> dict[str, bytes]:
        raise ZeroDivisionError

    await vault_of().keep(caller, broken, None)
    assert await count() == 0


# --- Gone ---


async def test_pruning_takes_what_is_past_its_time(caller: Caller, vault_of: Callable[..., Vault]) -> None:
    await keep(vault_of(), caller, a=b"one")
    await sync_to_async(retention.prune)(None)
    assert await count() == 1
    await expire()
    await sync_to_async(retention.prune)(None, dry_run=True)
    assert await count() == 1
    await sync_to_async(retention.prune)(None)
    assert await count() == 0


async def test_under_legal_hold_it_stays_and_is_not_given_back(
    caller: Caller, acme: Tenant, vault_of: Callable[..., Vault]
) -> None:
    await keep(vault_of(), caller, a=b"one")
    await expire()
    await sync_to_async(acme.hold)("a case")
    await sync_to_async(retention.prune)(None)
    await vault_of().look_after()
    assert await count() == 1 and await vault_of().find(caller, ["a"]) == {}


async def test_erasing_an_end_user_takes_theirs_and_no_others(
    caller: Caller, acme: Tenant, vault_of: Callable[..., Vault]
) -> None:
    await keep(vault_of(), caller, pseudonym(acme.pk, "bob"), a=b"one")
    await keep(vault_of(), caller, pseudonym(acme.pk, "carol"), b=b"two")
    await sync_to_async(retention.erase_end_user)(acme, "bob")
    assert await vault_of().find(caller, ["a", "b"]) == {"b": b"two"}


async def test_an_answer_that_began_before_it_was_turned_off_is_not_kept(
    caller: Caller, acme: Tenant, vault_of: Callable[..., Vault]
) -> None:
    acme.thinking_vault = False
    await acme.asave()
    await keep(vault_of(), caller, a=b"one")
    assert await count() == 0


async def test_turned_off_behind_the_models_back_it_goes_too(
    caller: Caller, acme: Tenant, vault_of: Callable[..., Vault]
) -> None:
    await keep(vault_of(), caller, a=b"one")
    await sync_to_async(Tenant.objects.filter(pk=acme.pk).update)(thinking_vault=False)
    await vault_of().look_after()
    assert await count() == 0


async def test_turned_off_for_the_site_it_goes_too(caller: Caller, vault_of: Callable[..., Vault]) -> None:
    await keep(vault_of(), caller, a=b"one")
    assert not vault_of(hours=0).is_open(caller)
    await vault_of(hours=0).look_after()
    assert await count() == 0


async def test_refused_thinking_is_forgotten(caller: Caller, vault_of: Callable[..., Vault]) -> None:
    await keep(vault_of(), caller, a=b"one", b=b"two")
    await vault_of().forget(caller, ["a"])
    assert await vault_of().find(caller, ["a", "b"]) == {"b": b"two"}


async def test_it_is_encrypted_again_with_the_rest(
    caller: Caller, vault_of: Callable[..., Vault], settings: Any
) -> None:
    await keep(vault_of(), caller, a=b"one")
    settings.ENCRYPTION_KEYS = {**KEYS, 2: b"n" * 32}
    await sync_to_async(call_command)("reencrypt")
    assert bytes((await KeptThinking.objects.aget()).sealed).startswith(b"2:")
    assert await vault_of(keys={2: b"n" * 32}).find(caller, ["a"]) == {"a": b"one"}
