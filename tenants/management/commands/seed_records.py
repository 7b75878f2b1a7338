"""`manage.py seed_records N`: made-up requests to measure with. Not for an installation that is in use."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from tenants import seeding
from tenants.models import RequestRecord


class Command(BaseCommand):
    help = "Writes N made-up requests of made-up tenants, to measure the console with. Never where real ones are."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("count", type=int, metavar="N", help="how many requests, e.g. 3000000")
        parser.add_argument("--days", type=int, default=30, help="over how many days until now (30)")
        parser.add_argument("--tenants", type=int, default=20, help="of how many tenants (20)")
        parser.add_argument("--keys", type=int, default=10, help="of how many keys of each (10)")
        parser.add_argument("--seed", type=int, default=1, help="another number gives other requests (1)")
        parser.add_argument("--force", action="store_true", help="although requests are on record")

    def handle(self, *args: Any, **options: Any) -> None:
        for name in ("count", "days", "tenants", "keys"):
            if options[name] < 1:
                raise CommandError(f"{name}={options[name]} is not valid: it accepts a number of at least 1.")
        if not options["force"] and RequestRecord.objects.order_by("-pk").values_list("pk", flat=True).first():
            raise CommandError("Requests are on record: made-up ones are not mixed with them (--force does).")
        who = seeding.cast(options["tenants"], options["keys"])
        seeding.seed(options["count"], options["days"], who, options["seed"], self._told)
        self.stdout.write(f"{options['count']:,} requests of {len(who.keys)} keys of {len(who.tenants)} tenants.")

    def _told(self, count: int) -> None:
        if count % 500_000 == 0:
            self.stderr.write(f"{count:,}")
