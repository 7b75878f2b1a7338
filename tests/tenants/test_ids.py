"""Ids that sort by time."""

from __future__ import annotations

import os
import time
import uuid
from datetime import UTC, datetime, timedelta

import pytest

from tenants import ids


def test_ids_of_one_process_only_ever_grow() -> None:
    made = [ids.uuid7() for _ in range(10_000)]
    assert made == sorted(set(made))
    assert {one.version for one in made} == {7} and {one.variant for one in made} == {"specified in RFC 4122"}


def test_a_clock_that_steps_back_does_not_turn_the_order(monkeypatch: pytest.MonkeyPatch) -> None:
    before = ids.uuid7()
    monkeypatch.setattr(time, "time_ns", lambda: 1_000_000_000)
    assert ids.uuid7() > before


def test_the_moment_is_in_the_id() -> None:
    now = datetime.now(UTC)
    assert abs(ids.moment(ids.uuid7()) - now) < timedelta(seconds=5)
    assert ids.floor(now) <= ids.uuid7() < ids.floor(now + timedelta(days=1))
    assert ids.moment(ids.floor(now)) == now.replace(microsecond=now.microsecond // 1000 * 1000)


def test_workers_do_not_share_random_numbers() -> None:
    ids.uuid7()
    reading, writing = os.pipe()
    if not (child := os.fork()):
        os.write(writing, ids.uuid7().bytes)
        os._exit(0)
    os.waitpid(child, 0)
    theirs = uuid.UUID(bytes=os.read(reading, 16))
    os.close(reading)
    os.close(writing)
    random = (1 << 62) - 1
    assert theirs.int & random not in {ids.uuid7().int & random for _ in range(200)}
