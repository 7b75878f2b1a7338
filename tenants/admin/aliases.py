"""Aliases in the console: other names for models, for one tenant or for all."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.http import HttpRequest

from tenants.admin.base import ConsoleAdmin, TenantFilter
from tenants.models import ModelAlias


class AliasForm(forms.ModelForm):  # type: ignore[type-arg]
    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        if cleaned.get("name") and cleaned.get("name") == cleaned.get("target"):
            raise ValidationError({"target": "An alias has to mean another model than itself."})
        return cleaned


@admin.register(ModelAlias)
class ModelAliasAdmin(ConsoleAdmin[ModelAlias]):
    section = "Aliases"
    add_title = "Add an alias"
    empty_title = "No aliases yet"
    empty_next = "An alias lets tools that insist on a model name, such as gpt-4o, use a Claude model without a change."
    form = AliasForm

    list_display = ("name", "target", "for_whom")
    list_filter = (TenantFilter,)
    search_fields = ("name", "target")
    fields = ("name", "target", "tenant")

    def get_queryset(self, request: HttpRequest) -> QuerySet[ModelAlias]:
        return super().get_queryset(request).select_related("tenant")

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Unlike keys and tenants, an alias has no history to keep."""
        return request.user.has_perm("tenants.delete_modelalias", obj)

    @admin.display(description="for", ordering="tenant__name")
    def for_whom(self, alias: ModelAlias) -> str:
        return alias.tenant.name if alias.tenant else "every tenant"
