"""How long payloads are kept: as many days as their tenant and key say, never longer than their records."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from uuid import UUID

from django.db import transaction
from django.db.models import Q, QuerySet

from tenants import audit, ids
from tenants.audit import AuditEvent
from tenants.models import ApiKey, Payload, Tenant
from tenants.retention import BATCH_ROWS, PAUSE_SECONDS


def prune(
    default_days: int | None,
    *,
    now: datetime | None = None,
    dry_run: bool = False,
    stop: Callable[[], bool] = lambda: False,
) -> dict[str, int]:
    """Deletes the payloads whose days are over, except under legal hold; returns how many by tenant (short name).

    Every batch is told of on the audit trail, in the transaction that deletes it: how many, and from when to when.
    """
    now = now or datetime.now(UTC)
    pruned: dict[str, int] = {}
    for tenant in Tenant.objects.filter(held_at=None).order_by("slug"):
        past = Payload.objects.filter(_over(tenant, default_days, now), tenant=tenant)
        counts = iter([past.count()]) if dry_run else _delete(tenant, past)
        for count in counts:
            if count:
                pruned[tenant.slug] = pruned.get(tenant.slug, 0) + count
            if stop():
                return pruned
    return pruned


def _over(tenant: Tenant, default_days: int | None, now: datetime) -> Q:
    """Those past the tenant's days, and those past their key's own."""
    records = default_days if tenant.retention_days is None else tenant.retention_days
    over = _older(min(tenant.capture_days, records or tenant.capture_days), now)
    own = ApiKey.objects.filter(tenant=tenant, capture_days__lt=tenant.capture_days)
    for key, days in own.values_list("pk", "capture_days"):
        over |= Q(key_id=key) & _older(days, now)
    return over


def _older(days: int, now: datetime) -> Q:
    return Q(pk__lt=ids.floor(now - timedelta(days=days)))


def _delete(tenant: Tenant, past: QuerySet[Payload]) -> Iterator[int]:
    """Batch by batch, oldest first, until there is nothing left or a hold is placed."""
    while True:
        with transaction.atomic():
            audit.lock()
            if Tenant.objects.select_for_update(no_key=True).filter(pk=tenant.pk, held_at=None).first() is None:
                return
            some: list[UUID] = list(past.order_by("pk").values_list("pk", flat=True)[:BATCH_ROWS])
            if some:
                Payload.objects.filter(pk__in=some).delete()
                told = {"count": len(some), "from": _moment(some[0]), "through": _moment(some[-1])}
                AuditEvent.objects.append("payload.pruned", tenant, after=told)
        yield len(some)
        if len(some) < BATCH_ROWS:
            return
        time.sleep(PAUSE_SECONDS)


def _moment(pk: UUID) -> str:
    return ids.moment(pk).isoformat()
