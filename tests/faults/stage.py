"""The stage of every proof: a fake Anthropic, a real server in front of it, a key, and what the kernel says of both."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
import os
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

from tests.live import REPO, Server, until

Json = dict[str, Any]

PAGE = os.sysconf("SC_PAGE_SIZE")
MAX_SECONDS = 3600  # a fake Anthropic that nobody stopped stops by itself
OPEN_STATES = ("admitted", "sent", "streaming")
SETTLE_SECONDS = 15.0  # for the last record of a run: a flush takes 0.2 s, the recovery of a dead worker 10


class Fake:
    """tests.faults.upstream in a process of its own."""

    def __init__(self) -> None:
        command = [sys.executable, "-m", "tests.faults.upstream", "--port", "0", "--max-seconds", str(MAX_SECONDS)]
        self.process = subprocess.Popen(command, cwd=REPO, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.url = self.process.stdout.readline().split()[-1]
        self.port = int(self.url.rsplit(":", 1)[1])

    def ledger(self, query: str = "") -> Json:
        with urllib.request.urlopen(f"{self.url}/__ledger?{query}", timeout=60) as answer:
            report: Json = json.load(answer)
        return report

    def calls(self) -> list[Json]:
        """Every request for a message, oldest first."""
        return [call for call in self.ledger()["requests"] if call["path"] == "/v1/messages"]

    def in_flight(self) -> int:
        return int(self.ledger("summary=1")["in_flight"])

    def clients(self) -> int:
        return int(self.ledger("summary=1")["open_connections"])

    def quiet(self, seconds: float = 10) -> Json:
        """The counts once nothing is in flight any more, or after so many seconds."""
        return self.ledger(f"summary=1&quiet={seconds}")

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(10)
        assert self.process.stdout is not None
        self.process.stdout.close()


class Stage:
    """Opens with the server ready; leaving the block ends both processes."""

    def __init__(self, workers: int = 2, **env: str) -> None:
        self.workers, self._env = workers, env

    def __enter__(self) -> Stage:
        with contextlib.ExitStack() as stack:
            self.fake = Fake()
            stack.callback(self.fake.stop)
            env = {"ANTHROPIC_API_KEY": "sk-ant-test", "ANTHROPIC_BASE_URL": self.fake.url, **self._env}
            self.server = stack.enter_context(Server(env, self.workers))
            self.key = self.server.issue_key("acme", "load")
            self.port = self.server.port
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def settled(self, complete: Callable[[list[Json]], bool], seconds: float = SETTLE_SECONDS) -> list[Json]:
        """All records once they are complete and none is open, or as they are after so many seconds."""

        def final() -> list[Json]:
            rows = self.server.records()
            return rows if complete(rows) and not still_open(rows) else []

        with contextlib.suppress(TimeoutError):
            return until(final, seconds)
        return self.server.records()

    @contextlib.contextmanager
    def most_threads(self) -> Iterator[Callable[[], int]]:
        """The most threads that a worker has had while the block ran."""
        seen, over = [0], threading.Event()

        def watch() -> None:
            while not over.wait(0.1):
                seen.extend(thread_count(pid) for pid in self.server.workers())

        watcher = threading.Thread(target=watch)
        watcher.start()
        try:
            yield lambda: max(seen)
        finally:
            over.set()
            watcher.join()

    def clients(self) -> int:
        """How many are connected to the server."""
        return sum(connections(pid, self.port) for pid in self.server.workers())

    def files(self) -> dict[int, int]:
        """How many descriptors each worker has."""
        return {pid: open_files(pid, self.fake.port) for pid in self.server.workers()}

    def left_over(self) -> list[str]:
        """What is in the journal's folder beside one segment of each worker, once the dead ones' are recovered."""
        folder = self.server.data_dir / "journal"

        def beside() -> list[str]:
            pids = self.server.workers()
            return [path.name for path in folder.iterdir() if not any(f"-{pid}-" in path.name for pid in pids)]

        with contextlib.suppress(TimeoutError):
            until(lambda: not beside(), SETTLE_SECONDS)
        return beside()

    def file_growth(self, before: dict[int, int]) -> int:
        """By how many more the worker that gained most has kept. Not counted: idle connections to upstream and the
        database's own files, of which there is a fixed number."""

        def most() -> int:
            after = self.files()
            return max(after[pid] - before[pid] for pid in before.keys() & after.keys())

        with contextlib.suppress(TimeoutError):
            until(lambda: most() <= 0, 5)  # the last clients' connections take a moment
        return most()


def still_open(records: list[Json]) -> list[Json]:
    return [record for record in records if record["state"] in OPEN_STATES]


def pseudonym(tenant_id: int, user: str) -> str:
    """What a record holds of the client's own user (bridge/pipeline.py): it links what was sent to its record."""
    return hmac.digest(f"bridge:end-user:{tenant_id}".encode(), user.encode(), hashlib.sha256).hex()


def thread_count(pid: int) -> int:
    try:
        return len(os.listdir(f"/proc/{pid}/task"))
    except OSError:
        return 0  # it has just ended


def resident(pid: int) -> int:
    """Bytes of memory, those shared with other processes among them."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE


def open_files(pid: int, idle: int) -> int:
    """The descriptors of a process, without its connections to port `idle` (a pool's, kept for the next request) and
    without the database's files (a fixed number of threads open theirs when they first work)."""
    pool = _sockets(remote=idle)
    count = 0
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            target = os.readlink(descriptor)
            count += target not in pool and ".sqlite3" not in target
    return count


def connections(pid: int, port: int) -> int:
    """How many clients of a server's port a worker has."""
    served = _sockets(local=port)
    count = 0
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            count += os.readlink(descriptor) in served
    return count


def _sockets(local: int = 0, remote: int = 0) -> set[str]:
    """The established connections of a local or a remote port, as /proc/PID/fd names them."""
    found = set()
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        words = line.split()
        ports = [int(address.rpartition(":")[2], 16) for address in words[1:3]]
        if words[3] == "01" and ports[0 if local else 1] == (local or remote):
            found.add(f"socket:[{words[9]}]")
    return found


def wait_for_exit(pid: int, seconds: float) -> float:
    """Seconds until a process that is not our child has ended. Raises TimeoutError."""
    started = time.monotonic()
    until(lambda: not Path(f"/proc/{pid}").exists(), seconds, f"the end of process {pid}")
    return time.monotonic() - started
