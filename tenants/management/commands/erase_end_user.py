"""`manage.py erase_end_user TENANT ID`: makes one end user's records nobody's."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from tenants import retention
from tenants.models import Tenant


class Command(BaseCommand):
    help = "Erases what ties records to one end user of a tenant; counts and costs stay."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("tenant", help="the tenant's short name, e.g. acme")
        parser.add_argument("id", help="the user as the tenant's application names it (`user`, `safety_identifier`…)")

    def handle(self, *args: Any, **options: Any) -> None:
        tenant = Tenant.objects.filter(slug=options["tenant"]).first()
        if tenant is None:
            raise CommandError(f"There is no tenant {options['tenant']!r}.")
        if not options["id"]:
            raise CommandError("ID is not valid: it accepts the user's name in the tenant's requests.")
        try:
            count = retention.erase_end_user(tenant, options["id"])
        except retention.UnderLegalHold as error:
            raise CommandError(str(error)) from None
        self.stdout.write(f"Erased the end user from {count:,} records of {tenant.slug}.")
