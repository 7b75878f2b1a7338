"""The table that workers share: exact between processes, clean after their death, and never two keys in one slot."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tenants import limits_memory
from tenants.limits import SLACK, Limit, Unit
from tenants.limits_memory import MemoryStore, look
from tests.live import REPO, until
from tests.tenants.test_limits import SECOND, Clock, at_once, granted, rpm

WORKER = """
import sys, time
from pathlib import Path
from tenants.limits import Limit, Unit
from tenants.limits_memory import MemoryStore

folder, unit, limit, what = Path(sys.argv[1]), Unit(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
store = MemoryStore(folder)
ask = [(Limit("key", "one", unit, limit), 1)]
if what == "hold":
    while store.take_now(ask).refused is None:
        pass
    print("full", flush=True)
    time.sleep(60)
granted, end = 0, time.monotonic() + float(what)
print("ready", flush=True)
sys.stdin.readline()
while time.monotonic() < end:
    granted += store.take_now(ask).refused is None
print(granted)
"""


def worker(folder: Path, unit: str, limit: int, what: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", WORKER, str(folder), unit, str(limit), what],
        cwd=REPO, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None and process.stdout.readline().strip() in ("ready", "full")
    return process


def test_four_processes_together_get_what_one_would(tmp_path: Path) -> None:
    limit = 6000
    started = time.monotonic()
    processes = [worker(tmp_path, "requests", limit, "3") for _ in range(4)]
    got = sum(int(process.communicate("go\n", timeout=30)[0]) for process in processes)
    passed = time.monotonic() - started
    assert limit <= got <= limit + limit * passed / 60


def test_what_ran_in_a_killed_worker_no_longer_counts(tmp_path: Path) -> None:
    process = worker(tmp_path, "concurrency", 3, "hold")
    store = MemoryStore(tmp_path)
    assert store.take_now([(at_once(3), 1)]).refused == 0
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=10)
    assert granted(store, at_once(3), 9) == 3
    store.close()


def test_a_worker_that_lives_keeps_its_places(tmp_path: Path) -> None:
    process = worker(tmp_path, "concurrency", 3, "hold")
    store = MemoryStore(tmp_path)
    assert [store.take_now([(at_once(4), 1)]).refused for _ in range(3)] == [None, 0, 0]
    store.close()
    process.kill()
    process.communicate(timeout=10)


def test_counts_outlive_the_workers(tmp_path: Path) -> None:
    clock = Clock()
    for expected in (5, 0):
        store = MemoryStore(tmp_path, clock)
        assert granted(store, rpm(5), 9) == expected
        store.close()


def test_after_a_boot_everything_starts_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = MemoryStore(tmp_path, Clock())
    assert granted(store, rpm(5), 9) == 5
    store.close()
    monkeypatch.setattr(limits_memory, "_boot", lambda: b"x" * 36)
    store = MemoryStore(tmp_path, Clock())
    assert granted(store, rpm(5), 9) == 5
    store.close()


def test_a_slot_is_used_again_only_when_it_says_nothing_any_more(tmp_path: Path) -> None:
    clock = Clock()
    store = MemoryStore(tmp_path, clock, slots=64)
    many = [Limit("key", str(number), Unit.REQUESTS, 1) for number in range(64)]
    assert all(store.take_now([(limit, 1)]).refused is None for limit in many)
    clock.wait(61)
    held = store.take_now([(at_once(1), 1)])
    others = [Limit("key", f"other {number}", Unit.REQUESTS, 1) for number in range(63)]
    assert all(store.take_now([(limit, 1)]).refused is None for limit in others)
    assert all(store.take_now([(limit, 1)]).refused == 0 for limit in others), "each is counted as itself"
    assert store.take_now([(at_once(1), 1)]).refused == 0, "what runs keeps its slot"
    held.settle(None)
    clock.wait(61)
    assert all(store.take_now([(limit, 1)]).refused is None for limit in many)
    store.close()


def test_random_keys_are_counted_as_if_each_had_a_table_of_its_own(tmp_path: Path) -> None:
    chance, clock = random.Random(4), Clock()
    store = MemoryStore(tmp_path, clock, slots=80)
    buckets: dict[str, int] = {}
    for _ in range(20_000):
        clock.now += chance.randrange(SECOND)
        name = str(chance.randrange(400))
        limit = Limit("key", name, Unit.REQUESTS, 4)
        ahead = max(0, buckets.get(name, 0) - clock.now)
        fits = ahead + 15 * SECOND <= 60 * SECOND + SLACK
        assert (store.take_now([(limit, 1)]).refused is None) is fits
        if fits:
            buckets[name] = max(buckets.get(name, 0), clock.now) + 15 * SECOND
    store.close()


def test_no_room_for_the_table_is_said_at_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(OSError, match="No space"):
        MemoryStore(tmp_path)


def test_a_peek_makes_no_slot(tmp_path: Path) -> None:
    store = MemoryStore(tmp_path, slots=64)
    assert store.peek_now([rpm(7)])[0].remaining == 7
    assert store._find(rpm(7).id) is None
    store.close()


def test_the_wait_for_a_lock_ends_with_its_holder(tmp_path: Path) -> None:
    """A worker that is killed while it holds the table stops nobody."""
    code = "import fcntl, os, sys, time; d = os.open(sys.argv[1], os.O_RDWR); fcntl.lockf(d, fcntl.LOCK_EX, 1, 0)"
    store = MemoryStore(tmp_path)
    holder = subprocess.Popen(
        [sys.executable, "-c", f"{code}; print('held', flush=True); time.sleep(60)", str(tmp_path / "locks")],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert holder.stdout is not None and holder.stdout.readline()
    killer = subprocess.Popen(["sh", "-c", f"sleep 0.3; kill -9 {holder.pid}"])
    assert store.take_now([(rpm(1), 1)]).refused is None
    until(lambda: holder.poll() is not None and killer.poll() is not None, 10)
    holder.stdout.close()
    store.close()


def test_anyone_on_the_host_can_look(tmp_path: Path) -> None:
    assert look(tmp_path, [rpm(5)])[0].remaining == 5, "no table yet"
    store = MemoryStore(tmp_path)
    for _ in range(3):
        store.take_now([(rpm(5), 1), (at_once(9), 1)])
    assert [each.remaining for each in look(tmp_path, [rpm(5), at_once(9), rpm(7, "tenant")])] == [2, 6, 7]
    store.close()
