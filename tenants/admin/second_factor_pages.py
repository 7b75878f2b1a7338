"""The pages of the second factor: the code at sign-in, and one's own factor, to set up, renew and remove."""

from __future__ import annotations

import math
from typing import Any

import segno
from django.conf import settings
from django.contrib import admin, messages
from django.forms import Form
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.http.request import split_domain_port
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.safestring import SafeString, mark_safe
from django.views.decorators.debug import sensitive_post_parameters

from tenants import second_factor
from tenants.admin import password_again
from tenants.admin import second_factor as gate
from tenants.admin.second_factor_forms import WRONG, CodeForm, ConfirmForm, EnrolForm
from tenants.encryption import Box, Unreadable
from tenants.models import SecondFactor, User

OVER = "Signed out: the code was not given in time. Sign in again."
GUESSED = "Signed out: the password was wrong too often."
MANY = 3  # wrong codes before the right one, and it is said
FEW = 3  # recovery codes left, and it is said at every use of one

_OFFER = "second_factor_offer"


# At sign-in


@sensitive_post_parameters()
def code(request: HttpRequest) -> HttpResponse:
    """Asks whoever gave the password for the code. Not an admin view: to those they are nobody yet."""
    if not request.user.is_authenticated:
        return HttpResponseRedirect(f"{reverse('admin:login')}?next={reverse('admin:second_factor_code')}")
    if not gate.is_due(request):
        return HttpResponseRedirect(_wanted(request))
    if gate.is_over(request):
        return gate.leave(request, OVER)
    form, too_soon = CodeForm(_sent(request)), None
    if form.is_valid():
        try:
            before = _wrong_codes(request)
            if given := gate.try_code(request, form.cleaned_data["code"]):
                _warn(request, given, before)
                return HttpResponseRedirect(_wanted(request))
            form.add_error("code", "That is not it: codes are good for a minute, and each of them once.")
        except gate.TooSoon as refusal:
            too_soon = refusal
    context = {"form": form, "too_soon": too_soon and gate.words(too_soon.wait), "next": _wanted(request)}
    response = _page(request, "code", "One more step", context)
    if too_soon:
        response.status_code = 429
        response.headers["Retry-After"] = str(math.ceil(too_soon.wait.total_seconds()))
    return response


def _wanted(request: HttpRequest) -> str:
    """Where they were going; only on this site."""
    wanted = (request.POST if request.method == "POST" else request.GET).get("next", "")
    safe = url_has_allowed_host_and_scheme(wanted, {request.get_host()}, require_https=request.is_secure())
    return wanted if safe else reverse("admin:index")


def _wrong_codes(request: HttpRequest) -> int:
    """How many were given since the last right one: each by someone who knew the password."""
    factor = _factor(request)
    return factor.throttling_failure_count if factor else 0


def _warn(request: HttpRequest, given: str, wrong: int) -> None:
    factor = _factor(request)
    if wrong >= MANY:
        told = f"{wrong} wrong codes were given since you last signed in, all with your password."
        messages.warning(request, f"{told} If that was not you, change it now.")
    if given == "recovery code" and factor is not None:
        left = factor.recovery_codes.count()
        more = " Make new ones." if left <= FEW else ""
        messages.warning(request, f"That recovery code is used up: {left} left.{more}")


# One's own


@sensitive_post_parameters()
def own(request: HttpRequest) -> HttpResponse:
    factor = _factor(request)
    if factor is None:
        return _enrol(request)
    context = {"factor": factor, "left": factor.recovery_codes.count(), "few": FEW}
    return _page(request, "own", "Second factor", context)


def _enrol(request: HttpRequest) -> HttpResponse:
    secret = _offer(request)
    form = EnrolForm(request, _sent(request))
    try:
        if form.is_valid():
            factor, codes = SecondFactor.objects.enrol(request.user, secret, form.cleaned_data["code"])
            del request.session[_OFFER]
            gate.let_in(request, factor)
            return _codes(request, codes, "Your second factor is set up.")
    except second_factor.WrongCode:
        form.add_error("code", WRONG)
    except second_factor.AlreadyEnrolled:
        return HttpResponseRedirect(reverse("admin:second_factor"))
    except password_again.TooManyTries:
        return gate.leave(request, GUESSED)
    host, _ = split_domain_port(request.get_host())
    text = second_factor.as_text(secret)
    context = {
        "form": form,
        "qr": _qr(second_factor.as_uri(secret, request.user.get_username(), host)),
        "secret": " ".join(text[at : at + 4] for at in range(0, len(text), 4)),
    }
    return _page(request, "enrol", "Second factor", context)


@sensitive_post_parameters()
def renew(request: HttpRequest) -> HttpResponse:
    factor, form = _factor(request), ConfirmForm(request, _sent(request))
    if factor is None:
        return HttpResponseRedirect(reverse("admin:second_factor"))
    try:
        if form.is_valid():
            codes = factor.recovery_codes.renew(factor)
            return _codes(request, codes, "These are your recovery codes now. The old ones are worth nothing.")
    except password_again.TooManyTries:
        return gate.leave(request, GUESSED)
    return _ask(request, "renew", "New recovery codes", form)


@sensitive_post_parameters()
def remove(request: HttpRequest) -> HttpResponse:
    factor, form = _factor(request), ConfirmForm(request, _sent(request))
    if factor is None:
        return HttpResponseRedirect(reverse("admin:second_factor"))
    try:
        if form.is_valid():
            factor.delete(reason="by its owner")
            messages.success(request, "Your second factor is removed: your password alone signs you in.")
            return HttpResponseRedirect(reverse("admin:second_factor"))
    except password_again.TooManyTries:
        return gate.leave(request, GUESSED)
    return _ask(request, "remove", "Remove your second factor", form)


def _offer(request: HttpRequest) -> bytes:
    """The secret that this session is shown until it is confirmed: sealed, because sessions are rows too."""
    box, purpose = Box(settings.ENCRYPTION_KEYS), f"second-factor-offer:{request.user.pk}"
    try:
        return box.open(purpose, request.session.get(_OFFER, "").encode())
    except Unreadable:
        secret = second_factor.new_secret()
        request.session[_OFFER] = box.seal(purpose, secret).decode()
        return secret


def _codes(request: HttpRequest, codes: list[str], done: str) -> HttpResponse:
    """Straight from the POST: the only page that ever has them."""
    context = {"codes": codes, "done": done, "back": reverse("admin:second_factor")}
    return _page(request, "codes", "Recovery codes", context).render()


def _qr(text: str) -> SafeString:
    """Inline, black on white whatever the theme, as cameras like it."""
    drawn = segno.make(text, error="m", micro=False)
    return mark_safe(
        drawn.svg_inline(border=4, dark="#000", light="#fff", omitsize=True, svgclass=None, lineclass=None)
    )


def _ask(request: HttpRequest, template: str, title: str, form: Form) -> TemplateResponse:
    return _page(request, template, title, {"form": form, "back": reverse("admin:second_factor")})


def _page(request: HttpRequest, template: str, title: str, context: dict[str, Any]) -> TemplateResponse:
    request.current_app = admin.site.name
    common = {**admin.site.each_context(request), "title": title, "required": settings.CONSOLE_TOTP == "required"}
    return TemplateResponse(request, f"admin/second_factor/{template}.html", {**common, **context})


def _factor(request: HttpRequest) -> SecondFactor | None:
    return request.user.factor if isinstance(request.user, User) else None


def _sent(request: HttpRequest) -> Any:
    return request.POST if request.method == "POST" else None
