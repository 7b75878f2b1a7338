"""`/metrics` over the death of a worker."""

from __future__ import annotations

import json
import os
import re
import signal
import urllib.request
from collections.abc import Iterator

import pytest

from tests.live import Server, until


@pytest.fixture
def server() -> Iterator[Server]:
    with Server({"UPSTREAM": "sandbox"}, workers=1) as server:
        yield server


def ask(server: Server) -> None:
    body = json.dumps({"model": "claude-haiku-4-5", "messages": [{"role": "user", "content": "hi"}]}).encode()
    headers = {"authorization": f"Bearer {server.test_key}", "content-type": "application/json"}
    urllib.request.urlopen(urllib.request.Request(f"{server.base}/chat/completions", body, headers)).close()


def counted(server: Server) -> int:
    """Requests that ended well."""
    with urllib.request.urlopen(f"{server.url}/metrics") as answer:
        text = answer.read().decode()
    return int(sum(float(value) for value in re.findall(r'bridge_requests_total{.*state="settled".*} (\S+)', text)))


def files(server: Server) -> list[str]:
    return sorted(path.name for path in (server.data_dir / "metrics").iterdir())


def test_the_worker_that_follows_a_dead_one_counts_on_in_its_files(server: Server) -> None:
    ask(server)
    before, workers = files(server), server.workers()
    assert counted(server) == 1
    os.kill(workers[0], signal.SIGKILL)
    until(lambda: server.workers() not in ([], workers) and server._ready(), 20, "the next worker")
    assert counted(server) == 1
    ask(server)
    assert (counted(server), files(server)) == (2, before)
