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
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from tenants import capture, keys, reports
from tenants.admin import budgets, ceilings, password_again, refused, shown
from tenants.admin.base import ModeFilter, SelectFilter, TenantFilter
from tenants.admin.figures import WithUsage
from tenants.admin.forms import LIMIT_FIELDS, IssueForm, KeyForm, ReasonForm
from tenants.admin.limits import LimitsShown
from tenants.admin.rotation import END_SECRET, RotationAdmin
from tenants.admin.verbs import EFFECT, Verb
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
class ApiKeyAdmin(WithUsage[ApiKey], LimitsShown, RotationAdmin):
    section = "Keys"
    add_title = "Issue a key"
    empty_title = "No keys yet"
    empty_next = "A key lets one client of one tenant in. Issue the first, and paste the snippet that comes with it."
    verbs = (END_SECRET, REVOKE)

    list_display = ("name", "tenant_name", "hint", "mode_name", "state", "last_used", "created")
    list_filter = (TenantFilter, ModeFilter, StatusFilter)
    search_fields = ("name",)
    search_help_text = "Name, public id, hint or a whole key (only its public id is used)."
    actions = ("revoke_selected",)
    radio_fields = {"mode": admin.VERTICAL}

    # The form

    def get_form(self, request: HttpRequest, obj: ApiKey | None = None, change: bool = False, **kwargs: Any) -> Any:
        form = super().get_form(request, obj, change, **{"form": KeyForm if obj else IssueForm, **kwargs})
        return type(form.__name__, (form,), {"request": request})

    def get_fieldsets(self, request: HttpRequest, obj: ApiKey | None = None) -> Any:
        rights = ("Rights", {"fields": ["allowed_models", "networks", "expires_at"]})
        behaviour = ["tags", "compat", "auto_cache"]
        payloads = {"fields": [*capture.FIELDS], "description": capture.KEY_WORDS}
        if obj is None:
            you = [] if password_again.is_fresh(request) else [("You", {"fields": ["password"]})]
            first = you if password_again.asks_provider(request) else []  # it leads away, so before anything is typed
            return [
                *first,
                (None, {"fields": ["tenant", "name", "note", "mode", "issue_id"]}),
                rights,
                ("Limits", {"fields": [*LIMIT_FIELDS]}),
                ("Behaviour", {"fields": behaviour}),
                (
                    "More: payloads, Idempotency-Key",
                    {**payloads, "fields": [*capture.FIELDS, "idempotent"], "classes": ["collapse"]},
                ),
                *(() if first else you),
            ]
        ended = ["revocation"] if obj.revoked_at else []
        facts = ["budgets", "tenant_name", "mode_name", "state", "secrets", "last_used", "issued", *ended]
        return [
            (None, {"fields": ["name", "note"]}),
            rights,
            ("Limits", {"fields": [*LIMIT_FIELDS, "limits_now"]}),
            ("Behaviour", {"fields": [*behaviour, "idempotent"]}),
            ("Payloads", payloads),
            ("Facts", {"fields": facts}),
            ("Why was this refused?", {"fields": ["refusals"]}),
        ]

    def get_readonly_fields(self, request: HttpRequest, obj: ApiKey | None = None) -> Any:
        return (
            [
                "budgets",
                "limits_now",
                "tenant_name",
                "mode_name",
                "state",
                "secrets",
                "last_used",
                "issued",
                "revocation",
                "refusals",
            ]
            if obj
            else []
        )

    def get_queryset(self, request: HttpRequest) -> QuerySet[ApiKey]:
        return reports.with_last_use(super().get_queryset(request))

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[ApiKey], search_term: str
    ) -> tuple[QuerySet[ApiKey], bool]:
        return reports.find_keys(queryset, search_term), False

    def check_bounds(self, form: Any) -> None:
        ceilings.check_limits(form)

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
        except password_again.TooManyTries:
            return self.sign_out(request)

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
                **{name: getattr(obj, name) for name in KeyForm.Meta.fields if name != "name"},
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
        return self.show_once(request, obj, cast(keys.Key, vars(obj).pop("_issued_key")), {})

    def _already_issued(self, request: HttpRequest, key_id: UUID) -> HttpResponse:
        row = self.get_object(request, str(key_id))
        return self.key_page(request, "already_issued.html", "This key was issued already", row, {})

    # Revoking several

    @admin.action(description="Revoke selected keys…", permissions=["change"])
    def revoke_selected(self, request: HttpRequest, queryset: QuerySet[ApiKey]) -> HttpResponse | None:
        rows = [key for key in self.changeable(request, queryset) if REVOKE.applies(key)]
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
    def budgets(self, key: ApiKey) -> SafeString | str:
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
        pill = shown.pill(key.status, TONES[key.status])
        if key.status != "active" or key.old_secret is None:
            return pill
        ends = shown.ago(key.old_secret.expires_at)
        return format_html("{} {}", pill, format_html('<span class="quiet">rotating, old secret ends {}</span>', ends))

    @admin.display(description="last used", ordering="last_used_at")
    def last_used(self, key: ApiKey) -> SafeString | str:
        return shown.ago(getattr(key, "last_used_at", None), "never")

    @admin.display(description="created", ordering="created_at")
    def created(self, key: ApiKey) -> SafeString | str:
        return shown.ago(key.created_at)

    @admin.display(description="secrets")
    def secrets(self, key: ApiKey) -> SafeString | str:
        return shown.lines(
            format_html(
                '{} <span class="quiet">made {}, last used {}, {} {}</span>',
                shown.mono(secret.hint),
                shown.ago(secret.created_at),
                shown.ago(secret.last_used_at, "never"),
                "ends" if secret.is_live(timezone.now()) else "ended",
                shown.ago(secret.expires_at, "with the key"),
            )
            for secret in key.secrets.all()
        )

    @admin.display(description="last refusals")
    def refusals(self, key: ApiKey) -> SafeString | str:
        return refused.listed(reports.refusals(key))

    @admin.display(description="issued")
    def issued(self, key: ApiKey) -> SafeString:
        return format_html("{} by {}", shown.stamp(key.created_at), key.created_by or "the command line")

    @admin.display(description="revoked")
    def revocation(self, key: ApiKey) -> SafeString:
        by = key.revoked_by or "the command line"
        return format_html("{} by {}: {}", shown.stamp(key.revoked_at), by, key.revoked_reason or "no reason given")
