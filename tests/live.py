"""Starts a real server for tests: `manage.py serve` in a folder and on a port of its own, stopped and removed after.

    with Server({"UPSTREAM": "sandbox"}, workers=2) as server:
        requests to server.base with server.test_key, or with server.issue_key("acme", "support bot")
        server.records(state="settled")

Only what `env` names reaches the server: nothing of the caller's own configuration does.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import secrets
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

REPO = Path(__file__).resolve().parent.parent
INHERITED = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "TZ", "LD_LIBRARY_PATH", "SSL_CERT_FILE")
READY_SECONDS = 60.0
EXIT_SECONDS = 15.0  # beyond DRAIN_SECONDS
POLL_SECONDS = 0.05
JSON_COLUMNS = ("refusal", "tags", "cost_lines")  # text in SQLite, parsed in PostgreSQL
UUID_COLUMNS = ("id", "key_id")
T = TypeVar("T")


def until(check: Callable[[], T], seconds: float = 30.0, what: str = "what was waited for") -> T:
    """The first truthy result of `check`. Raises TimeoutError when there is none in time."""
    deadline = time.monotonic() + seconds
    while not (found := check()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what} did not happen within {seconds:g} s")
        time.sleep(POLL_SECONDS)
    return found


def fresh_secrets() -> dict[str, str]:
    """What a site with a database of its own has to be given."""
    numbered = {name: f"1:{secrets.token_urlsafe(48)}" for name in ("KEY_PEPPERS", "ENCRYPTION_KEYS", "AUDIT_KEY")}
    return {"SECRET_KEY": secrets.token_urlsafe(48), **numbered}


class Server:
    """A gunicorn master with its workers, its data and its log. `stop` keeps the data, so that `start` can follow;
    leaving the `with` block stops everything and removes the folder."""

    def __init__(self, env: Mapping[str, str] | None = None, workers: int = 2) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="bridge-live-"))
        self.data_dir = self.folder / "data"
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.base = f"{self.url}/v1"
        self.env = {name: os.environ[name] for name in INHERITED if name in os.environ} | {
            "DATA_DIR": str(self.data_dir),
            "HOST": "127.0.0.1",
            "PORT": str(self.port),
            "LOG_FORMAT": "json",
            "WEB_CONCURRENCY": str(workers),
            "DRAIN_SECONDS": "5",
            "PYTHONDONTWRITEBYTECODE": "1",
            **(env or {}),
        }
        if "DATABASE_URL" in self.env:
            self.env = {**fresh_secrets(), **self.env}
        self._process: subprocess.Popen[bytes] | None = None
        self._test_key = ""

    def __enter__(self) -> Server:
        try:
            return self.start()
        except BaseException:
            self.close()
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # --- Running ----------------------------------------------------------------------------------------------------

    def start(self) -> Server:
        """Returns when every worker is there and /readyz says 200. Raises AssertionError, with the log, otherwise."""
        migrate = ["--migrate"] if "DATABASE_URL" in self.env else []
        with open(self.folder / "server.log", "ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, str(REPO / "manage.py"), "serve", *migrate],
                cwd=REPO,
                env=self.env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # a process group of its own, so that all of it can be found and ended
            )
        deadline = time.monotonic() + READY_SECONDS
        while not self._ready():
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(POLL_SECONDS)
            if self._process.returncode is not None:
                raise AssertionError(f"the server ended with {self._process.returncode}:\n{self.log()}")
            if time.monotonic() > deadline:
                raise AssertionError(f"the server was not ready within {READY_SECONDS:g} s:\n{self.log()}")
        return self

    def stop(self, signal: int = signal.SIGTERM) -> int:
        """Sends the signal to the master, waits for its end and ends what it left behind. Returns its exit code."""
        process = self._process
        if process is None:
            return 0
        if process.poll() is None:
            process.send_signal(signal)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(float(self.env["DRAIN_SECONDS"]) + EXIT_SECONDS)
        while left := self._group():
            for pid in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, 9)
            process.poll()
            time.sleep(POLL_SECONDS)
        self._process = None
        return process.wait()

    def close(self) -> None:
        """Stops the server and removes all that is left of it."""
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def pid(self) -> int:
        """The gunicorn master's."""
        assert self._process is not None, "the server does not run"
        return self._process.pid

    def workers(self) -> list[int]:
        """The pids of the master's living children, oldest first."""
        return sorted(pid for pid, parent, _ in _processes() if parent == self.pid)

    def log(self) -> str:
        """All that the server wrote so far, to stdout and stderr."""
        return (self.folder / "server.log").read_text(errors="replace")

    # --- What is in it ----------------------------------------------------------------------------------------------

    def manage(self, *args: str) -> str:
        """The stdout of a manage.py command in the server's own environment."""
        command = [sys.executable, str(REPO / "manage.py"), *args]
        done = subprocess.run(command, cwd=REPO, env=self.env, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, f"manage.py {' '.join(args)} ended with {done.returncode}:\n{done.stderr}"
        return done.stdout

    def issue_key(self, tenant: str, name: str, *args: str) -> str:
        """A new key; `args` as manage.py issue_key takes them."""
        return self.manage("issue_key", tenant, name, *args).strip().splitlines()[-1]

    @property
    def test_key(self) -> str:
        """The first test key of this installation, or one made now where another server had the first."""
        if not self._test_key:
            first = self.data_dir / "first-login.txt"
            found = re.search(r"sk-bridge_test_\w{46}", first.read_text() if first.exists() else "")
            self._test_key = found[0] if found else self.issue_key("first-steps", "test", "--test")
        return self._test_key

    def records(self, **filter: Any) -> list[dict[str, Any]]:
        """Rows of tenants_requestrecord, oldest first, whose columns equal `filter`; ids as text with hyphens.

        Rows are written in batches: await them with `until(lambda: server.records(id=…, state="settled"))`.
        """
        rows = [_plain(row) for row in self._rows("SELECT * FROM tenants_requestrecord ORDER BY id")]
        return [row for row in rows if all(row[name] == value for name, value in filter.items())]

    def usage(self) -> list[dict[str, Any]]:
        """Rows of tenants_usageday."""
        return self._rows("SELECT * FROM tenants_usageday")

    def _rows(self, query: str) -> list[dict[str, Any]]:
        if url := self.env.get("DATABASE_URL"):
            import psycopg
            from psycopg.rows import dict_row

            with psycopg.connect(url, row_factory=dict_row) as connection:
                return connection.execute(query).fetchall()
        with contextlib.closing(sqlite3.connect(self.data_dir / "bridge.sqlite3", timeout=10)) as connection:
            connection.row_factory = sqlite3.Row
            return [dict(row) for row in connection.execute(query)]

    def _ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/readyz", timeout=5) as answer:
                return answer.status == 200 and len(self.workers()) == int(self.env["WEB_CONCURRENCY"])
        except (urllib.error.URLError, OSError):
            return False

    def _group(self) -> list[int]:
        return [pid for pid, _, group in _processes() if group == self.pid]


def free_port() -> int:
    """Below the range that outgoing connections take theirs from, so that it stays free until the server has it."""
    for port in random.sample(range(20_000, 32_000), 100):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError("no free port found")


def _processes() -> list[tuple[int, int, int]]:
    """Every living process as (pid, parent, group)."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, parent, group = path.read_text().rpartition(")")[2].split()[:3]
            if state not in "ZX":
                found.append((int(path.parent.name), int(parent), int(group)))
    return found


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    """The row as both databases agree on it."""
    ids = {name: str(uuid.UUID(str(row[name]))) for name in UUID_COLUMNS}
    parsed = {name: json.loads(row[name]) if isinstance(row[name], str) else row[name] for name in JSON_COLUMNS}
    return {**row, **ids, **parsed, "streamed": bool(row["streamed"])}
