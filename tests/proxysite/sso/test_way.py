"""The way to the provider and back: what was begun counts once, leads nowhere else, and may find nobody there."""

from __future__ import annotations

import time
from typing import Any

import pytest
from django.test import Client, override_settings

from proxysite.sso import provider as asked
from proxysite.sso import views
from tenants.models import AuditEvent, SignInTries, User
from tests.provider import FakeProvider
from tests.proxysite.sso.conftest import SignIn, is_in, said, trail


def test_an_answer_counts_once(sign_in: SignIn, site: None, provider: FakeProvider, client: Client, dora: User) -> None:
    back = provider.visit(client.get("/admin/sso/").headers["Location"])
    client.get(back)
    assert is_in(client)
    client.get(back)
    assert is_in(client) and provider.calls.count("/token") == 1
    assert "begun elsewhere" in client.get("/admin/").content.decode()


def test_an_answer_to_somebody_else_lets_nobody_in(
    site: None, provider: FakeProvider, client: Client, dora: User
) -> None:
    back = provider.visit(client.get("/admin/sso/").headers["Location"])
    another = Client()
    another.get("/admin/sso/")
    another.get(back)
    assert not is_in(another) and "begun elsewhere" in said(another) and "/token" not in provider.calls


def test_an_answer_that_comes_too_late_lets_nobody_in(
    site: None, provider: FakeProvider, client: Client, dora: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    back = provider.visit(client.get("/admin/sso/").headers["Location"])
    too_late = time.time() + views.MOST_SECONDS + 60
    monkeypatch.setattr("proxysite.sso.views.time.time", lambda: too_late)
    client.get(back)
    assert not is_in(client) and "/token" not in provider.calls


def test_an_answer_of_another_provider_lets_nobody_in(
    site: None, provider: FakeProvider, client: Client, dora: User
) -> None:
    back = provider.visit(client.get("/admin/sso/").headers["Location"])
    client.get(back.replace("iss=http", "iss=https"))
    assert not is_in(client) and "another provider's" in trail()[0][2]["why"]


def test_an_error_that_was_not_begun_here_signs_nobody_out(sign_in: SignIn, client: Client, dora: User) -> None:
    sign_in()
    client.get("/admin/sso/callback/?error=access_denied&state=x")
    client.get("/admin/sso/callback/")
    assert is_in(client)


def test_the_providers_refusal_is_told_and_its_words_are_not(
    site: None, provider: FakeProvider, client: Client, dora: User
) -> None:
    provider.refuses = "access_denied"
    back = provider.visit(client.get("/admin/sso/").headers["Location"])
    client.get(f"{back}&error_description=Send+your+password+to+mallory")
    assert "did not sign you in" in said(client) and not is_in(client)
    assert not AuditEvent.objects.filter(context__contains="mallory").exists()


@pytest.mark.parametrize(
    "back",
    ["https://mallory.example/", "//mallory.example/admin/", "/\\mallory.example", "javascript:alert(1)", "/v1/models",
     "http:///mallory.example", "/admin", "/admin/\n/x", "/admin/?" + "x" * 3000],
)  # fmt: skip
def test_no_address_leads_out_of_the_console(sign_in: SignIn, client: Client, dora: User, back: str) -> None:
    assert sign_in(next=back).headers["Location"] == "/admin/"
    assert is_in(client)


def test_where_people_come_back_to_does_not_follow_the_host_header(
    site: None, provider: FakeProvider, client: Client, db: None
) -> None:
    with override_settings(ALLOWED_HOSTS=["*"]):
        client.get("/admin/sso/", headers={"host": "mallory.example"})
        provider.visit(client.get("/admin/sso/", headers={"host": "mallory.example"}).headers["Location"])
    assert provider.asked[0]["redirect_uri"] == "http://testserver/admin/sso/callback/"


def test_behind_a_proxy_the_provider_hears_one_address_throughout(
    sign_in: SignIn, provider: FakeProvider, client: Client, dora: User
) -> None:
    with override_settings(PUBLIC_URL="https://bridge.example.com"):
        sign_in()
    assert is_in(client) and provider.asked[0]["redirect_uri"].startswith("https://bridge.example.com/admin/")


def test_tries_are_counted_and_the_right_one_is_not(
    sign_in: SignIn, provider: FakeProvider, client: Client, dora: User
) -> None:
    provider.claims = {"email_verified": False}
    for _ in range(3):
        sign_in()
    provider.claims = {}
    sign_in()
    assert is_in(client) and SignInTries.objects.get().tries == 3


def test_after_fifty_nothing_is_begun(site: None, provider: FakeProvider, client: Client, dora: User) -> None:
    for _ in range(50):
        assert client.get("/admin/sso/").headers["Location"].startswith(provider.issuer)
    assert client.get("/admin/sso/").headers["Location"] == "/admin/login/"
    assert "Too many tries. Wait 15 min" in said(client)
    assert not is_in(client) and trail()[0][2]["why"] == "too many tries"


# A provider that is away, or is not one


def test_a_provider_that_is_away_is_told_on_the_page(
    site: None, provider: FakeProvider, client: Client, dora: User
) -> None:
    provider.down = True
    assert client.get("/admin/sso/?next=/admin/x/").headers["Location"] == "/admin/login/?next=%2Fadmin%2Fx%2F"
    assert "cannot be reached" in said(client)


def test_a_provider_that_goes_away_in_between_is_told_too(
    site: None, provider: FakeProvider, client: Client, dora: User
) -> None:
    back = provider.visit(client.get("/admin/sso/").headers["Location"])
    provider.down = True
    assert client.get(back).status_code == 302
    assert "cannot be reached" in said(client) and "503" in trail()[0][2]["why"]


def test_a_port_where_nobody_listens_is_told_too(site: None, client: Client, dora: User) -> None:
    with override_settings(OIDC_ISSUER="http://127.0.0.1:9"):
        client.get("/admin/sso/")
    assert "cannot be reached" in said(client)


def test_while_it_is_away_its_last_description_holds(
    sign_in: SignIn, provider: FakeProvider, client: Client, dora: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    sign_in()
    later = time.monotonic() + asked.KEPT_SECONDS + 1
    monkeypatch.setattr("proxysite.sso.provider.time.monotonic", lambda: later)
    provider.document = {"issuer": "https://elsewhere.example"}
    assert client.get("/admin/sso/").headers["Location"].startswith(provider.issuer)
    assert provider.calls.count("/.well-known/openid-configuration") == 2


@pytest.mark.parametrize(
    "document",
    [{"issuer": "https://elsewhere.example"}, {"token_endpoint": "http://elsewhere.example/token"}, {"jwks_uri": None},
     {"id_token_signing_alg_values_supported": ["HS256", "none"]}],
    ids=str,
)  # fmt: skip
def test_a_description_that_cannot_be_right_is_not_followed(
    site: None, provider: FakeProvider, client: Client, dora: User, document: dict[str, Any]
) -> None:
    provider.document = document
    client.get("/admin/sso/")
    assert "does not answer as it should" in said(client)


@pytest.mark.parametrize("answer", [(200, []), (200, {}), (200, {"id_token": 7}), (200, {"id_token": "a.b"})], ids=str)
def test_nonsense_in_place_of_a_token_is_no_error_page(
    site: None, provider: FakeProvider, client: Client, dora: User, answer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(provider, "token", lambda form, authorization: answer)
    assert client.get(provider.visit(client.get("/admin/sso/").headers["Location"])).status_code == 302
    assert not is_in(client) and trail()


def test_a_wrong_secret_of_ours_is_named_in_the_log(
    site: None, provider: FakeProvider, client: Client, dora: User, caplog: pytest.LogCaptureFixture
) -> None:
    with override_settings(OIDC_CLIENT_SECRET="a-wrong-one"):
        client.get(provider.visit(client.get("/admin/sso/").headers["Location"]))
    assert "401 invalid_client" in caplog.text and "a-wrong-one" not in caplog.text
