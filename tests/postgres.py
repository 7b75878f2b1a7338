"""Starts a PostgreSQL server for tests: in a folder and on a port of its own, stopped and removed after.

with Postgres() as url: …      an empty database; `binaries()` is None where there is no PostgreSQL
"""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType

from tests.live import free_port


def binaries() -> Path | None:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
    return found[-1] if found else None


class Postgres:
    def __enter__(self) -> str:
        folder = binaries()
        assert folder is not None, "PostgreSQL is not installed"
        self._binaries, self._folder = folder, Path(tempfile.mkdtemp(prefix="bridge-postgres-"))
        password, port = secrets.token_urlsafe(24), free_port()
        (self._folder / "password").write_text(password)
        if os.getuid() == 0:  # the server refuses to run as root
            shutil.chown(self._folder, "postgres")
            shutil.chown(self._folder / "password", "postgres")
        try:
            self._run(
                f"{folder}/initdb --pgdata={self._folder}/data --username=bridge --pwfile={self._folder}/password "
                "--auth=scram-sha-256 --encoding=UTF8 --locale=C.UTF-8 --no-sync"
            )
            options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c fsync=off"
            self._run(
                f"{folder}/pg_ctl start --silent --wait --pgdata={self._folder}/data --log={self._folder}/server.log "
                f"--options='{options}'"
            )
        except BaseException:
            shutil.rmtree(self._folder, ignore_errors=True)
            raise
        return f"postgres://bridge:{password}@127.0.0.1:{port}/postgres"

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._run(f"{self._binaries}/pg_ctl stop --silent --mode=immediate --pgdata={self._folder}/data")
        shutil.rmtree(self._folder, ignore_errors=True)

    def _run(self, command: str) -> None:
        words = ["su", "postgres", "-s", "/bin/sh", "-c", command] if os.getuid() == 0 else ["sh", "-c", command]
        subprocess.run(words, cwd="/", check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, timeout=60)
