"""Keys in the console: issue (shown once), look at, change, revoke."""

from __future__ import annotations

from typing import Any, cast
from uuid import UUID

from django.conf import settings
from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.db import IntegrityError
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from tenants import keys, reports
from tenants.admin import budgets, connect, shown
from tenants.admin.base import ModeFilter, SelectFilter, TenantFilter
from tenants.admin.forms import IssueForm, KeyForm, ReasonForm
from tenants.admin.verbs import EFFECT, Verb, VerbAdmin
from tenants.models import ApiKey, Tenant
from tenants.values import Mode

TONES = {"active": "good", "suspended": "wait", "expired": "quiet", "revoked": "bad"}

REVOKE: Verb[ApiKey] = Verb(
    name="revoke",
    title="Revoke a key",
    warning="Every request with it will be refused. A revoked key never works again; its history stays.",
    past="Revoked",
    act=lambda key, reason, by: key.revoke(reason, by=by),
    applies=lambda key: key.revoked_at is None,
)


class AlreadyIssued(Exception):
    """This form was sent before: its key exists."""

    def __init__(self, key_id: UUID) -> None:
        super().__init__(str(key_id))
        self.key_id = key_id


class StatusFilter(SelectFilter):
    title = "status"
    parameter_name = "status"
    everything = "Any status"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[Any, str]]:
        return [(state, state.capitalize()) for state in reports.KEY_STATES]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        return reports.keys_in_state(queryset, self.value() or "") if self.value() in reports.KEY_STATES else queryset


@admin.register(ApiKey)
class ApiKeyAdmin(VerbAdmin[ApiKey]):
    section = "Keys"
    add_title = "Issue a key"
    empty_title = "No keys yet"
    empty_next = "A key lets one client of one tenant in. Issue the first, and paste the snippet that comes with it."
    verbs = (REVOKE,)

    list_display = ("name", "tenant_name", "hint", "mode_name", "state", "last_used", "created")
    list_filter = (TenantFilter, ModeFilter, StatusFilter)
    search_fields = ("name",)
    search_help_text = "Name, public id, hint or a whole key (only its public id is used)."
    actions = ("revoke_selected",)
    radio_fields = {"mode": admin.VERTICAL}

    # The form

    def get_form(self, request: HttpRequest, obj: ApiKey | None = None, change: bool = False, **kwargs: Any) -> Any:
        return super().get_form(request, obj, change, **{"form": KeyForm if obj else IssueForm, **kwargs})

    def get_fieldsets(self, request: HttpRequest, obj: ApiKey | None = None) -> Any:
        rights = ("Rights", {"fields": ["allowed_models", "expires_at"]})
        behaviour = ("Behaviour", {"fields": ["compat", "auto_cache"]})
        if obj is None:
            return [(None, {"fields": ["tenant", "name", "note", "mode", "issue_id"]}), rights, behaviour]
        behaviour[1]["fields"].append("idempotent")
        facts = ["budgets", "tenant_name", "mode_name", "state", "secrets", "last_used", "issued"]
        ended = ["revocation"] if obj.revoked_at else []
        return [(None, {"fields": ["name", "note"]}), rights, behaviour, ("Facts", {"fields": facts + ended})]

    def get_readonly_fields(self, request: HttpRequest, obj: ApiKey | None = None) -> Any:
        return (
            ["budgets", "tenant_name", "mode_name", "state", "secrets", "last_used", "issued", "revocation"]
            if obj
            else []
        )

    def get_queryset(self, request: HttpRequest) -> QuerySet[ApiKey]:
        return reports.with_last_use(super().get_queryset(request))

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[ApiKey], search_term: str
    ) -> tuple[QuerySet[ApiKey], bool]:
        return reports.find_keys(queryset, search_term), False

    # Issuing

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        if request.method == "GET" and self.has_add_permission(request) and not Tenant.objects.exists():
            self.message_user(request, "A key belongs to a tenant: create one first.", messages.INFO)
            return HttpResponseRedirect(reverse("admin:tenants_tenant_add"))
        try:
            return super().add_view(request, form_url, extra_context)
        except AlreadyIssued as known:
            return self._already_issued(request, known.key_id)

    def save_model(self, request: HttpRequest, obj: ApiKey, form: Any, change: bool) -> None:
        if change:
            super().save_model(request, obj, form, change)
            return
        issue_id: UUID = form.cleaned_data["issue_id"]
        try:
            issued = ApiKey.objects.issue(
                obj.tenant,
                obj.name,
                peppers=settings.KEY_PEPPERS,
                mode=Mode(obj.mode),
                allowed_models=obj.allowed_models,
                expires_at=obj.expires_at,
                note=obj.note,
                compat=obj.compat,
                auto_cache=obj.auto_cache,
                by=request.user,
                id=issue_id,
            )
        except IntegrityError:
            if not ApiKey.objects.filter(pk=issue_id).exists():
                raise
            raise AlreadyIssued(issue_id) from None
        obj.pk = issued.row.pk
        vars(obj)["_issued_key"] = issued.key  # for response_add, in this request only

    def response_add(self, request: HttpRequest, obj: ApiKey, post_url_continue: str | None = None) -> HttpResponse:
        """The new key, straight from the POST: the only page that ever has it, and nothing remembers it."""
        key = cast(keys.Key, vars(obj).pop("_issued_key"))
        model = obj.allowed_models[0] if obj.allowed_models else connect.MODEL
        context: dict[str, object] = {
            "key": key.text,
            "snippets": connect.snippets(connect.base_url(request), key.text, model),
            "base_url": connect.base_url(request),
        }
        return self._page(request, "issued.html", "Key issued", obj, context)

    def _already_issued(self, request: HttpRequest, key_id: UUID) -> HttpResponse:
        row = self.get_object(request, str(key_id))
        return self._page(request, "already_issued.html", "This key was issued already", row, {})

    def _page(
        self, request: HttpRequest, template: str, title: str, row: ApiKey | None, context: dict[str, object]
    ) -> HttpResponse:
        url = reverse("admin:tenants_apikey_change", args=(row.pk,)) if row else None
        common = {"title": title, "section": self.section, "opts": self.opts, "row": row, "row_url": url}
        site = self.admin_site.each_context(request)
        response = render(request, f"admin/tenants/apikey/{template}", {**site, **common, **context})
        response.headers["Cache-Control"] = "no-store"
        return response

    # Revoking several

    @admin.action(description="Revoke selected keys…", permissions=["change"])
    def revoke_selected(self, request: HttpRequest, queryset: QuerySet[ApiKey]) -> HttpResponse | None:
        rows = [key for key in queryset if REVOKE.applies(key)]
        back = reverse("admin:tenants_apikey_changelist")
        if not rows:
            self.message_user(request, "These keys are revoked already.", messages.INFO)
            return None
        form = ReasonForm(request.POST if "confirmed" in request.POST else None)
        if not form.is_valid():
            hidden = {"action": "revoke_selected", "confirmed": "yes"}
            checkbox = ACTION_CHECKBOX_NAME
            return self.ask(request, REVOKE, rows, form, back, hidden=hidden, checkbox=checkbox)
        for key in rows:
            self.do(request, REVOKE, key, form.cleaned_data["reason"])
        self.message_user(request, f"Revoked: {len(rows)} {'key' if len(rows) == 1 else 'keys'}. {EFFECT}")
        return None

    # Columns and facts

    @admin.display(description="budgets")
    def budgets(self, key: ApiKey) -> SafeString:
        return budgets.overview(key)

    @admin.display(description="tenant", ordering="tenant__name")
    def tenant_name(self, key: ApiKey) -> SafeString:
        return shown.link(reverse("admin:tenants_tenant_change", args=(key.tenant_id,)), key.tenant.name)

    @admin.display(description="key")
    def hint(self, key: ApiKey) -> SafeString | str:
        newest = next(iter(key.secrets.all()), None)
        return shown.mono(newest.hint if newest else "")

    @admin.display(description="mode", ordering="mode")
    def mode_name(self, key: ApiKey) -> SafeString:
        return shown.pill(key.mode, "wait" if key.mode == "test" else "plain")

    @admin.display(description="status")
    def state(self, key: ApiKey) -> SafeString:
        return shown.pill(key.status, TONES[key.status])

    @admin.display(description="last used", ordering="last_used_at")
    def last_used(self, key: ApiKey) -> SafeString | str:
        return shown.ago(getattr(key, "last_used_at", None), "never")

    @admin.display(description="created", ordering="created_at")
    def created(self, key: ApiKey) -> SafeString | str:
        return shown.ago(key.created_at)

    @admin.display(description="secrets")
    def secrets(self, key: ApiKey) -> SafeString:
        return shown.table(
            (
                (shown.mono(secret.hint), shown.ago(secret.last_used_at, "never"), shown.ago(secret.expires_at))
                for secret in key.secrets.all()
            ),
            head=("Hint", "Last used", "Ends"),
        )

    @admin.display(description="issued")
    def issued(self, key: ApiKey) -> SafeString:
        return format_html("{} by {}", shown.stamp(key.created_at), key.created_by or "the command line")

    @admin.display(description="revoked")
    def revocation(self, key: ApiKey) -> SafeString:
        by = key.revoked_by or "the command line"
        return format_html("{} by {}: {}", shown.stamp(key.revoked_at), by, key.revoked_reason or "no reason given")
