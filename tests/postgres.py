"""A PostgreSQL server of a test's own, in a folder and on a port of its own, that can be stopped and started again."""

from __future__ import annotations

import contextlib
import os
import secrets
import shlex
import shutil
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType

from tests.live import free_port


def binaries() -> Path | None:
    """Those of the newest version there is."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
    return found[-1] if found else None


class Postgres:
    """Runs within the `with` block. The server refuses to run as root, so root asks the user postgres to run it."""

    def __init__(self) -> None:
        found = binaries()
        assert found is not None, "PostgreSQL's server is not installed"
        self._binaries = found
        self._folder = Path(tempfile.mkdtemp(prefix="bridge-postgres-"))
        self.port = free_port()
        self._password = secrets.token_urlsafe(24)
        self.url = f"postgres://bridge:{self._password}@127.0.0.1:{self.port}/bridge"

    def __enter__(self) -> Postgres:
        password = self._folder / "password"
        password.write_text(self._password)
        if os.getuid() == 0:
            for path in (self._folder, password):
                shutil.chown(path, "postgres", "postgres")
        options = f"--username=bridge --pwfile={password} --auth=scram-sha-256 --encoding=UTF8 --locale=C.UTF-8"
        self._run(f"initdb {options} --no-sync")
        self.start()
        self._run("createdb", PGPASSWORD=self._password)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(subprocess.CalledProcessError):
            self.stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    def start(self) -> None:
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c fsync=off"
        self._run(f"pg_ctl start --silent --wait --log={self._folder}/log --options={shlex.quote(options)}")

    def stop(self) -> None:
        """At once, as if it had crashed."""
        self._run("pg_ctl stop --silent --mode=immediate")

    def dump(self, path: Path) -> None:
        """The whole database, as pg_dump writes it for pg_restore."""
        path.write_bytes(self._run(f"pg_dump --format=custom {self._name}", PGPASSWORD=self._password))

    def restore(self, path: Path, database: str) -> str:
        """Into a new database of this server. Returns its address."""
        self._run(f"createdb {self._connection} {database}", PGPASSWORD=self._password)
        command = f"pg_restore {self._connection} --exit-on-error --dbname={database}"
        self._run(command, path.read_bytes(), PGPASSWORD=self._password)
        return self.url.removesuffix("bridge") + database

    @property
    def _connection(self) -> str:
        return f"--host=127.0.0.1 --port={self.port} --username=bridge"

    @property
    def _name(self) -> str:
        return f"{self._connection} bridge"

    def _run(self, command: str, content: bytes = b"", **more: str) -> bytes:
        program, _, rest = command.partition(" ")
        if program == "createdb" and not rest:
            rest = self._name
        line = f"{shlex.quote(str(self._binaries / program))} {rest}"
        words = ["su", "postgres", "-s", "/bin/sh", "-c", line] if os.getuid() == 0 else ["/bin/sh", "-c", line]
        env = {"PATH": os.environ["PATH"], "PGDATA": str(self._folder / "data"), **more}
        with open(self._folder / "stderr", "ab") as errors:
            done = subprocess.run(words, input=content, stdout=subprocess.PIPE, stderr=errors, env=env, timeout=120)
        assert done.returncode == 0, (self._folder / "stderr").read_text()
        return done.stdout
