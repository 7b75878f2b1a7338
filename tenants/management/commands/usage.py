"""`manage.py usage TENANT`: what a tenant used and spent, by day, by model and by key."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from typing import Any

import msgspec
from django.core.management.base import BaseCommand, CommandError, CommandParser

from tenants import reports
from tenants.models import Tenant
from tenants.usage import COUNTED, SUMMED

_SHOWN = {
    "requests": "requests",
    "refused": "refusals",
    "errors": "errors",
    "input": "input_tokens",
    "cached": "cache_read_tokens",
    "output": "output_tokens",
}


class Command(BaseCommand):
    help = "Prints what a tenant used and spent, by UTC day, by model and by key."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("tenant", help="the tenant's short name, e.g. acme")
        parser.add_argument("--since", default="", metavar="2026-11-01", help="the first day (default: all)")
        parser.add_argument("--until", default="", metavar="2026-11-30", help="the last day, included (default: today)")
        parser.add_argument("--json", action="store_true", help="everything there is, as one JSON object")

    def handle(self, *args: Any, **options: Any) -> None:
        tenant = Tenant.objects.filter(slug=options["tenant"]).first()
        if tenant is None:
            raise CommandError(f"There is no tenant {options['tenant']!r}.")
        first, last = _day("--since", options["since"]), _day("--until", options["until"])
        report = reports.usage(tenant, first, last)
        if options["json"]:
            self.stdout.write(msgspec.json.encode(_as_json(tenant, first, last, report)).decode())
            return
        table: list[list[str]] = [["", *_SHOWN, "USD"]]
        for title, rows, label in (
            ("By day", report.days, "day"),
            ("By model", report.models, "model"),
            ("By key", report.keys, "name"),
        ):
            table += [[title], *(_line(str(row[label]) or "(none)", row) for row in rows), []]
        table.append(_line("Total", report.total))
        self.stdout.write("\n".join(_aligned(table)))
        if report.total["unpriced"]:
            self.stdout.write(f"{report.total['unpriced']} requests used a model without a price: not in the sum.")


def _day(name: str, text: str) -> date | None:
    try:
        return date.fromisoformat(text) if text else None
    except ValueError:
        raise CommandError(f"{name}={text} is not valid: it accepts a day, e.g. 2026-11-01.") from None


def _line(label: str, row: dict[str, Any]) -> list[str]:
    return [label, *(f"{row[column]:,}" for column in _SHOWN.values()), _usd(row["cost_nanos"])]


def _usd(nanos: int) -> str:
    return f"{nanos // 10**9}.{nanos % 10**9:09d}"


def _aligned(table: list[list[str]]) -> Iterable[str]:
    widths = [max(len(line[n]) for line in table if len(line) > n) for n in range(len(table[0]))]
    for line in table:
        first, rest = line[:1], line[1:]
        cells = [f"{cell:<{widths[0]}}" for cell in first]
        cells += [f"{cell:>{widths[n + 1]}}" for n, cell in enumerate(rest)]
        yield "  ".join(cells).rstrip()


def _as_json(tenant: Tenant, first: date | None, last: date | None, report: reports.UsageReport) -> dict[str, Any]:
    def plain(row: dict[str, Any]) -> dict[str, Any]:
        labels = {name: str(value) for name, value in row.items() if name in ("day", "model", "key", "name")}
        sums = {name: row[name] for name in (*COUNTED, *SUMMED) if name != "cost_nanos"}
        return {**labels, **sums, "cost_usd": _usd(row["cost_nanos"])}

    return {
        "tenant": tenant.slug,
        "since": first and first.isoformat(),
        "until": last and last.isoformat(),
        "total": plain(report.total),
        "days": [plain(row) for row in report.days],
        "models": [plain(row) for row in report.models],
        "keys": [plain(row) for row in report.keys],
    }
