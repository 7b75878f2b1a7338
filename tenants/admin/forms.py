"""The console's forms: issuing and changing a key, giving a reason, choosing a password of one's own."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib.admin.forms import AdminPasswordChangeForm
from django.contrib.auth.forms import AdminPasswordChangeForm as PasswordForm
from django.core.exceptions import ValidationError
from django.utils import timezone

from tenants import ids
from tenants.models import ApiKey, Tenant, User

if TYPE_CHECKING:
    KeyModelForm = forms.ModelForm[ApiKey]
    SetPasswordForm = PasswordForm[User]
else:
    KeyModelForm = forms.ModelForm
    SetPasswordForm = PasswordForm

# As strict as a name needs: it is pasted into shells and source files from the page that shows a new key.
_MODEL_NAME = re.compile(r"[0-9A-Za-z][0-9A-Za-z._:@/-]{0,199}")


class ModelNamesField(forms.Field):
    """Model names, one per line; None when there are none."""

    widget = forms.Textarea

    def prepare_value(self, value: Any) -> Any:
        return "\n".join(value) if isinstance(value, list) else value

    def to_python(self, value: Any) -> list[str] | None:
        names = list(dict.fromkeys(re.split(r"[\s,]+", (value or "").strip()))) if isinstance(value, str) else value
        return [name for name in names or [] if name] or None

    def validate(self, value: Any) -> None:
        super().validate(value)
        for name in value or []:
            if not _MODEL_NAME.fullmatch(name):
                raise ValidationError(f"“{name[:60]}” is not the name of a model.")

    def has_changed(self, initial: Any, data: Any) -> bool:
        return (initial or None) != self.to_python(data)


class MomentInput(forms.DateTimeInput):
    """The browser's own picker; it shows seconds only where there are any."""

    def __init__(self) -> None:
        super().__init__(attrs={"type": "datetime-local"})

    def format_value(self, value: Any) -> str | None:
        if not isinstance(value, datetime):
            return super().format_value(value)
        return value.strftime("%Y-%m-%dT%H:%M:%S" if value.second else "%Y-%m-%dT%H:%M")


def _model_names() -> ModelNamesField:
    return ModelNamesField(
        required=False,
        label="Models",
        help_text="One per line, e.g. claude-sonnet-5-5. Empty: every model.",
        widget=forms.Textarea(attrs={"rows": 3, "class": "mono", "spellcheck": "false"}),
    )


def _expires_at() -> forms.DateTimeField:
    return forms.DateTimeField(
        required=False,
        label="Expires",
        help_text="In UTC. Empty: never.",
        widget=MomentInput(),
    )


class KeyForm(KeyModelForm):
    """What may change about a key that is out there."""

    allowed_models = _model_names()
    expires_at = _expires_at()

    class Meta:
        model = ApiKey
        fields: tuple[str, ...] = ("name", "note", "allowed_models", "expires_at", "compat", "auto_cache", "idempotent")
        widgets = {"note": forms.Textarea(attrs={"rows": 2})}


class IssueForm(KeyForm):
    """A new key. Its id is made with the form, so that a form sent twice names the same key twice."""

    tenant = forms.ModelChoiceField(Tenant.objects.all(), empty_label="Choose a tenant…")
    issue_id = forms.UUIDField(initial=ids.uuid7, widget=forms.HiddenInput(attrs={"autocomplete": "off"}))

    class Meta(KeyForm.Meta):
        fields: tuple[str, ...] = (
            "tenant", "name", "note", "mode", "allowed_models", "expires_at", "compat", "auto_cache",
        )  # fmt: skip

    def clean_expires_at(self) -> datetime | None:
        expires_at: datetime | None = self.cleaned_data["expires_at"]
        if expires_at and expires_at <= timezone.now():
            raise ValidationError("That moment has passed: the key would never work.")
        return expires_at


class ReasonForm(forms.Form):
    """Why something is done: kept in the row's history."""

    reason = forms.CharField(
        max_length=250,
        help_text="Kept in the history, for whoever asks later.",
        widget=forms.TextInput(attrs={"autofocus": True, "autocomplete": "off", "class": "vTextField"}),
    )


class OwnPasswordForm(AdminPasswordChangeForm):
    """Changing one's password; someone who was given theirs must leave it behind."""

    def clean(self) -> dict[str, Any]:
        cleaned: Mapping[str, Any] = super().clean() or self.cleaned_data
        new = cleaned.get("new_password1")
        if getattr(self.user, "must_change_password", False) and new and self.user.check_password(new):
            self.add_error("new_password1", "Choose one that is not the password you were given.")
        return dict(cleaned)

    def save(self, commit: bool = True) -> Any:
        self.user.must_change_password = False
        return super().save(commit)


class GivenPasswordForm(SetPasswordForm):
    """A password set for someone else: theirs to replace at the next sign-in."""

    def save(self, commit: bool = True) -> Any:
        self.user.must_change_password = True
        return super().save(commit)
