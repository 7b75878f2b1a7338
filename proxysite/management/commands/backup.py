"""`manage.py backup PATH`: a copy of the embedded database and the journal, made while the site is in use."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from proxysite import backups


class Command(BaseCommand):
    help = "Backs up the embedded database and the journal. With DATABASE_URL: use pg_dump (docs/operations.md)."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("path", type=Path, help="a folder that does not exist yet")
        parser.add_argument(
            "--with-secrets", action="store_true", help="the generated secrets too: whoever has it can act as this site"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if not settings.EMBEDDED_DATABASE:
            raise CommandError("DATABASE_URL is set: back that database up with pg_dump (docs/operations.md).")
        try:
            backups.backup(settings.DATA_DIR, options["path"], options["with_secrets"])
        except (OSError, sqlite3.Error) as error:
            raise CommandError(f"The backup was not made: {error}") from None
        self.stdout.write(f"Backed up to {options['path']}.")
        if not options["with_secrets"]:
            secrets = settings.DATA_DIR / "secrets"
            self.stdout.write(
                f"{secrets} is not in it, and without it no key works: keep a copy of it elsewhere, once."
            )
