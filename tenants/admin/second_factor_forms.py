"""The forms of the second factor: a code at sign-in, a code to set it up, a password to change or remove it."""

from __future__ import annotations

from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.http import HttpRequest

from tenants.admin import password_again

WRONG = "That is not what your app shows now. Wait for the next code, and look at the clock of your phone."


class Unrepeated(forms.TextInput):
    """What was typed is not given back: a wrong code may be a right one elsewhere."""

    def format_value(self, value: Any) -> None:
        return None


def _code(label: str, help_text: str, **attrs: Any) -> forms.CharField:
    known = {"autocomplete": "one-time-code", "spellcheck": "false", "autocapitalize": "none"}
    widget = Unrepeated(attrs={**known, "class": "vTextField mono", **attrs})
    return forms.CharField(label=label, help_text=help_text, max_length=40, widget=widget)


class CodeForm(forms.Form):
    """At sign-in."""

    code = _code("Code", "The six digits in your app, or one of your recovery codes.", autofocus=True)


class AgainForm(forms.Form):
    """Asks for the password again: always, or only of whoever gave it some time ago. Who came by single sign-on is
    sent there again, after some time."""

    always = False

    password = password_again.field()

    def __init__(self, request: HttpRequest, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.request = request
        self.fields["password"].help_text = "This needs it again."
        if not self.always or password_again.asks_provider(request):
            password_again.fit(self, request)

    def clean_password(self) -> str:
        """Raises TooManyTries."""
        if problem := password_again.problem(self.request, self.cleaned_data["password"]):
            raise ValidationError(problem)
        return ""


class EnrolForm(AgainForm):
    code = _code("Code", "The six digits that the app shows now.", inputmode="numeric")

    field_order = ("code", "password")


class ConfirmForm(AgainForm):
    always = True


class LostForm(AgainForm):
    reason = forms.CharField(
        max_length=250,
        help_text="Kept on the audit trail. How do you know that it is they who ask?",
        widget=forms.TextInput(attrs={"autofocus": True, "autocomplete": "off", "class": "vTextField"}),
    )

    field_order = ("reason", "password")
