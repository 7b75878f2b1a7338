"""The request explorer: read only, newest first, never counted and never scanned for a word."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from django.contrib import admin
from django.contrib.admin.utils import unquote
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import ObjectDoesNotExist
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.safestring import SafeString

from tenants import reports
from tenants.admin import request_page, shown
from tenants.admin.base import TenantFilter
from tenants.admin.payloads import PayloadAdmin
from tenants.admin.request_bands import (
    CostFilter,
    FirstTokenFilter,
    ModelFilter,
    StatusFilter,
    StopFilter,
    TotalFilter,
)
from tenants.admin.request_export import ExportsRequests
from tenants.admin.request_list import (
    FirstDayFilter,
    FoldedModeFilter,
    KeyFilter,
    LastDayFilter,
    RequestList,
    SinceFilter,
    StateFilter,
    StreamedFilter,
)
from tenants.models import RequestRecord

FILTERS = (
    SinceFilter,
    TenantFilter,
    ModelFilter,
    StateFilter,
    KeyFilter,
    FirstDayFilter,
    LastDayFilter,
    StatusFilter,
    StopFilter,
    TotalFilter,
    FirstTokenFilter,
    CostFilter,
    FoldedModeFilter,
    StreamedFilter,
)
# Facts that only some requests have, and the column that says which.
OPTIONAL = {
    "end_user": "end_user",
    "tags_shown": "tags",
    "service_tier": "service_tier",
    "error_code": "error_code",
    "stop_reason": "stop_reason",
    "upstream_ids": "upstream_id",
    "attempts": "attempts",
    "replay": "replay_of",
}


@admin.register(RequestRecord)
class RequestRecordAdmin(PayloadAdmin, ExportsRequests):
    section = "Requests"
    actions = None
    list_display = (
        "time",
        "tenant_name",
        "key_name",
        "model",
        "outcome",
        "tokens_in",
        "tokens_out",
        "cost",
        "first_token",
        "total_time",
    )
    list_display_links = ("time",)
    list_filter = FILTERS
    search_fields = ("pk",)
    search_help_text = "A request id, upstream id, end user or key hint, in full."
    sortable_by = ()
    fieldsets = (
        ("Who", {"fields": ["tenant_name", "key_shown", "mode", "end_user", "origin", "tags_shown"]}),
        ("What", {"fields": ["id_shown", "time_whole", "model_shown", "dialect", "delivery", "service_tier"]}),
        ("How it ended", {"fields": ["outcome", "error_code", "stop_reason", "upstream_ids", "attempts", "replay"]}),
        ("Receipt: what was changed on the way", {"fields": ["receipt_shown"]}),
    )

    def title_of(self, obj: RequestRecord) -> str:
        return f"Request of {obj.at:%d %b %Y, %H:%M:%S} UTC"

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: RequestRecord | None = None) -> bool:
        return False

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest) -> bool:
        """The filters' own parameters; a lookup made up in the address could scan the table for a word."""
        return lookup in {known.parameter_name for known in FILTERS}

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return RequestList

    def get_queryset(self, request: HttpRequest) -> QuerySet[RequestRecord]:
        return reports.with_names(super().get_queryset(request))

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[RequestRecord], search_term: str
    ) -> tuple[QuerySet[RequestRecord], bool]:
        return reports.find_requests(queryset, search_term), False

    def get_fieldsets(self, request: HttpRequest, obj: RequestRecord | None = None) -> Any:
        """Without what this request does not have."""
        without = {name for name, column in OPTIONAL.items() if not getattr(obj, column, None)}
        return [
            (title, {"fields": [name for name in options["fields"] if name not in without]})
            for title, options in self.fieldsets or ()
        ]

    def get_readonly_fields(self, request: HttpRequest, obj: RequestRecord | None = None) -> Any:
        return [name for _, options in self.fieldsets or () for name in options["fields"]]

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        record = self.get_object(request, unquote(object_id))
        may = record is not None and self.has_view_permission(request, record)
        told = {**_links(record), "summary": request_page.summary(record)} if record and may else {}
        return super().change_view(request, object_id, form_url, {**told, **(extra_context or {})})

    # Columns

    @admin.display(description="time (UTC)")
    def time(self, record: RequestRecord) -> SafeString:
        return shown.short_stamp(record.at)

    @admin.display(description="tenant")
    def tenant_name(self, record: RequestRecord) -> str:
        return _name(record, "tenant") or str(record.tenant_id)

    @admin.display(description="key")
    def key_name(self, record: RequestRecord) -> str:
        return _name(record, "key") or record.key_hint

    @admin.display(description="state")
    def outcome(self, record: RequestRecord) -> SafeString:
        return request_page.outcome(record)

    @admin.display(description="in")
    def tokens_in(self, record: RequestRecord) -> str:
        return shown.number(request_page.prompt_tokens(record))

    @admin.display(description="out")
    def tokens_out(self, record: RequestRecord) -> str:
        return shown.number(record.output_tokens)

    @admin.display(description="cost")
    def cost(self, record: RequestRecord) -> str:
        return shown.money(record.cost_nanos)

    @admin.display(description="first token")
    def first_token(self, record: RequestRecord) -> str:
        return shown.duration(record.first_token_us)

    @admin.display(description="total")
    def total_time(self, record: RequestRecord) -> str:
        return shown.duration(record.total_us)

    # Facts

    @admin.display(description="time")
    def time_whole(self, record: RequestRecord) -> SafeString | str:
        return shown.stamp(record.at)

    @admin.display(description="request id")
    def id_shown(self, record: RequestRecord) -> SafeString | str:
        return shown.mono(str(record.pk))

    @admin.display(description="key")
    def key_shown(self, record: RequestRecord) -> SafeString | str:
        return shown.lines(text for text in (_name(record, "key"), record.key_hint) if text)

    @admin.display(description="model")
    def model_shown(self, record: RequestRecord) -> SafeString | str:
        asked = f"asked for as {record.alias}" if record.alias not in ("", record.model) else ""
        return shown.lines(text for text in (record.model, asked) if text)

    @admin.display(description="delivery")
    def delivery(self, record: RequestRecord) -> str:
        return "streamed" if record.streamed else "whole"

    @admin.display(description="client")
    def origin(self, record: RequestRecord) -> SafeString | str:
        retry = f"retry {record.client_retry}" if record.client_retry else ""
        return shown.lines(part for part in (record.remote_address, record.user_agent, retry) if part)

    @admin.display(description="upstream ids")
    def upstream_ids(self, record: RequestRecord) -> SafeString | str:
        return shown.lines(text for text in (record.upstream_id, record.message_id) if text)

    @admin.display(description="tags")
    def tags_shown(self, record: RequestRecord) -> SafeString | str:
        return shown.structure(record.tags)

    @admin.display(description="answer kept of")
    def replay(self, record: RequestRecord) -> SafeString | str:
        """The first request under its Idempotency-Key, whose answer was given again."""
        first = record.replay_of
        return shown.link(_url(first), f"given again: that of request {first}") if first else shown.NONE

    @admin.display(description="")
    def receipt_shown(self, record: RequestRecord) -> SafeString | str:
        return request_page.receipt(part for part in record.receipt.split(", ") if part.strip())


def brief(record: RequestRecord) -> dict[str, str]:
    """A request as the overview lists it."""
    page = admin.site._registry[RequestRecord]
    assert isinstance(page, RequestRecordAdmin)
    columns = ("time", "tenant_name", "key_name", "outcome", "tokens_in", "tokens_out", "cost", "total_time")
    shown_columns = {name: getattr(page, name)(record) for name in columns}
    return {**shown_columns, "model": record.model, "url": _url(record.pk)}


def _links(record: RequestRecord) -> dict[str, str | None]:
    """Where a request's page leads: the ones beside it, and the key's own page."""
    previous, following = reports.neighbours(record)
    every = reverse("admin:tenants_requestrecord_changelist")
    return {
        "previous_url": _url(previous) if previous else None,
        "next_url": _url(following) if following else None,
        "key_url": reverse("admin:tenants_apikey_change", args=(record.key_id,)) if _name(record, "key") else None,
        "same_key_url": f"{every}?{urlencode({'key': record.key_id, 'since': 'all'})}",
        "same_user_url": f"{every}?{urlencode({'q': record.end_user})}" if record.end_user else None,
    }


def _url(pk: object) -> str:
    return reverse("admin:tenants_requestrecord_change", args=(pk,))


def _name(record: RequestRecord, relation: str) -> str:
    """The name of the record's tenant or key, or nothing: the record outlives both."""
    try:
        return str(getattr(record, relation).name)
    except ObjectDoesNotExist:
        return ""
