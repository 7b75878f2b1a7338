"""Actions on one row with a page of their own (revoke, suspend, resume): confirm, give a reason, do.

After django.contrib.auth's UserAdmin.user_change_password: `get_urls` prepends `<id>/<verb>/`, the view checks the
permission for that object and acts through the model's own method.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic

from django.contrib import messages
from django.contrib.admin.utils import unquote
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path

from tenants.admin.base import ConsoleAdmin, M
from tenants.admin.forms import ReasonForm

EFFECT = "This takes effect within a second on every worker."


@dataclass(frozen=True)
class Verb(Generic[M]):
    """One thing that can be done to a row."""

    name: str  # as in the address
    title: str
    warning: str
    past: str  # as the log and the message say it
    act: Callable[[M, str, object], None]  # row, reason, who
    applies: Callable[[M], bool]
    harmful: bool = True

    @property
    def label(self) -> str:
        return self.name.replace("-", " ").capitalize()


class VerbAdmin(ConsoleAdmin[M]):
    """An admin whose rows can be acted on."""

    verbs: tuple[Verb[Any], ...] = ()

    def get_urls(self) -> list[URLPattern]:
        own = [
            path(
                f"<path:object_id>/{verb.name}/",
                self.admin_site.admin_view(partial(self.verb_view, verb=verb)),
                name=f"{self.opts.app_label}_{self.opts.model_name}_{verb.name}",
            )
            for verb in self.verbs
        ]
        return own + super().get_urls()

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        row = self.get_object(request, unquote(object_id))
        may = row is not None and self.has_change_permission(request, row)
        possible = [verb for verb in self.verbs if may and row is not None and verb.applies(row)]
        return super().change_view(request, object_id, form_url, {"verbs": possible, **(extra_context or {})})

    def verb_view(self, request: HttpRequest, object_id: str, verb: Verb[M]) -> HttpResponse:
        row = self.row_to_change(request, object_id)
        back = self.page_of(row)
        if not verb.applies(row):
            self.message_user(request, f"{row} has that state already.", messages.INFO)
            return HttpResponseRedirect(back)
        form = ReasonForm(request.POST if request.method == "POST" else None)
        if form.is_valid():
            self.do(request, verb, row, form.cleaned_data["reason"])
            self.message_user(request, f"{verb.past}: {row}. {EFFECT}", messages.SUCCESS)
            return HttpResponseRedirect(back)
        return self.ask(request, verb, [row], form, back)

    def do(self, request: HttpRequest, verb: Verb[M], row: M, reason: str) -> None:
        """Acts; the row's own method tells the audit trail."""
        verb.act(row, reason, request.user)

    def ask(
        self, request: HttpRequest, verb: Verb[M], rows: list[M], form: ReasonForm, back: str, **extra: object
    ) -> TemplateResponse:
        """The page that says what will happen and asks why."""
        asked = {"verb": verb, "effect": EFFECT, "rows": rows, "form": form, "back": back}
        return self.page(request, "tenants/verb.html", verb.title, {**asked, **extra})
