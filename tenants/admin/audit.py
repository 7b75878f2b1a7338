"""The audit page: everything that was done, newest first; the state of the chain, verifying it, taking it away."""

from __future__ import annotations

from datetime import date
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseBase, HttpResponseNotAllowed, HttpResponseRedirect
from django.urls import NoReverseMatch, URLPattern, path, reverse, reverse_lazy
from django.utils.safestring import SafeString

from tenants import actions, reports
from tenants.actors import Kind
from tenants.admin import audit_export, shown
from tenants.admin.base import ConsoleAdmin, DayFilter, SelectFilter, TenantFilter
from tenants.admin.request_export import EXPORTS, PERMISSION
from tenants.admin.request_list import RequestList
from tenants.models import AuditEvent
from tenants.sheets import FORMS
from tenants.verification import verify_newest

VERIFY_ROWS = 20_000  # as many as a page can be kept waiting for; the command verifies any number
EXPORT = reverse_lazy("admin:tenants_auditevent_export")
ACTORS = {Kind.USER: "People", Kind.COMMAND: "Commands", Kind.SYSTEM: "Bridge itself"}
PAGES = {
    "tenant": "tenant",
    "key": "apikey",
    "alias": "modelalias",
    "user": "user",
    "price": "modelprice",
}  # object type → its page


class ActorFilter(SelectFilter):
    title = "actor"
    parameter_name = "by"
    everything = "Anyone"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[Any, str]]:
        return [(kind.value, label) for kind, label in ACTORS.items()]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        return queryset.filter(actor_kind=self.value()) if self.value() else queryset


class ActionFilter(SelectFilter):
    title = "action"
    parameter_name = "action"
    everything = "Any action"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[Any, str]]:
        return list(actions.ACTIONS.items())

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        return queryset.filter(action=self.value()) if self.value() else queryset


class ObjectFilter(SelectFilter):
    """Of one kind, or (from the link of its own page) of one thing: `key`, `key:<id>`."""

    title = "object"
    parameter_name = "object"
    everything = "Anything"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[Any, str]]:
        kinds = sorted({action.partition(".")[0] for action in actions.ACTIONS})
        one = [(self.value(), "This one alone")] if ":" in (self.value() or "") else []
        return one + [(kind, kind.capitalize()) for kind in kinds]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        kind, _, pk = (self.value() or "").partition(":")
        found = queryset.filter(object_type=kind) if kind else queryset
        return found.filter(object_id=pk) if pk else found


class FromFilter(DayFilter):
    title = "first day"
    parameter_name = "from"

    def narrowed(self, queryset: Any, day: date) -> Any:
        return reports.on_or_after(queryset, day)


class UntilFilter(DayFilter):
    title = "last day"
    parameter_name = "until"

    def narrowed(self, queryset: Any, day: date) -> Any:
        return reports.until(queryset, day)


class AuditList(RequestList):
    read_position = staticmethod(reports.as_number)
    found_by = ()  # nowhere near as many as requests


FILTERS = (FromFilter, UntilFilter, ActorFilter, ActionFilter, ObjectFilter, TenantFilter)


@admin.register(AuditEvent)
class AuditEventAdmin(ConsoleAdmin[AuditEvent]):
    section = "Audit"
    actions = None
    empty_title = "Nothing yet"
    empty_next = "Whatever is changed, by whom and from where, is written here as it happens."
    list_display = ("time", "who", "what", "about", "from_where")
    list_display_links = ("time",)
    list_filter = FILTERS
    search_fields = ("pk",)
    search_help_text = "A row's number, or a person, an address or an object's id, in full."
    sortable_by = ()
    fieldsets = (
        (None, {"fields": ["time_whole", "what", "about", "changes", "context_shown"]}),
        ("Who", {"fields": ["who", "actor_kind", "from_where"]}),
        ("Chain", {"fields": ["seq", "hash_shown", "prev_shown", "key_number"]}),
    )

    def title_of(self, obj: AuditEvent) -> str:
        return f"{obj.seq}: {actions.words(obj.action)}"

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: AuditEvent | None = None) -> bool:
        return False

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest) -> bool:
        return lookup in {known.parameter_name for known in FILTERS}

    def get_queryset(self, request: HttpRequest) -> QuerySet[AuditEvent]:
        kinds = [kind for kind, page in PAGES.items() if request.user.has_perm(f"tenants.view_{page}")]
        return reports.with_pages(super().get_queryset(request), kinds)

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return AuditList

    def get_search_results(self, request: HttpRequest, queryset: Any, search_term: str) -> tuple[Any, bool]:
        return reports.find_events(queryset, search_term), False

    def get_readonly_fields(self, request: HttpRequest, obj: AuditEvent | None = None) -> Any:
        return [name for _, options in self.fieldsets or () for name in options["fields"]]

    def get_urls(self) -> list[URLPattern]:
        own = [
            path("verify/", self.admin_site.admin_view(self.verify_view), name="tenants_auditevent_verify"),
            path("export/", self.admin_site.admin_view(self.export_view), name="tenants_auditevent_export"),
        ]
        return own + super().get_urls()

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        doors = {"export_url": EXPORT, "exports_url": EXPORTS if request.user.has_perm(PERMISSION) else ""}
        chain = reports.chain() if self.scope(request, "view").everything else None
        return super().changelist_view(request, {**doors, "chain": chain, **(extra_context or {})})

    def verify_view(self, request: HttpRequest) -> HttpResponseBase:
        """The newest rows, as many as a page can wait for; the rest, and the records, are the command's."""
        if refused := self._refused(request):
            return refused
        if not self.scope(request, "view").everything:
            raise PermissionDenied
        verdict = verify_newest(VERIFY_ROWS)
        if verdict.problem:
            messages.error(request, f"The trail does not hold: {verdict.problem}.")
        else:
            part = (
                "" if verdict.rows == verdict.head.seq else f" (the newest {verdict.rows:,}; audit_verify verifies all)"
            )
            messages.success(request, f"The trail holds: {verdict.rows:,} rows verified{part}. Head: {verdict.head}")
        return HttpResponseRedirect(reverse("admin:tenants_auditevent_changelist"))

    def export_view(self, request: HttpRequest) -> HttpResponseBase:
        """Exactly the rows that the filters in the address leave, oldest first."""
        if refused := self._refused(request):
            return refused
        form = request.POST.get("format", "")
        if form not in FORMS:
            return HttpResponse("An export is csv or jsonl.", status=400, content_type="text/plain")
        try:
            rows = self.get_changelist_instance(request).queryset
        except IncorrectLookupParameters:
            return HttpResponseRedirect(reverse("admin:tenants_auditevent_changelist"))
        return audit_export.response(rows, form, request.GET.dict(), self.scope(request, "view").tenant)

    def _refused(self, request: HttpRequest) -> HttpResponseBase | None:
        if not self.has_view_permission(request):
            raise PermissionDenied
        return None if request.method == "POST" else HttpResponseNotAllowed(["POST"])

    # Columns and facts

    @admin.display(description="time (UTC)")
    def time(self, event: AuditEvent) -> SafeString:
        return shown.short_stamp(event.at)

    @admin.display(description="time")
    def time_whole(self, event: AuditEvent) -> SafeString | str:
        return shown.stamp(event.at)

    @admin.display(description="who")
    def who(self, event: AuditEvent) -> str:
        return event.actor_name or "someone not signed in"

    @admin.display(description="what")
    def what(self, event: AuditEvent) -> str:
        return actions.words(event.action)

    @admin.display(description="about")
    def about(self, event: AuditEvent) -> SafeString | str:
        text = event.object_label or event.object_id
        if not getattr(event, "has_page", False):
            return text or shown.NONE
        try:
            page = reverse(f"admin:tenants_{PAGES[event.object_type]}_change", args=(event.object_id,))
        except NoReverseMatch:
            return text
        return shown.link(page, text)

    @admin.display(description="from")
    def from_where(self, event: AuditEvent) -> str:
        return event.address or shown.NONE

    @admin.display(description="changes")
    def changes(self, event: AuditEvent) -> SafeString | str:
        return shown.changes(event.told_before, event.told_after)

    @admin.display(description="context")
    def context_shown(self, event: AuditEvent) -> SafeString | str:
        return shown.table(event.told_context.items()) if event.context else shown.NONE

    @admin.display(description="hash")
    def hash_shown(self, event: AuditEvent) -> SafeString | str:
        return shown.mono(event.hash)

    @admin.display(description="hash before it")
    def prev_shown(self, event: AuditEvent) -> SafeString | str:
        return shown.mono(event.prev_hash)
