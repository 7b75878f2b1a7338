"""`manage.py serve`: checks, prepares and becomes gunicorn. What `make run` and the image both end in."""

from __future__ import annotations

import hashlib
import hmac
import os
import socket
import sys
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import Error, connection
from django.db.migrations.executor import MigrationExecutor

from proxysite import bootstrap
from proxysite import environment as env
from tenants import witness
from tenants.models import Installation


class Command(BaseCommand):
    help = "Serves the gateway and its console."
    requires_migrations_checks = False

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--migrate", action="store_true", help="apply migrations to a DATABASE_URL database too")
        parser.add_argument(
            "--local", action="store_true", help="only this machine (HOST 127.0.0.1); the sandbox without Anthropic key"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if options["local"]:
            _stay_local()
        _prepare_data_dir()
        _check_port()
        _prepare_database(migrate=settings.EMBEDDED_DATABASE or options["migrate"])
        self._tell(bootstrap.first_steps())
        witness.tell()
        self.stdout.flush()
        from proxysite.server import fresh_metrics_dir

        os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(fresh_metrics_dir())
        os.execv(
            sys.executable,
            [sys.executable, "-m", "gunicorn", "-c", "python:proxysite.server", "proxysite.asgi:application"],
        )

    def _tell(self, first: bootstrap.FirstSteps) -> None:
        host = "localhost" if settings.HOST in ("0.0.0.0", "::", "127.0.0.1") else settings.HOST
        base = settings.PUBLIC_URL or f"http://{host}:{settings.PORT}"
        lines = [f"Bridge {settings.VERSION}", f"API             {base}/v1", f"Console         {base}/admin/"]
        if first.lines() and sys.stdout.isatty():
            lines += first.lines()
        elif first.lines():
            path = settings.DATA_DIR / "first-login.txt"
            first.keep(path)
            lines.append(f"First login     written to {path}")
        lines.append(f"Upstream        {_upstream()}")
        if first.lines():
            lines += ["", "Try it:", *_curl(base, first.test_key if sys.stdout.isatty() else "$KEY")]
        self.stdout.write("\n".join(lines) + "\n")


def _stay_local() -> None:
    if not env.read("HOST"):
        os.environ["HOST"] = settings.HOST = "127.0.0.1"
    if not settings.ANTHROPIC_API_KEY and not env.read("UPSTREAM"):
        os.environ["UPSTREAM"] = settings.UPSTREAM = "sandbox"


def _upstream() -> str:
    if settings.UPSTREAM == "sandbox":
        return (
            "*** SANDBOX *** every answer is scripted and says so: no Anthropic key is set.\n"
            "                Set ANTHROPIC_API_KEY to talk to Claude."
        )
    if not settings.ANTHROPIC_API_KEY:
        return "none: live keys get 503 until ANTHROPIC_API_KEY is set; test keys answer from the sandbox."
    return (
        f"{settings.ANTHROPIC_BASE_URL} for live keys; test keys answer from the sandbox.\n"
        '                A live key: manage.py issue_key my-team "my first key"'
    )


def _curl(base: str, key: str) -> list[str]:
    return [
        f"  curl {base}/v1/chat/completions -H 'Authorization: Bearer {key}' \\"
        if not key.startswith("$")
        else f'  curl {base}/v1/chat/completions -H "Authorization: Bearer {key}" \\',
        """    -d '{"model": "claude-sonnet-5-5", "messages": [{"role": "user", "content": "Hello"}]}'""",
        '  (add "stream": true for a stream; `manage.py issue_key TENANT NAME [--test]` issues more keys)',
    ]


def _prepare_data_dir() -> None:
    directory = settings.DATA_DIR
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        settings.JOURNAL_DIR.mkdir(mode=0o700, exist_ok=True)
        probe = directory / f".writable-{os.getpid()}"
        probe.touch(mode=0o600)
        probe.unlink()
    except OSError as error:
        raise CommandError(f"DATA_DIR={directory} cannot be written: {error.strerror}.") from None


def _check_port() -> None:
    family = socket.AF_INET6 if ":" in settings.HOST else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings.HOST, settings.PORT))
        except OSError as error:
            raise CommandError(
                f"PORT={settings.PORT} on HOST={settings.HOST} cannot be used: {error.strerror}. Set another PORT."
            ) from None


def _prepare_database(migrate: bool) -> None:
    try:
        if migrate:
            call_command("migrate", verbosity=0)
        executor = MigrationExecutor(connection)
        if executor.migration_plan(executor.loader.graph.leaf_nodes()):
            raise CommandError("The database has unapplied migrations: run `manage.py migrate`, or serve --migrate.")
        changed = Installation.check_fingerprints(_fingerprints())
    except Error as error:
        raise CommandError(f"The database cannot be used: {str(error).splitlines()[0]}") from None
    if changed:
        raise CommandError(
            f"{', '.join(changed)} is not what this database was made with: keys would be refused, what is "
            "encrypted lost, or the audit trail not verify. Bring the old secret back (add new ones under new numbers)."
        )


def _fingerprints() -> dict[str, str]:
    """Enough to recognise a secret, useless for finding it."""
    secrets = {
        "KEY_PEPPERS": settings.KEY_PEPPERS,
        "ENCRYPTION_KEYS": settings.ENCRYPTION_KEYS,
        "AUDIT_KEY": settings.AUDIT_KEYS,
    }
    return {
        f"{name} {number}": hmac.digest(secret, b"bridge:fingerprint", hashlib.sha256).hex()[:16]
        for name, numbered in secrets.items()
        for number, secret in numbered.items()
    }
