"""A live key in an old session: who came through the provider goes there again, and it must say that it asked."""

from __future__ import annotations

import html
import re
import time
from collections.abc import Callable
from typing import Any

import pytest
from django.http import HttpResponse
from django.test import Client, override_settings
from django.urls import reverse

from tenants.admin import password_again
from tenants.models import ApiKey, KeySecret, Tenant, User
from tests.provider import FakeProvider
from tests.proxysite.sso.conftest import SignIn, is_in, trail
from tests.tenants.admin.conftest import KEY, PASSWORD, issue
from tests.tenants.admin.test_issue import ADD, form, rendered_id

HOURS = 3600
AGAIN = re.compile(r'href="(/admin/sso/\?again[^"]*)"')


@pytest.fixture
def acme(db: None) -> Tenant:
    return Tenant.objects.create(slug="acme", name="Acme")


@pytest.fixture
def old(sign_in: SignIn, provider: FakeProvider, client: Client, dora: User, acme: Tenant) -> Client:
    """Dora, who gave the provider her password this morning, and came in with that now."""
    provider.claims = {"auth_time": int(time.time()) - 3 * HOURS}
    sign_in()
    provider.claims = {}
    return client


Again = Callable[..., HttpResponse]


@pytest.fixture
def again(old: Client, provider: FakeProvider) -> Again:
    """Presses the button on that page, and comes back from the provider."""

    def walk(page: str = ADD) -> HttpResponse:
        (link,) = AGAIN.findall(old.get(page).content.decode())
        return old.get(provider.visit(old.get(html.unescape(link)).headers["Location"]))

    return walk


def ask(client: Client, tenant: Tenant) -> str:
    """What comes of asking for a live key."""
    return client.post(ADD, form(tenant, issue_id=rendered_id(client))).content.decode()


def test_an_old_proof_issues_no_live_key_whatever_is_sent_for_a_password(old: Client, acme: Tenant) -> None:
    page = old.get(ADD).content.decode()
    assert "Sign in again with single sign-on" in page and "Your password" not in page
    for password in ("", PASSWORD):
        sent = form(acme, issue_id=rendered_id(old), password=password)
        assert "Sign in again first" in old.post(ADD, sent).content.decode()
    assert not ApiKey.objects.exists()


def test_signing_in_just_now_counts_for_a_while(sign_in: SignIn, client: Client, dora: User, acme: Tenant) -> None:
    sign_in()
    assert KEY.search(ask(client, acme))


def test_a_provider_that_does_not_say_when_is_not_believed_to_have_asked(
    sign_in: SignIn, provider: FakeProvider, client: Client, dora: User, acme: Tenant
) -> None:
    provider.claims = {"auth_time": None}
    sign_in()
    assert is_in(client) and not KEY.search(ask(client, acme))


def test_a_moment_to_come_is_no_longer_fresh_than_now(
    sign_in: SignIn, provider: FakeProvider, client: Client, dora: User
) -> None:
    provider.claims = {"auth_time": int(time.time()) + 10 * HOURS}
    sign_in()
    assert client.session["password_given_at"] <= time.time()


def test_at_the_provider_and_back_where_they_were(
    old: Client, again: Again, provider: FakeProvider, acme: Tenant
) -> None:
    page, before = f"{ADD}?tenant={acme.pk}", old.session.session_key
    assert again(page).headers["Location"] == page
    assert (provider.asked[-1]["prompt"], provider.asked[-1]["max_age"]) == ("login", "0")
    assert old.session.session_key != before and old.session["began_at"]
    assert KEY.search(ask(old, acme))
    assert trail()[-1][2] == {**trail()[-1][2], "by": "single sign-on", "again": "yes"}


@pytest.mark.parametrize("at", [None, 0, "an hour ago", "now", True])
def test_a_provider_that_did_not_ask_again_changes_nothing(
    old: Client, again: Again, provider: FakeProvider, acme: Tenant, at: Any
) -> None:
    provider.claims = {"auth_time": int(time.time()) - HOURS if at == "an hour ago" else at}
    assert again().headers["Location"] == ADD
    assert b"did not ask you to sign in again" in old.get(ADD).content
    assert not KEY.search(ask(old, acme)) and trail()[-1][0] == "user.sign_in_failed"


def test_somebody_elses_account_changes_nothing(
    old: Client, again: Again, provider: FakeProvider, acme: Tenant, dora: User
) -> None:
    User.objects.create_user("mallory", "mallory@example.com", is_staff=True)
    provider.claims = {"sub": "mallory", "email": "mallory@example.com"}
    again()
    assert b"somebody else" in old.get(ADD).content and not KEY.search(ask(old, acme))
    assert old.session["_auth_user_id"] == str(dora.pk)


def test_who_gives_up_at_the_provider_is_where_they_were(
    old: Client, again: Again, provider: FakeProvider, acme: Tenant
) -> None:
    provider.refuses = "access_denied"
    assert again().headers["Location"] == ADD
    assert is_in(old) and not KEY.search(ask(old, acme))


def test_a_plain_sign_in_in_its_place_proves_nothing(
    old: Client, sign_in: SignIn, provider: FakeProvider, acme: Tenant
) -> None:
    """Without `again`, the provider's own session is enough to come in, and its age is what counts."""
    provider.claims = {"auth_time": int(time.time()) - HOURS}
    sign_in(next=ADD)
    assert not KEY.search(ask(old, acme))


def test_rotating_and_an_anthropic_key_ask_the_same_way(old: Client, again: Again, acme: Tenant) -> None:
    issued = issue(acme)
    rotate = reverse("admin:tenants_apikey_rotate", args=(issued.row.pk,))
    fields = {"overlap": "24h", "replacing": issued.row.secrets.get().pk}
    assert b"Sign in again first" in old.post(rotate, fields).content
    own = f"/admin/tenants/tenant/{acme.pk}/anthropic-key/"
    assert b"Sign in again first" in old.post(own, {"secret": "sk-ant-" + "d" * 30}).content
    assert KeySecret.objects.count() == 1
    assert again(rotate).headers["Location"] == rotate
    assert KEY.search(old.post(rotate, fields).content.decode())


def test_a_test_key_never_needs_it(old: Client, acme: Tenant) -> None:
    sent = form(acme, issue_id=rendered_id(old), mode="test")
    assert KEY.search(old.post(ADD, sent).content.decode())


def test_who_came_with_a_password_gives_that(site: None, client: Client, dora: User, acme: Tenant) -> None:
    User.objects.filter(pk=dora.pk).update(must_change_password=False)
    client.post("/admin/login/", {"username": "dora", "password": PASSWORD})
    session = client.session
    session["password_given_at"] = time.time() - password_again.FRESH_SECONDS - 1
    session.save()
    page = client.get(ADD).content.decode()
    assert "Your password" in page and "single sign-on" not in page


def test_where_it_was_turned_off_since_the_password_counts(old: Client, acme: Tenant, dora: User) -> None:
    User.objects.filter(pk=dora.pk).update(must_change_password=False)
    with override_settings(OIDC_ISSUER=""):
        assert "Your password" in old.get(ADD).content.decode()


def test_where_passwords_are_off_none_is_asked_for(as_alice: Client, site: None, acme: Tenant) -> None:
    """Her session is from before they were."""
    session = as_alice.session
    session["password_given_at"] = time.time() - HOURS
    session.save()
    with override_settings(OIDC_ONLY=True):
        page = as_alice.get(ADD).content.decode()
    assert "Sign in again with single sign-on" in page and "Your password" not in page
