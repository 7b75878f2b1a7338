"""Limits in the console: the fields of keys and tenants, and how what holds for them stands at this moment."""

from __future__ import annotations

from collections.abc import Sequence

from django.contrib import admin
from django.utils.html import format_html
from django.utils.safestring import SafeString

from tenants.admin import shown
from tenants.limits import Limit, Standing, Unit
from tenants.limits_now import stand
from tenants.models import ApiKey, Tenant

_NAMES = {Unit.REQUESTS: "requests a minute", Unit.TOKENS: "tokens a minute", Unit.CONCURRENCY: "requests at once"}


class LimitsShown:
    """`limits_now`, for the pages of keys and tenants."""

    @admin.display(description="right now")
    def limits_now(self, row: ApiKey | Tenant) -> SafeString | str:
        return _table(row.limits())


def _table(limits: Sequence[Limit]) -> SafeString | str:
    if not limits:
        return "no limits"
    standings = stand(limits)
    if standings is None:
        return "Redis does not answer: every host counts for itself"
    table = shown.table((_row(each) for each in standings), head=("Of", "Unit", "Limit", "Left", "All back in"))
    return shown.region(table, "Limits right now")


def _row(each: Standing) -> tuple[SafeString | str, ...]:
    unit = format_html("{}{}", _NAMES[each.limit.unit], " (only watched)" if each.limit.dark else "")
    back = "" if each.limit.running else f"{each.reset:.0f} s"
    return each.limit.scope, unit, shown.number(each.limit.limit), shown.number(each.remaining), back
