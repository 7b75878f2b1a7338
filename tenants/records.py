"""What happened: one row per inference request, and how rows are written so that a replay changes nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from django.db import models
from django.db.models import Q
from django.db.models.base import ModelState

from tenants import bulk, ids
from tenants.values import OPEN_STATES, State, UsageSource

MODES = [("live", "live"), ("test", "test (sandbox, never costs money)")]
USAGE_SOURCES = [(source.value, source.value) for source in UsageSource]
STATES = [(state.value, state.value) for state in State]
IS_OPEN = Q(state__in=[state.value for state in OPEN_STATES])


class RequestRecordQuerySet(models.QuerySet["RequestRecord"]):
    def write(self, rows: Iterable[Mapping[str, Any]]) -> list[RequestRecord]:
        """Writes rows (column → value, `id` among them) so that replaying them changes nothing.

        Returns the records that became final now. An open record is completed by its final row; a final one stays.
        """
        records = {row["id"]: from_columns(row) for row in rows}
        known = dict(self.filter(pk__in=records).values_list("pk", "state"))
        new = [record for pk, record in records.items() if pk not in known]
        changed = [record for pk, record in records.items() if known.get(pk) in OPEN_STATES]
        bulk.insert(map(vars, new), self.model)
        bulk.update(map(vars, changed), self.model)
        return [record for record in (*new, *changed) if record.state not in OPEN_STATES]


def from_columns(row: Mapping[str, Any]) -> RequestRecord:
    """A record of these columns and defaults, put together as Django's own constructor does, at a tenth of the cost:
    every request's row comes through here."""
    record = RequestRecord.__new__(RequestRecord)
    record._state = ModelState()
    record.__dict__.update(_DEFAULTS, **row)
    return record


class RequestRecord(models.Model):
    """One inference request of an identified key, whatever became of it.

    Rows come from the journal in batches and outlive what they point at, so their foreign keys are not enforced by the
    database: a record is never refused because of a row it names. PostgreSQL partitions the table by month of id.
    """

    id = models.UUIDField(primary_key=True, default=ids.uuid7, editable=False, help_text="The x-request-id.")
    tenant = models.ForeignKey(
        "tenants.Tenant", models.PROTECT, db_constraint=False, db_index=False, related_name="requests"
    )
    key = models.ForeignKey(
        "tenants.ApiKey", models.PROTECT, db_constraint=False, db_index=False, related_name="requests"
    )
    key_hint = models.CharField(max_length=40)
    mode = models.CharField(max_length=4, choices=MODES)
    count = models.PositiveIntegerField(default=1, help_text="Over 1: refusals of one second, recorded together.")

    state = models.CharField(max_length=12, choices=STATES)
    status = models.PositiveSmallIntegerField(default=0, help_text="The HTTP status sent; 499: the client had gone.")
    error_code = models.CharField(max_length=64, blank=True)
    refusal = models.JSONField(null=True, blank=True)
    stop_reason = models.CharField(max_length=40, blank=True)

    dialect = models.CharField(max_length=16)
    streamed = models.BooleanField(default=False)
    alias = models.CharField(max_length=200, blank=True, help_text="The model the client asked for.")
    model = models.CharField(max_length=200, blank=True, help_text="The model it was resolved to.")
    receipt = models.TextField(blank=True, help_text="What was adapted, emulated or ignored.")
    # Null, not empty, where there is none: SQLite uses an index on what is not null, never one on what is not empty.
    end_user = models.CharField(max_length=128, null=True, blank=True, help_text="The client's own user, hashed.")
    tags = models.JSONField(null=True, blank=True)
    replay_of = models.UUIDField(
        null=True, blank=True, help_text="The request whose kept answer was given again (Idempotency-Key)."
    )

    captured = models.BooleanField(default=False, help_text="Its payload was to be kept (docs/capture.md).")

    upstream_id = models.CharField(max_length=80, null=True, blank=True, help_text="Anthropic's request-id.")
    message_id = models.CharField(max_length=80, blank=True)
    attempts = models.PositiveSmallIntegerField(default=0)
    service_tier = models.CharField(max_length=16, blank=True)

    input_tokens = models.BigIntegerField(default=0)
    cache_write_5m_tokens = models.BigIntegerField(default=0)
    cache_write_1h_tokens = models.BigIntegerField(default=0)
    cache_read_tokens = models.BigIntegerField(default=0)
    output_tokens = models.BigIntegerField(default=0)
    reasoning_tokens = models.BigIntegerField(default=0)
    web_searches = models.PositiveIntegerField(default=0)
    usage_source = models.CharField(max_length=10, choices=USAGE_SOURCES, blank=True)
    cost_nanos = models.BigIntegerField(null=True, blank=True, help_text="Nano-dollars; empty: not priced.")
    held_nanos = models.BigIntegerField(
        null=True, blank=True, help_text="Held of its budgets until it was final; a higher cost overshot them."
    )
    cost_lines = models.JSONField(null=True, blank=True)

    queue_us = models.BigIntegerField(null=True, blank=True, help_text="Microseconds until it was sent upstream.")
    first_token_us = models.BigIntegerField(null=True, blank=True)
    total_us = models.BigIntegerField(null=True, blank=True)

    remote_address = models.GenericIPAddressField(null=True, blank=True)
    user_agent = models.CharField(max_length=200, blank=True)
    client_retry = models.PositiveSmallIntegerField(default=0, help_text="x-stainless-retry-count.")

    objects = models.Manager.from_queryset(RequestRecordQuerySet)()

    class Meta:
        ordering = ["-id"]
        verbose_name = "request"
        permissions = [("export_requestrecord", "Can export requests")]
        indexes = [
            models.Index(fields=["tenant", "-id"], name="record_tenant"),
            models.Index(fields=["key", "-id"], name="record_key"),
            models.Index(fields=["model", "-id"], name="record_model"),
            models.Index(fields=["upstream_id"], name="record_upstream", condition=Q(upstream_id__isnull=False)),
            models.Index(fields=["end_user", "-id"], name="record_end_user", condition=Q(end_user__isnull=False)),
            models.Index(fields=["key", "-id"], name="record_refused", condition=Q(state=State.REFUSED.value)),
            models.Index(
                fields=["state", "-id"],
                name="record_open",
                condition=IS_OPEN,
            ),
        ]

    def __str__(self) -> str:
        return str(self.pk)

    @property
    def at(self) -> datetime:
        return ids.moment(self.pk)

    @property
    def total(self) -> timedelta | None:
        return timedelta(microseconds=self.total_us) if self.total_us is not None else None


RECORD_COLUMNS = tuple(field.attname for field in RequestRecord._meta.concrete_fields)
_DEFAULTS = {
    field.attname: None if field.is_relation else field.get_default() for field in RequestRecord._meta.concrete_fields
}
