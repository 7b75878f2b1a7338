"""Every question the console asks of the tables: lists, searches, pages and counts. Admin classes hold none."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import connection
from django.db.models import (
    BooleanField,
    CharField,
    Count,
    Exists,
    ExpressionWrapper,
    Model,
    OuterRef,
    Q,
    QuerySet,
    Subquery,
)
from django.db.models.functions import Cast
from django.utils import timezone

from tenants import append_only, ids, pricing, seals, windows
from tenants.asks import Standing
from tenants.audit import Head, kind_of
from tenants.models import (
    ApiKey,
    AuditEvent,
    Budget,
    BudgetWindow,
    KeySecret,
    ModelAlias,
    ModelPrice,
    Payload,
    RequestRecord,
    Tenant,
    UpstreamCredential,
    UsageDay,
)
from tenants.money import PriceRow

# A public id, alone or inside a hint such as sk-bridge_live_AbCd1234…wxyz.
_HINT = re.compile(r"(?:sk-bridge_(?:live|test)_)?([0-9A-Za-z]{8})(?:(?:…|\.\.\.)[0-9A-Za-z]{4})?")
# A key with any part of its secret.
_WHOLE_KEY = re.compile(r"sk-bridge_(?:live|test)_([0-9A-Za-z]{8})[0-9A-Za-z]+")

_DELETABLE: dict[str, type[Model]] = {"alias": ModelAlias, "price": ModelPrice}  # what the trail may outlive, by kind
KEY_STATES = ("active", "suspended", "expired", "revoked")


# Keys and tenants


def without_secrets(text: str) -> str:
    """The text to search for: of a pasted key only the public id, which is all that a search needs."""
    pasted = _WHOLE_KEY.search(text)
    return pasted[1] if pasted else text


def with_last_use(keys: QuerySet[ApiKey]) -> QuerySet[ApiKey]:
    """The keys with their tenant, their secrets, and `last_used_at` over all of these."""
    used = KeySecret.objects.filter(key=OuterRef("pk"), last_used_at__isnull=False).order_by("-last_used_at")
    return (
        keys.select_related("tenant")
        .prefetch_related("secrets")
        .annotate(last_used_at=Subquery(used.values("last_used_at")[:1]))
    )


def keys_in_state(keys: QuerySet[ApiKey], state: str) -> QuerySet[ApiKey]:
    """The keys whose `status` is this one, found by the database (the same order of tests as ApiKey.status)."""
    expired = Q(expires_at__isnull=False, expires_at__lte=timezone.now())
    suspended = Q(tenant__suspended_at__isnull=False)
    conditions = {
        "revoked": Q(revoked_at__isnull=False),
        "expired": Q(revoked_at__isnull=True) & expired,
        "suspended": Q(revoked_at__isnull=True) & ~expired & suspended,
        "active": Q(revoked_at__isnull=True) & ~expired & ~suspended,
    }
    return keys.filter(conditions[state])


def find_keys(keys: QuerySet[ApiKey], text: str) -> QuerySet[ApiKey]:
    """By part of the name, or by exact public id, hint or whole key."""
    text = without_secrets(text.strip())
    if not text:
        return keys
    found = Q(name__icontains=text)
    if hint := _HINT.fullmatch(text):
        found |= Q(pk__in=KeySecret.objects.filter(public_id=hint[1]).values("key_id"))
    return keys.filter(found)


def with_key_counts(tenants: QuerySet[Tenant]) -> QuerySet[Tenant]:
    """The tenants, by name, with `key_count`: their keys that are not revoked."""
    return tenants.annotate(key_count=Count("keys", filter=Q(keys__revoked_at__isnull=True))).order_by("name")


def refusals(key: ApiKey, count: int = 10) -> list[RequestRecord]:
    """The last requests of a key that were refused, newest first."""
    return list(RequestRecord.objects.filter(key=key, state="refused").order_by("-pk")[:count])


def refused_credentials(credentials: QuerySet[UpstreamCredential]) -> list[UpstreamCredential]:
    """Tenants' own Anthropic keys that Anthropic does not take."""
    return list(credentials.filter(refused_at__isnull=False).select_related("tenant"))


def key_name(keys: QuerySet[ApiKey], key_id: UUID) -> str:
    return keys.filter(pk=key_id).values_list("name", flat=True).first() or str(key_id)


def tenant_choices(tenants: QuerySet[Tenant]) -> list[tuple[int, str]]:
    return list(tenants.values_list("pk", "name"))


# Requests


@dataclass(frozen=True)
class Page:
    """Some requests (or events), newest first, and whether there are more on either side."""

    rows: Sequence[Any]
    newer: bool
    older: bool
    newer_from: Any = None  # where the next page begins, if not at the first row or after the last one
    older_from: Any = None


def page(requests: QuerySet[Any], size: int, *, before: Any = None, after: Any = None) -> Page:
    """A page by id: as fast on the last one as on the first, and nothing is ever counted."""
    if after:
        rows = list(requests.filter(pk__gt=after).order_by("pk")[: size + 1])
        if len(rows) <= size:  # the newest page, filled up from below
            return page(requests, size)
        return Page(rows[size - 1 :: -1], newer=True, older=True)
    older = requests.filter(pk__lt=before) if before else requests
    rows = list(older.order_by("-pk")[: size + 1])
    return Page(rows[:size], newer=before is not None, older=len(rows) > size)


def since(requests: QuerySet[RequestRecord], age: timedelta) -> QuerySet[RequestRecord]:
    """Those admitted within this time: a range of ids, because ids begin with the time."""
    return requests.filter(pk__gte=ids.floor(timezone.now() - age))


def between_days(requests: QuerySet[RequestRecord], first: date | None, last: date | None) -> QuerySet[RequestRecord]:
    """Those of these UTC days, both included: a range of ids too."""
    found = requests.filter(pk__gte=ids.floor(seals.start(first))) if first else requests
    return found.filter(pk__lt=ids.floor(seals.start(last) + seals.ONE_DAY)) if last else found


def find_requests(requests: QuerySet[RequestRecord], text: str) -> QuerySet[RequestRecord]:
    """By exact request id, upstream id, end user or key hint: whatever an index answers, and nothing else."""
    text = without_secrets(text.strip())
    if not text:
        return requests
    if request_id := as_uuid(text):
        return requests.filter(pk=request_id)
    found = Q(upstream_id=text) | Q(end_user=text)
    if hint := _HINT.fullmatch(text):
        # Looked up first, so that the big table is asked for a key it has an index on.
        found |= Q(key_id__in=list(KeySecret.objects.filter(public_id=hint[1]).values_list("key_id", flat=True)))
    return requests.filter(found)


def with_names(requests: QuerySet[RequestRecord]) -> QuerySet[RequestRecord]:
    """The requests with their tenant and key, fetched beside them: a join would lose those whose key row is gone."""
    return requests.prefetch_related("tenant", "key")


def in_band(requests: QuerySet[RequestRecord], column: str, first: int, below: int | None) -> QuerySet[RequestRecord]:
    """Those whose number in this column is within the band; none of those that have no such number."""
    found = requests.filter(**{f"{column}__gte": first})
    return found if below is None else found.filter(**{f"{column}__lt": below})


def recent_models(days: QuerySet[UsageDay], count: int = 7) -> list[str]:
    """The models used in the last of these days: the records are too many to ask for their different ones."""
    recent = days.filter(day__gte=timezone.now().date() - timedelta(days=count)).exclude(model="")
    return list(recent.order_by("model").values_list("model", flat=True).distinct()[:200])


def neighbours(request: RequestRecord) -> tuple[UUID | None, UUID | None]:
    """The ids of this key's previous and next request."""
    same = RequestRecord.objects.filter(key_id=request.key_id)
    previous = same.filter(pk__lt=request.pk).order_by("-pk").values_list("pk", flat=True).first()
    following = same.filter(pk__gt=request.pk).order_by("pk").values_list("pk", flat=True).first()
    return previous, following


def has_payload(request: RequestRecord) -> bool:
    return Payload.objects.filter(pk=request.pk).exists()


def payload(request: RequestRecord) -> Payload | None:
    found: Payload | None = Payload.objects.filter(pk=request.pk, tenant=request.tenant_id).first()
    return found


def latest_requests(requests: QuerySet[RequestRecord], count: int = 10) -> list[RequestRecord]:
    return list(with_names(requests.order_by("-pk"))[:count])


def as_uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None


# Budgets


def with_sums(budgets: QuerySet[Budget]) -> QuerySet[Budget]:
    """The budgets with their tenant and key, and the sums of the newest window of each."""
    newest = BudgetWindow.objects.filter(budget=OuterRef("pk")).order_by("-first_day")
    columns = {f"newest_{name}": Subquery(newest.values(name)[:1]) for name in _SUMS}
    return budgets.select_related("tenant", "key__tenant").annotate(**columns)


_SUMS = ("first_day", "spent_nanos", "reserved_nanos")


def standing(budget: Budget) -> Standing:
    """How one of these stands now. Its newest window may be one that is over."""
    rule = budget.as_rule(budget.tenant.time_zone)
    first_day = windows.first_day(rule.window, timezone.now(), rule.time_zone)
    first, spent, held = (getattr(budget, f"newest_{name}") for name in _SUMS)
    spent, held = (spent, held) if first == first_day else (0, 0)
    return Standing(rule, first_day, budget.limit_nanos, spent, held)


def budgets_of(owner: Tenant | ApiKey) -> list[Budget]:
    """Those given to this tenant itself, or to this key itself."""
    return list(with_sums(owner.budgets.active().filter(**({"key": None} if isinstance(owner, Tenant) else {}))))


# Usage


@dataclass(frozen=True)
class UsageReport:
    """What a tenant used in these days: rows of sums (column → value, and the column they are by)."""

    total: dict[str, Any]
    days: list[dict[str, Any]]
    models: list[dict[str, Any]]
    keys: list[dict[str, Any]]


def usage(tenant: Tenant, first: date | None, last: date | None) -> UsageReport:
    """From the days' rollups: never a look at the records, which may have been pruned."""
    days = UsageDay.objects.filter(tenant=tenant).between(first, last)
    keys = days.summed("key")
    names = dict(ApiKey.objects.filter(pk__in=[row["key"] for row in keys]).values_list("pk", "name"))
    for row in keys:
        row["name"] = names.get(row["key"], "")
    return UsageReport(days.summed()[0], days.summed("day"), days.summed("model"), keys)


# Prices


def effective_prices(at: datetime) -> list[PriceRow]:
    """What every model costs at that moment, newest model first."""
    return pricing.effective(at)


# The audit trail


@dataclass(frozen=True)
class Chain:
    """Its state as far as it can be told at a glance: the newest row, what guards it, which requests it seals."""

    head: Head
    unguarded: list[str]
    sealed_through: date | None


def chain() -> Chain:
    return Chain(AuditEvent.objects.head(), append_only.missing(connection), seals.closed_through())


def history(obj: Model, count: int = 200) -> list[AuditEvent]:
    """What was done to a row, newest first."""
    return list(AuditEvent.objects.of(obj)[:count])


def audit_name(obj: Model) -> str:
    """The row as the audit page's filter names it."""
    return f"{kind_of(obj)}:{obj.pk}"


def with_pages(events: QuerySet[AuditEvent], kinds: Sequence[str]) -> QuerySet[AuditEvent]:
    """The events with `has_page`: whether each is about something of these kinds that is still there."""
    known: Any = Q(object_type__in=kinds) & ~Q(object_id="")
    for kind, model in _DELETABLE.items():  # of which there are few
        there = model._default_manager.annotate(text=Cast("pk", CharField())).filter(text=OuterRef("object_id"))
        known &= ~Q(object_type=kind) | Exists(there)
    return events.annotate(has_page=ExpressionWrapper(known, output_field=BooleanField()))


def find_events(events: QuerySet[AuditEvent], text: str) -> QuerySet[AuditEvent]:
    """By exact row number, person, address or object id."""
    text = text.strip()
    if not text:
        return events
    if number := as_number(text):
        return events.filter(seq=number)
    return events.filter(Q(actor_name=text) | Q(address=text) | Q(object_id=text))


def on_or_after(events: QuerySet[AuditEvent], day: date) -> QuerySet[AuditEvent]:
    return events.filter(at__gte=seals.start(day))


def until(events: QuerySet[AuditEvent], day: date) -> QuerySet[AuditEvent]:
    """That day included."""
    return events.filter(at__lt=seals.start(day) + seals.ONE_DAY)


def as_number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None


def as_day(text: str) -> date | None:
    try:
        day = date.fromisoformat(text)
    except ValueError:
        return None
    return day if 2000 <= day.year < 9999 else None


# The overview


@dataclass(frozen=True)
class Counts:
    """How much there is: what the overview's tiles say."""

    tenants: int
    suspended: int
    live_keys: int
    test_keys: int
    keys_ever: int

    @property
    def active_keys(self) -> int:
        return self.live_keys + self.test_keys


def counts(of_tenants: QuerySet[Tenant], of_keys: QuerySet[ApiKey]) -> Counts:
    tenants: dict[str, Any] = of_tenants.aggregate(all=Count("pk"), suspended=Count("suspended_at"))
    active = keys_in_state(of_keys, "active")
    keys = active.aggregate(live=Count("pk", filter=Q(mode="live")), test=Count("pk", filter=Q(mode="test")))
    return Counts(tenants["all"], tenants["suspended"], keys["live"], keys["test"], of_keys.count())
