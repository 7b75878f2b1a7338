"""The explorer's finer filters: bands of status, time and cost, and how an answer ended; each a small fixed table."""

from __future__ import annotations

from typing import Any, ClassVar

from django.http import HttpRequest

from tenants import reports
from tenants.admin.base import SelectFilter
from tenants.admin.scoping import mine
from tenants.models import UsageDay

SECOND, CENT = 1_000_000, 10_000_000  # microseconds, nano-dollars
Band = tuple[int, int | None]  # from, and below


class BandFilter(SelectFilter):
    """By a number's band: from the first, and below the second."""

    minor = True
    column: ClassVar[str]
    bands: ClassVar[dict[str, tuple[str, Band]]]

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[Any, str]]:
        return [(name, label) for name, (label, _) in self.bands.items()]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        known = self.bands.get(self.value() or "")
        return reports.in_band(queryset, self.column, *known[1]) if known else queryset


class StatusFilter(BandFilter):
    title = "HTTP status"
    parameter_name = "status"
    everything = "Any status"
    column = "status"
    bands = {
        "2xx": ("200–299", (200, 300)),
        "400": ("400", (400, 401)),
        "429": ("429", (429, 430)),
        "4xx": ("400–499", (400, 500)),
        "499": ("499, client gone", (499, 500)),
        "5xx": ("500–599", (500, 600)),
    }


_TIMES = {
    "fast": ("under 1 s", (0, SECOND)),
    "1s": ("1–3 s", (SECOND, 3 * SECOND)),
    "3s": ("3–10 s", (3 * SECOND, 10 * SECOND)),
    "10s": ("over 10 s", (10 * SECOND, None)),
    "60s": ("over a minute", (60 * SECOND, None)),
}


class TotalFilter(BandFilter):
    title = "total time"
    parameter_name = "total"
    everything = "Any time"
    column = "total_us"
    bands = {name: (f"Total {label}", band) for name, (label, band) in _TIMES.items()}


class FirstTokenFilter(BandFilter):
    title = "time to the first token"
    parameter_name = "first"
    everything = "Any first token"
    column = "first_token_us"
    bands = {name: (f"First token {label}", band) for name, (label, band) in _TIMES.items() if name != "60s"}


class CostFilter(BandFilter):
    title = "cost"
    parameter_name = "cost"
    everything = "Any cost"
    column = "cost_nanos"
    bands = {
        "free": ("Free", (0, 1)),
        "some": ("Under 1 ¢", (1, CENT)),
        "1c": ("1–10 ¢", (CENT, 10 * CENT)),
        "10c": ("10 ¢ – $1", (10 * CENT, 100 * CENT)),
        "1d": ("Over $1", (100 * CENT, None)),
    }

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[Any, str]]:
        return [*super().lookups(request, model_admin), ("none", "Without a price")]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        return queryset.filter(cost_nanos=None) if self.value() == "none" else super().queryset(request, queryset)


class StopFilter(SelectFilter):
    """Why the answer ended, in the words of Anthropic's API."""

    minor = True
    title = "stop reason"
    parameter_name = "stop"
    everything = "Any stop reason"
    reasons = (
        "end_turn", "max_tokens", "stop_sequence", "tool_use", "pause_turn", "refusal", "model_context_window_exceeded"
    )  # fmt: skip

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[Any, str]]:
        return [(reason, reason) for reason in self.reasons]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        return queryset.filter(stop_reason=self.value()) if self.value() else queryset


class ModelFilter(SelectFilter):
    """The models used lately; one that a link asks for stays in the list."""

    title = "model"
    parameter_name = "model"
    everything = "All models"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[Any, str]]:
        days = mine(request, UsageDay, "tenants.view_requestrecord")
        names = {*reports.recent_models(days), self.value() or ""} - {""}
        return [(name, name) for name in sorted(names)]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        return queryset.filter(model=self.value()) if self.value() else queryset
