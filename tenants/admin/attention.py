"""What needs attention, in words, each with the page on which something can be done about it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db.models import Model
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from tenants import pricing
from tenants import reports_attention as reports
from tenants.admin import connect, shown
from tenants.admin.scoping import mine, scope_of
from tenants.models import ApiKey, BudgetWindow, RequestRecord, UpstreamCredential, UsageDay
from tenants.reports import refused_credentials


@dataclass(frozen=True)
class Need:
    """One line: how bad (`tone`: wait or bad), what, and where to go."""

    tone: str
    what: SafeString | str
    then: str = ""
    url: str = ""
    link: str = ""


Rows = Callable[[type[Model]], Any]  # of a model, those that this person may see
SHOWN_KEYS = 3  # by name; the others are counted


def needs(request: HttpRequest) -> list[Need]:
    """Whatever of the checks applies and this person may know of, the worst first."""
    now = timezone.now()
    may = request.user.has_perm
    found = [
        need
        for permission, check in CHECKS
        if may(permission)
        for need in check(now, partial(_mine, request, permission))
    ]
    found += [
        need
        for permission, site_check in SITE_CHECKS
        if scope_of(request, permission).everything
        for need in site_check(now)
    ]
    return sorted(found, key=lambda need: need.tone != "bad")


def _mine(request: HttpRequest, permission: str, model: type[Model]) -> Any:
    return mine(request, model, permission)


def _no_upstream(now: datetime, rows: Rows) -> Iterator[Need]:
    upstream = connect.upstream()
    if upstream.tone != "good":
        yield Need(upstream.tone, format_html("<strong>{}.</strong> {}", upstream.title, upstream.text))


def _credentials(now: datetime, rows: Rows) -> Iterator[Need]:
    for credential in refused_credentials(rows(UpstreamCredential)):
        what = format_html(
            "<strong>Anthropic refuses the key of {}</strong> ({}) since {}.",
            credential.tenant, credential.hint, shown.stamp(credential.refused_at),
        )  # fmt: skip
        url = reverse("admin:tenants_tenant_change", args=(credential.tenant_id,))
        then = "Its live requests get 503. Replace the key on the tenant’s page."
        yield Need("bad", what, then, url, "The tenant")


def _errors(now: datetime, rows: Rows) -> Iterator[Need]:
    if spike := reports.error_spike(rows(UsageDay), now):
        what = (
            f"{spike.today:.1%} of today’s requests failed ({spike.errors:,}), {spike.before:.1%} in the week before."
        )
        yield Need(
            "bad", format_html("<strong>Errors.</strong> {}", what), "", _requests("state=failed"), "Look at them"
        )


def _load(now: datetime, rows: Rows) -> Iterator[Need]:
    away = reports.turned_away(rows(RequestRecord), now)
    if away.is_much:
        what = f"{away.turned_away:,} of the last {away.looked_at:,} requests got 429 or 529 from Anthropic."
        then = "A limit of the account, or its load: spread the work, or have the limit raised."
        link = _requests("state=failed&since=1h")
        yield Need(
            "wait", format_html("<strong>Anthropic turns requests away.</strong> {}", what), then, link, "Look at them"
        )


def _expiring(now: datetime, rows: Rows) -> Iterator[Need]:
    keys = reports.expiring_keys(rows(ApiKey), now)
    for key in keys[:SHOWN_KEYS]:
        what = format_html(
            "<strong>{}</strong> of {} expires {}.", key.name, key.tenant.name, shown.ago(key.expires_at)
        )
        yield Need("wait", what, "", reverse("admin:tenants_apikey_change", args=(key.pk,)), "The key")
    if (more := len(keys) - SHOWN_KEYS) > 0:
        others = f"{more} more keys expire within {reports.EXPIRING_DAYS} days."
        yield Need("wait", others, "", reverse("admin:tenants_apikey_changelist"), "Keys")


def _budgets(now: datetime, rows: Rows) -> Iterator[Need]:
    for row in reports.nearly_spent(rows(BudgetWindow), now)[:5]:
        budget = row.budget
        spent = row.spent_nanos >= budget.limit_nanos
        whose = f"{budget.key.name} of {budget.tenant.name}" if budget.key else budget.tenant.name
        share = "All" if spent else f"{row.spent_nanos / budget.limit_nanos:.0%}"
        sums = f"{shown.spend(row.spent_nanos)} of {shown.spend(budget.limit_nanos)}"
        words = f"{share} of its budget ({budget.window}) is spent: {sums}."
        then = "Its requests are refused." if spent else ""
        owner = ("apikey", budget.key_id) if budget.key_id else ("tenant", budget.tenant_id)
        url = reverse(f"admin:tenants_{owner[0]}_change", args=(owner[1],))
        yield Need("bad" if spent else "wait", format_html("<strong>{}.</strong> {}", whose, words), then, url, "Look")


def _prices(now: datetime) -> Iterator[Need]:
    days = reports.unchecked_days(pricing.effective(now), now)
    if days is not None and days > reports.PRICES_DAYS:
        what = f"The built-in prices were last compared with Anthropic’s {days} days ago."
        then = "Update Bridge, or add the prices that changed."
        url = reverse("admin:tenants_modelprice_changelist")
        yield Need("wait", format_html("<strong>Prices.</strong> {}", what), then, url, "Prices")


def _set_aside(now: datetime) -> Iterator[Need]:
    """Records that the database would not take lie beside the journal until somebody looks."""
    path = Path(settings.JOURNAL_DIR) / "rejected.jsonl"
    if path.exists() and path.stat().st_size:
        what = format_html(
            "<strong>Records were set aside.</strong> The database refused them; they are in {}.", path.name
        )
        yield Need("bad", what, "Their costs are in no sum yet.")


def _behind(now: datetime) -> Iterator[Need]:
    if late := reports.behind():
        what = f"It has not had all of what ended here for {shown.length(late)}."
        then = "They are safe in the journal, and in no list and no sum yet. The log says why."
        yield Need("bad", format_html("<strong>Records wait for the database.</strong> {}", what), then)


def _trail(now: datetime) -> Iterator[Need]:
    url = reverse("admin:tenants_auditevent_changelist")
    if problem := reports.trail_problem():
        what = format_html("<strong>The audit trail does not hold:</strong> {}.", problem)
        then = "It was changed behind Bridge’s back. manage.py audit_verify looks at all of it, and at the records."
        yield Need("bad", what, then, url, "Audit")
    if last := reports.unwitnessed_since(now):
        unsaid = f"Its head has not been in the log for {shown.length(now - last)}."
        then = "It should be there every hour: without it, nobody notices a trail that is cut."
        yield Need("wait", format_html("<strong>The audit trail has no witness.</strong> {}", unsaid), then)


CHECKS: tuple[tuple[str, Callable[[datetime, Rows], Iterator[Need]]], ...] = (
    ("tenants.view_tenant", _no_upstream),
    ("tenants.view_tenant", _credentials),
    ("tenants.view_requestrecord", _errors),
    ("tenants.view_requestrecord", _load),
    ("tenants.view_tenant", _budgets),
    ("tenants.view_apikey", _expiring),
)
# About no tenant: for those whose permission holds on the whole site.
SITE_CHECKS: tuple[tuple[str, Callable[[datetime], Iterator[Need]]], ...] = (
    ("tenants.view_modelprice", _prices),
    ("tenants.add_tenant", _set_aside),
    ("tenants.add_tenant", _behind),
    ("tenants.view_auditevent", _trail),
)


def _requests(query: str) -> str:
    return f"{reverse('admin:tenants_requestrecord_changelist')}?{query}"
