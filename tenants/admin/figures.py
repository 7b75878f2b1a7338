"""Use in figures: the tiles, charts and tables of the overview, of a tenant and of a key."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.safestring import SafeString

from tenants import reports_usage as reports
from tenants.admin import charts, shown
from tenants.admin.base import ConsoleAdmin, M
from tenants.admin.charts import Series
from tenants.models import ApiKey, Tenant
from tenants.reports_usage import Sums
from tenants.usage import UsageDayQuerySet

# The kinds of tokens, each the sum of some columns; output includes reasoning.
KINDS = {
    "input": ("a", ("input_tokens",)),
    "cache write": ("b", ("cache_write_5m_tokens", "cache_write_1h_tokens")),
    "cache read": ("c", ("cache_read_tokens",)),
    "output": ("d", ("output_tokens",)),
}
REFUSED, ERRORS = ("refused", "wait", "refusals"), ("failed", "bad", "errors")
ALARMING = 0.02  # of the requests failed
ENDS = (("answered", "a", "answered"), REFUSED, ERRORS)


def tile(title: str, figure: str, text: str = "", tone: str = "") -> dict[str, str]:
    return {"title": title, "figure": figure, "text": text, "tone": tone}


def overview(days: UsageDayQuerySet) -> dict[str, Any]:
    """Today in tiles, thirty days in bars, and who and what cost most in them."""
    today = timezone.now().date()
    month = days.between(today - timedelta(days=29), today)
    rows = reports.by_day(days, reports.Span(today - timedelta(days=29), today))
    spent = reports.spenders(month)
    return {
        "tiles": [
            *_tiles(rows[-1], f"Yesterday {shown.compact(rows[-2]['requests'])}", rows[-2]),
            *_times(days.filter(day=today)),
        ],
        "charts": [_requests(rows), _spend(rows)],
        "numbers": _numbers(rows),
        "top": [_top_tenants(spent), _top_models(spent)],
        "empty": not any(row["requests"] for row in rows),
    }


def panel(days: UsageDayQuerySet, asked: str) -> dict[str, Any]:
    """The use of one tenant or key in the days asked for."""
    name = asked if asked in reports.SPANS else reports.USUAL_SPAN
    over = reports.span(name, timezone.now().date())
    rows = reports.by_day(days, over)
    these = days.between(over.first, over.last)
    charts_ = [_requests(rows), _spend(rows), _tokens(rows), _errors(rows)] if len(rows) > 1 else []
    return {
        "ranges": [{"name": key, "label": label, "now": key == name} for key, label in reports.SPANS.items()],
        "tiles": [*_tiles(_summed(rows), ""), *_times(these)],
        "charts": charts_,
        "numbers": _numbers(rows),
    }


class WithUsage(ConsoleAdmin[M]):
    """An admin whose rows have use to show: on top of their page, for whoever may see requests."""

    def render_change_form(
        self,
        request: HttpRequest,
        context: dict[str, Any],
        add: bool = False,
        change: bool = False,
        form_url: str = "",
        obj: M | None = None,
    ) -> HttpResponse:
        if isinstance(obj, Tenant | ApiKey) and request.user.has_perm("tenants.view_requestrecord", obj):
            last_used = shown.ago(getattr(obj, "last_used_at", None), "never") if isinstance(obj, ApiKey) else ""
            use = panel(reports.days_of(obj), request.GET.get("range", ""))
            context = {**context, "usage": {**use, "last_used": last_used}}
        return super().render_change_form(request, context, add, change, form_url, obj)


def _summed(rows: Sequence[Sums]) -> Sums:
    return {name: sum(row[name] for row in rows) for name in rows[0] if name != "day"}


def _tiles(sums: Sums, requests: str, before: Sums | None = None) -> list[dict[str, str]]:
    failed = sums["errors"] / sums["requests"] if sums["requests"] else 0.0
    unpriced = f"{shown.compact(sums['unpriced'])} without a price" if sums["unpriced"] else ""
    refused = f"{shown.compact(sums['refusals'])} refused" if sums["refusals"] else "none refused"
    yesterday = f"Yesterday {shown.spend(before['cost_nanos'])}" if before else ""
    return [
        tile("Requests", shown.compact(sums["requests"]), requests or refused),
        tile("Spend", shown.spend(sums["cost_nanos"]), unpriced or yesterday, "wait" if unpriced else ""),
        tile("Errors", shown.compact(sums["errors"]), f"{failed:.1%} of requests", "bad" if failed > ALARMING else ""),
    ]


def _times(days: UsageDayQuerySet) -> list[dict[str, str]]:
    found = reports.latency(days)
    named = (("Answer, p50", found.total), ("First token, p50", found.first_token))
    return [tile(title, _time(times.p50), f"p95 {_time(times.p95)}" if times.p95 else "") for title, times in named]


def _time(microseconds: float | None) -> str:
    return shown.NONE if microseconds is None else shown.duration(round(microseconds))


def _requests(rows: Sequence[Sums]) -> SafeString:
    return charts.bars("Requests", _labels(rows), [_series(rows, *end) for end in ENDS])


def _errors(rows: Sequence[Sums]) -> SafeString:
    return charts.bars("Refused and failed", _labels(rows), [_series(rows, *end) for end in (REFUSED, ERRORS)])


def _spend(rows: Sequence[Sums]) -> SafeString:
    return charts.bars("Spend", _labels(rows), [_series(rows, "", "d", "cost_nanos")], shown.spend)


def _tokens(rows: Sequence[Sums]) -> SafeString:
    return charts.bars("Tokens", _labels(rows), [_series(rows, name, tone, *of) for name, (tone, of) in KINDS.items()])


def _series(rows: Sequence[Sums], name: str, tone: str, *columns: str) -> Series:
    return Series(name, tone, [sum(row[column] for column in columns) for row in rows])


def _labels(rows: Sequence[Sums]) -> list[str]:
    return [_day(row["day"]) for row in rows]


def _day(day: date) -> str:
    return f"{day.day} {day:%b}"


def _numbers(rows: Sequence[Sums]) -> SafeString:
    head = ("Day (UTC)", "Requests", "Refused", "Failed", "Hung up", *(kind.capitalize() for kind in KINDS), "Spend")
    counted = ("requests", "refusals", "errors", "cancelled")
    lines = [
        (
            _day(row["day"]),
            *(shown.number(row[name]) for name in counted),
            *(shown.number(sum(row[column] for column in columns)) for _, columns in KINDS.values()),
            shown.money(row["cost_nanos"]),
        )
        for row in reversed(rows)
    ]
    return charts.numbers(head, lines)


def _top_tenants(spent: Sequence[Sums]) -> dict[str, Any]:
    rows = reports.top(spent, "tenant")
    names = reports.tenant_names(row["tenant"] for row in rows)
    url = "admin:tenants_tenant_change"
    return _top("Tenants", rows, [(names.get(row["tenant"], ""), reverse(url, args=(row["tenant"],))) for row in rows])


def _top_models(spent: Sequence[Sums]) -> dict[str, Any]:
    rows = reports.top(spent, "model")
    return _top("Models", rows, [(row["model"], "") for row in rows])


def _top(title: str, rows: Sequence[Sums], named: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """Shares are of spend, or while nothing cost anything, of requests."""
    by = "cost_nanos" if any(row["cost_nanos"] for row in rows) else "requests"
    most = max((row[by] for row in rows), default=0)
    lines = [
        {
            "name": name or shown.NONE,
            "url": url,
            "share": charts.share(row[by], most),
            "requests": shown.compact(row["requests"]),
            "spend": shown.spend(row["cost_nanos"]),
        }
        for row, (name, url) in zip(rows, named, strict=True)
    ]
    return {"title": title, "rows": lines}
