"""`manage.py budgets`: how every budget stands; `--check` that each window's sum is that of its holds."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from tenants import reports
from tenants.models import Budget, BudgetWindow
from tenants.money import usd


class Command(BaseCommand):
    help = "Prints how the budgets stand, or checks that what they hold is what requests hold."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--check", action="store_true", help="compare each window with its holds; fails if one errs"
        )
        parser.add_argument("--repair", action="store_true", help="set what is held to the sum of the holds")

    def handle(self, *args: Any, **options: Any) -> None:
        if not (options["check"] or options["repair"]):
            self._print()
            return
        wrong = BudgetWindow.objects.out_of_step(repair=options["repair"])
        for window, held in wrong:
            self.stdout.write(
                f"{window.budget.tenant.slug}: {window}: says {usd(window.reserved_nanos)} held, holds: {usd(held)}"
            )
        if wrong and not options["repair"]:
            raise CommandError(f"{len(wrong)} windows do not agree with their holds; --repair sets them right.")
        self.stdout.write(f"{len(wrong)} repaired." if wrong else "Every window agrees with its holds.")

    def _print(self) -> None:
        for budget in reports.with_sums(Budget.objects.active()):
            standing = reports.standing(budget)
            whose = f"{budget.tenant.slug} / {budget.key.name}" if budget.key else budget.tenant.slug
            self.stdout.write(
                f"{whose}: {budget.window}: {usd(standing.spent)} spent, {usd(standing.held)} held of "
                f"{usd(standing.limit)} USD"
            )
