"""To the provider and back: two addresses, and every way that it can end in plain words.

Nothing here answers with an error page: those are logged with the address, and in it is the code.
"""

from __future__ import annotations

import logging
import math
import time
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, urlsplit

from django.contrib import messages
from django.contrib.auth import login
from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme, urlencode
from django.views.decorators.http import require_GET
from mozilla_django_oidc.views import OIDCAuthenticationRequestView

from proxysite.sso.backend import DISTRUSTED, LEEWAY, ProviderBackend, callback_url, package_settings
from proxysite.sso.provider import Provider, ProviderFault, provider
from tenants import actors, sign_ins, throttle
from tenants.admin import password_again, second_factor
from tenants.admin.single_sign_on import SINGLE_SIGN_ON
from tenants.models import User
from tenants.provider_accounts import NotLetIn

log = logging.getLogger("bridge.sso")

MOST_SECONDS = 600  # from the first address to the second
STATES = "oidc_states"  # where the package keeps what it will need when they come back
SESSION_BACKEND = "tenants.backend.RoleBackend"  # whose sessions end with the next page of someone deactivated

OVER = "That sign-in is over, or was begun elsewhere. Begin again."
AWAY = "The single sign-on provider cannot be reached, or does not answer as it should. Try again in a while."
REFUSED = "The provider did not sign you in."
NOT_ASKED = "The provider did not ask you to sign in again, or does not say so."
SOMEBODY_ELSE = "That is the account of somebody else than whose session this is."


class Begin(OIDCAuthenticationRequestView):  # type: ignore[misc]
    """The package's request, to a provider that was just looked up: with state, nonce and PKCE."""

    provider: Provider | None = None
    again = False

    def get_settings(self, attr: str, *default: Any) -> Any:
        assert self.provider is not None
        known = package_settings(self.provider)
        return known[attr] if attr in known else default[0]

    def get_extra_params(self, request: HttpRequest) -> dict[str, str]:
        asked = {"prompt": "login", "max_age": "0"} if self.again else {}
        return {"redirect_uri": callback_url(), **asked}


@dataclass(frozen=True, slots=True)
class Flow:
    """What was begun, as the session has it."""

    nonce: str
    code_verifier: str
    added_on: float
    back: str = ""
    again: str = ""  # the id of who has to come back; empty: whoever does


@require_GET
def begin(request: HttpRequest) -> HttpResponse:
    """Sends them to the provider. `next`: where to go afterwards; `again`: to prove once more who they are.

    A try is counted here: whatever comes back belongs to one that was begun, and once.
    """
    back, again = _inside(request.GET.get("next", "")), "again" in request.GET and request.user.is_authenticated
    if too_soon := throttle.wait_at(actors.current().address):
        sign_ins.failures.tell("", told=_why("too many tries"))
        minutes = math.ceil(too_soon.total_seconds() / 60)
        return _turned_away(request, f"Too many tries. Wait {minutes} min, then try again.", back, again)
    try:
        response: HttpResponse = Begin.as_view(provider=provider(), again=again)(request)
    except ProviderFault as fault:
        log.warning("The single sign-on provider is not to be used: %s.", fault)
        return _turned_away(request, AWAY, back, again)
    (state,) = parse_qs(urlsplit(response.headers["Location"]).query)["state"]
    request.session[STATES][state].update(back=back, again=str(request.user.pk) if again else "")
    return response


@require_GET
def callback(request: HttpRequest) -> HttpResponse:
    """Lets whoever comes back from the provider in, or says why not."""
    flow = _taken(request)
    if flow is None:
        sign_ins.failures.tell("", told=_why("nothing that was begun here"))
        return _turned_away(request, OVER)
    try:
        _let_in(request, flow)
    except NotLetIn as refusal:
        name = refusal.person.get_username() if refusal.person else ""
        sign_ins.failures.tell(name, told=_why(refusal.why))
        return _turned_away(request, refusal.said, flow.back, flow.again)
    except ProviderFault as fault:
        log.warning("A sign-in with the provider came to nothing: %s.", fault)
        sign_ins.failures.tell("", told=_why(f"the provider: {fault}"))
        return _turned_away(request, AWAY, flow.back, flow.again)
    throttle.forgive_at(actors.current().address)
    return HttpResponseRedirect(flow.back or reverse("admin:index"))


def _let_in(request: HttpRequest, flow: Flow) -> None:
    """Whoever comes with this code. Raises NotLetIn and ProviderFault."""
    found = provider()
    if "error" in request.GET:
        raise NotLetIn("the provider did not sign them in", REFUSED)
    if request.GET.get("iss", found.issuer) != found.issuer:  # RFC 9207
        raise NotLetIn("the answer is another provider's", DISTRUSTED)
    backend = ProviderBackend(found)
    person = backend.sign_in(request, flow.nonce, flow.code_verifier)
    if flow.again:
        if not flow.again == str(person.pk) == str(request.user.pk):
            raise NotLetIn("somebody else came back", SOMEBODY_ELSE, person)
        if backend.auth_time is None or backend.auth_time < flow.added_on - LEEWAY:
            raise NotLetIn("the provider did not ask again", NOT_ASKED, person)
    with transaction.atomic():
        _open(request, person, flow)
        password_again.note_provider(request, backend.auth_time)
        if second_factor.begin(request):
            sign_ins.code_asked(person, {"by": SINGLE_SIGN_ON})
        else:
            sign_ins.signed_in(person, {"by": SINGLE_SIGN_ON, **({"again": "yes"} if flow.again else {})})


def _open(request: HttpRequest, person: User, flow: Flow) -> None:
    """The session as after a password; one that goes on only gets a new name."""
    if flow.again:
        request.session.cycle_key()
    else:
        login(request, person, backend=SESSION_BACKEND)


def _taken(request: HttpRequest) -> Flow | None:
    """What this answer belongs to, once: it is gone from the session before anything is done with it."""
    states = request.session.get(STATES)
    entry = states.pop(request.GET.get("state", ""), None) if isinstance(states, dict) else None
    if not entry:
        return None
    request.session.modified = True
    request.session.save()
    flow = Flow(**entry)
    return flow if 0 <= time.time() - flow.added_on < MOST_SECONDS else None


def _turned_away(request: HttpRequest, said: str, back: str = "", again: object = "") -> HttpResponse:
    """Back to where they were, if that is inside; otherwise to the door."""
    messages.error(request, said)
    if again and back:
        return HttpResponseRedirect(back)
    query = f"?{urlencode({'next': back})}" if back else ""
    return HttpResponseRedirect(f"{reverse('admin:login')}{query}")


def _why(why: str) -> dict[str, str]:
    return {"by": SINGLE_SIGN_ON, "why": why}


def _inside(address: str) -> str:
    """An address of the console, as a path; nothing for any other."""
    plain = len(address) <= 2000 and address.isprintable()
    return (
        address
        if plain
        and url_has_allowed_host_and_scheme(address, allowed_hosts=None)
        and address.startswith(reverse("admin:index"))
        else ""
    )
