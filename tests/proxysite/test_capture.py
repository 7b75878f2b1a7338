"""Payloads from the wire to the auditor: what is kept is what was sent and received, and off means nothing anywhere."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from pathlib import Path
from typing import Any

import msgspec
import pytest
from asgiref.sync import sync_to_async
from django.conf import settings
from django.db import OperationalError, connection

from tenants import payloads
from tenants.models import ApiKey, Payload, RequestRecord, Tenant
from tenants.values import Content
from tests import wire
from tests.asgi import Got, chat
from tests.conftest import Stage

PATH = "/v1/chat/completions"
CARD = "4111 1111 1111 1111"
CARDS = r"\b\d{4}(?:[ -]?\d{4}){3}\b"


async def keep(stage: Stage, **policy: Any) -> None:
    await sync_to_async(Tenant.objects.update)(**{"capture": "full", **policy})
    await stage.app._gate.poll()


async def kept(stage: Stage) -> list[Payload]:
    assert await stage.app._payloads.flush()
    return await sync_to_async(lambda: list(Payload.objects.order_by("id")))()


async def opened(stage: Stage) -> Content:
    (row,) = await kept(stage)
    return row.opened(settings.ENCRYPTION_KEYS)


def sent_body(body: Any) -> bytes:
    """As the client encodes it."""
    return body if isinstance(body, bytes) else msgspec.json.encode(body)


def digest(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (PATH, chat("Hello")),
        (PATH, chat("Hello", stream=True)),
        ("/v1/messages", {**chat("Hello", stream=True), "max_tokens": 50}),
        ("/v1/responses", {"model": "claude-sonnet-5-5", "input": "Hello", "stream": True}),
        (PATH, b'{"model": "claude-sonnet-5-5", "messages": "none"}'),
        (PATH, b"\xff not JSON"),
    ],
    ids=["whole", "streamed", "native", "responses", "refused", "unreadable"],
)
async def test_what_is_kept_is_what_was_sent_and_received(stage: Stage, path: str, body: Any) -> None:
    await keep(stage)
    got = await stage.client.open("POST", path, body).done()
    content, record = await opened(stage), await stage.record()
    sent = sent_body(body)
    assert (content.request.body, content.request.size, content.request.sha256) == (sent, len(sent), digest(sent))
    assert (content.answer.body, content.answer.size) == (got.body, len(got.body))
    assert content.answer.sha256 == digest(got.body) and not (content.answer.cut or content.request.cut)
    assert (content.status, content.content_type) == (got.status, got.headers["content-type"])
    assert record.captured and (await kept(stage))[0].pk == record.pk


async def test_a_client_that_hung_up_was_sent_what_it_was_sent(stage: Stage) -> None:
    await keep(stage, capture="errors")
    events = wire.answer("Hello", " there")
    stage.play(wire.streamed(*events[:-3], asyncio.get_running_loop().create_future()))
    visit = stage.client.open("POST", PATH, chat(stream=True))
    while b"there" not in visit.got.body:
        await asyncio.sleep(0)
    visit.hang_up()
    got = await visit.done()
    content = await opened(stage)
    assert content.answer.body == got.body and b"Hello" in got.body
    assert (await stage.record()).state == "cancelled"


async def test_long_bodies_are_cut_and_say_so(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stage.app._payloads, "_limit", 1024)
    monkeypatch.setattr(settings, "CAPTURE_MAX_BYTES", 1024)
    await keep(stage)
    stage.play(wire.streamed(*wire.answer(*["some words " * 20] * 20)))
    got = await stage.client.chat("x" * 5000, stream=True)
    content, sent = await opened(stage), sent_body(chat("x" * 5000, stream=True))
    assert (content.request.body, content.request.cut) == (sent[:1024], True)
    assert (content.request.size, content.request.sha256) == (len(sent), digest(sent))
    assert (content.answer.body, content.answer.cut) == (got.body[:1024], True)
    assert (content.answer.size, content.answer.sha256) == (len(got.body), digest(got.body))


async def test_what_is_too_long_to_be_searched_is_not_kept(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bridge.tape.SEARCHED_BYTES", 3000)
    monkeypatch.setattr(settings, "CAPTURE_MAX_BYTES", 1000)
    monkeypatch.setattr(stage.app._payloads, "_limit", 1000)
    await keep(stage, capture_redactions=CARDS)
    await stage.client.chat(f"{CARD} " + "x" * 2000)
    await stage.client.chat(f"{CARD} " + "x" * 5000)
    searched, skipped = [row.opened(settings.ENCRYPTION_KEYS).request for row in await kept(stage)]
    assert b"[redacted]" in searched.body and (len(searched.body), searched.cut) == (1000, True)
    assert (skipped.body, skipped.cut, skipped.sha256) == (b"", True, "") and skipped.size > 5000


# Whose is kept


@pytest.mark.parametrize(
    ("tenant", "key", "answered", "failed"),
    [
        ("off", "full", 0, 0),
        ("full", "off", 0, 0),
        ("full", "full", 1, 1),
        ("errors", "full", 0, 1),
        ("full", "errors", 0, 1),
    ],
)
async def test_tenant_and_key_both_have_to_want_it(
    stage: Stage, tenant: str, key: str, answered: int, failed: int
) -> None:
    await sync_to_async(ApiKey.objects.update)(capture=key)
    await keep(stage, capture=tenant)
    await stage.client.chat()
    assert len(await kept(stage)) == answered
    await stage.client.post(PATH, {"model": "nobody"})
    assert len(await kept(stage)) == answered + failed
    records = await stage.records()
    assert [record.captured for record in records] == [bool(answered), bool(failed)]


async def test_a_sample_is_a_share(stage: Stage) -> None:
    await keep(stage, capture="sampled", capture_percent=50)
    for _ in range(40):
        await stage.client.chat()
    marked = {record.pk for record in await stage.records() if record.captured}
    assert {row.pk for row in await kept(stage)} == marked
    assert 5 < len(marked) < 35


async def test_a_flood_of_refusals_keeps_what_has_a_record(stage: Stage) -> None:
    await keep(stage)
    for _ in range(40):
        await stage.client.post(PATH, {"model": "nobody"})
    stage.app._journal._refusals._turn(0)
    records = {record.pk for record in await stage.records()}
    assert {row.pk for row in await kept(stage)} <= records


# What is replaced


@pytest.mark.parametrize("stream", [False, True])
async def test_what_the_patterns_match_is_nowhere(stage: Stage, stream: bool) -> None:
    await keep(stage, capture_redactions=CARDS)
    stage.play(wire.streamed(*wire.answer("It is 41", "11 1111 ", "1111 11", "11, yes")))
    got = await stage.client.chat(f"My card: {CARD}. \u00e9", stream=stream)
    content = await opened(stage)
    told = b"".join(bytes(side.body) for side in (content.request, content.answer))
    joined = "".join(_texts(content.answer.body)) if stream else content.answer.body.decode()
    assert CARD not in joined and CARD not in told.decode() and b"My card: [redacted]." in content.request.body
    assert "It is [redacted], yes" in joined
    assert (content.request.redacted, content.answer.redacted) == (1, 1)
    assert content.request.sha256 == content.answer.sha256 == ""
    assert content.answer.size == len(got.body)


def _texts(body: bytes) -> list[str]:
    chunks = [chunk for chunk in Got(parts=[body]).chunks() if chunk != "[DONE]"]
    return [choice["delta"].get("content") or "" for chunk in chunks for choice in chunk["choices"]]


async def test_a_search_that_fails_keeps_nothing(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(body: bytes, *_: Any) -> Any:
        raise ValueError(body)

    monkeypatch.setattr(stage.app._payloads, "_redact", broken)
    await keep(stage, capture_redactions=CARDS)
    assert (await stage.client.chat(CARD)).status == 200
    assert await kept(stage) == [] and stage.app._payloads.lost == 1
    assert CARD not in repr([vars(one) for one in caplog.records]) and "could not be kept" in caplog.text
    assert (await stage.record()).captured, "the record says that one was to be there"


# The answer does not depend on it


async def test_a_database_that_is_away_holds_up_nothing_and_gets_it_later(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    await keep(stage)
    write = stage.app._payloads._write

    def away(batch: Any) -> None:
        raise OperationalError("away")

    monkeypatch.setattr(stage.app._payloads, "_write", away)
    assert (await stage.client.chat()).status == 200
    assert not await stage.app._payloads.flush()
    monkeypatch.setattr(stage.app._payloads, "_write", write)
    assert len(await kept(stage)) == 1


async def test_beyond_the_room_in_memory_payloads_are_lost_and_counted(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    await keep(stage)
    monkeypatch.setattr(payloads, "WAITING_BYTES", 10)
    assert (await stage.client.chat()).status == 200
    assert await kept(stage) == [] and stage.app._payloads.lost == 1


async def test_a_shutdown_writes_what_waits(stage: Stage) -> None:
    await keep(stage)
    await stage.client.chat()
    await stage.app._payloads.flush()
    assert len(await kept(stage)) == 1


# Encrypted, and off


CANARY = "canary-7f3a91"


async def _every_end(stage: Stage) -> None:
    """A success, a stream, an error, an overload that is retried, a refusal, a client that hangs up, and nonsense."""
    told = wire.answer(f"{CANARY} is what you said")
    stage.play(lambda _: wire.streamed(*told))
    await stage.client.chat(CANARY, user=CANARY)
    await stage.client.chat(CANARY, stream=True)
    stage.play(wire.failed(529, "overloaded_error"), lambda _: wire.streamed(*told))
    await stage.client.chat(CANARY)
    stage.play(wire.failed(400, "invalid_request_error"))
    await stage.client.chat(CANARY)
    await stage.client.chat(CANARY, temperature=CANARY)
    await stage.client.post(PATH, f'{{"model": "{CANARY}'.encode())
    stage.play(wire.streamed(*told[:3], asyncio.get_running_loop().create_future()))
    visit = stage.client.open("POST", PATH, chat(CANARY, stream=True))
    await visit.some.wait()
    visit.hang_up()
    await visit.done()


def _everything_stored() -> bytes:
    """Every row of every table, and every file of the data folder and the journal."""
    found = []
    with connection.cursor() as cursor:
        for table in connection.introspection.table_names(cursor):
            cursor.execute(f"SELECT * FROM {connection.ops.quote_name(table)}")
            for row in cursor.fetchall():
                found += [bytes(one) if isinstance(one, bytes | memoryview) else str(one).encode() for one in row]
    files = [path for place in (settings.DATA_DIR, settings.JOURNAL_DIR) for path in Path(place).rglob("*")]
    return b"\n".join([*found, *(path.read_bytes() for path in files if path.is_file())])


@pytest.mark.parametrize("capture", ["off", "full"])
async def test_a_prompt_is_nowhere_in_the_clear(stage: Stage, capture: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    await keep(stage, capture=capture)
    await _every_end(stage)
    rows, records = await kept(stage), await stage.records()
    assert len(records) == 7 and len(rows) == (7 if capture == "full" else 0)
    assert [record.captured for record in records] == [capture == "full"] * 7
    assert CANARY.encode() not in await sync_to_async(_everything_stored)()
    assert CANARY not in caplog.text
    if rows:
        assert all(CANARY.encode() in row.opened(settings.ENCRYPTION_KEYS).request.body for row in rows)


async def test_off_costs_nothing(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("proxysite.door.Tape", None)
    monkeypatch.setattr(stage.app._payloads, "put", None)
    assert (await stage.client.chat(stream=True)).status == 200
    assert not (await stage.record()).captured


async def test_what_was_kept_of_a_refused_request_is_its_end_users(stage: Stage) -> None:
    await sync_to_async(ApiKey.objects.update)(allowed_models=["claude-opus-5"])
    await keep(stage)
    await stage.client.chat(user="user-17")
    (row,), record = await kept(stage), await stage.record()
    assert record.state == "refused" and row.end_user


async def test_one_that_cannot_be_opened_here_was_moved(stage: Stage) -> None:
    await keep(stage)
    await stage.client.chat()
    (row,) = await kept(stage)
    row.pk = (await sync_to_async(RequestRecord.objects.create)(tenant_id=row.tenant_id, key_id=row.key_id)).pk
    with pytest.raises(Exception, match="payload:"):
        row.opened(settings.ENCRYPTION_KEYS)
