"""The door of the console: how often one may knock, what it says, and how long one stays inside."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client

from tenants.models import SignInTries, User
from tests.tenants.admin.conftest import PASSWORD

LOGIN = "/admin/login/"


def knock(client: Client, name: str = "alice", password: str = "wrong", **more: Any) -> Any:
    return client.post(LOGIN, {"username": name, "password": password}, **more)


@pytest.mark.parametrize("name", ["alice", "nobody-of-that-name"])
def test_after_five_wrong_passwords_the_right_one_waits_too(client: Client, alice: User, name: str) -> None:
    first = [knock(client, name) for _ in range(5)]
    assert {answer.status_code for answer in first} == {200}
    answer = knock(client, name, PASSWORD)
    assert answer.status_code == 429 and b"Too many tries. Wait 15 minutes" in answer.content
    assert 0 < int(answer.headers["Retry-After"]) <= 900
    assert "_auth_user_id" not in client.session


def test_the_door_says_the_same_of_everyone(client: Client, alice: User) -> None:
    User.objects.create_user("gone", password=PASSWORD, is_staff=True, is_active=False)
    User.objects.create_user("customer", password=PASSWORD)
    said = set()
    for name, password in (("alice", "x"), ("nobody", "x"), ("gone", PASSWORD), ("customer", PASSWORD)):
        page = knock(client, name, password).content.decode()
        said.add(page.partition('class="errornote"')[2].partition("</p>")[0].strip())
    assert len(said) == 1 and said != {""}


def test_who_gets_in_begins_anew(client: Client, alice: User) -> None:
    for _ in range(4):
        knock(client)
    assert knock(client, password=PASSWORD).status_code == 302
    assert sum(SignInTries.objects.values_list("tries", flat=True)) == 4  # of the address
    client.post("/admin/logout/")
    assert {knock(client).status_code for _ in range(5)} == {200}


def test_a_session_is_a_new_one_after_signing_in(client: Client, alice: User) -> None:
    client.get(LOGIN)
    session = client.session
    session["planted"] = True
    session.save()
    before = session.session_key
    knock(client, password=PASSWORD)
    assert client.session.session_key != before


def test_cookies_are_closed_to_scripts_and_other_sites(client: Client, alice: User) -> None:
    client.get(LOGIN)
    knock(client, password=PASSWORD)
    for cookie in client.cookies.values():
        assert cookie["httponly"] and cookie["samesite"] == "Lax", cookie.key


# Inside


@pytest.fixture
def at_the_clock(monkeypatch: pytest.MonkeyPatch) -> Any:
    now = [time.time()]
    monkeypatch.setattr("tenants.admin.sessions.time.time", lambda: now[0])

    def later(**length: float) -> None:
        now[0] += timedelta(**length).total_seconds()

    return later


def test_a_session_without_use_ends(as_alice: Client, at_the_clock: Any) -> None:
    as_alice.get("/admin/")
    at_the_clock(minutes=61)
    answer = as_alice.get("/admin/tenants/apikey/?mode=live")
    assert answer.headers["Location"] == "/admin/login/?next=%2Fadmin%2Ftenants%2Fapikey%2F%3Fmode%3Dlive"
    assert b"nothing was done for 60 minutes" in as_alice.get(answer.headers["Location"]).content
    assert as_alice.get("/admin/").status_code == 302


def test_a_session_in_use_ends_after_twelve_hours(as_alice: Client, at_the_clock: Any) -> None:
    seen = []
    for _ in range(15):
        seen.append(as_alice.get("/admin/").status_code)
        at_the_clock(minutes=55)
    assert seen[:13] == [200] * 13 and 302 in seen


def test_a_form_sent_too_late_does_nothing(as_alice: Client, at_the_clock: Any) -> None:
    as_alice.get("/admin/")
    at_the_clock(hours=2)
    as_alice.post("/admin/tenants/tenant/add/", {"name": "Acme", "slug": "acme"})
    from tenants.models import Tenant

    assert not Tenant.objects.exists()


def test_looking_is_rarely_a_write(as_alice: Client, at_the_clock: Any, django_assert_num_queries: Any) -> None:
    as_alice.get("/admin/password_change/")
    before = as_alice.session["seen_at"]
    at_the_clock(seconds=30)
    as_alice.get("/admin/password_change/")
    assert as_alice.session["seen_at"] == before
