"""`manage.py rotate_key ID|KEY`: prints the key's new secret, alone on the last line of stdout."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from tenants.keyring import RotationRefused
from tenants.management.reading import KEY_HELP, duration, find_key


class Command(BaseCommand):
    help = "Gives a virtual key a new secret; the old one works on for a while."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("key", metavar="ID|KEY", help=KEY_HELP)
        parser.add_argument(
            "--overlap", default="24h", metavar="24h", help="how long the old secret works on; now: not at all"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        row = find_key(options["key"])
        overlap = timedelta() if options["overlap"] == "now" else duration("--overlap", options["overlap"])
        try:
            key = row.rotate(overlap, settings.KEY_PEPPERS, by="manage.py")
        except RotationRefused as refusal:
            raise CommandError(str(refusal)) from None
        ends = f"works until {timezone.now() + overlap:%Y-%m-%d %H:%M} UTC" if overlap else "works no longer"
        self.stderr.write(f"Rotated {row}. The old secret {ends}. The new key is shown only now:")
        self.stdout.write(key.text)
