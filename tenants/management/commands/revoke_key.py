"""`manage.py revoke_key ID|KEY`: refuses a key from now on, on every worker within a second."""

from __future__ import annotations

import uuid
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from tenants import keys
from tenants.models import ApiKey


class Command(BaseCommand):
    help = "Revokes a virtual key."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("key", metavar="ID|KEY", help="the key's id, its 8-character public id, or the key itself")
        parser.add_argument("--reason", default="", help="why, for the record")

    def handle(self, *args: Any, **options: Any) -> None:
        row = _find(options["key"])
        if row is None:
            raise CommandError("There is no such key.")
        if row.revoked_at:
            raise CommandError(f"{row} was revoked already, on {row.revoked_at:%Y-%m-%d %H:%M} UTC.")
        row.revoke(options["reason"] or "revoked on the command line", by="manage.py")
        self.stdout.write(f"Revoked {row}. Every worker refuses it within a second.")


def _find(text: str) -> ApiKey | None:
    key = keys.recognise(text)
    public_id = key.public_id if key else text
    found: ApiKey | None = ApiKey.objects.filter(secrets__public_id=public_id).first()
    if found is None:
        try:
            found = ApiKey.objects.filter(pk=uuid.UUID(text)).first()
        except ValueError:
            return None
    return found
