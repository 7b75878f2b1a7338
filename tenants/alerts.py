"""The outbox of alerts: who is to hear that a budget reached 50, 80 or 100 %. Decided with the settlement, sent later
(alert_sender.py)."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import models
from django.db.models import F
from django.utils import timezone

if TYPE_CHECKING:
    from tenants.spending import BudgetWindow

THRESHOLDS = (50, 80, 100)  # percent
MOST_EMAILS = 20
CLAIM_SECONDS = 60  # for whoever took one to send it
BACKOFF_SECONDS = (10, 60, 300, 1800, 7200, 21600, 43200)  # between tries; after the last one it has failed


def threshold_reached(spent_nanos: int, limit_nanos: int) -> int:
    """The highest threshold that this much of a limit is at or over, in percent; 0: none."""
    return max((t for t in THRESHOLDS if spent_nanos * 100 >= limit_nanos * t), default=0) if limit_nanos else 0


class AlertQuerySet(models.QuerySet["Alert"]):
    def raise_for(self, window: BudgetWindow) -> None:
        """Puts alerts out for the highest threshold that this window has reached, once. Its row is locked by us."""
        limit = window.budget.limit_nanos
        reached = threshold_reached(window.spent_nanos, limit)
        if reached <= window.alerted:
            return
        type(window).objects.filter(pk=window.pk).update(alerted=reached)
        self.bulk_create(
            self.model(window=window, threshold=reached, spent_nanos=window.spent_nanos, limit_nanos=limit,
                       channel=channel, target=target)
            for channel, target in _targets(window.budget.tenant)
        )  # fmt: skip

    def claim(self, most: int = 10) -> list[Alert]:
        """Some that are due, for this worker alone to send now."""
        now = timezone.now()
        mine = []
        for alert in self.filter(sent_at=None, due_at__lte=now).order_by("due_at")[:most]:
            until = now + timedelta(seconds=CLAIM_SECONDS)
            if self.filter(pk=alert.pk, due_at=alert.due_at).update(due_at=until, attempts=F("attempts") + 1):
                mine.append(alert.pk)
        return list(self.filter(pk__in=mine).select_related("window__budget__tenant", "window__budget__key"))

    def sent(self, pk: int) -> None:
        self.filter(pk=pk).update(sent_at=timezone.now(), due_at=None, problem="")

    def put_off(self, pk: int, attempts: int, problem: str) -> None:
        """It could not be sent: later again, or never."""
        due = None
        if attempts <= len(BACKOFF_SECONDS):
            due = timezone.now() + timedelta(seconds=BACKOFF_SECONDS[attempts - 1])
        self.filter(pk=pk).update(due_at=due, problem=problem[:200])


class Alert(models.Model):
    """One message to one place: this window of a budget has reached this threshold."""

    WEBHOOK, EMAIL = "webhook", "email"

    window = models.ForeignKey("tenants.BudgetWindow", models.CASCADE, related_name="alerts")
    threshold = models.PositiveSmallIntegerField()
    spent_nanos = models.BigIntegerField()
    limit_nanos = models.BigIntegerField()
    channel = models.CharField(max_length=7, choices=[(WEBHOOK, WEBHOOK), (EMAIL, EMAIL)])
    target = models.CharField(max_length=500)
    created_at = models.DateTimeField(default=timezone.now)
    due_at = models.DateTimeField(null=True, default=timezone.now, db_index=True, help_text="Empty: sent, or given up.")
    attempts = models.PositiveSmallIntegerField(default=0)
    sent_at = models.DateTimeField(null=True)
    problem = models.CharField(max_length=200, blank=True)

    objects = models.Manager.from_queryset(AlertQuerySet)()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["window", "threshold", "channel", "target"], name="alert_of_window")
        ]

    def __str__(self) -> str:
        return f"{self.threshold} % of {self.window}"


def check_emails(text: str) -> None:
    """Raises ValidationError."""
    emails = text.split()
    if len(emails) > MOST_EMAILS:
        raise ValidationError(f"{MOST_EMAILS} addresses at most.")
    for email in emails:
        validate_email(email)


def check_webhook(url: str) -> None:
    """Raises ValidationError for what would never be sent. Where its name leads is looked at when it is."""
    try:
        parts = urlsplit(url)
        allowed = ("https", "http") if settings.ALERT_PRIVATE_NETWORKS else ("https",)
        valid = parts.scheme in allowed and bool(parts.hostname) and not parts.username and (parts.port or 1) > 0
    except ValueError:
        valid = False
    if not valid:
        raise ValidationError("An https address without a password in it.")


def _targets(tenant: Any) -> list[tuple[str, str]]:
    """Where this tenant's alerts go: its own places, else the site's."""
    webhook = tenant.alert_webhook or settings.ALERT_WEBHOOK
    emails = tenant.alert_emails.split() or settings.ALERT_EMAILS
    return [(Alert.EMAIL, email) for email in dict.fromkeys(emails)] + ([(Alert.WEBHOOK, webhook)] if webhook else [])
