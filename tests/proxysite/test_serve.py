"""`manage.py serve`: the first start prepares everything, the second finds it, and problems are one line."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.core.management import CommandError, call_command
from django.db.migrations.recorder import MigrationRecorder
from django.test import override_settings

from proxysite import bootstrap
from proxysite.management.commands import serve
from tenants import keys
from tenants.models import ApiKey, Installation, Tenant, User
from tenants.values import Mode

pytestmark = pytest.mark.django_db


class Exec(Exception):
    """What would have become gunicorn."""


@pytest.fixture(autouse=True)
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    def execv(path: str, command: list[str]) -> None:
        raise Exec(*command)

    monkeypatch.setattr(serve.os, "execv", execv)
    monkeypatch.setenv("HOST", "127.0.0.1")
    monkeypatch.setenv("UPSTREAM", "anthropic")
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", "")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    places = {"DATA_DIR": tmp_path, "JOURNAL_DIR": tmp_path / "journal", "METRICS_DIR": tmp_path / "metrics"}
    with override_settings(HOST="127.0.0.1", PORT=port, **places):
        yield tmp_path


def started(capsys: pytest.CaptureFixture[str], **options: Any) -> str:
    with pytest.raises(Exec) as became:
        call_command("serve", **options)
    assert became.value.args[1:] == ("-m", "gunicorn", "-c", "python:proxysite.server", "proxysite.asgi:application")
    return capsys.readouterr().out


def test_the_first_start_makes_an_admin_and_a_test_key_and_keeps_them_where_only_its_user_reads(
    stage: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = started(capsys)
    path = stage / "first-login.txt"
    assert path.stat().st_mode & 0o777 == 0o600
    words = path.read_text().split()
    password, key = words[words.index("/") + 1], words[-1]
    admin = User.objects.get()
    assert admin.check_password(password) and admin.must_change_password and admin.is_superuser
    assert keys.recognise(key) is not None and ApiKey.objects.get().mode == Mode.TEST
    assert password not in out and key not in out and str(path) in out


def test_the_second_start_makes_and_tells_nothing_of_that(stage: Path, capsys: pytest.CaptureFixture[str]) -> None:
    started(capsys)
    (stage / "first-login.txt").unlink()
    out = started(capsys)
    assert "First" not in out and "Try it" not in out and not (stage / "first-login.txt").exists()
    assert (User.objects.count(), ApiKey.objects.count()) == (1, 1)


def test_a_terminal_is_told_at_once(
    stage: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = bootstrap.FirstSteps("admin", "a-password", "a-key")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setattr(bootstrap, "first_steps", lambda: first)
    out = started(capsys)
    assert "admin / a-password" in out and "Bearer a-key" in out
    assert not (stage / "first-login.txt").exists()


def test_an_admin_from_the_environment_keeps_that_password(
    stage: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DJANGO_SUPERUSER_USERNAME", "alice")
    monkeypatch.setenv("DJANGO_SUPERUSER_PASSWORD", "correct horse battery")
    started(capsys)
    alice = User.objects.get(username="alice")
    assert alice.check_password("correct horse battery") and not alice.must_change_password
    assert "correct horse" not in (stage / "first-login.txt").read_text()


def test_without_an_anthropic_key_a_local_start_is_the_sandbox_and_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    with override_settings(ANTHROPIC_API_KEY="", UPSTREAM="anthropic"):
        assert "live keys get 503" in started(capsys)
    serve.os.environ.pop("UPSTREAM")
    with override_settings(ANTHROPIC_API_KEY="", UPSTREAM="anthropic"):
        assert "*** SANDBOX ***" in started(capsys, local=True)
        assert serve.os.environ["UPSTREAM"] == "sandbox"
    with override_settings(ANTHROPIC_API_KEY="sk-ant-x", UPSTREAM="anthropic"):
        assert "issue_key" in started(capsys)


def test_a_busy_port_is_named() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with (
            override_settings(PORT=taken.getsockname()[1]),
            pytest.raises(CommandError, match=r"PORT=.* cannot be used"),
        ):
            call_command("serve")


def test_a_data_dir_that_cannot_be_written_is_named() -> None:
    with override_settings(DATA_DIR=Path("/proc/nowhere")), pytest.raises(CommandError, match="DATA_DIR=/proc/nowhere"):
        call_command("serve")


def test_a_company_database_is_not_migrated_without_being_asked(capsys: pytest.CaptureFixture[str]) -> None:
    MigrationRecorder.Migration.objects.filter(app="sessions").delete()
    with override_settings(EMBEDDED_DATABASE=False), pytest.raises(CommandError, match="unapplied migrations"):
        call_command("serve")


def test_other_peppers_than_the_database_was_made_with_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    started(capsys)
    with (
        override_settings(KEY_PEPPERS={1: b"another" * 8}),
        pytest.raises(CommandError, match="KEY_PEPPERS 1 is not what"),
    ):
        call_command("serve")
    with (
        override_settings(AUDIT_KEYS={1: b"another" * 8}),
        pytest.raises(CommandError, match="AUDIT_KEY 1 is not what"),
    ):
        call_command("serve")
    with override_settings(KEY_PEPPERS={**settings.KEY_PEPPERS, 2: b"second" * 8}):
        started(capsys)
    assert set(Installation.objects.get().fingerprints) == {
        "AUDIT_KEY 1",
        "KEY_PEPPERS 1",
        "KEY_PEPPERS 2",
        "ENCRYPTION_KEYS 1",
    }


# --- keys on the command line ---


def test_issue_key_prints_the_key_alone_on_the_last_line(capsys: pytest.CaptureFixture[str]) -> None:
    call_command("issue_key", "Acme", "support bot", test=True, models="claude-opus-5, claude-haiku-5-5", expires="30d")
    said = capsys.readouterr()
    key = keys.recognise(said.out.strip().splitlines()[-1])
    row = ApiKey.objects.get()
    assert key is not None and row.secrets.get().public_id == key.public_id
    assert (row.tenant.slug, row.mode, row.allowed_models) == ("acme", "test", ["claude-opus-5", "claude-haiku-5-5"])
    assert row.expires_at is not None and "Created the tenant acme" in said.err and key.text not in said.err
    call_command("issue_key", "acme", "second")
    assert Tenant.objects.count() == 1 and "Created" not in capsys.readouterr().err


@pytest.mark.parametrize("options", [{"expires": "soon"}, {"expires": "0d"}])
def test_a_bad_option_issues_nothing(options: dict[str, str]) -> None:
    with pytest.raises(CommandError, match="is not valid"):
        call_command("issue_key", "acme", "x", **options)
    assert not ApiKey.objects.exists()


@pytest.mark.parametrize("by", ["key", "id", "public id"])
def test_revoke_key_takes_the_key_or_its_id(by: str, capsys: pytest.CaptureFixture[str]) -> None:
    call_command("issue_key", "acme", "leaked")
    text = capsys.readouterr().out.strip()
    row = ApiKey.objects.get()
    names = {"key": text, "id": str(row.pk), "public id": row.secrets.get().public_id}
    call_command("revoke_key", names[by], reason="found in a log")
    row.refresh_from_db()
    assert row.status == "revoked" and row.revoked_reason == "found in a log"
    assert text not in capsys.readouterr().out
    with pytest.raises(CommandError, match="was revoked already"):
        call_command("revoke_key", names[by])


@pytest.mark.parametrize("text", ["nothing", "", keys.mint(Mode.LIVE).text], ids=["no id", "empty", "a key"])
def test_revoking_what_does_not_exist_says_so(text: str) -> None:
    with pytest.raises(CommandError, match="no such key"):
        call_command("revoke_key", text)
