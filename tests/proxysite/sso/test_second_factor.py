"""Single sign-on and a second factor of the console's own: one does not stand in for the other."""

from __future__ import annotations

import re
import time
from base64 import b32decode

import pytest
from django.http import HttpResponse
from django.test import Client, override_settings

from tenants.models import SecondFactor, User
from tests.provider import FakeProvider
from tests.proxysite.sso.conftest import SignIn, trail
from tests.proxysite.sso.test_again import AGAIN
from tests.second_factors import ASKS, OWN, REMOVE, RENEW, code, enrol, give, told, wrong

HOURS = 3600


@pytest.fixture
def half(sign_in: SignIn, client: Client, dora: User) -> Client:
    """Dora set up a factor; the provider let her in just now."""
    enrol(dora)
    sign_in()
    return client


def old(sign_in: SignIn, provider: FakeProvider) -> None:
    """The provider asked for her password this morning."""
    provider.claims = {"auth_time": int(time.time()) - 3 * HOURS}
    sign_in()


@pytest.fixture
def long_in(sign_in: SignIn, provider: FakeProvider, client: Client, dora: User) -> Client:
    """Dora has a factor, and is in since this morning."""
    enrol(dora)
    old(sign_in, provider)
    give(client, code())
    return client


def offered(page: HttpResponse) -> str:
    """The code of the secret that the page shows."""
    found = re.search(r"(?:[A-Z2-7]{4} ){7}[A-Z2-7]{4}", page.content.decode())
    assert found is not None
    return code(b32decode(found[0].replace(" ", "")))


def test_the_provider_alone_opens_nothing_for_who_has_a_factor_here(half: Client, dora: User) -> None:
    for page in ("/admin/", OWN, RENEW, REMOVE, "/admin/tenants/apikey/add/"):
        assert half.get(page).headers["Location"].startswith(ASKS)
    assert give(half, wrong()).status_code == 200
    assert half.get("/admin/").status_code == 302
    assert told(dora)[1] == "user.code_asked"


def test_the_code_opens_it_and_is_what_the_trail_calls_a_sign_in(half: Client, dora: User) -> None:
    assert "user.signed_in" not in told(dora)
    assert give(half, code()).status_code == 302
    assert half.get("/admin/").status_code == 200
    assert told(dora)[:2] == ["user.signed_in", "user.code_asked"]


def test_where_one_is_required_the_provider_leads_to_setting_it_up(sign_in: SignIn, client: Client, dora: User) -> None:
    with override_settings(CONSOLE_TOTP="required"):
        sign_in()
        assert client.get("/admin/").headers["Location"] == OWN
        page = client.get(OWN)
        assert b'type="password"' not in page.content  # she was asked by the provider just now
        assert b"Recovery codes" in client.post(OWN, {"code": offered(page)}).content
        assert client.get("/admin/").status_code == 200


def test_in_an_old_session_the_provider_is_asked_again_before_one_is_set_up(
    sign_in: SignIn, provider: FakeProvider, client: Client, dora: User
) -> None:
    old(sign_in, provider)
    page = client.get(OWN)
    assert AGAIN.search(page.content.decode()) and b'type="password"' not in page.content
    answer = client.post(OWN, {"code": offered(page), "password": "correct horse battery"})
    assert b"Sign in again first" in answer.content and not SecondFactor.objects.exists()


def test_and_before_one_is_removed_or_its_codes_are_made_anew(long_in: Client) -> None:
    for page in (REMOVE, RENEW):
        assert AGAIN.search(long_in.get(page).content.decode())
        assert b"Sign in again first" in long_in.post(page, {"password": "correct horse battery"}).content
    assert SecondFactor.objects.exists()


def test_coming_back_from_the_provider_in_an_open_session_asks_for_no_second_code(
    sign_in: SignIn, provider: FakeProvider, long_in: Client
) -> None:
    provider.claims = {}
    sign_in(again="yes", next=REMOVE)
    assert long_in.get(REMOVE).status_code == 200
    long_in.post(REMOVE)
    assert not SecondFactor.objects.exists()
    assert [action for action, _, _ in trail()] == ["user.signed_in", "user.signed_in"]
