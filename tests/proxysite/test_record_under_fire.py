"""The record while the disk is full and while the clock steps: clear refusals, an alarm, nothing lost or turned."""

from __future__ import annotations

import asyncio
import errno
import os
import time
from collections.abc import Callable
from typing import Any

import pytest

from tenants import ids
from tenants.journal import Segment
from tests import wire
from tests.asgi import Visit, chat
from tests.conftest import Stage

PATH = "/v1/chat/completions"
HOUR = 3600
Full = Callable[..., None]


@pytest.fixture
def full(monkeypatch: pytest.MonkeyPatch) -> Full:
    """Fills the disk for frames of these kinds (none: there is room again)."""
    append = Segment.append

    def fill(*kinds: str) -> None:
        def refuse(segment: Segment, kind: str, *rest: Any) -> None:
            if kind in kinds:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            append(segment, kind, *rest)

        monkeypatch.setattr(Segment, "append", refuse)

    return fill


async def begun(stage: Stage) -> tuple[Visit, asyncio.Future[bytes]]:
    """A stream whose client has its beginning; the rest comes when the future has a result."""
    go: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
    events = wire.answer("Hello", " there")
    stage.play(wire.streamed(*events[:3], go, *events[3:]))
    visit = stage.client.open("POST", PATH, chat(stream=True))
    await visit.some.wait()
    return visit, go


async def test_a_full_disk_refuses_requests_before_they_are_sent_and_raises_an_alarm(
    stage: Stage, full: Full, caplog: pytest.LogCaptureFixture
) -> None:
    full("open")
    got = await stage.client.chat()
    assert (got.status, got.error["code"], got.headers["retry-after"]) == (503, "record_unavailable", "5")
    assert not stage.transport.requests and stage.app._journal.failures == 1
    assert "the journal cannot be written" in caplog.text
    full()
    assert (await stage.client.chat()).status == 200
    assert len(await stage.records()) == 1


async def test_a_disk_that_fills_up_just_before_a_request_is_sent_stops_it(stage: Stage, full: Full) -> None:
    full("mark")
    got = await stage.client.chat()
    assert (got.status, got.error["code"]) == (503, "record_unavailable")
    assert not stage.transport.requests
    record = await stage.record()
    assert (record.state, record.error_code, record.output_tokens) == ("refused", "record_unavailable", 0)


async def test_a_disk_that_fills_up_later_neither_ends_an_answer_nor_loses_its_record(
    stage: Stage, full: Full, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bridge.pipeline.MARK_SECONDS", -1.0)
    visit, go = await begun(stage)
    full("open", "mark", "done")
    go.set_result(b"")
    got = await visit.done()
    assert got.chunks()[-1] == "[DONE]" and stage.app._journal.failures > 0
    record = await stage.record()
    assert record.state == "settled" and record.output_tokens > 0


@pytest.mark.parametrize("step", [HOUR, -HOUR])
async def test_a_clock_that_steps_turns_no_order_and_no_duration(
    stage: Stage, step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, now_ns = time.time, time.time_ns
    assert (await stage.client.chat()).status == 200
    visit, go = await begun(stage)
    monkeypatch.setattr(ids, "_last", ids._last)  # given back when the test is over
    stepped = pytest.MonkeyPatch()
    stepped.setattr(time, "time", lambda: now() + step)
    stepped.setattr(time, "time_ns", lambda: now_ns() + step * 10**9)
    go.set_result(b"")
    assert (await visit.done()).chunks()[-1] == "[DONE]"
    stage.play(lambda _: wire.streamed(*wire.answer("Hello")))
    assert (await stage.client.chat()).status == 200
    stepped.undo()
    assert (await stage.client.chat()).status == 200
    records = await stage.records()  # by id
    order = [record.streamed for record in records]
    assert order == [False, True, False, False], "in the order in which they came"
    assert [record.state for record in records] == ["settled"] * 4
    assert all(0 < (record.total_us or 0) < 60_000_000 for record in records)
