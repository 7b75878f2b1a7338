"""The servers of a load run: started pinned to a core, stopped by group, and what each is asked at."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent.parent
MODEL = "claude-haiku-4-5"  # one with a price: what has none is refused to keys with a budget


@dataclass
class System:
    """What is measured: where to send, with what key, and whose CPU and memory count."""

    name: str
    url: str
    key: str
    pid: int
    model: str = MODEL
    headers: tuple[str, ...] = ()  # more of them


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


@contextmanager
def process(
    command: Sequence[str], core: int, env: dict[str, str], port: int | None, log: Path, says: bytes = b""
) -> Iterator[int]:
    """A server pinned to a core, from when it answers on its port, or says what it is to say; stopped with its group at
    the end. A port that is taken stops the run: a server left over from another one would be measured."""
    if port is not None and _answers(port):
        sys.exit(f"port {port} is taken: a stale server would be measured")
    with log.open("wb") as output:
        child = subprocess.Popen(
            ["taskset", "--cpu-list", str(core), *command],
            env=env, cwd=HERE, stdout=output, stderr=output, start_new_session=True,
        )  # fmt: skip
        try:
            _wait(child, log, lambda: _answers(port) if port is not None else says in log.read_bytes())
            yield child.pid
        finally:
            os.killpg(child.pid, signal.SIGTERM)
            try:
                child.wait(15)
            except subprocess.TimeoutExpired:
                os.killpg(child.pid, signal.SIGKILL)
                child.wait()


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _wait(child: subprocess.Popen[bytes], log: Path, ready: Callable[[], bool]) -> None:
    for _ in range(1200):
        if ready():
            return
        if child.poll() is not None:
            break
        time.sleep(0.1)
    sys.exit(f"a server did not start:\n{log.read_text()[-3000:]}")


# --- The systems


@contextmanager
def direct(upstream: str, folder: Path) -> Iterator[System]:
    """Nothing in between: what the harness itself costs."""
    yield System("direct", upstream + "/v1/messages", "none", os.getpid())


@contextmanager
def floor(upstream: str, folder: Path) -> Iterator[System]:
    port = free_port()
    env = bridge_env(upstream, folder / "floor", port) | {"FLOOR_UPSTREAM": upstream}
    command = [sys.executable, "-m", "gunicorn", "-c", "python:proxysite.server", "bench.floor:application"]
    with process(command, 1, env, port, folder / "floor.log") as pid:
        yield System("floor", f"http://127.0.0.1:{port}/v1/chat/completions", "none", pid)


@contextmanager
def bridge(upstream: str, folder: Path) -> Iterator[System]:
    """As documented for production: live keys, authentication, limits, journal and ledger on."""
    port = free_port()
    env = bridge_env(upstream, folder / "bridge", port)
    manage = [sys.executable, "manage.py"]
    with process([*manage, "serve", "--migrate"], 1, env, port, folder / "bridge.log") as pid:
        limits = ["--rpm", "10000000", "--tpm", "2000000000", "--concurrency", "50000"]
        budget = ["--budget", "1000000:month"] if os.environ.get("BENCH_BUDGET") else []
        issued = subprocess.run(
            [*manage, "issue_key", "bench", "load", *limits, *budget],
            env=env, cwd=HERE, capture_output=True, text=True,
        )  # fmt: skip
        if issued.returncode:
            sys.exit(issued.stderr)
        yield System("bridge", f"http://127.0.0.1:{port}/v1/chat/completions", issued.stdout.split()[-1], pid)


def bridge_env(upstream: str, data: Path, port: int) -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "DATABASE_URL", "BENCH_BUDGET") if name in os.environ}
    kept |= {name: value for name, value in os.environ.items() if name.startswith("BRIDGE_BENCH_")}
    secrets = dict.fromkeys(("KEY_PEPPERS", "ENCRYPTION_KEYS", "AUDIT_KEY"), "1:" + "x" * 48) | {"SECRET_KEY": "x" * 48}
    return {
        **kept,
        **(secrets if "DATABASE_URL" in os.environ else {}),
        "DATA_DIR": str(data),
        "PORT": str(port),
        "HOST": "127.0.0.1",
        "WEB_CONCURRENCY": "1",
        "UPSTREAM": "anthropic",
        "ANTHROPIC_API_KEY": "sk-ant-bench",
        "ANTHROPIC_BASE_URL": upstream,
        "MAX_IN_FLIGHT": "5000",
        "LOG_FORMAT": "text",
    }
