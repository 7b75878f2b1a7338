"""Django's own list of what a site in production needs, with the settings that docs/settings.md asks for."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
from pathlib import Path

import pytest

from tests.live import REPO

DOCUMENTED = {
    "DATABASE_URL": "postgres://bridge:password@localhost:5432/bridge",
    "PUBLIC_URL": "https://bridge.example.com",
    "TRUSTED_PROXIES": "10.0.0.0/8",
}


def check(tmp_path: Path, **more: str) -> subprocess.CompletedProcess[str]:
    env = {"PATH": os.environ["PATH"], "DATA_DIR": str(tmp_path), **DOCUMENTED, **more}
    env |= {name: secrets.token_urlsafe(48) for name in ("SECRET_KEY", "AUDIT_KEY")}
    env |= {name: f"1:{secrets.token_urlsafe(48)}" for name in ("KEY_PEPPERS", "ENCRYPTION_KEYS")}
    command = [sys.executable, "manage.py", "check", "--deploy", "--fail-level", "WARNING"]
    return subprocess.run(command, cwd=REPO, env=env, capture_output=True, text=True, timeout=60)


def test_nothing_is_left_to_be_said_in_production(tmp_path: Path) -> None:
    done = check(tmp_path)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("complaint", ["security.W004", "security.W012"])
def test_without_https_it_is_said(tmp_path: Path, complaint: str) -> None:
    done = check(tmp_path, PUBLIC_URL="http://bridge.example.com")
    assert done.returncode == 1 and complaint in done.stderr
