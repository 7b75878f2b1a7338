"""`manage.py issue_key TENANT NAME`: prints a new key, alone on the last line of stdout."""

from __future__ import annotations

from argparse import ArgumentTypeError
from collections.abc import Callable
from typing import Any, TypeVar

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import transaction
from django.utils import timezone
from django.utils.text import slugify

from tenants.capture import Level
from tenants.limits import MOST, MOST_RUNNING
from tenants.management.reading import duration
from tenants.models import ApiKey, Budget, Issued, Tenant
from tenants.money import to_nanos
from tenants.networks import read_all as read_networks
from tenants.spending import MOST_NANOS
from tenants.tags import read_all as read_tags
from tenants.values import Mode
from tenants.windows import WINDOWS

T = TypeVar("T")


class Command(BaseCommand):
    help = "Issues a virtual key; the tenant is created if it is missing."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("tenant", help="the tenant's short name, e.g. acme")
        parser.add_argument("name", help='what the key is for, e.g. "support bot"')
        parser.add_argument("--test", action="store_true", help="a key that answers from the sandbox and never costs")
        parser.add_argument(
            "--idempotent", action="store_true", help="heed Idempotency-Key: answers are kept for a day"
        )
        parser.add_argument("--models", default="", metavar="A,B", help="the models it may use (default: all)")
        parser.add_argument("--rpm", type=_up_to(MOST), metavar="N", help="requests per minute (0: no limit)")
        parser.add_argument("--tpm", type=_up_to(MOST), metavar="N", help="tokens per minute (0: no limit)")
        parser.add_argument(
            "--concurrency", type=_up_to(MOST_RUNNING), metavar="N", help="requests at once (0: no limit)"
        )
        parser.add_argument(
            "--budget", type=_budget, action="append", default=[], metavar="USD:WINDOW",
            help="the most it may spend per day, week, month or in total, e.g. 25.50:month; as many as you like",
        )  # fmt: skip
        parser.add_argument("--expires", default="", metavar="30d", help="when it ends: a number and m, h, d or w")
        parser.add_argument(
            "--allow-ip", action="append", default=[], metavar="CIDR", help="where it may be used from (repeatable)"
        )
        parser.add_argument(
            "--tag", action="append", default=[], metavar="NAME=VALUE", help="copied to its records (repeatable)"
        )
        parser.add_argument(
            "--capture", choices=list(Level), default=Level.FULL, metavar="LEVEL",
            help="less of its payloads than its tenant keeps: off, errors or sampled (default: as its tenant)",
        )  # fmt: skip
        parser.add_argument("--note", default="", help="who holds it, where it is deployed")

    def handle(self, *args: Any, **options: Any) -> None:
        rights = {
            "expires_at": timezone.now() + duration("--expires", options["expires"]) if options["expires"] else None,
            "networks": _read("--allow-ip", read_networks, options["allow_ip"]),
            "tags": _read("--tag", read_tags, options["tag"]),
        }
        if options["test"] and options["budget"]:
            raise CommandError("--budget is not for a test key: it costs nothing.")
        slug = slugify(options["tenant"])[:60]
        if not slug:
            raise CommandError(f"TENANT={options['tenant']!r} is not valid: it accepts letters, digits and hyphens.")
        tenant, created = Tenant.objects.get_or_create(slug=slug, defaults={"name": options["tenant"][:120]})
        if created:
            self.stderr.write(f"Created the tenant {slug}.")
        with transaction.atomic():
            issued = _issue(tenant, rights, options)
            for window, limit_nanos in options["budget"]:
                Budget.objects.give(issued.row, window, limit_nanos, by="manage.py")
        self.stderr.write(f"Issued {issued.row.pk}. The key is shown only now:")
        self.stdout.write(issued.key.text)


def _issue(tenant: Tenant, rights: dict[str, Any], options: dict[str, Any]) -> Issued:
    issued: Issued = ApiKey.objects.issue(
        tenant,
        options["name"][:120],
        peppers=settings.KEY_PEPPERS,
        mode=Mode.TEST if options["test"] else Mode.LIVE,
        allowed_models=[name.strip() for name in options["models"].split(",") if name.strip()],
        rpm=options["rpm"],
        tpm=options["tpm"],
        concurrency=options["concurrency"],
        idempotent=options["idempotent"],
        capture=str(options["capture"]),
        note=options["note"],
        by="manage.py",
        **rights,
    )
    return issued


def _up_to(most: int) -> Callable[[str], int]:
    def count(text: str) -> int:
        if not (text.isascii() and text.isdigit() and int(text) <= most):
            raise ArgumentTypeError(f"{text} is not valid: it accepts a whole number up to {most}, 0 for no limit.")
        return int(text)

    return count


def _budget(text: str) -> tuple[str, int]:
    amount, _, window = text.partition(":")
    try:
        limit_nanos = to_nanos(amount)
    except ValueError:
        limit_nanos = MOST_NANOS + 1
    if window not in WINDOWS or limit_nanos > MOST_NANOS:
        accepts = f"dollars and one of {', '.join(WINDOWS)}, e.g. 25.50:month"
        raise ArgumentTypeError(f"{text} is not valid: it accepts {accepts}.")
    return window, limit_nanos


def _read(option: str, read: Callable[[list[str]], T], texts: list[str]) -> T:
    try:
        return read(texts)
    except ValueError as error:
        raise CommandError(f"{option}: {error}") from None
