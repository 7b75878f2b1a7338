"""`manage.py revoke_key ID|KEY`: refuses a key from now on, on every worker within a second."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from tenants.management.reading import KEY_HELP, find_key


class Command(BaseCommand):
    help = "Revokes a virtual key."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("key", metavar="ID|KEY", help=KEY_HELP)
        parser.add_argument("--reason", default="", help="why, for the record")

    def handle(self, *args: Any, **options: Any) -> None:
        row = find_key(options["key"])
        if row.revoked_at:
            raise CommandError(f"{row} was revoked already, on {row.revoked_at:%Y-%m-%d %H:%M} UTC.")
        row.revoke(options["reason"] or "revoked on the command line", by="manage.py")
        self.stdout.write(f"Revoked {row}. Every worker refuses it within a second.")
