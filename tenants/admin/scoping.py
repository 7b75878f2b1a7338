"""What every page of the console holds to: nobody is shown, offered or let do anything outside of their tenants.

It is the base of all admin classes, so that a new one is scoped without a line of its own: lists, pages, histories,
actions and searches start at `get_queryset`, forms offer only rows within, and permissions are asked about the row.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from django import forms
from django.contrib import admin
from django.core.exceptions import FieldDoesNotExist, PermissionDenied
from django.db.models import Model, QuerySet
from django.http import HttpRequest

from tenants.models import User
from tenants.roles import Scope

M = TypeVar("M", bound=Model)

if TYPE_CHECKING:
    from django.contrib.admin import ModelAdmin
else:

    class ModelAdmin(admin.ModelAdmin):
        """Django's, which the stubs make generic and the runtime does not."""

        def __class_getitem__(cls, _: object) -> type:
            return cls


# Never part of a lookup, wherever it stands: an answer of "some" or "none" would give it away bit by bit.
SECRET_COLUMNS = frozenset({"digest", "pepper", "password", "secret", "ciphertext", "hash", "prev_hash"})


def scope_of(request: HttpRequest, *permissions: str) -> Scope:
    """Where any of these permissions holds for whoever asks."""
    return request.user.scope(*permissions) if isinstance(request.user, User) else Scope()


def mine(request: HttpRequest, model: type[Model], permission: str = "") -> QuerySet[Any]:
    """The rows that whoever asks may see; `permission` is for what has no page of its own."""
    seen = permission or f"{model._meta.app_label}.view_{model._meta.model_name}"
    return scope_of(request, seen).only(model._default_manager.all())


class ScopedAdmin(ModelAdmin[M]):
    """An admin that begins and ends at the tenants of whoever asks."""

    def scope(self, request: HttpRequest, *verbs: str) -> Scope:
        """Where someone may do any of this (view, add, change, delete) to these rows."""
        names = (f"{self.opts.app_label}.{verb}_{self.opts.model_name}" for verb in verbs)
        return scope_of(request, *names)

    def get_queryset(self, request: HttpRequest) -> QuerySet[M]:
        return self.scope(request, "view", "change").only(super().get_queryset(request))

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> M | None:
        """None for what is not there and for what is somebody else's alike."""
        if not (self.has_view_or_change_permission(request) or self.has_add_permission(request)):
            raise PermissionDenied
        return super().get_object(request, object_id, from_field)

    # Permissions are Django's for the list, and for a row those that hold there.

    def _within(self, request: HttpRequest, obj: M | None, *verbs: str) -> bool:
        return obj is None or obj.pk is None or self.scope(request, *verbs).holds(obj)

    def has_view_permission(self, request: HttpRequest, obj: M | None = None) -> bool:
        return super().has_view_permission(request, obj) and self._within(request, obj, "view", "change")

    def has_change_permission(self, request: HttpRequest, obj: M | None = None) -> bool:
        return super().has_change_permission(request, obj) and self._within(request, obj, "change")

    def has_delete_permission(self, request: HttpRequest, obj: M | None = None) -> bool:
        return super().has_delete_permission(request, obj) and self._within(request, obj, "delete")

    def changeable(self, request: HttpRequest, rows: QuerySet[M]) -> QuerySet[M]:
        """Of the rows that an action was asked for, those that it may be done to."""
        return self.scope(request, "change").only(rows)

    # Lookups

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest) -> bool:
        """The list's own filters, and columns of these rows themselves: a join would end in someone else's rows."""
        if lookup in {getattr(known, "parameter_name", known) for known in self.get_list_filter(request)}:
            return True
        first, *rest = lookup.split("__")
        if not SECRET_COLUMNS.isdisjoint([first, *rest]):
            return False
        try:
            joins = first != "pk" and self.opts.get_field(first).is_relation and rest not in ([], ["exact"])
        except FieldDoesNotExist:
            joins = True
        return not joins and super().lookup_allowed(lookup, value, request)

    # Forms

    def get_form(self, request: HttpRequest, obj: M | None = None, change: bool = False, **kwargs: Any) -> Any:
        form = super().get_form(request, obj, change=change, **kwargs)
        scope = self.scope(request, "change" if obj else "add")
        if scope.everything:
            return form
        return type(form.__name__, (ScopedForm, form), {"scope": scope, "check_bounds": self.check_bounds})

    def check_bounds(self, form: forms.ModelForm[Any]) -> None:
        """Adds to the form's errors what someone who looks after some tenants may not set."""


class ScopedForm:
    """What becomes of any form for someone who looks after some tenants."""

    scope: Scope
    fields: dict[str, forms.Field]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name, field in self.fields.items():
            if isinstance(field, forms.ModelChoiceField) and field.queryset is not None:
                field.queryset = self.scope.only(field.queryset)
                field.required = field.required or name == "tenant"  # none would be all of them

    def clean(self) -> Any:
        cleaned = super().clean()  # type: ignore[misc]
        self.check_bounds(self)  # type: ignore[attr-defined]
        return cleaned
