"""What keys and tenants have in common: limits of their own, or the site's defaults."""

from __future__ import annotations

from django.conf import settings
from django.core.validators import MaxValueValidator
from django.db import models

from tenants.limits import MOST_RUNNING, Limit, Unit


class Limited(models.Model):
    """Columns for limits. Empty: the site's default; 0: no limit."""

    rpm = models.PositiveIntegerField(
        "requests per minute", null=True, blank=True, help_text="Empty: the site's default. 0: no limit."
    )
    tpm = models.PositiveIntegerField(
        "tokens per minute",
        null=True,
        blank=True,
        help_text="Input, what is written to the cache, and output. Empty: the site's default. 0: no limit.",
    )
    concurrency = models.PositiveIntegerField(
        "requests at once",
        null=True,
        blank=True,
        validators=[MaxValueValidator(MOST_RUNNING)],
        help_text="Empty: the site's default. 0: no limit.",
    )
    dark_limits = models.BooleanField(
        "only watch",
        default=False,
        help_text="Count, and note on the record what these limits would refuse, but refuse nothing.",
    )

    class Meta:
        abstract = True

    def own_limits(self, scope: str, subject: str) -> list[Limit]:
        """The limits that hold for it, its own or the site's."""
        defaults: dict[str, dict[Unit, int]] = settings.DEFAULT_LIMITS
        own = {Unit.REQUESTS: self.rpm, Unit.TOKENS: self.tpm, Unit.CONCURRENCY: self.concurrency}
        sizes = {unit: defaults[scope][unit] if size is None else size for unit, size in own.items()}
        dark = self.dark_limits or settings.LIMITS == "dark"
        return [Limit(scope, subject, unit, size, dark) for unit, size in sizes.items() if size]
