"""Finding requests: the explorer's filters, and its pages by id."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import date, datetime, timedelta
from typing import Any

from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.views.main import ChangeList
from django.db.models import QuerySet
from django.http import HttpRequest

from tenants import ids, looking, reports
from tenants.admin.base import DayFilter, ModeFilter, SelectFilter
from tenants.admin.scoping import mine
from tenants.models import ApiKey, RequestRecord
from tenants.values import OPEN_STATES, State

SPANS = {
    "1h": ("Last hour", timedelta(hours=1)),
    "24h": ("Last 24 hours", timedelta(hours=24)),
    "7d": ("Last 7 days", timedelta(days=7)),
    "30d": ("Last 30 days", timedelta(days=30)),
    "all": ("All time", None),
}


class FirstDayFilter(DayFilter):
    minor = True
    title = "first day"
    parameter_name = "from"

    def narrowed(self, queryset: Any, day: date) -> Any:
        return reports.between_days(queryset, day, None)


class LastDayFilter(DayFilter):
    minor = True
    title = "last day"
    parameter_name = "until"

    def narrowed(self, queryset: Any, day: date) -> Any:
        return reports.between_days(queryset, None, day)


class SinceFilter(SelectFilter):
    """A range of ids. The last day, unless something else is asked; an exact search looks at all time, and so does a
    choice of days."""

    title = "time"
    parameter_name = "since"

    def value(self) -> str | None:
        return super().value() or ("all" if any(map(self.request.GET.get, ("q", "from", "until"))) else "24h")

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[Any, str]]:
        return [(name, label) for name, (label, _) in SPANS.items()]

    def choices(self, changelist: ChangeList) -> Iterator[Any]:
        return (choice for choice in super().choices(changelist) if choice["value"])

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        if (value := self.value()) not in SPANS:
            raise IncorrectLookupParameters
        age = SPANS[value][1]
        return reports.since(queryset, age) if age else queryset


class StateFilter(SelectFilter):
    title = "state"
    parameter_name = "state"
    everything = "Any state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[Any, str]]:
        final = (state.value for state in State if state not in OPEN_STATES)
        return [("open", "Open"), *((value, value.capitalize()) for value in final)]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        if self.value() is None:
            return queryset
        wanted = OPEN_STATES if self.value() == "open" else [self.value()]
        return queryset.filter(state__in=[str(state) for state in wanted])


class StreamedFilter(SelectFilter):
    minor = True
    title = "delivery"
    parameter_name = "streamed"
    everything = "Streamed or whole"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[Any, str]]:
        return [("yes", "Streamed"), ("no", "Whole")]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        return queryset.filter(streamed=self.value() == "yes") if self.value() else queryset


class FoldedModeFilter(ModeFilter):
    minor = True


class KeyFilter(SelectFilter):
    """By one key: shown only when a link from that key's page asks for it."""

    title = "key"
    parameter_name = "key"
    everything = "All keys"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[Any, str]]:
        key_id = reports.as_uuid(self.value() or "")
        return [(self.value(), reports.key_name(mine(request, ApiKey), key_id))] if key_id else []

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        key_id = reports.as_uuid(self.value() or "")
        return queryset.filter(key_id=key_id) if key_id else queryset


class RequestList(ChangeList):
    """Django's changelist with pages by id (`?before=` and `?after=`) in place of numbered ones and their COUNT."""

    read_position: Callable[[str], Any] = staticmethod(reports.as_uuid)
    newer_url: str | None = None
    older_url: str | None = None
    looked_to: datetime | None = None  # the page is not full: there may be more before this moment
    found_by: tuple[str, ...] = ("key", "tenant", "model")  # by the index of the first one that is set
    by_time = ("since", "from", "until")

    def get_queryset(self, request: HttpRequest, exclude_parameters: Any = None) -> QuerySet[RequestRecord]:
        for name in ("before", "after"):  # where we are is not a filter, and no link but the pager's keeps it
            self.params.pop(name, None)
            self.filter_params.pop(name, None)
        return super().get_queryset(request, exclude_parameters)

    @property
    def minor_specs(self) -> list[Any]:
        """The filters that are folded away."""
        return [spec for spec in self.filter_specs if getattr(spec, "minor", False)]

    @property
    def refined(self) -> bool:
        """Whether one of these is in use."""
        return any(spec.used_parameters for spec in self.minor_specs)

    def get_ordering(self, request: HttpRequest, queryset: QuerySet[Any]) -> list[Any]:
        return ["-pk"]

    def get_results(self, request: HttpRequest) -> None:
        before, after = self._position(request, "before"), self._position(request, "after")
        page = self._page(request, before=before, after=after)
        self.result_list = page.rows
        self.result_count = len(page.rows)
        self.full_result_count = None
        self.show_full_result_count = self.show_admin_actions = False
        self.can_show_all = self.multi_page = False
        if page.newer:
            newer = page.newer_from or (page.rows[0].pk if page.rows else None)
            self.newer_url = self.get_query_string({"after": newer} if newer else {})
        if page.older:
            self.older_url = self.get_query_string({"before": page.older_from or page.rows[-1].pk})
            self.looked_to = ids.moment(page.older_from) if page.older_from and not after else None

    def _page(self, request: HttpRequest, **where: Any) -> reports.Page:
        """The search and one filter are found by an index; what passes another one besides is looked for."""
        used = [spec for spec in self.filter_specs if spec.used_parameters]
        best = next((name for name in self.found_by for spec in used if name in spec.expected_parameters()), "")
        among: Any = self.root_queryset
        further = False
        for spec in self.filter_specs:
            if not {best, *self.by_time}.isdisjoint(spec.expected_parameters()):
                among = spec.queryset(request, among)
            else:
                further = further or spec in used
        if not self.found_by or not further or self.query:
            return reports.page(self.queryset, self.list_per_page, **where)
        return looking.page(self.queryset, among, self.list_per_page, **where)

    def _position(self, request: HttpRequest, name: str) -> Any:
        if not (text := request.GET.get(name)):
            return None
        if position := self.read_position(text):
            return position
        raise IncorrectLookupParameters
