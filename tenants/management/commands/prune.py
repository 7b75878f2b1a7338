"""`manage.py prune`: deletes the records that no retention covers any more, as every night does by itself."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandParser

from tenants import payload_retention, retention


class Command(BaseCommand):
    help = "Deletes records older than their tenant's retention. Tenants under legal hold are left alone."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--dry-run", action="store_true", help="only say what would go")

    def handle(self, *args: Any, **options: Any) -> None:
        payloads = payload_retention.prune(settings.RETENTION_DAYS, dry_run=options["dry_run"])
        for slug, count in sorted(payloads.items()):
            self.stdout.write(f"{slug}: {count:,} payloads")
        pruned = retention.prune(settings.RETENTION_DAYS, dry_run=options["dry_run"])
        for slug, count in sorted(pruned.records.items()):
            self.stdout.write(f"{slug}: {count:,} records")
        for name in pruned.months:
            self.stdout.write(f"Dropped {name} whole.")
        for slug in pruned.held:
            self.stdout.write(f"{slug}: under legal hold, left alone")
        self.stdout.write(f"{'Would delete' if options['dry_run'] else 'Deleted'} {pruned.total:,} records.")
