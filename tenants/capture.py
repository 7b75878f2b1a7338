"""What tenants and keys say about keeping payloads: off, errors, a sample or all, for how long, without what."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models

from tenants import patterns
from tenants.values import Capture

if TYPE_CHECKING:
    from tenants.models import ApiKey, Tenant


class Level(StrEnum):
    OFF = "off"
    ERRORS = "errors"
    SAMPLED = "sampled"
    FULL = "full"


LABELS = [
    (str(Level.OFF), "Nothing"),
    (str(Level.ERRORS), "Requests without a whole answer"),
    (str(Level.SAMPLED), "A sample of all"),
    (str(Level.FULL), "All requests"),
]
FIELDS = ("capture", "capture_percent", "capture_days", "capture_redactions")

TENANT_WORDS = (
    "What clients send and what they are sent is kept only if you say so here: encrypted, for its own time, and shown "
    "to nobody but auditors with that right, who give a reason. Of every request the record is kept anyway: who, when, "
    "which model, tokens, cost."
)
KEY_WORDS = (
    "A payload is kept only if the tenant's policy and the key's both say so: here a key can keep less than its "
    "tenant does, for a shorter time, never more. The tenant's patterns are replaced in any case."
)

_ONE_TO_A_HUNDRED = [MinValueValidator(1), MaxValueValidator(100)]
DAYS_VALIDATORS = [MinValueValidator(1), MaxValueValidator(36_500)]


class Capturing(models.Model):
    """The part of the policy that tenants and keys have alike."""

    capture: models.CharField[str, str]
    capture_percent = models.PositiveSmallIntegerField(
        "sample", default=10, validators=_ONE_TO_A_HUNDRED, help_text="Of a hundred requests, where a sample is kept."
    )
    capture_redactions = models.TextField(
        "replaced first",
        blank=True,
        validators=[patterns.check],
        help_text="Regular expressions (RE2), one per line: what matches becomes [redacted] before anything is kept.",
    )

    class Meta:
        abstract = True

    @property
    def percent(self) -> int:
        return self.capture_percent if self.capture == Level.SAMPLED else 100


def policy(tenant: Tenant, key: ApiKey) -> Capture | None:
    """What both say together: a payload is kept only where each of them would keep it."""
    levels = {tenant.capture, key.capture}
    if Level.OFF in levels:
        return None
    both = (*patterns.read(tenant.capture_redactions), *patterns.read(key.capture_redactions))
    return Capture(min(tenant.percent, key.percent), Level.ERRORS in levels, tuple(dict.fromkeys(both)))
