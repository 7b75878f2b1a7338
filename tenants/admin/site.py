"""The console's site: its words, its navigation, its overview."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import timedelta
from typing import Any, ClassVar

from django.conf import settings
from django.contrib import admin, messages
from django.contrib.admin.forms import AdminAuthenticationForm
from django.db import transaction
from django.http import HttpRequest, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, URLResolver, path, reverse

from tenants import actors, reports
from tenants.admin import password_again, single_sign_on

# The navigation, in the users' words: each section, the models behind it and what their own lists are called.
SECTIONS = {
    "Tenants": {"Tenant": "Tenants"},
    "Keys": {"ApiKey": "Keys"},
    "Requests": {"RequestRecord": "Requests"},
    "Budgets": {"Budget": "Budgets"},
    "Models": {"ModelAlias": "Aliases", "ModelPrice": "Prices"},
    "Audit": {"AuditEvent": "Audit"},
    "People": {"User": "People"},
}


class ConsoleSite(admin.AdminSite):
    site_header = "Bridge"
    site_title = "Bridge"
    index_title = "Overview"
    enable_nav_sidebar = True
    password_change_template = "admin/password_change.html"

    # Django makes the default site by importing this class, and with it the package whose modules register with the
    # default site: it is made twice, inside itself, and what the inner one was given must not be lost.
    registered: ClassVar[dict[Any, Any]] = {}

    def __init__(self, name: str = "admin") -> None:
        super().__init__(name)
        self._registry = self.registered

    def get_urls(self) -> list[URLPattern | URLResolver]:
        from tenants.admin import second_factor_pages as pages

        own = [
            path("second-factor/", self.admin_view(pages.own), name="second_factor"),
            path("second-factor/recovery-codes/", self.admin_view(pages.renew), name="second_factor_renew"),
            path("second-factor/remove/", self.admin_view(pages.remove), name="second_factor_remove"),
            path("second-factor/code/", pages.code, name="second_factor_code"),
        ]
        return own + super().get_urls()

    def has_permission(self, request: HttpRequest) -> bool:
        """Nobody is signed in whose code is due; the middleware leads them to it, this shuts the doors behind it."""
        from tenants.admin import second_factor

        leaving = request.path_info == reverse("admin:logout")
        return super().has_permission(request) and (leaving or not second_factor.is_due(request))

    def each_context(self, request: HttpRequest) -> dict[str, Any]:
        """`opened`: nothing has to be done before the console opens, so that its sections are shown."""
        from tenants.admin import middleware

        sso = {"single_sign_on": single_sign_on.link(request), "single_sign_on_only": settings.OIDC_ONLY}
        return {**super().each_context(request), "opened": not middleware.first_step(request), **sso}

    def get_app_list(self, request: HttpRequest, app_label: str | None = None) -> list[Any]:
        """One group per section, whichever app its models live in; a model without a section comes last."""
        apps = self._build_app_dict(request, app_label).values()
        models = {model["object_name"]: model for app in apps for model in app["models"]}
        placed = {name for words in SECTIONS.values() for name in words}
        own = {models[name]["name"]: {name: models[name]["name"]} for name in sorted(models.keys() - placed)}
        sections = {
            section: [{**models[name], "name": word} for name, word in words.items() if name in models]
            for section, words in {**SECTIONS, **own}.items()
        }
        return [_group(section, found) for section, found in sections.items() if found]

    def app_index(self, request: HttpRequest, app_label: str, extra_context: dict[str, Any] | None = None) -> Any:
        """Apps are how the code is cut, not how the console is."""
        return HttpResponseRedirect(reverse("admin:index"))

    def index(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> TemplateResponse:
        from tenants.admin import attention, connect, figures
        from tenants.admin.requests import brief
        from tenants.admin.scoping import mine
        from tenants.models import ApiKey, RequestRecord, Tenant, UsageDay

        may = request.user.has_perms
        tenants, keys = mine(request, Tenant), mine(request, ApiKey)
        counts = reports.counts(tenants, keys) if may(["tenants.view_tenant", "tenants.view_apikey"]) else None
        requests = mine(request, RequestRecord)
        latest = reports.latest_requests(requests) if may(["tenants.view_requestrecord"]) else None
        use = may(["tenants.view_tenant", "tenants.view_requestrecord"])
        days: Any = mine(request, UsageDay, "tenants.view_requestrecord")
        context = {
            "upstream": connect.upstream(),
            "base_url": connect.base_url(request),
            "counts": counts,
            "use": figures.overview(days) if use else None,
            "needs": attention.needs(request),
            "latest": None if latest is None else [brief(record) for record in latest],
            "next_steps": _next_steps(counts, bool(latest), may) if counts and latest is not None else None,
        }
        return super().index(request, {**context, **(extra_context or {})})

    def login(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        """Django's view; whoever comes in, or is turned away, is told on the audit trail (or does not come in)."""
        from tenants import sign_ins, throttle

        if request.method == "POST":
            name, address = request.POST.get("username", ""), actors.current().address
            if too_soon := throttle.wait(name, address):
                sign_ins.failures.tell(name)
                return self._come_back(request, too_soon)
            if settings.OIDC_ONLY:
                sign_ins.failures.tell(name, told={"why": "no password signs in here"})
                messages.error(request, "No password signs in here: use single sign-on.")
                return HttpResponseRedirect(request.get_full_path())
        with transaction.atomic():
            response = super().login(request, extra_context)
            if request.method == "POST" and response.status_code == 302:
                _password_given(request, name, address)
        if request.method == "POST" and response.status_code == 200:
            sign_ins.failures.tell(request.POST.get("username", ""))
        return response

    def _come_back(self, request: HttpRequest, too_soon: timedelta) -> TemplateResponse:
        """The same for a name that exists as for one that does not, for the right password as for a wrong one."""
        minutes = math.ceil(too_soon.total_seconds() / 60)
        text = f"Too many tries. Wait {minutes} {'minute' if minutes == 1 else 'minutes'}, then try again."
        form = AdminAuthenticationForm(request)
        context = {**self.each_context(request), "title": "Log in", "form": form, "too_soon": text}
        request.current_app = self.name
        headers = {"Retry-After": str(math.ceil(too_soon.total_seconds()))}
        return TemplateResponse(request, "admin/login.html", context, status=429, headers=headers)

    def logout(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        from tenants import models, sign_ins
        from tenants.admin import second_factor

        if request.method == "POST" and isinstance(request.user, models.User) and not second_factor.is_due(request):
            sign_ins.signed_out(request.user)
        return super().logout(request, extra_context)

    def password_change(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        """Django's view with our form: it lifts `must_change_password`."""
        from django.contrib.auth.views import PasswordChangeView

        from tenants.admin.forms import OwnPasswordForm

        request.current_app = self.name
        view = PasswordChangeView.as_view(
            form_class=OwnPasswordForm,
            success_url=reverse("admin:password_change_done"),
            template_name=self.password_change_template,
            extra_context={**self.each_context(request), **(extra_context or {})},
        )
        return view(request)


def _password_given(request: HttpRequest, name: str, address: str) -> None:
    """It was right: they are in, or have the code still to give."""
    from tenants import models, sign_ins, throttle
    from tenants.admin import second_factor

    assert isinstance(request.user, models.User)
    password_again.note(request)
    if second_factor.begin(request):
        sign_ins.code_asked(request.user)
        throttle.forgive_at(address)  # with this name it counts until the code is right as well
    else:
        sign_ins.signed_in(request.user)
        throttle.forgive(name, address)


def _group(section: str, models: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "name": section,
        "app_label": section.lower(),
        "app_url": models[0]["admin_url"],
        "has_module_perms": True,
        "models": models,
    }


def _next_steps(
    counts: reports.Counts, requests: bool, may: Callable[[list[str]], bool]
) -> list[dict[str, Any]] | None:
    """What a newcomer does, in order, and what of it is done; None when all is."""
    steps = [
        ("Create a tenant", "A team or customer that keys belong to.", "tenant", counts.tenants > 0),
        ("Issue a key", "It is shown once, with snippets to paste.", "apikey", counts.keys_ever > 0),
        ("Send a request", "It appears below as soon as it is admitted.", None, requests),
    ]
    if all(done for *_, done in steps):
        return None
    first = next(title for title, *_, done in steps if not done)
    return [
        {
            "title": title,
            "text": text,
            "url": reverse(f"admin:tenants_{model}_add") if model and may([f"tenants.add_{model}"]) else None,
            "done": done,
            "now": title == first,
        }
        for title, text, model, done in steps
    ]
