"""Prices in the console: what holds now for every model, and the site's own prices."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.utils import timezone

from tenants import reports
from tenants.admin import shown
from tenants.admin.base import ConsoleAdmin
from tenants.money import CLASSES, PriceRow
from tenants.pricing import ModelPrice


@admin.register(ModelPrice)
class ModelPriceAdmin(ConsoleAdmin[ModelPrice]):
    section = "Prices"
    add_title = "Add a price"
    empty_title = "No prices of your own"
    empty_next = "The built-in prices below hold. A price of your own wins over them from the moment you name."

    list_display = ("model", "starts_at", "input", "cache_write_5m", "cache_write_1h", "cache_read", "output", "note")
    search_fields = ("model",)
    fieldsets = (
        (None, {"fields": ["model", "starts_at", "note"]}),
        ("US dollars per million tokens", {"fields": list(CLASSES)}),
        ("Terms", {"fields": ["long_above", "long_multiplier", "fast_multiplier", "us_multiplier", "web_search"]}),
    )

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Records keep the price they were made with; the trail keeps what was deleted."""
        return request.user.has_perm("tenants.delete_modelprice", obj)

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        rows = reports.effective_prices(timezone.now())
        table = shown.table((_columns(row) for row in rows), HEAD)
        return super().changelist_view(request, {"effective": table, **(extra_context or {})})


HEAD = ("Model", *(name.replace("_", " ") for name in CLASSES), "Terms", "Since", "Source")


def _columns(row: PriceRow) -> tuple[object, ...]:
    """A price as the list of what holds now has it."""
    prices = (shown.per_million(getattr(row.rates, name)) for name in CLASSES)
    checked = f"{row.origin}, checked {row.checked}" if row.checked else row.origin
    return row.model, *prices, shown.lines(_terms(row)), f"{row.starts:%Y-%m-%d}", checked


def _terms(row: PriceRow) -> list[str]:
    long = [f"above {row.long_above:,}: {shown.per_million(row.long.input)} in"] if row.long else []
    factors = {term: factor.input for term, factor in sorted(row.factors.items()) if factor.input != 1}
    return [*long, *(f"{term} ×{Decimal(times.numerator) / times.denominator}" for term, times in factors.items())]
