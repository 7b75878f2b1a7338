"""Idempotency-Key: whatever happens to the first answer, one request is sent upstream and charged once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from asgiref.sync import sync_to_async
from django.db import OperationalError
from django.utils import timezone

from bridge import idempotency
from tenants import replays, retention
from tenants.models import ApiKey, Replay, RequestRecord, Tenant
from tenants.values import Claim
from tests import wire
from tests.asgi import Got, chat
from tests.conftest import Stage

PATH = "/v1/chat/completions"
NAMED = {"idempotency-key": "order-17"}
STREAM = {"stream": True}


@pytest.fixture
async def stage(stage: Stage) -> AsyncIterator[Stage]:
    """Acme's key heeds Idempotency-Key."""
    await sync_to_async(ApiKey.objects.update)(idempotent=True)
    await stage.app._gate.poll()
    yield stage


async def ask(stage: Stage, text: str = "Hello", headers: dict[str, str] = NAMED, **more: Any) -> Got:
    return await stage.client.open("POST", PATH, chat(text, **more), headers).done()


async def kept() -> list[Replay]:
    return await sync_to_async(lambda: list(Replay.objects.all()))()


@pytest.mark.parametrize("name", ["x" * 256, "tab\there"])
async def test_a_name_must_be_short_and_printable(stage: Stage, name: str) -> None:
    got = await ask(stage, headers={"idempotency-key": name})
    assert (got.status, got.error["code"]) == (400, "invalid_header")
    assert not stage.transport.requests


async def test_another_request_under_the_same_name_is_refused(stage: Stage) -> None:
    await ask(stage)
    got = await ask(stage, "Something else")
    assert (got.status, got.error["code"]) == (400, "idempotency_key_reused")
    assert len(stage.transport.requests) == 1


async def test_without_the_keys_consent_the_header_is_named_on_the_receipt_and_does_nothing(stage: Stage) -> None:
    await sync_to_async(ApiKey.objects.update)(idempotent=False)
    await stage.app._gate.poll()
    for _ in range(2):
        got = await ask(stage)
        assert "idempotent-replayed" not in got.headers
        assert "idempotency-key=ignored" in got.headers["x-bridge-compat"]
    assert len(stage.transport.requests) == 2 and await kept() == []


async def test_the_tenants_consent_is_enough(stage: Stage) -> None:
    await sync_to_async(ApiKey.objects.update)(idempotent=False)
    await sync_to_async(Tenant.objects.update)(idempotent=True)
    await stage.app._gate.poll()
    await ask(stage)
    assert (await ask(stage)).headers["idempotent-replayed"] == "true"


async def test_without_the_header_no_database_is_asked(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    await ask(stage, headers={})
    monkeypatch.setattr(replays.Replays, "claim", None)
    assert (await ask(stage, headers={})).status == 200


@pytest.mark.parametrize("more", [{}, STREAM], ids=["whole", "streamed"])
async def test_the_answer_is_given_again_byte_for_byte_and_costs_nothing(stage: Stage, more: dict[str, Any]) -> None:
    first, again = await ask(stage, **more), await ask(stage, **more)
    assert again.body == first.body and again.status == 200
    assert again.headers["content-type"] == first.headers["content-type"]
    assert "idempotent-replayed" not in first.headers and again.headers["idempotent-replayed"] == "true"
    assert len(stage.transport.requests) == 1
    one, other = await stage.records()
    assert (other.replay_of, other.state, other.model) == (one.pk, "settled", one.model)
    assert one.output_tokens > 0 and other.output_tokens == 0 and not other.cost_nanos


async def test_the_order_of_members_is_no_difference(stage: Stage) -> None:
    body = chat("Hello", temperature=0.5)
    await stage.client.open("POST", PATH, body, NAMED).done()
    again = await stage.client.open("POST", PATH, dict(reversed(body.items())), NAMED).done()
    assert again.headers["idempotent-replayed"] == "true"


async def test_what_is_kept_is_not_readable(stage: Stage) -> None:
    got = await ask(stage, "A secret question")
    (row,) = await kept()
    stored = repr(row.__dict__).encode()
    assert b"Hello there" in got.body
    assert all(text not in stored for text in (b"Hello", b"secret", b"order-17"))


async def test_those_who_ask_meanwhile_wait_for_the_one_answer(stage: Stage) -> None:
    go = asyncio.get_running_loop().create_future()
    stage.play(wire.streamed(*wire.answer("Hello"), go))
    visits = [stage.client.open("POST", PATH, chat(), NAMED) for _ in range(5)]
    while not stage.transport.requests:
        await asyncio.sleep(0)
    go.set_result(b"")
    got = [await visit.done() for visit in visits]
    assert {one.body for one in got} == {got[0].body} and got[0].status == 200
    assert len(stage.transport.requests) == 1
    assert sum("idempotent-replayed" in one.headers for one in got) == 4


async def test_who_waits_too_long_is_told_to_come_back(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replays, "WAIT_SECONDS", 0.05)
    go = asyncio.get_running_loop().create_future()
    stage.play(wire.streamed(*wire.answer("Hello"), go))
    first = stage.client.open("POST", PATH, chat(), NAMED)
    while not stage.transport.requests:
        await asyncio.sleep(0)
    got = await ask(stage)
    assert (got.status, got.error["code"], got.headers["retry-after"]) == (503, "request_in_progress", "5")
    go.set_result(b"")
    assert (await first.done()).status == 200


@pytest.mark.parametrize("more", [{}, STREAM], ids=["whole", "streamed"])
async def test_a_client_that_hung_up_gets_what_was_made_meanwhile(stage: Stage, more: dict[str, Any]) -> None:
    go = asyncio.get_running_loop().create_future()
    events = wire.answer("Hello", " there")
    stage.play(wire.streamed(*events[:3], go, *events[3:]))
    lost = stage.client.open("POST", PATH, chat(**more), NAMED)
    while not stage.transport.requests or (more and not lost.got.parts):
        await asyncio.sleep(0)
    lost.hang_up()
    await lost.done()
    go.set_result(b"")
    again = await ask(stage, **more)
    assert again.status == 200 and b" there" in again.body and again.headers["idempotent-replayed"] == "true"
    assert len(stage.transport.requests) == 1
    assert [record.state for record in await stage.records()] == ["settled", "settled"]


@pytest.mark.parametrize("more", [{}, STREAM], ids=["whole", "streamed"])
async def test_a_failure_is_not_kept_but_tried_again(stage: Stage, more: dict[str, Any]) -> None:
    stage.play(wire.streamed(*wire.answer("Hello")[:3]), wire.streamed(*wire.answer("Hello")))
    broken = await ask(stage, **more)
    assert b"upstream_truncated" in broken.body
    good = await ask(stage, **more)
    assert good.status == 200 and "idempotent-replayed" not in good.headers and b"upstream_truncated" not in good.body
    assert [record.state for record in await stage.records()] == ["failed", "settled"]


async def test_a_refused_request_may_be_mended_under_its_name(stage: Stage) -> None:
    assert (await ask(stage, temperature="warm")).status == 400
    assert (await ask(stage)).status == 200
    assert [record.state for record in await stage.records()] == ["refused", "settled"]


async def test_an_answer_that_is_too_long_goes_out_and_is_not_kept(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(idempotency, "MAX_KEPT_BYTES", 100)
    for more in ({}, STREAM):
        assert (await ask(stage, **more)).status == 200
        assert await kept() == []


async def test_without_the_database_nothing_is_sent(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: Any) -> None:
        raise OperationalError("away")

    monkeypatch.setattr(replays.ReplayQuerySet, "claim", away)
    got = await ask(stage)
    assert (got.status, got.error["code"], got.headers["retry-after"]) == (503, "idempotency_unavailable", "2")
    assert not stage.transport.requests


async def test_the_claim_of_a_worker_that_died_lapses(stage: Stage) -> None:
    await ask(stage)
    dead = {"sealed": None, "owner": uuid4(), "until": timezone.now() - timedelta(seconds=1)}
    await sync_to_async(Replay.objects.update)(**dead)
    assert "idempotent-replayed" not in (await ask(stage)).headers
    assert len(stage.transport.requests) == 2
    assert (await ask(stage)).headers["idempotent-replayed"] == "true"


async def test_a_kept_answer_is_forgotten_after_its_time(stage: Stage) -> None:
    await ask(stage)
    assert await sync_to_async(Replay.objects.forget_expired)() == 0
    await sync_to_async(Replay.objects.update)(until=timezone.now() - timedelta(seconds=1))
    assert "idempotent-replayed" not in (await ask(stage)).headers
    await sync_to_async(Replay.objects.update)(until=timezone.now() - timedelta(seconds=1))
    assert await sync_to_async(Replay.objects.forget_expired)() == 1


async def test_a_claim_that_is_alive_is_renewed(stage: Stage) -> None:
    await ask(stage)
    (row,) = await kept()
    await sync_to_async(Replay.objects.update)(sealed=None, until=timezone.now() - timedelta(seconds=1))
    await sync_to_async(Replay.objects.renew)([row.owner])
    place = replays.Place(row.tenant_id, row.key_id, row.name)
    claim = await sync_to_async(Replay.objects.claim)(place, row.fingerprint, uuid4())
    assert claim is Claim.RUNNING


async def test_an_answer_waits_for_a_database_that_is_away(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: Any) -> None:
        raise OperationalError("away")

    with monkeypatch.context() as patch:
        patch.setattr(replays.Box, "seal", away)
        assert (await ask(stage)).status == 200
    assert [row.sealed for row in await kept()] == [None]
    assert stage.app._services.replays is not None
    await stage.app._services.replays.look_after()
    assert (await ask(stage)).headers["idempotent-replayed"] == "true"
    assert len(stage.transport.requests) == 1


async def test_an_erased_users_answers_are_gone(stage: Stage) -> None:
    await ask(stage, user="u-17")
    acme = await Tenant.objects.aget()
    await sync_to_async(retention.erase_end_user)(acme, "u-17")
    assert await kept() == []


async def test_a_process_that_goes_ends_what_nobody_waits_for(stage: Stage) -> None:
    stage.play(wire.streamed(*wire.answer("Hello")[:3], asyncio.get_running_loop().create_future()))
    lost = stage.client.open("POST", PATH, chat(), NAMED)
    while not stage.transport.requests:
        await asyncio.sleep(0)
    lost.hang_up()
    await lost.done()
    await stage.app._services.kept.aclose()
    assert [record.state for record in await stage.records()] == ["interrupted"]
    assert await kept() == []


async def test_a_stream_is_ended_with_a_word_when_the_process_goes(stage: Stage) -> None:
    stage.play(wire.streamed(*wire.answer("Hello")[:3], asyncio.get_running_loop().create_future()))
    visit = stage.client.open("POST", PATH, chat(stream=True), NAMED)
    await visit.some.wait()
    stage.app._api.drain()
    got = await visit.done()
    assert b"server_shutdown" in got.body and b"[DONE]" not in got.body
    assert [record.state for record in await stage.records()] == ["interrupted"]
    assert await sync_to_async(RequestRecord.objects.count)() == 1 and await kept() == []
