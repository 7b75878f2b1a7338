"""What every page of the console shares: the admin class the others build on, and the changelist's filters."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from typing import Any, TypeVar

from django.contrib import admin
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.utils import unquote
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import PermissionDenied
from django.db.models import Model
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.http import urlencode

from tenants import reports
from tenants.admin import shown
from tenants.admin.scoping import ScopedAdmin
from tenants.models import Tenant

M = TypeVar("M", bound=Model)


class ConsoleAdmin(ScopedAdmin[M]):
    """Nothing is deleted here: rows are revoked, suspended or deactivated, and their history stays."""

    section = ""  # what the navigation and the page's heading call these rows
    add_title = ""  # also what the buttons say that lead there and that send it
    empty_title = ""
    empty_next = ""

    list_per_page = 50
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER

    empty_value_display = shown.NONE

    def title_of(self, obj: M) -> str:
        return str(obj)

    def has_delete_permission(self, request: HttpRequest, obj: M | None = None) -> bool:
        return False

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """The list. A pasted key is replaced by its public id before anything can repeat it."""
        asked = request.GET.get("q", "")
        if (harmless := reports.without_secrets(asked)) != asked:
            query = request.GET.copy()
            query["q"] = harmless
            return HttpResponseRedirect(f"{request.path}?{query.urlencode()}")
        return super().changelist_view(request, {"title": self.section, **(extra_context or {})})

    # Django's own log of the console is not kept: the models tell the audit trail, whoever changes them.

    def log_addition(self, *args: Any) -> None:  # type: ignore[override]
        pass

    def log_change(self, *args: Any) -> None:  # type: ignore[override]
        pass

    def log_deletions(self, *args: Any) -> None:  # type: ignore[override]
        pass

    def has_history_permission(self, request: HttpRequest, obj: M) -> bool:
        return bool(self.has_view_or_change_permission(request, obj))

    def history_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """What the audit trail has of this row, for whoever may see the row."""
        row = self.get_object(request, unquote(object_id))
        if row is None:
            raise Http404
        if not self.has_history_permission(request, row):
            raise PermissionDenied
        whole = f"{reverse('admin:tenants_auditevent_changelist')}?{urlencode({'object': reports.audit_name(row)})}"
        context = {
            "object": row,
            "history": [shown.event(event) for event in reports.history(row)],
            "timeline_url": whole if request.user.has_perm("tenants.view_auditevent") else None,
            **(extra_context or {}),
        }
        return self.page(request, "object_history.html", f"History of {self.title_of(row)}", context)

    def page(self, request: HttpRequest, template: str, title: str, context: dict[str, Any]) -> TemplateResponse:
        """A page of these rows beside Django's."""
        common = {"title": title, "section": self.section, "opts": self.opts}
        request.current_app = self.admin_site.name
        context = {**self.admin_site.each_context(request), **common, **context}
        return TemplateResponse(request, f"admin/{template}", context)

    def page_of(self, row: M) -> str:
        """The address of a row's own page."""
        return reverse(f"admin:{self.opts.app_label}_{self.opts.model_name}_change", args=(row.pk,))

    def row_to_change(self, request: HttpRequest, object_id: str) -> M:
        """The row that a page of its own is to change. Raises PermissionDenied, or Http404 where there is none."""
        row: M | None = self.get_object(request, unquote(object_id))
        if not self.has_change_permission(request, row):
            raise PermissionDenied
        if row is None:
            raise Http404
        return row

    def render_change_form(
        self,
        request: HttpRequest,
        context: dict[str, Any],
        add: bool = False,
        change: bool = False,
        form_url: str = "",
        obj: M | None = None,
    ) -> HttpResponse:
        title, save_label = (self.title_of(obj), "Save") if obj else (self.add_title, self.add_title)
        own: dict[str, Any] = {"title": title, "subtitle": None, "section": self.section, "save_label": save_label}
        if obj:  # what the person may do to this row, for the links that lead on from it
            own["held"] = request.user.get_all_permissions(obj)
            own["has_history_permission"] = self.has_history_permission(request, obj)
        one_button = {"show_save_and_add_another": False, "show_save_and_continue": False}
        return super().render_change_form(request, {**context, **own, **one_button}, add, change, form_url, obj)


class SelectFilter(admin.SimpleListFilter):
    """A filter as one select of the list's filter bar: small however many choices there are."""

    template = "admin/select_filter.html"
    everything = "All"
    minor = False  # folded away with others until asked for

    def value(self) -> str | None:
        return super().value() or None

    def choices(self, changelist: ChangeList) -> Iterator[Any]:
        yield {"value": "", "display": self.everything, "selected": self.value() is None}
        for value, label in self.lookup_choices:
            yield {"value": value, "display": label, "selected": self.value() == str(value)}


class DayFilter(SelectFilter):
    """A day as the browser's own picker gives it, in UTC."""

    template = "admin/date_filter.html"

    def narrowed(self, queryset: Any, day: date) -> Any:
        raise NotImplementedError

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[Any, str]]:
        return [("any", "")]  # without one, Django leaves the filter away

    def choices(self, changelist: ChangeList) -> Iterator[Any]:
        yield {"value": self.value() or "", "name": self.parameter_name}

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        if not (text := self.value()):
            return queryset
        if (day := reports.as_day(text)) is None:
            raise IncorrectLookupParameters
        return self.narrowed(queryset, day)


class TenantFilter(SelectFilter):
    """By tenant, for any model with a foreign key of that name."""

    title = "tenant"
    parameter_name = "tenant"
    everything = "All tenants"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[Any, str]]:
        """The tenants whose rows the list can have."""
        return list(reports.tenant_choices(model_admin.scope(request, "view", "change").only(Tenant.objects.all())))

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        value = self.value()
        if value is None:
            return queryset
        return queryset.filter(tenant_id=int(value)) if value.isdecimal() else queryset.none()


class ModeFilter(SelectFilter):
    title = "mode"
    parameter_name = "mode"
    everything = "Live and test"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[Any, str]]:
        return [("live", "Live"), ("test", "Test")]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        return queryset.filter(mode=self.value()) if self.value() else queryset
