"""A proof's work in a process of its own, with Django and a database of its own and no server."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from typing import Any

from tests.live import INHERITED, REPO, fresh_secrets
from tests.postgres import Postgres


def aside(module: str, *numbers: int, seconds: float, postgresql: bool = False) -> dict[str, Any]:
    """What `python -m MODULE NUMBER…` prints last, as JSON."""
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="bridge-aside-"))
        env = {name: os.environ[name] for name in INHERITED if name in os.environ} | {
            "DATA_DIR": folder,
            "DJANGO_SETTINGS_MODULE": "proxysite.settings",
            "PYTHONDONTWRITEBYTECODE": "1",
            **fresh_secrets(),
        }
        if postgresql:
            env["DATABASE_URL"] = stack.enter_context(Postgres()).url
        command = [sys.executable, "-m", module, *map(str, numbers)]
        done = subprocess.run(command, cwd=REPO, env=env, capture_output=True, text=True, timeout=seconds)
    assert done.returncode == 0, done.stderr[-2000:]
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found
