"""`manage.py export PATH`: requests as CSV or JSONL, with a manifest beside the file."""

from __future__ import annotations

import os
import sys
from datetime import date
from pathlib import Path
from typing import Any

import msgspec
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db.models import QuerySet

from tenants import exports, reports
from tenants.management.reading import KEY_HELP, find_key
from tenants.models import RequestRecord, Tenant
from tenants.sheets import FORMS
from tenants.values import OPEN_STATES, State


class Command(BaseCommand):
    help = (
        "Writes requests to a file, oldest first, and what the file holds and hashes to beside it. On the audit trail."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "path", metavar="PATH", help="the file; - is standard output (the manifest: standard error)"
        )
        parser.add_argument("--tenant", default="", help="of this tenant alone: its short name, e.g. acme")
        parser.add_argument("--since", default="", metavar="2026-11-01", help="the first UTC day (default: all)")
        parser.add_argument("--until", default="", metavar="2026-11-30", help="the last day, included (default: today)")
        parser.add_argument("--key", default="", help=f"of this key alone: {KEY_HELP}")
        parser.add_argument("--model", default="", help="of this model alone")
        parser.add_argument("--state", default="", choices=["", "open", *State], help="in this state alone")
        parser.add_argument("--format", default="csv", choices=list(FORMS), help="csv, or jsonl: one object a line")

    def handle(self, *args: Any, **options: Any) -> None:
        words = {name: options[name] for name in ("tenant", "since", "until", "key", "model", "state") if options[name]}
        rows = _rows(options)
        if "key" in words:  # it may be the key itself
            words["key"] = reports.without_secrets(words["key"])
        query = " ".join(f"--{name}={value}" for name, value in words.items())
        export = exports.Export(rows, options["format"], words, query)
        if options["path"] == "-":
            manifest = export.write(sys.stdout.buffer)
            self.stderr.write(_text(manifest).decode(), ending="")
        else:
            self._to_file(export, Path(options["path"]))

    def _to_file(self, export: exports.Export, path: Path) -> None:
        """Under its name only when it is whole."""
        part = path.with_name(f"{path.name}.part")
        try:
            with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
                export.name = path.name
                manifest = export.write(file)
                os.fsync(file.fileno())
            Path(f"{path}.manifest.json").write_bytes(_text(manifest))
            part.replace(path)
        except OSError as error:
            raise CommandError(f"{path} cannot be written: {error.strerror}.")
        finally:
            part.unlink(missing_ok=True)
        self.stdout.write(f"{manifest['rows']:,} requests, SHA-256 {manifest['sha256']}")


def _rows(options: dict[str, Any]) -> QuerySet[RequestRecord]:
    rows = reports.between_days(RequestRecord.objects.all(), _day("--since", options), _day("--until", options))
    if options["tenant"]:
        if (tenant := Tenant.objects.filter(slug=options["tenant"]).first()) is None:
            raise CommandError(f"There is no tenant {options['tenant']!r}.")
        rows = rows.filter(tenant=tenant)
    if options["key"]:
        rows = rows.filter(key=find_key(options["key"]))
    if options["model"]:
        rows = rows.filter(model=options["model"])
    if options["state"]:
        rows = rows.filter(state__in=OPEN_STATES if options["state"] == "open" else [options["state"]])
    return rows


def _day(name: str, options: dict[str, Any]) -> date | None:
    if not (text := options[name.removeprefix("--")]):
        return None
    if (day := reports.as_day(text)) is None:
        raise CommandError(f"{name}={text} is not valid: it accepts a day, e.g. 2026-11-01.")
    return day


def _text(manifest: dict[str, Any]) -> bytes:
    return msgspec.json.format(msgspec.json.encode(manifest)) + b"\n"
