"""Coming in through the provider: who does, how, and who does not."""

from __future__ import annotations

import logging
import time
from typing import Any

import pytest
from django.contrib.auth import SESSION_KEY
from django.db import connection
from django.test import Client, override_settings

from tenants.models import AuditEvent, ProviderAccount, User
from tenants.provider_accounts import is_same
from tests.provider import CLIENT_SECRET, FakeProvider, ec_key, rsa_key
from tests.proxysite.sso.conftest import SignIn, is_in, said, trail
from tests.tenants.admin.conftest import PASSWORD

NOW = int(time.time())

LIES: dict[str, tuple[dict[str, Any], str]] = {
    "another nonce": ({"nonce": "x" * 32}, "another nonce"),
    "no nonce": ({"nonce": None}, "no nonce"),
    "another issuer": ({"iss": "https://elsewhere.example"}, "another issuer"),
    "an issuer that begins alike": ({"iss": "http"}, "another issuer"),
    "another audience": ({"aud": "some-other-client"}, "another audience"),
    "no audience": ({"aud": None}, "lacks"),
    "another party": ({"azp": "some-other-client"}, "another party"),
    "several audiences and no party": ({"aud": ["bridge", "others"]}, "another party"),
    "long over": ({"exp": NOW - 3600, "iat": NOW - 7200}, "expired"),
    "without an end": ({"exp": None}, "lacks"),
    "of tomorrow": ({"iat": NOW + 86_400, "exp": NOW + 90_000}, "a time to come"),
    "of nobody": ({"sub": None}, "lacks"),
}


@pytest.mark.parametrize("lie", LIES)
def test_an_id_token_that_is_not_meant_for_here_lets_nobody_in(
    sign_in: SignIn, provider: FakeProvider, client: Client, dora: User, lie: str
) -> None:
    provider.claims, why = LIES[lie]
    assert sign_in().headers["Location"] == "/admin/login/"
    assert not is_in(client) and "could not be trusted" in said(client)
    (refusal,) = trail()
    assert refusal[0] == "user.sign_in_failed" and refusal[2]["by"] == "single sign-on" and why in refusal[2]["why"]
    assert not ProviderAccount.objects.exists()


def test_a_signature_of_somebody_else_lets_nobody_in(
    sign_in: SignIn, provider: FakeProvider, client: Client, dora: User
) -> None:
    provider.key = rsa_key("mallory")
    sign_in()
    assert not is_in(client) and "signature" in trail()[0][2]["why"]


def test_a_key_that_the_provider_does_not_have_lets_nobody_in(
    sign_in: SignIn, provider: FakeProvider, client: Client, dora: User
) -> None:
    for headers in ({"kid": "mallory"}, {}):
        provider.headers = headers
        sign_in()
    assert not is_in(client) and {"no key" in told["why"] for _, _, told in trail()} == {True}


@pytest.mark.parametrize(
    ("algorithm", "key"), [("HS256", CLIENT_SECRET), ("none", None), ("RS512", "rsa")], ids=["HS256", "none", "RS512"]
)
def test_what_is_not_signed_with_a_listed_key_pair_lets_nobody_in(
    sign_in: SignIn, provider: FakeProvider, client: Client, dora: User, algorithm: str, key: Any
) -> None:
    provider.algorithm, provider.key = algorithm, rsa_key("first") if key == "rsa" else key
    sign_in()
    assert not is_in(client) and "could not be trusted" in said(client)


@pytest.mark.parametrize("verified", [False, None, "false", 0, "yes", []])
def test_an_address_that_is_not_verified_is_nobodys(
    sign_in: SignIn, provider: FakeProvider, client: Client, dora: User, verified: Any
) -> None:
    provider.claims = {"email_verified": verified}
    sign_in()
    assert not is_in(client) and "does not vouch" in said(client)
    assert trail()[0][2]["why"] in ("the e-mail address is not verified", "the provider tells no e-mail address")


@pytest.mark.parametrize("email", ["mallory@example.com", "", None, "dora@example.com ", "%", "ſdora@example.com"])
def test_whoever_is_not_among_the_people_is_not_made_one(
    sign_in: SignIn, provider: FakeProvider, client: Client, dora: User, email: Any
) -> None:
    User.objects.create_user("without-an-address", is_staff=True)
    provider.claims = {"email": email}
    sign_in()
    assert not is_in(client) and User.objects.count() == 2
    assert trail()[0][:2] == ("user.sign_in_failed", "someone unknown")


@pytest.mark.parametrize(("mine", "theirs"), [("mike@", "mi\u212ae@"), ("sam@", "\u017fam@"), ("i@", "\u0131@")])
def test_letters_that_databases_take_for_equal_are_not(
    sign_in: SignIn, provider: FakeProvider, client: Client, db: None, mine: str, theirs: str
) -> None:
    """PostgreSQL's capitals of the long s are an S, as many a provider's are."""
    User.objects.create_user("mike", f"{mine}example.com", is_staff=True)
    provider.claims = {"email": f"{theirs}example.com"}
    sign_in()
    assert not is_in(client)
    assert is_same("Mike@Example.com", "mike@example.com") and not is_same(f"{mine}x", f"{theirs}x")


@pytest.mark.parametrize("change", [{"is_active": False}, {"is_staff": False}], ids=str)
def test_who_may_not_open_the_console_is_told_what_a_stranger_is_told(
    sign_in: SignIn, client: Client, dora: User, change: dict[str, bool]
) -> None:
    User.objects.filter(pk=dora.pk).update(**change)
    sign_in()
    assert not is_in(client) and "Nobody who may open this console" in said(client)
    assert trail()[0][:2] == ("user.sign_in_failed", "dora")


def test_an_address_that_two_people_have_is_neithers(sign_in: SignIn, client: Client, dora: User) -> None:
    User.objects.create_user("dora-too", "dora@example.com", is_staff=True, is_active=False)
    sign_in()
    assert not is_in(client) and "several people" in trail()[0][2]["why"]


# Those who come in


def test_a_person_comes_in_by_their_verified_address_in_whatever_capitals(
    sign_in: SignIn, provider: FakeProvider, client: Client, dora: User
) -> None:
    client.get("/admin/login/")
    before = client.session.session_key
    answer = sign_in(next="/admin/tenants/tenant/?q=acme")
    assert answer.headers["Location"] == "/admin/tenants/tenant/?q=acme"
    assert client.session[SESSION_KEY] == str(dora.pk) and client.session.session_key != before
    dora.refresh_from_db()
    assert dora.last_login is not None and dora.role == "admin"
    assert trail()[-1][:2] == ("user.signed_in", "dora") and trail()[-1][2]["by"] == "single sign-on"
    assert provider.asked[0]["code_challenge_method"] == "S256" and provider.asked[0]["scope"] == "openid email"
    assert "prompt" not in provider.asked[0]


def test_who_came_in_so_is_not_asked_for_a_password_of_their_own(sign_in: SignIn, client: Client, dora: User) -> None:
    sign_in()
    page = client.get("/admin/")
    assert page.status_code == 200 and b'id="console-nav"' in page.content
    client.post("/admin/logout/")
    client.post("/admin/login/", {"username": "dora", "password": PASSWORD})
    assert client.get("/admin/").headers["Location"] == "/admin/password_change/"


def test_the_session_is_one_of_ours(sign_in: SignIn, client: Client, dora: User) -> None:
    """Deactivated: out with the next page. The provider's rights: none."""
    sign_in()
    assert client.session["_auth_user_backend"] == "tenants.backend.RoleBackend"
    User.objects.filter(pk=dora.pk).update(is_active=False)
    assert client.get("/admin/").status_code == 302


def test_nothing_of_the_provider_gives_a_right(
    sign_in: SignIn, provider: FakeProvider, client: Client, dora: User
) -> None:
    User.objects.filter(pk=dora.pk).update(role="")
    provider.claims = {"groups": ["admin"], "roles": ["admin"], "role": "admin", "is_superuser": True}
    sign_in()
    assert is_in(client) and client.get("/admin/tenants/tenant/").status_code == 403


@pytest.mark.parametrize(("algorithm", "key", "kid"), [("ES256", "curve", "curve"), ("RS256", "rsa", "first")])
def test_every_listed_key_pair_is_taken(
    sign_in: SignIn, provider: FakeProvider, client: Client, dora: User, algorithm: str, key: str, kid: str
) -> None:
    provider.key = ec_key() if key == "curve" else rsa_key("first")
    provider.algorithm, provider.headers = algorithm, {"kid": kid}
    sign_in()
    assert is_in(client)


def test_a_secret_goes_into_a_header_where_the_form_is_not_offered(
    sign_in: SignIn, provider: FakeProvider, client: Client, dora: User
) -> None:
    provider.document = {"token_endpoint_auth_methods_supported": ["client_secret_basic"]}
    sign_in()
    assert is_in(client)


def test_another_claim_may_vouch_for_the_address(
    sign_in: SignIn, provider: FakeProvider, client: Client, dora: User
) -> None:
    provider.claims = {"email_verified": None, "xms_edov": "1"}
    with override_settings(OIDC_VERIFIED_CLAIM="xms_edov"):
        sign_in()
    assert is_in(client)


def test_what_the_id_token_leaves_out_is_asked_for(
    sign_in: SignIn, provider: FakeProvider, client: Client, dora: User
) -> None:
    provider.claims = {"email": None, "email_verified": None}
    provider.userinfo = {"sub": "mallory", "email": "dora@example.com", "email_verified": True}
    sign_in()
    assert not is_in(client) and "somebody else" in trail()[0][2]["why"]
    provider.userinfo["sub"] = "dora-at-the-provider"
    sign_in()
    assert is_in(client)


def test_what_the_id_token_denies_is_not_asked_for(
    sign_in: SignIn, provider: FakeProvider, client: Client, dora: User
) -> None:
    provider.claims = {"email_verified": False}
    provider.userinfo = {"sub": "dora-at-the-provider", "email": "dora@example.com", "email_verified": True}
    sign_in()
    assert not is_in(client) and "/userinfo" not in provider.calls


# The account that came first


def test_the_first_account_is_the_only_one(sign_in: SignIn, provider: FakeProvider, client: Client, dora: User) -> None:
    sign_in()
    account = ProviderAccount.objects.get()
    assert (account.user, account.issuer, account.subject) == (dora, provider.issuer, "dora-at-the-provider")
    assert AuditEvent.objects.get(action="user.provider_account_created").actor_name == "dora"
    client.post("/admin/logout/")
    provider.claims = {"sub": "whoever-has-the-address-now"}
    sign_in()
    assert not is_in(client) and "not the account that was used here first" in said(client)
    assert trail()[-1][:2] == ("user.sign_in_failed", "dora")
    provider.claims = {}
    sign_in()
    assert is_in(client) and ProviderAccount.objects.count() == 1


def test_an_account_does_not_become_somebody_elses(
    sign_in: SignIn, provider: FakeProvider, client: Client, dora: User
) -> None:
    sign_in()
    client.post("/admin/logout/")
    User.objects.create_user("alice", "alice@example.com", is_staff=True, is_superuser=True)
    provider.claims = {"email": "alice@example.com"}
    sign_in()
    assert not is_in(client) and "somebody else's here" in trail()[-1][2]["why"]


def test_an_administrator_lets_go_of_it(
    sign_in: SignIn, provider: FakeProvider, client: Client, as_alice: Client, dora: User
) -> None:
    page = f"/admin/tenants/user/{dora.pk}/"
    assert b"let-go-of-account" not in as_alice.get(f"{page}change/").content
    sign_in()
    client.post("/admin/logout/")
    assert b"let-go-of-account" in as_alice.get(f"{page}change/").content
    as_alice.post(f"{page}let-go-of-account/", {"reason": "a new account at the provider"})
    gone = AuditEvent.objects.get(action="user.provider_account_deleted")
    assert gone.object_label == "dora" and gone.told_context["reason"] == "a new account at the provider"
    provider.claims = {"sub": "the-new-one"}
    sign_in()
    assert is_in(client)


# What is kept


def everything_stored() -> str:
    with connection.cursor() as cursor:
        tables = connection.introspection.table_names(cursor)
        found = []
        for table in tables:
            cursor.execute(f"SELECT * FROM {connection.ops.quote_name(table)}")
            found.append(str(cursor.fetchall()))
    return "".join(found)


def test_no_code_and_no_token_is_kept_anywhere(
    sign_in: SignIn, provider: FakeProvider, client: Client, dora: User, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    provider.claims = {"exp": NOW - 3600}
    sign_in()
    provider.claims = {}
    sign_in()
    assert len(provider.told) == 6
    session = str(dict(client.session.items()))
    logged = "".join(record.getMessage() for record in caplog.records if not record.name.startswith("urllib3"))
    for secret in (*provider.told, CLIENT_SECRET):
        for place in (everything_stored(), session, logged, client.get("/admin/").content.decode()):
            assert secret not in place
