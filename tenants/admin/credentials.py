"""A tenant's own Anthropic key in the console: set, replace, remove. Nobody can look at it."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import messages
from django.contrib.auth import logout
from django.core.exceptions import ValidationError
from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from tenants import credentials
from tenants.admin import password_again, shown
from tenants.admin.verbs import EFFECT, Verb, VerbAdmin
from tenants.models import Tenant, UpstreamCredential


def own(tenant: Tenant) -> UpstreamCredential | None:
    row: UpstreamCredential | None = UpstreamCredential.objects.filter(tenant=tenant).first()
    return row


def _remove(tenant: Tenant, reason: str, by: object) -> None:
    row = own(tenant)
    if row is not None:
        row.delete(reason=reason)


REMOVE: Verb[Tenant] = Verb(
    name="remove-upstream-key",
    title="Remove a tenant's Anthropic key",
    warning="Its live keys will use the site's Anthropic key again, at the site's cost.",
    past="Removed the Anthropic key",
    act=_remove,
    applies=lambda tenant: own(tenant) is not None,
)


class CredentialForm(forms.Form):
    """The key goes in and never comes out: not even a form that was wrong gives it back."""

    secret = forms.CharField(
        label="Anthropic key",
        strip=True,
        help_text="sk-ant-…, from the tenant's own account. It is stored encrypted, and nobody can look at it here.",
        widget=forms.PasswordInput(
            attrs={"autocomplete": "off", "spellcheck": "false", "class": "vTextField", "autofocus": True}
        ),
    )
    password = password_again.field()

    def __init__(self, request: HttpRequest, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.request = request
        self.fields["password"].help_text = "You signed in a while ago: this needs it again."
        password_again.fit(self, request)

    def clean_secret(self) -> str:
        try:
            return credentials.check(self.cleaned_data["secret"])
        except ValueError as error:
            raise ValidationError(str(error)) from None

    def clean_password(self) -> str:
        if problem := password_again.problem(self.request, self.cleaned_data["password"]):
            raise ValidationError(problem)
        return ""


class CredentialAdmin(VerbAdmin[Tenant]):
    """The part of the tenants' admin that keeps their Anthropic keys."""

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.credential_view)
        return [path("<path:object_id>/anthropic-key/", view, name="tenants_tenant_anthropic-key"), *super().get_urls()]

    def credential_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        tenant = self.row_to_change(request, object_id)
        back = self.page_of(tenant)
        form = CredentialForm(request, request.POST if request.method == "POST" else None)
        try:
            valid = form.is_valid()
        except password_again.TooManyTries:
            logout(request)
            messages.warning(request, "Signed out: the password was wrong too often.")
            return HttpResponseRedirect(reverse("admin:login"))
        if valid:
            with transaction.atomic():
                row = UpstreamCredential.objects.put(tenant, form.cleaned_data["secret"], by=request.user)
                self.log_change(request, tenant, f"Set the Anthropic key {row.hint}.")
            self.message_user(request, f"Set: {row.hint} for {tenant}. {EFFECT}", messages.SUCCESS)
            return HttpResponseRedirect(back)
        context = {"row": tenant, "credential": own(tenant), "form": form, "back": back}
        return self.page(request, "tenants/tenant/anthropic_key.html", "Anthropic key of a tenant", context)

    @staticmethod
    def told(tenant: Tenant) -> SafeString | str:
        """Which key its requests use, and whether Anthropic takes it."""
        row = own(tenant)
        if row is None:
            return "the site's"
        by = row.created_by or "the command line"
        what = format_html("{} set {} by {}", shown.mono(row.hint), shown.ago(row.created_at), by)
        if row.refused_at is None:
            return what
        return format_html("{} {} {}", what, shown.pill("refused by Anthropic", "bad"), shown.ago(row.refused_at))
