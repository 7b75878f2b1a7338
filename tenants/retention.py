"""How long the record is kept: pruning by each tenant's retention, and erasing one end user.

Rows go in small transactions, so that requests keep being recorded meanwhile. Each of them asks again whether the
tenant is under legal hold. The days' sums (`UsageDay`) stay: they hold money and counts, and nobody's content.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from uuid import UUID

from django.db import transaction
from django.db.models import QuerySet

from tenants import audit, ids, partitions, seals
from tenants.audit import AuditEvent
from tenants.models import KeptThinking, Payload, Replay, RequestRecord, Tenant
from tenants.pseudonym import pseudonym
from tenants.records import IS_OPEN
from tenants.vault import FORGET_ROWS

log = logging.getLogger(__name__)

BATCH_ROWS = 500
PAUSE_SECONDS = 0.02  # between batches, so that a ledger that waits for SQLite's only lock gets it


class UnderLegalHold(Exception):
    """Nothing of this tenant may be removed."""


@dataclass(slots=True)
class Pruned:
    """What went, or would go: records by tenant (short name → count), months dropped whole, tenants left alone."""

    records: dict[str, int] = field(default_factory=dict)
    months: list[str] = field(default_factory=list)
    held: list[str] = field(default_factory=list)

    @property
    def total(self) -> int:
        return sum(self.records.values())

    def add(self, tenant: Tenant, count: int) -> None:
        if count:
            self.records[tenant.slug] = self.records.get(tenant.slug, 0) + count


def prune(
    default_days: int | None,
    *,
    now: datetime | None = None,
    dry_run: bool = False,
    stop: Callable[[], bool] = lambda: False,
) -> Pruned:
    """Deletes the final records that no retention covers any more. `stop` is asked between batches."""
    now = now or datetime.now(UTC)
    pruned = Pruned()
    tenants = list(Tenant.objects.order_by("slug"))
    pruned.held = [tenant.slug for tenant in tenants if tenant.held_at]
    ends = {tenant: end for tenant in tenants if (end := _end(tenant, default_days, now)) and not tenant.held_at}
    if not dry_run:
        while KeptThinking.objects.forget() >= FORGET_ROWS and not stop():
            pass
        _drop_months(tenants, ends, pruned)
    for tenant, end in ends.items():
        if dry_run:
            pruned.add(tenant, _past(tenant, end).count())
            continue
        for count in _delete(tenant, end):
            pruned.add(tenant, count)
            if stop():
                return pruned
    return pruned


def erase_end_user(tenant: Tenant, end_user: str) -> int:
    """Makes an end user's records nobody's: pseudonym, address and client software go; what it cost stays. Answers
    kept for replay and kept thinking are deleted.

    Their payloads are deleted, too, and counted on the audit trail. Returns how many records it was. Raises
    UnderLegalHold.
    """
    known_as = pseudonym(tenant.pk, end_user)
    with transaction.atomic():
        audit.lock()
        _refuse_held(tenant)
        payloads = Payload.objects.filter(tenant=tenant, end_user=known_as).delete()[0]
        if payloads:
            AuditEvent.objects.append("payload.erased", tenant, after={"count": payloads, "end_user": known_as})
        Replay.objects.filter(tenant=tenant, end_user=known_as).delete()
        KeptThinking.objects.filter(tenant=tenant, end_user=known_as).delete()
    count = 0
    while found := _erase_some(tenant, known_as):
        count += found
    return count


def _erase_some(tenant: Tenant, known_as: str) -> int:
    """Those of the first day that has any: a sealed day is signed anew with the change."""
    with transaction.atomic():
        audit.lock()
        _refuse_held(tenant)
        rows = RequestRecord.objects.filter(tenant=tenant, end_user=known_as)
        if (first := rows.order_by("pk").values_list("pk", flat=True).first()) is None:
            return 0
        some = rows.filter(seals.of_day(day := ids.moment(first).date()))
        return seals.reseal(
            tenant.pk,
            day,
            lambda: some.update(end_user=None, remote_address=None, user_agent=""),
            "one end user was erased",
        )


def _end(tenant: Tenant, default_days: int | None, now: datetime) -> datetime | None:
    """The moment before which its records are no longer kept; None: for ever."""
    days = default_days if tenant.retention_days is None else tenant.retention_days
    # Whole days (UTC): the audit trail has one digest of each, and what goes has to be what a digest was of.
    return seals.start((now - timedelta(days=days)).date()) if days else None


def _past(tenant: Tenant, end: datetime) -> QuerySet[RequestRecord]:
    return RequestRecord.objects.filter(tenant=tenant, pk__lt=ids.floor(end)).exclude(IS_OPEN)


def _delete(tenant: Tenant, end: datetime) -> Iterator[int]:
    """Batch by batch, oldest first, until there is nothing left or a hold is placed."""
    day: date | None = None
    try:
        while True:
            with transaction.atomic():
                audit.lock()
                try:
                    _refuse_held(tenant)
                except UnderLegalHold:
                    return
                some: list[UUID] = list(_past(tenant, end).order_by("pk").values_list("pk", flat=True)[:BATCH_ROWS])
                for day in sorted({ids.moment(pk).date() for pk in some}):
                    seals.tell_pruned(tenant.pk, day)
                RequestRecord.objects.filter(pk__in=some).delete()
            yield len(some)
            if len(some) < BATCH_ROWS:
                return
            time.sleep(PAUSE_SECONDS)
    finally:
        if day is not None:
            seals.seal_rest(tenant.pk, day)


def _refuse_held(tenant: Tenant) -> None:
    """Raises UnderLegalHold. Locks the tenant's row: a hold comes before or after this transaction, not in between."""
    if Tenant.objects.select_for_update(no_key=True).filter(pk=tenant.pk, held_at=None).first() is None:
        raise UnderLegalHold(f"{tenant.slug} is under legal hold: nothing of it is removed.")


def _drop_months(tenants: list[Tenant], ends: dict[Tenant, datetime], pruned: Pruned) -> None:
    """Drops whole the months of which nobody retains anything: milliseconds where rows would take hours."""
    slugs = {tenant.pk: tenant.slug for tenant in tenants}
    for month in partitions.months():
        leavers = {tenant.pk for tenant, end in ends.items() if end >= month.end}
        counts = month.counts()
        if not counts.keys() <= leavers | {pk for pk in counts if pk not in slugs}:
            continue
        with transaction.atomic():
            audit.lock()
            # All locked: nobody of them comes under legal hold while the month goes.
            held = {pk for pk, at in Tenant.objects.select_for_update(no_key=True).values_list("pk", "held_at") if at}
            if held & counts.keys():
                continue
            nothing_told = transaction.savepoint()
            for pk in counts:
                seals.tell_pruned_between(pk, (month.end - timedelta(days=1)).replace(day=1), month.end)
            if not month.drop(keepers=sorted(slugs.keys() - leavers | held)):
                transaction.savepoint_rollback(nothing_told)
                continue
        pruned.months.append(month.name)
        for pk, count in counts.items():
            slug = slugs.get(pk, str(pk))
            pruned.records[slug] = pruned.records.get(slug, 0) + count
