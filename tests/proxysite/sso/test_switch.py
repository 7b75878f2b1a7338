"""Off unless asked for, refused at the start where it could not work, and alone where it is to be."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from django.test import Client, override_settings

from proxysite.sso.configured import issuer
from tenants.models import User
from tests.provider import FakeProvider
from tests.proxysite.sso.conftest import SignIn, is_in, said, trail
from tests.tenants.admin.conftest import PASSWORD

ROOT = Path(__file__).resolve().parents[3]
ON = {
    "OIDC_ISSUER": "https://idp.example.com/realms/acme",
    "OIDC_CLIENT_ID": "bridge",
    "OIDC_CLIENT_SECRET": "s" * 20,
    "PUBLIC_URL": "https://bridge.example.com",
}
LOADED = """
import sys, proxysite.asgi
from django.urls import NoReverseMatch, reverse
try: where = reverse("sso:begin")
except NoReverseMatch: where = "nowhere"
print(where, *sorted({"mozilla_django_oidc", "jwt"} & sys.modules.keys()))
"""
CHECK = """
import runpy, sys
sys.argv = ["manage.py", "check"]
runpy.run_path("manage.py", run_name="__main__")
"""
WITHOUT = """
import importlib.util
found = importlib.util.find_spec
importlib.util.find_spec = lambda name, *more: None if name == "mozilla_django_oidc" else found(name, *more)
"""


def run(tmp_path: Path, script: str, **env: str) -> subprocess.CompletedProcess[str]:
    kept = {"PATH": os.environ["PATH"], "DATA_DIR": str(tmp_path), **env}
    return subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, env=kept, capture_output=True, text=True, timeout=60
    )


def test_off_it_has_no_address_and_nothing_of_it_is_imported(tmp_path: Path) -> None:
    assert run(tmp_path, LOADED).stdout.split() == ["nowhere"]


def test_on_it_starts_without_asking_the_provider(tmp_path: Path) -> None:
    """There is none at that address: neither the start nor the API may mind."""
    assert run(tmp_path, CHECK, **ON).returncode == 0
    done = run(tmp_path, LOADED, **ON)
    assert done.stdout.split()[0] == "/admin/sso/", done.stderr


def test_without_the_package_the_start_says_what_to_install(tmp_path: Path) -> None:
    done = run(tmp_path, WITHOUT + CHECK, **ON)
    assert done.returncode != 0 and "Traceback" not in done.stderr
    assert "pip install -r requirements-oidc.txt" in done.stderr


@pytest.mark.parametrize("name", ["OIDC_CLIENT_ID", "OIDC_CLIENT_SECRET", "PUBLIC_URL"])
def test_what_it_needs_is_named_at_the_start(tmp_path: Path, name: str) -> None:
    done = run(tmp_path, CHECK, **{**ON, name: ""})
    assert done.returncode != 0 and f"{name} is not set: OIDC_ISSUER needs it" in done.stderr


@pytest.mark.parametrize(
    "text",
    ["http://idp.example.com", "idp.example.com", "https://", "https://idp.example.com/?a=b", "https://x#y",
     "https://[::1", "https://" + "x" * 300],
)  # fmt: skip
def test_an_issuer_without_tls_or_sense_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        issuer(text)


@pytest.mark.parametrize("text", ["", "https://acme.auth0.com/", "http://localhost:8080/realms/x", "http://[::1]:8080"])
def test_an_issuer_is_taken_as_it_is_written(text: str) -> None:
    assert issuer(text) == text


def test_off_the_page_for_signing_in_does_not_speak_of_it(client: Client, db: None) -> None:
    assert b"single" not in client.get("/admin/login/").content
    assert client.get("/admin/sso/").status_code == 302  # to that page, as any address that does not exist


def test_on_it_offers_both_ways_and_keeps_the_way_back(site: None, client: Client, db: None) -> None:
    page = client.get("/admin/login/?next=/admin/tenants/tenant/").content.decode()
    assert 'href="/admin/sso/?next=%2Fadmin%2Ftenants%2Ftenant%2F"' in page and 'name="password"' in page


def test_alone_it_takes_no_password(sign_in: SignIn, client: Client, dora: User) -> None:
    with override_settings(OIDC_ONLY=True):
        assert b'name="password"' not in client.get("/admin/login/").content
        client.post("/admin/login/", {"username": "dora", "password": PASSWORD})
        assert not is_in(client) and "No password signs in here" in said(client)
        assert trail()[0][0] == "user.sign_in_failed" and trail()[0][1] == "dora"
        sign_in()
        assert is_in(client)
        assert client.get("/admin/").status_code == 200


def test_people_can_be_added_without_a_password(
    sign_in: SignIn, provider: FakeProvider, as_alice: Client, client: Client
) -> None:
    fields = {"username": "erin", "email": "erin@example.com", "usable_password": "false", "is_staff": "on",
              "memberships-TOTAL_FORMS": "0", "memberships-INITIAL_FORMS": "0"}  # fmt: skip
    assert b"usable_password" in as_alice.get("/admin/tenants/user/add/").content
    as_alice.post("/admin/tenants/user/add/", fields)
    assert not User.objects.get(username="erin").has_usable_password()
    provider.claims = {"email": "erin@example.com"}
    sign_in()
    assert is_in(client) and b"password_change" not in client.get("/admin/").content


def test_off_everyone_has_one(as_alice: Client) -> None:
    assert b"usable_password" not in as_alice.get("/admin/tenants/user/add/").content


def test_a_form_with_a_code_in_its_address_does_not_meet_the_provider(site: None, client: Client, dora: User) -> None:
    """The package's backend would exchange it wherever a password is looked at: it is not asked there."""
    client.post("/admin/login/?code=x&state=y", {"username": "dora", "password": "wrong"})
    assert not is_in(client)
