"""Taking requests away in the console: the rows that are filtered, as a file, and its manifest to check it with."""

from __future__ import annotations

from typing import Any

import msgspec
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import PermissionDenied
from django.http import (
    Http404,
    HttpRequest,
    HttpResponse,
    HttpResponseBase,
    HttpResponseNotAllowed,
    HttpResponseRedirect,
)
from django.urls import URLPattern, path, reverse, reverse_lazy
from django.utils.http import urlencode

from tenants import exports, reports
from tenants.admin import shown
from tenants.admin.base import ConsoleAdmin
from tenants.admin.downloads import attachment
from tenants.admin.scoping import scope_of
from tenants.audit import AuditEvent
from tenants.models import RequestRecord, Tenant
from tenants.roles import Scope
from tenants.sheets import FORMS

PERMISSION = "tenants.export_requestrecord"
EXPORT = reverse_lazy("admin:tenants_requestrecord_export")
EXPORTS = reverse_lazy("admin:tenants_requestrecord_exports")
POSITION = ("before", "after")  # where someone is in the list is no filter
STATES = {
    exports.BEGAN: ("running, or killed", "wait"),
    exports.DONE: ("whole", "good"),
    exports.CUT: ("cut off", "bad"),
}


class ExportsRequests(ConsoleAdmin[RequestRecord]):
    """What the request list gains for those who may take requests away."""

    def get_urls(self) -> list[URLPattern]:
        guarded = self.admin_site.admin_view
        own = [
            path("export/", guarded(self.export_view), name="tenants_requestrecord_export"),
            path("exports/", guarded(self.exports_view), name="tenants_requestrecord_exports"),
            path("exports/<uuid:export>.json", guarded(self.manifest_view), name="tenants_requestrecord_manifest"),
        ]
        return own + super().get_urls()

    def has_export_permission(self, request: HttpRequest) -> bool:
        return self.has_view_permission(request) and request.user.has_perm(PERMISSION)

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        doors = {"export_url": EXPORT, "exports_url": EXPORTS} if self.has_export_permission(request) else {}
        return super().changelist_view(request, {**doors, **(extra_context or {})})

    def export_view(self, request: HttpRequest) -> HttpResponseBase:
        """Exactly the rows that the filters in the address leave, oldest first."""
        self._check(request)
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        form = request.POST.get("format", "")
        if form not in FORMS:
            return HttpResponse("An export is csv or jsonl.", status=400, content_type="text/plain")
        try:
            listed = self.get_changelist_instance(request)
        except IncorrectLookupParameters:
            return HttpResponseRedirect(reverse("admin:tenants_requestrecord_changelist"))
        scope = scope_of(request, PERMISSION)  # one may see more than one may take away
        words = {**_words(listed), **_within(scope)}
        whose = scope.tenant if scope == self.scope(request, "view") else None  # the words may name what else is seen
        export = exports.Export(scope.only(listed.queryset), form, words, _query(request), whose)
        export.begin()
        return attachment(export.name, export.content_type, export.stream())

    def exports_view(self, request: HttpRequest) -> HttpResponse:
        """One's own exports; other people's are on the audit trail."""
        self._check(request)
        own = [_line(told) for told in exports.of_person(request.user.pk or 0)]
        return self.page(request, "tenants/requestrecord/exports.html", "Your exports", {"exports": own})

    def manifest_view(self, request: HttpRequest, export: Any) -> HttpResponse:
        self._check(request)
        told = exports.ended(request.user.pk or 0, export)
        if told is None:
            raise Http404
        text = msgspec.json.format(msgspec.json.encode(exports.manifest(told)))
        name = f"{told.object_label}.manifest.json"
        return HttpResponse(
            text + b"\n",
            content_type="application/json",
            headers={"Content-Disposition": f'attachment; filename="{name}"'},
        )

    def _check(self, request: HttpRequest) -> None:
        if not self.has_export_permission(request):
            raise PermissionDenied


def _query(request: HttpRequest) -> str:
    """The filters as the address has them, without what only says where someone is."""
    asked = {name: reports.without_secrets(str(value)) for name, value in request.GET.items() if name not in POSITION}
    return urlencode(asked)


def _words(listed: ChangeList) -> dict[str, str]:
    """The filters as the page shows them."""
    words = {"search": reports.without_secrets(listed.query)} if listed.query else {}
    for spec in listed.filter_specs:
        chosen = [choice for choice in spec.choices(listed) if choice.get("selected") and choice.get("value")]
        said = [choice["display"] for choice in chosen] or [*filter(None, spec.used_parameters.values())]
        words |= {str(spec.title): str(text) for text in said[:1]}
    return words


def _within(scope: Scope) -> dict[str, str]:
    return (
        {}
        if scope.everything
        else {"within": ", ".join(scope.only(Tenant.objects.all()).values_list("slug", flat=True))}
    )


def _line(told: AuditEvent) -> dict[str, Any]:
    """An export as the page lists it."""
    facts = told.told_after
    state, tone = STATES[told.action]
    done = told.action == exports.DONE
    return {
        "time": shown.short_stamp(told.at),
        "state": shown.pill(state, tone),
        "file": facts["file"],
        "filter": "; ".join(f"{name}: {value}" for name, value in facts["filter"].items()),
        "rows": shown.number(facts["rows"]) if "rows" in facts else None,
        "rows_are": "request" if facts.get("rows") == 1 else "requests",
        "sha256": facts.get("sha256", "") if done else "",
        "manifest_url": reverse("admin:tenants_requestrecord_manifest", args=(told.object_id,)) if done else "",
    }
