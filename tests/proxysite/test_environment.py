"""The environment: every variable documented, every mistake named."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BROUGHT = {
    "SECRET_KEY": "s" * 50,
    "KEY_PEPPERS": "1:" + "a" * 40,
    "ENCRYPTION_KEYS": "1:" + "b" * 40,
    "AUDIT_KEY": "c" * 40,
}
SOURCES = ("proxysite/settings.py", "proxysite/bootstrap.py")


def variables() -> set[str]:
    """The names that the code reads."""
    call = re.compile(r'env\.(?:read|integer|optional_integer|choice|flag|items|url|secret|parse)\(\s*"([A-Z_]+)"')
    return {name for source in SOURCES for name in call.findall((ROOT / source).read_text())}


def run(*command: str, **changes: str) -> subprocess.CompletedProcess[str]:
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    call = [sys.executable, "manage.py", *command]
    return subprocess.run(call, cwd=ROOT, env={**kept, **changes}, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("document", [".env.example", "docs/settings.md"])
def test_every_variable_is_documented_and_no_other(document: str) -> None:
    text = (ROOT / document).read_text()
    rule = r"^#? ?([A-Z_]+)=" if document == ".env.example" else r"^\| `([A-Z_]+)`"
    assert set(re.findall(rule, text, re.M)) == variables()


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"PORT": "http"}, "PORT='http' is not valid: it accepts a whole number from 1 to 65535."),
        ({"PORT": "0"}, "PORT='0' is not valid"),
        ({"UPSTREAM": "openai"}, "UPSTREAM='openai' is not valid: it accepts anthropic or sandbox."),
        ({"ANTHROPIC_BASE_URL": "api.anthropic.com"}, "ANTHROPIC_BASE_URL='api.anthropic.com' is not valid"),
        ({"CONSOLE_TOTP": "yes"}, "CONSOLE_TOTP='yes' is not valid: it accepts optional or required."),
        ({"JOURNAL_FSYNC": "2s"}, "it accepts off or 1s or each."),
        ({"TRUSTED_PROXIES": "10.0.0.0/99"}, "TRUSTED_PROXIES is not valid"),
        ({"KEY_PEPPERS": "short"}, "KEY_PEPPERS is not valid: it accepts 1:SECRET"),
        ({"KEY_PEPPERS": "x:" + "a" * 40}, "KEY_PEPPERS is not valid"),
        ({"DATABASE_URL": "nonsense"}, "SECRET_KEY is not set: with DATABASE_URL it is required"),
        ({"AUDIT_KEY": "short"}, "AUDIT_KEY is not valid"),
        ({"ENCRYPTION_KEYS": "1:short"}, "ENCRYPTION_KEYS is not valid: it accepts 1:SECRET"),
        ({"DATABASE_URL": "nonsense", **BROUGHT, "ENCRYPTION_KEYS": ""}, "ENCRYPTION_KEYS is not set"),
        (
            {"DATABASE_URL": "nonsense", **BROUGHT},
            "DATABASE_URL is not valid: it accepts postgres://",
        ),
        (
            {"OIDC_ISSUER": "http://idp.example.com"},
            "OIDC_ISSUER='http://idp.example.com' is not valid: it accepts https",
        ),
        ({"OIDC_SCOPES": "openid profile"}, "it accepts words, openid and email among them."),
        ({"OIDC_ONLY": "on"}, "OIDC_ONLY is on, but OIDC_ISSUER is not set"),
        ({"OIDC_ISSUER": "https://idp.example.com"}, "OIDC_CLIENT_ID is not set: OIDC_ISSUER needs it"),
        ({"ANTHROPIC_API_KEY_FILE": "/nowhere/at/all"}, "ANTHROPIC_API_KEY"),
        ({"DATA_DIR": "/proc/nowhere"}, "DATA_DIR=/proc/nowhere cannot be written"),
    ],
)
def test_a_bad_value_stops_the_start_in_one_line(tmp_path: Path, changes: dict[str, str], says: str) -> None:
    done = run("check", **{"DATA_DIR": str(tmp_path), **changes})
    assert done.returncode != 0
    assert says in done.stderr
    assert "Traceback" not in done.stderr and len(done.stderr.strip().splitlines()) == 1


def test_a_secret_may_come_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("sk-ant-from-file\n")
    script = "from proxysite import settings; print(settings.ANTHROPIC_API_KEY)"
    env = {"PATH": os.environ["PATH"], "DATA_DIR": str(tmp_path), "ANTHROPIC_API_KEY_FILE": str(tmp_path / "key")}
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, env=env, capture_output=True, text=True)
    assert done.stdout == "sk-ant-from-file\n"


def test_secrets_are_made_once_for_this_user_only(tmp_path: Path) -> None:
    script = "from proxysite import settings; print(settings.SECRET_KEY, settings.KEY_PEPPERS, settings.AUDIT_KEYS)"
    env = {"PATH": os.environ["PATH"], "DATA_DIR": str(tmp_path / "data")}
    starts = [
        subprocess.Popen([sys.executable, "-c", script], cwd=ROOT, env=env, stdout=subprocess.PIPE) for _ in range(4)
    ]
    outputs = {start.communicate(timeout=60)[0] for start in starts}
    assert len(outputs) == 1 and b"1:" in next(iter(outputs))
    for folder in (tmp_path / "data", tmp_path / "data" / "secrets"):
        assert folder.stat().st_mode & 0o777 == 0o700
    for path in (tmp_path / "data" / "secrets").iterdir():
        assert path.stat().st_mode & 0o777 == 0o600
    assert len(list((tmp_path / "data" / "secrets").iterdir())) == 4
