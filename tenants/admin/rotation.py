"""Rotating a key in the console: choose how long the old secret works on, see the new one once."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django import forms
from django.conf import settings
from django.contrib import messages
from django.contrib.admin.utils import unquote
from django.contrib.auth import logout
from django.core.exceptions import ValidationError
from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, path, reverse
from django.utils import timezone

from tenants import keys
from tenants.admin import connect, password_again
from tenants.admin.forms import MomentInput
from tenants.admin.verbs import Verb, VerbAdmin
from tenants.keyring import AlreadyRotated, RotationRefused
from tenants.models import ApiKey

CUSTOM = "custom"
OVERLAPS = {
    "now": ("Not at all: it ends now", timedelta()),
    "1h": ("For 1 hour", timedelta(hours=1)),
    "24h": ("For 24 hours", timedelta(hours=24)),
    "7d": ("For 7 days", timedelta(days=7)),
    CUSTOM: ("Until a moment of your choice", None),
}

END_SECRET: Verb[ApiKey] = Verb(
    name="end-old-secret",
    title="End the old secret",
    warning="Clients that still use the old secret will be refused. The new one works on.",
    past="Ended the old secret",
    act=lambda key, reason, by: key.end_old_secrets(reason),
    applies=lambda key: key.revoked_at is None and key.old_secret is not None,
)


class RotateForm(forms.Form):
    """How long the old secret works on. It names that secret, so that a form sent twice rotates once."""

    overlap = forms.ChoiceField(
        choices=[(name, text) for name, (text, _) in OVERLAPS.items()],
        initial="24h",
        label="The old secret works on",
        widget=forms.RadioSelect,
    )
    until = forms.DateTimeField(
        required=False, label="Until", help_text="In UTC, for a moment of your choice.", widget=MomentInput()
    )
    replacing = forms.IntegerField(widget=forms.HiddenInput(attrs={"autocomplete": "off"}))
    password = password_again.field()

    def __init__(self, request: HttpRequest, row: ApiKey, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.request = request
        password_again.fit(self, request, needed=row.mode == "live")

    def clean_until(self) -> datetime | None:
        until: datetime | None = self.cleaned_data["until"]
        if self.cleaned_data.get("overlap") != CUSTOM:
            return None
        if until is None or until <= timezone.now():
            raise ValidationError("Choose a moment that is still to come.")
        return until

    def clean_password(self) -> str:
        if problem := password_again.problem(self.request, self.cleaned_data["password"]):
            raise ValidationError(problem)
        return ""

    @property
    def length(self) -> timedelta:
        """How long the old secret works on."""
        chosen = OVERLAPS[self.cleaned_data["overlap"]][1]
        return self.cleaned_data["until"] - timezone.now() if chosen is None else chosen


class RotationAdmin(VerbAdmin[ApiKey]):
    """The part of the keys' admin that rotates them."""

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.rotate_view)
        return [path("<path:object_id>/rotate/", view, name="tenants_apikey_rotate"), *super().get_urls()]

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        row = self.get_object(request, unquote(object_id))
        may = row is not None and row.can_rotate and self.has_change_permission(request, row)
        return super().change_view(request, object_id, form_url, {"can_rotate": may, **(extra_context or {})})

    def rotate_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        row = self.row_to_change(request, object_id)
        newest = row.secrets.first()
        form = RotateForm(
            request,
            row,
            request.POST if request.method == "POST" else None,
            initial={"replacing": newest and newest.pk},
        )
        try:
            if form.is_valid():
                key, ends = self._rotate(request, row, form)
                return self.show_once(request, row, key, {"rotated": True, "old_ends": ends})
        except AlreadyRotated:
            return self.key_page(request, "already_rotated.html", "This key was rotated already", row, {})
        except RotationRefused as refusal:
            form.add_error(None, str(refusal))
        except password_again.TooManyTries:
            return self.sign_out(request)
        context: dict[str, object] = {"form": form, "newest": newest, "old": row.old_secret}
        return self.key_page(request, "rotate.html", "Rotate a key", row, context)

    def _rotate(self, request: HttpRequest, row: ApiKey, form: RotateForm) -> tuple[keys.Key, datetime | None]:
        """The new key, and when the old secret ends (None: now). Rotates and logs, both or neither.

        Raises RotationRefused.
        """
        length, replacing = form.length, form.cleaned_data["replacing"]
        ends = timezone.now() + length if length else None
        with transaction.atomic():
            key = row.rotate(length, settings.KEY_PEPPERS, by=request.user, replacing=replacing)
            until = f"until {ends:%Y-%m-%d %H:%M:%S} UTC" if ends else "no longer"
            self.log_change(request, row, f"Rotated: the old secret works {until}.")
        return key, ends

    # The pages that rotation and issuing share

    def show_once(self, request: HttpRequest, row: ApiKey, key: keys.Key, context: dict[str, object]) -> HttpResponse:
        """The new key, straight from the POST: the only page that ever has it, and nothing remembers it."""
        model = row.allowed_models[0] if row.allowed_models else connect.MODEL
        base = connect.base_url(request)
        told = {"key": key.text, "snippets": connect.snippets(base, key.text, model), "base_url": base}
        title = "Key rotated" if context.get("rotated") else "Key issued"
        return self.key_page(request, "issued.html", title, row, {**told, **context})

    def key_page(
        self, request: HttpRequest, template: str, title: str, row: ApiKey | None, context: dict[str, object]
    ) -> HttpResponse:
        """Made at once: a key that could not be shown is not issued."""
        own = {"row": row, "back": self.page_of(row) if row else None}
        response = self.page(request, f"tenants/apikey/{template}", title, {**own, **context})
        response.headers["Cache-Control"] = "no-store"
        return response.render()

    def sign_out(self, request: HttpRequest) -> HttpResponse:
        """Whoever does not know the password is not whose session it is."""
        logout(request)
        messages.warning(request, "Signed out: the password was wrong too often.")
        return HttpResponseRedirect(reverse("admin:login"))
