"""Tenants in the console: create, change, suspend and resume."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponseRedirect
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from tenants import alert_signing, capture, reports
from tenants.admin import budgets, shown
from tenants.admin.credentials import REMOVE, CredentialAdmin
from tenants.admin.figures import WithUsage
from tenants.admin.forms import LIMIT_FIELDS
from tenants.admin.limits import LimitsShown
from tenants.admin.verbs import Verb
from tenants.models import Tenant

SUSPEND: Verb[Tenant] = Verb(
    name="suspend",
    title="Suspend a tenant",
    warning="Every request with any of its keys will be refused until the tenant is resumed.",
    past="Suspended",
    act=lambda tenant, reason, by: tenant.suspend(reason, by=by),
    applies=lambda tenant: tenant.suspended_at is None,
)
RESUME: Verb[Tenant] = Verb(
    name="resume",
    title="Resume a tenant",
    warning="Its keys will work again, except those that are revoked or expired.",
    past="Resumed",
    act=lambda tenant, reason, by: tenant.resume(reason),
    applies=lambda tenant: tenant.suspended_at is not None,
    harmful=False,
)
HOLD: Verb[Tenant] = Verb(
    name="hold",
    title="Place a tenant under legal hold",
    warning="Nothing recorded of it will be pruned or erased until it is released, whatever its retention.",
    past="Placed under legal hold",
    act=lambda tenant, reason, by: tenant.hold(reason),
    applies=lambda tenant: tenant.held_at is None,
    harmful=False,
)
RELEASE: Verb[Tenant] = Verb(
    name="release",
    title="Release a tenant from legal hold",
    warning="Records that are older than its retention will be deleted, for ever, within a day.",
    past="Released from legal hold",
    act=lambda tenant, reason, by: tenant.release(),
    applies=lambda tenant: tenant.held_at is not None,
)


@admin.register(Tenant)
class TenantAdmin(WithUsage[Tenant], LimitsShown, CredentialAdmin):
    section = "Tenants"
    add_title = "Create a tenant"
    empty_title = "No tenants yet"
    empty_next = "A tenant is a team or customer: keys belong to it, and its requests and costs add up under its name."
    verbs = (REMOVE, SUSPEND, RESUME, HOLD, RELEASE)

    list_display = ("name", "slug_name", "key_count", "state", "created")
    search_fields = ("name", "slug")
    prepopulated_fields = {"slug": ("name",)}

    def get_queryset(self, request: HttpRequest) -> QuerySet[Tenant]:
        return reports.with_key_counts(super().get_queryset(request))

    def get_fieldsets(self, request: HttpRequest, obj: Tenant | None = None) -> Any:
        about = (None, {"fields": ["name", "slug", "note", "retention_days", "idempotent", "thinking_vault"]})
        limits = ("Limits, all keys together", {"fields": [*LIMIT_FIELDS]})
        payloads = ("Payloads", {"fields": [*capture.FIELDS], "description": capture.TENANT_WORDS})
        money = ("Money", {"fields": ["time_zone", "alert_emails", "alert_webhook"]})
        if obj is None:
            return [about, limits]
        limits[1]["fields"].append("limits_now")
        if self.has_change_permission(request, obj):
            money[1]["fields"].append("webhook_secret")
        money[1]["fields"].append("budgets")
        facts = ("Facts", {"fields": ["state", "legal_hold", "anthropic_key", "keys", "created"]})
        return self._without(self._not_for(request, obj), [about, limits, money, payloads, facts])

    def _not_for(self, request: HttpRequest, tenant: Tenant) -> set[str]:
        """A webhook's address may hold a password; what is noted about a tenant is not for those who look after it."""
        secret = set() if self.has_change_permission(request, tenant) else {"alert_webhook"}
        return secret if self.scope(request, "view").everything else secret | {"note", "legal_hold"}

    @staticmethod
    def _without(names: set[str], fieldsets: list[Any]) -> list[Any]:
        return [
            (head, {**more, "fields": [name for name in more["fields"] if name not in names]})
            for head, more in fieldsets
        ]

    def has_history_permission(self, request: HttpRequest, obj: Tenant) -> bool:
        """The history of a tenant tells what is noted about it."""
        return request.user.has_perm("tenants.view_auditevent", obj)

    def get_readonly_fields(self, request: HttpRequest, obj: Tenant | None = None) -> Any:
        facts = ["budgets", "limits_now", "webhook_secret", "state", "legal_hold", "anthropic_key", "keys", "created"]
        return facts if obj else []

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        if db_field.name in ("note", "alert_emails", "capture_redactions"):
            kwargs["widget"] = forms.Textarea(attrs={"rows": 3})
        if db_field.name == "alert_webhook":
            kwargs["assume_scheme"] = "https"
        return super().formfield_for_dbfield(db_field, request, **kwargs)

    def response_post_save_add(self, request: HttpRequest, obj: Tenant) -> HttpResponseRedirect:
        """On to the new tenant's own page: from there its first key is issued."""
        if not self.has_view_or_change_permission(request, obj):
            return super().response_post_save_add(request, obj)
        return HttpResponseRedirect(reverse("admin:tenants_tenant_change", args=(obj.pk,)))

    @admin.display(description="short name", ordering="slug")
    def slug_name(self, tenant: Tenant) -> SafeString | str:
        return shown.mono(tenant.slug)

    @admin.display(description="keys", ordering="key_count")
    def key_count(self, tenant: Tenant) -> SafeString:
        url = f"{reverse('admin:tenants_apikey_changelist')}?tenant={tenant.pk}"
        return shown.link(url, shown.number(getattr(tenant, "key_count", 0)))

    @admin.display(description="budgets")
    def budgets(self, tenant: Tenant) -> SafeString | str:
        return budgets.overview(tenant)

    @admin.display(description="webhook secret")
    def webhook_secret(self, tenant: Tenant) -> SafeString | str:
        return shown.mono(alert_signing.secret(tenant.pk))

    @admin.display(description="keys")
    def keys(self, tenant: Tenant) -> SafeString:
        url = f"{reverse('admin:tenants_apikey_changelist')}?tenant={tenant.pk}"
        count = getattr(tenant, "key_count", 0)
        return shown.link(url, f"{shown.number(count)} not revoked")

    @admin.display(description="status", ordering="suspended_at")
    def state(self, tenant: Tenant) -> SafeString:
        if tenant.suspended_at is None:
            return shown.pill("active", "good")
        why = f"by {tenant.suspended_by or 'the command line'}: {tenant.suspended_reason or 'no reason given'}"
        return format_html("{} {} {}", shown.pill("suspended", "bad"), shown.ago(tenant.suspended_at), why)

    @admin.display(description="legal hold")
    def legal_hold(self, tenant: Tenant) -> SafeString | str:
        if tenant.held_at is None:
            return "no"
        return format_html("{} {}: {}", shown.pill("held", "bad"), shown.ago(tenant.held_at), tenant.held_reason)

    @admin.display(description="Anthropic key")
    def anthropic_key(self, tenant: Tenant) -> SafeString | str:
        return self.told(tenant)

    @admin.display(description="created", ordering="created_at")
    def created(self, tenant: Tenant) -> SafeString | str:
        return shown.ago(tenant.created_at)
