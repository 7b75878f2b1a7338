"""`manage.py reencrypt`: after ENCRYPTION_KEYS gained a number, seals everything with the newest one."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import models

from tenants.encryption import Box, Unreadable
from tenants.models import KeptThinking, Payload, Replay, SecondFactor, UpstreamCredential

# Each in a column named `sealed`.
ENCRYPTED: tuple[type[models.Model], ...] = (UpstreamCredential, Replay, KeptThinking, Payload, SecondFactor)


class Command(BaseCommand):
    help = "Encrypts what is stored encrypted again, under the highest number of ENCRYPTION_KEYS."

    def handle(self, *args: Any, **options: Any) -> None:
        box, unreadable = Box(settings.ENCRYPTION_KEYS), 0
        for model in ENCRYPTED:
            done, lost = again(model, box)
            unreadable += lost
            name, newest = model._meta.verbose_name_plural, max(settings.ENCRYPTION_KEYS)
            self.stdout.write(f"{str(name).capitalize()}: {done} encrypted again with number {newest}.")
        if unreadable:
            raise CommandError(
                f"{unreadable} cannot be read with these keys: bring the old number back, or do without."
            )
        self.stdout.write("Everything is under the newest number: the older ones can go.")


def again(model: type[models.Model], box: Box) -> tuple[int, int]:
    """Seals with the newest key what an older one sealed; returns how many, and how many cannot be read."""
    done = lost = 0
    for pk, sealed in model._base_manager.filter(sealed__isnull=False).values_list("pk", "sealed").iterator():
        if box.is_current(sealed):
            continue
        try:
            renewed = box.renew(sealed)
        except Unreadable:
            lost += 1
            continue
        # Past the trail and the gate: the content is the same. If it was replaced meanwhile, `sealed` differs.
        row: models.QuerySet[Any] = models.QuerySet(model).filter(pk=pk, sealed=sealed)
        done += models.QuerySet.update(row, sealed=renewed)
    return done, lost
