"""`manage.py audit_verify`: whether the audit trail, and the records sealed in it, are as they were written."""

from __future__ import annotations

import re
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from tenants.audit import Head
from tenants.verification import MAX_FINDINGS, verify


class Command(BaseCommand):
    help = "Verifies the audit trail and the sealed records; exit code 1 if something was changed."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--anchor",
            action="append",
            default=[],
            metavar="SEQ:HASH",
            help="a head that was kept elsewhere (each is in the log): finds a trail that was cut or written anew",
        )
        parser.add_argument("--chain-only", action="store_true", help="the trail alone, not the sealed records")

    def handle(self, *args: Any, **options: Any) -> None:
        verdict = verify([_anchor(text) for text in options["anchor"]], records=not options["chain_only"])
        for name in verdict.unguarded:
            self.stderr.write(f"The trigger {name} is missing: rows can be changed.")
        for finding in verdict.records:
            self.stderr.write(f"Records of {finding}.")
        if len(verdict.records) == MAX_FINDINGS:
            self.stderr.write("And perhaps more: stopped here.")
        if verdict.broken:
            raise CommandError(f"The trail is broken: {verdict.broken}. It holds up to row {verdict.head.seq}.")
        sealed = "" if options["chain_only"] else f", {verdict.sealed_days} sealed days of records"
        self.stdout.write(f"Rows verified: {verdict.rows}{sealed}. Head: {verdict.head}")
        if not verdict.holds:
            raise CommandError("The trail holds, but not all that it tells of: see above.")


def _anchor(text: str) -> Head:
    if not (match := re.fullmatch(r"(\d{1,18}):([0-9a-f]{64})", text)):
        raise CommandError(f"--anchor={text} is not valid: it accepts SEQ:HASH, as audit_verify and the log print it.")
    return Head(int(match[1]), match[2])
