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
from django.http import HttpRequest
from django.utils import timezone

from tenants import capture, ids, networks, tags
from tenants.admin import password_again
from tenants.models import ApiKey, Tenant, User

if TYPE_CHECKING:
    KeyModelForm = forms.ModelForm[ApiKey]
    SetPasswordForm = PasswordForm[User]
else:
    KeyModelForm = forms.ModelForm
    SetPasswordForm = PasswordForm

# As strict as a name needs: it is pasted into shells and source files from the page that shows a new key.
_MODEL_NAME = re.compile(r"[0-9A-Za-z][0-9A-Za-z._:@/-]{0,199}")


class WordsField(forms.Field):
    """Words, one per line; None when there are none."""

    widget = forms.Textarea

    def prepare_value(self, value: Any) -> Any:
        return "\n".join(value) if isinstance(value, list) else value

    def to_python(self, value: Any) -> list[str] | None:
        words = list(dict.fromkeys(re.split(r"[\s,]+", (value or "").strip()))) if isinstance(value, str) else value
        return [word for word in words or [] if word] or None

    def has_changed(self, initial: Any, data: Any) -> bool:
        try:
            return (initial or None) != self.to_python(data)
        except ValidationError:
            return True


class ModelNamesField(WordsField):
    """Model names."""

    def validate(self, value: Any) -> None:
        super().validate(value)
        for name in value or []:
            if not _MODEL_NAME.fullmatch(name):
                raise ValidationError(f"“{name[:60]}” is not the name of a model.")


class NetworksField(WordsField):
    """Addresses and networks."""

    def to_python(self, value: Any) -> list[str] | None:
        try:
            return networks.read_all(super().to_python(value) or ()) or None
        except ValueError as error:
            raise ValidationError(str(error)) from None


class TagsField(forms.Field):
    """Pairs like team=search, one per line; None when there are none."""

    widget = forms.Textarea

    def prepare_value(self, value: Any) -> Any:
        return "\n".join(tags.shown(value)) if isinstance(value, dict) else value

    def to_python(self, value: Any) -> dict[str, str] | None:
        try:
            return tags.read_all(line for line in (value or "").splitlines() if line.strip()) or None
        except ValueError as error:
            raise ValidationError(str(error)) from None

    def has_changed(self, initial: Any, data: Any) -> bool:
        try:
            return (initial or None) != self.to_python(data)
        except ValidationError:
            return True


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


LIMIT_FIELDS = ("rpm", "tpm", "concurrency", "dark_limits")


def _few_lines(placeholder: str) -> forms.Textarea:
    return forms.Textarea(attrs={"rows": 2, "class": "mono", "spellcheck": "false", "placeholder": placeholder})


class KeyForm(KeyModelForm):
    """What may change about a key that is out there."""

    allowed_models = _model_names()
    networks = NetworksField(
        required=False,
        help_text="Addresses or networks that it may be used from, one per line. Empty: from anywhere.",
        widget=_few_lines("203.0.113.0/24"),
    )
    tags = TagsField(
        required=False,
        help_text="Up to ten name=value pairs, one per line. Its records carry them from then on.",
        widget=_few_lines("team=search"),
    )
    expires_at = _expires_at()

    class Meta:
        model = ApiKey
        fields: tuple[str, ...] = (
            "name", "note", "allowed_models", "networks", "expires_at", "tags", "compat", "auto_cache",
            "idempotent", *LIMIT_FIELDS, *capture.FIELDS,
        )  # fmt: skip
        widgets = {
            "note": forms.Textarea(attrs={"rows": 2}),
            "capture_redactions": _few_lines(r"\b\d{4}(?:[ -]?\d{4}){3}\b"),
        }


class IssueForm(KeyForm):
    """A new key. Its id is made with the form, so that a form sent twice names the same key twice."""

    tenant = forms.ModelChoiceField(Tenant.objects.all(), empty_label="Choose a tenant…")
    issue_id = forms.UUIDField(initial=ids.uuid7, widget=forms.HiddenInput(attrs={"autocomplete": "off"}))
    password = password_again.field()
    request: HttpRequest  # of whoever fills it in

    class Meta(KeyForm.Meta):
        fields: tuple[str, ...] = (
            "tenant", "name", "note", "mode", *KeyForm.Meta.fields[2:],
        )  # fmt: skip

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        password_again.fit(self, self.request)

    def clean(self) -> dict[str, Any]:
        """Raises TooManyTries."""
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        asked = "password" in self.fields and cleaned.get("mode") == "live"
        if asked and (problem := password_again.problem(self.request, cleaned.get("password"))):
            self.add_error("password", problem)
        return cleaned

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
