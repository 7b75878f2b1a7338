"""`manage.py restore PATH`: puts a backup into a DATA_DIR that has no database yet."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from proxysite import backups


class Command(BaseCommand):
    help = "Restores what `manage.py backup` made, before the first start there."
    requires_system_checks = ()
    requires_migrations_checks = False

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("path", type=Path, help="the folder that `backup` made")

    def handle(self, *args: Any, **options: Any) -> None:
        if not settings.EMBEDDED_DATABASE:
            raise CommandError("DATABASE_URL is set: restore that database with pg_restore (docs/operations.md).")
        try:
            backups.restore(options["path"], settings.DATA_DIR)
        except (OSError, sqlite3.Error) as error:
            raise CommandError(f"Nothing was restored: {error}") from None
        self.stdout.write(f"Restored into {settings.DATA_DIR}. What the journal held is stored at the first start.")
