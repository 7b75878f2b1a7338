"""Whoever was given a password chooses their own before anything else."""

from __future__ import annotations

import pytest
from django.test import Client

from tenants.models import User
from tests.tenants.admin.conftest import PASSWORD, signed_in

OWN = "/admin/password_change/"
NEW = "an entirely new sentence"


@pytest.fixture
def newcomer(alice: User) -> Client:
    alice.must_change_password = True
    alice.save()
    return signed_in(alice)


def change(client: Client, new: str, old: str = PASSWORD) -> bytes:
    fields = {"old_password": old, "new_password1": new, "new_password2": new}
    return client.post(OWN, fields, follow=True).content


@pytest.mark.parametrize(
    "page", ["/admin/", "/admin/tenants/apikey/add/", "/admin/login/", "/admin/jsi18n/", "/admin/x/"]
)
def test_every_page_leads_to_the_password(newcomer: Client, page: str) -> None:
    for answer in (newcomer.get(page), newcomer.post(page)):
        assert (answer.status_code, answer.headers["Location"]) == (302, OWN)


def test_the_page_says_why_and_offers_nothing_else(newcomer: Client) -> None:
    page = newcomer.get(OWN).content.decode()
    assert "Choose a password of your own" in page
    assert "/admin/tenants/" not in page


def test_the_console_opens_when_it_is_changed(newcomer: Client) -> None:
    change(newcomer, NEW)
    alice = User.objects.get()
    assert alice.must_change_password is False
    assert alice.check_password(NEW)
    assert newcomer.get("/admin/").status_code == 200


def test_the_given_password_is_not_a_new_one(newcomer: Client) -> None:
    assert b"not the password you were given" in change(newcomer, PASSWORD)
    assert User.objects.get().must_change_password is True


def test_a_wrong_old_password_changes_nothing(newcomer: Client) -> None:
    change(newcomer, NEW, old="wrong")
    assert User.objects.get().must_change_password is True


def test_signing_out_works_all_the_same(newcomer: Client) -> None:
    assert newcomer.post("/admin/logout/").status_code == 200
    assert newcomer.get("/admin/").headers["Location"].startswith("/admin/login/")


def test_others_change_theirs_when_they_like(as_alice: Client) -> None:
    assert as_alice.get("/admin/").status_code == 200
    change(as_alice, NEW)
    assert User.objects.get().check_password(NEW)
