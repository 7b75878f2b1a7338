"""`manage.py remove_second_factor USERNAME`: for whoever lost theirs and has nobody in the console to ask."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from tenants.models import User


class Command(BaseCommand):
    help = "Removes somebody's second factor: their password alone signs them in, until they set up another."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("username")
        parser.add_argument("--reason", default="", help="why, for the audit trail")

    def handle(self, *args: Any, **options: Any) -> None:
        person = User.objects.filter(username=options["username"]).first()
        if person is None:
            raise CommandError(f"There is nobody called {options['username']}.")
        if person.factor is None:
            raise CommandError(f"{person} has no second factor.")
        person.factor.delete(reason=options["reason"] or "removed on the command line")
        self.stdout.write(f"Removed the second factor of {person}.")
