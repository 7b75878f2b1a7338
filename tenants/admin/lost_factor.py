"""Somebody's lost second factor, removed by whoever may set them a password."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.contrib.admin.utils import unquote
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, path, reverse
from django.utils.decorators import method_decorator
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.views.decorators.debug import sensitive_post_parameters

from tenants.admin import password_again, shown
from tenants.admin import second_factor as gate
from tenants.admin.base import ConsoleAdmin
from tenants.admin.second_factor_forms import LostForm
from tenants.admin.second_factor_pages import GUESSED
from tenants.models import User


class LostFactorAdmin(ConsoleAdmin[User]):
    """The part of the people's admin that removes second factors."""

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.lost_view)
        own = path("<path:object_id>/remove-second-factor/", view, name="tenants_user_remove-second-factor")
        return [own, *super().get_urls()]

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        person = self.get_object(request, unquote(object_id))
        may = person is not None and person != request.user and self.has_change_permission(request, person)
        removable = may and person is not None and person.factor is not None
        return super().change_view(request, object_id, form_url, {"removable": removable, **(extra_context or {})})

    @method_decorator(sensitive_post_parameters())
    def lost_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        person = self.row_to_change(request, object_id)
        if person == request.user:  # on a page of its own, which always asks for the password
            return HttpResponseRedirect(reverse("admin:second_factor_remove"))
        if person.factor is None:
            self.message_user(request, f"{person} has no second factor.", messages.INFO)
            return HttpResponseRedirect(self.page_of(person))
        form = LostForm(request, request.POST if request.method == "POST" else None)
        try:
            if form.is_valid():
                person.factor.delete(reason=form.cleaned_data["reason"])
                self.message_user(request, f"Removed the second factor of {person}.", messages.SUCCESS)
                return HttpResponseRedirect(self.page_of(person))
        except password_again.TooManyTries:
            return gate.leave(request, GUESSED)
        context = {"row": person, "form": form, "back": self.page_of(person)}
        return self.page(request, "tenants/user/remove_second_factor.html", "Remove a lost second factor", context)


def told(person: User) -> SafeString | str:
    """Whether someone has one, and since when."""
    if person.factor is None:
        return "none"
    return format_html("{} {}", shown.pill("set up", "good"), shown.ago(person.factor.created_at))
