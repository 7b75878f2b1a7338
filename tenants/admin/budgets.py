"""Budgets in the console: give one to a tenant or a key, see how it stands, change its limit, remove it."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from tenants import reports
from tenants.admin import ceilings, shown
from tenants.admin.base import TenantFilter
from tenants.admin.verbs import Verb, VerbAdmin
from tenants.models import ApiKey, Budget, Tenant
from tenants.money import to_nanos
from tenants.spending import MOST_NANOS
from tenants.windows import zone

if TYPE_CHECKING:
    BudgetModelForm = forms.ModelForm[Budget]
else:
    BudgetModelForm = forms.ModelForm

REMOVE: Verb[Budget] = Verb(
    name="remove",
    title="Remove a budget",
    warning="It will hold nobody any more. What was spent under it stays on record.",
    past="Removed",
    act=lambda budget, reason, by: budget.remove(reason, by),
    applies=lambda budget: budget.removed_at is None,
)


class LimitForm(BudgetModelForm):
    """The limit, in dollars."""

    limit_usd = forms.DecimalField(
        label="Limit in US dollars",
        min_value=Decimal(0),
        max_value=Decimal(MOST_NANOS).scaleb(-9),
        decimal_places=9,
        help_text="Nothing is sent that could cost more than what is left of it.",
    )

    class Meta:
        model = Budget
        fields: tuple[str, ...] = ()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.instance.pk:
            self.initial["limit_usd"] = Decimal(self.instance.limit_nanos).scaleb(-9).normalize()


class BudgetForm(LimitForm):
    """A new budget."""

    tenant = forms.ModelChoiceField(Tenant.objects.all(), empty_label="Choose a tenant…")
    key = forms.ModelChoiceField(
        ApiKey.objects.select_related("tenant"),
        required=False,
        empty_label="All of its keys together",
        help_text="One key of that tenant, or all of them together.",
    )

    class Meta(LimitForm.Meta):
        fields: tuple[str, ...] = ("tenant", "key", "window")

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        key, tenant = cleaned.get("key"), cleaned.get("tenant")
        if key and tenant and key.tenant_id != tenant.pk:
            raise ValidationError({"key": "This key belongs to another tenant."})
        if key and key.mode == "test":
            raise ValidationError({"key": "A test key costs nothing: it needs no budget."})
        return cleaned


@admin.register(Budget)
class BudgetAdmin(VerbAdmin[Budget]):
    section = "Budgets"
    add_title = "Give a budget"
    empty_title = "No budgets yet"
    empty_next = "A budget is the most that a tenant or a key may spend: what could cost more than is left is not sent."
    verbs = (REMOVE,)

    list_display = ("whose", "tenant_name", "window", "standing", "state")
    list_display_links = ("whose",)
    list_filter = (TenantFilter,)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Budget]:
        return reports.with_sums(super().get_queryset(request))

    def get_form(self, request: HttpRequest, obj: Budget | None = None, change: bool = False, **kwargs: Any) -> Any:
        return super().get_form(request, obj, change, **{"form": LimitForm if obj else BudgetForm, **kwargs})

    def get_fieldsets(self, request: HttpRequest, obj: Budget | None = None) -> Any:
        if obj is None:
            return [(None, {"fields": ["tenant", "key", "window", "limit_usd"]})]
        facts = self.get_readonly_fields(request, obj)
        return [(None, {"fields": ["limit_usd"]}), ("Facts", {"fields": facts})]

    def get_readonly_fields(self, request: HttpRequest, obj: Budget | None = None) -> Any:
        return ["whose", "tenant_name", "window", "standing", "state", "given", "past"] if obj else []

    def save_model(self, request: HttpRequest, obj: Budget, form: Any, change: bool) -> None:
        limit_nanos = to_nanos(form.cleaned_data["limit_usd"])
        if change:
            obj.change(limit_nanos)
            return
        obj.pk = Budget.objects.give(obj.key or obj.tenant, obj.window, limit_nanos, by=request.user).pk

    def has_change_permission(self, request: HttpRequest, obj: Budget | None = None) -> bool:
        """A tenant's own budget is what whoever looks after that tenant keeps to: they do not set it."""
        theirs = obj is None or (obj.removed_at is None and (obj.key_id or self.scope(request, "change").everything))
        return bool(theirs) and super().has_change_permission(request, obj)

    def check_bounds(self, form: Any) -> None:
        ceilings.check_budget(form)

    @admin.display(description="of")
    def whose(self, budget: Budget) -> str:
        return f"key {budget.key.name}" if budget.key else f"tenant {budget.tenant.name}"

    @admin.display(description="tenant", ordering="tenant__name")
    def tenant_name(self, budget: Budget) -> SafeString:
        return shown.link(reverse("admin:tenants_tenant_change", args=(budget.tenant_id,)), budget.tenant.name)

    @admin.display(description="now")
    def standing(self, budget: Budget) -> SafeString:
        return meter(budget)

    @admin.display(description="status")
    def state(self, budget: Budget) -> SafeString:
        if budget.removed_at:
            return shown.pill("removed", "quiet")
        standing = reports.standing(budget)
        return shown.pill("spent", "bad") if not standing.unspent else shown.pill("active", "good")

    @admin.display(description="given")
    def given(self, budget: Budget) -> SafeString:
        return format_html("{} by {}", shown.stamp(budget.created_at), budget.created_by or "the command line")

    @admin.display(description="past windows")
    def past(self, budget: Budget) -> SafeString:
        rows = budget.windows.order_by("-first_day")[:12]
        return shown.table(
            ((f"{row.first_day:%d %b %Y}", shown.money(row.spent_nanos)) for row in rows), head=("From", "Spent")
        )


def meter(budget: Budget) -> SafeString:
    """How it stands, as a bar and in words: $41.20 of $100, resets 1 December."""
    standing = reports.standing(budget)
    ends = standing.resets_at
    words = f"{_dollars(standing.spent)} of {_dollars(standing.limit)}"
    words += f", {_dollars(standing.held)} held" if standing.held else ""
    if ends:
        local = ends.astimezone(zone(standing.rule.time_zone))
        words += f", resets {local.day} {local:%B}"
    used = min(standing.spent + standing.held, standing.limit)
    bar = format_html(
        '<meter min="0" max="{}" high="{}" value="{}">{}</meter>',
        standing.limit or 1, standing.limit * 4 // 5, used if standing.limit else 1, words,
    )  # fmt: skip
    return format_html("{} <span>{}</span>", bar, words)


def overview(owner: Tenant | ApiKey) -> SafeString | str:
    """The budgets on the page of whoever they are given to."""
    rows = [
        (shown.link(reverse("admin:tenants_budget_change", args=(budget.pk,)), budget.window), meter(budget))
        for budget in reports.budgets_of(owner)
    ]
    return shown.table(rows) if rows else "none"


def _dollars(nanos: int) -> str:
    """Cents, rounded to the nearest."""
    cents = (nanos + 5_000_000) // 10_000_000
    return f"${cents // 100:,}" if cents % 100 == 0 else f"${cents // 100:,}.{cents % 100:02}"
