"""The second factor at sign-in: asked for before anything opens, once for each code, and not to be guessed."""

from __future__ import annotations

import re
import time
from typing import Any

import pytest
from django.contrib.sessions.models import Session
from django.db import DatabaseError
from django.test import Client
from django.utils import timezone

from tenants.models import AuditEvent, SecondFactor, SignInTries, Tenant, User
from tests.second_factors import (
    ASKS,
    LEAVE,
    LOGIN,
    OWN,
    PASSWORD_PAGE,
    REMOVE,
    RENEW,
    code,
    give,
    give_password,
    told,
    wrong,
)
from tests.tenants.admin.conftest import PASSWORD, Record
from tests.tenants.admin.test_hostile import Victim, addresses

pytestmark = pytest.mark.usefixtures("one_moment")


# Signing in


def test_who_has_none_signs_in_with_the_password(client: Client, alice: User) -> None:
    assert give_password(client).headers["Location"] == "/admin/tenants/apikey/"
    assert client.get("/admin/").status_code == 200
    assert client.get(ASKS).headers["Location"] == "/admin/"


def test_a_stranger_is_not_asked_for_a_code(client: Client, alices_codes: list[str]) -> None:
    for answer in (client.get(ASKS), give(client, code())):
        assert answer.headers["Location"].startswith("/admin/login/?next=")


@pytest.mark.parametrize("text", ["", "   ", "wrong", "0" * 41, "aaaa-bbbb-cccc-dddd", "000000\x00", "🔑"])
def test_what_is_no_code_opens_nothing(half: Client, text: str) -> None:
    assert give(half, text).status_code == 200
    assert half.get("/admin/").status_code == 302


def test_a_wrong_code_opens_nothing_and_is_told(half: Client, alice: User) -> None:
    answer = give(half, wrong())
    assert b"That is not it" in answer.content and wrong() not in answer.content.decode()
    assert half.get("/admin/").status_code == 302
    event = AuditEvent.objects.of(alice)[0]
    assert (event.action, event.told_context["step"], event.actor_name) == ("user.sign_in_failed", "second factor", "")


def test_the_code_opens_the_console_under_a_new_session(half: Client, alice: User) -> None:
    before = half.session.session_key
    answer = give(half, code(), next="/admin/tenants/apikey/")
    assert answer.headers["Location"] == "/admin/tenants/apikey/"
    assert half.session.session_key != before and not Session.objects.filter(pk=before).exists()
    assert half.get("/admin/").status_code == 200
    assert told(alice)[:2] == ["user.signed_in", "user.code_asked"]
    assert AuditEvent.objects.of(alice)[0].told_context["second_factor"] == "code"


def test_it_leads_nowhere_else(half: Client) -> None:
    assert give(half, code(), next="https://evil.example/admin/").headers["Location"] == "/admin/"


def test_a_code_does_not_sign_in_twice(half: Client, alice: User) -> None:
    used = code()
    give(half, used)
    other = Client()
    give_password(other)
    assert give(other, used).status_code == 200
    assert other.get("/admin/").status_code == 302
    assert told(alice)[0] == "user.sign_in_failed"


def test_a_recovery_code_signs_in_once(half: Client, alice: User, alices_codes: list[str]) -> None:
    answer = half.post(ASKS, {"code": alices_codes[0].upper()}, follow=True)
    assert b"That recovery code is used up: 9 left." in answer.content
    assert told(alice)[:3] == ["user.signed_in", "user.recovery_code_used", "user.code_asked"]
    other = Client()
    give_password(other)
    assert give(other, alices_codes[0]).status_code == 200
    assert other.get("/admin/").status_code == 302


def test_a_session_from_before_it_was_set_up_is_asked_too(as_alice: Client, alices_codes: list[str]) -> None:
    assert as_alice.get("/admin/").headers["Location"] == f"{ASKS}?next=%2Fadmin%2F"
    assert give(as_alice, code()).headers["Location"] == "/admin/"
    assert as_alice.get("/admin/").status_code == 200


def test_one_factor_does_not_open_for_the_next(half: Client, alice: User) -> None:
    give(half, code())
    SecondFactor.objects.get().delete()
    assert half.get("/admin/").status_code == 200
    SecondFactor.objects.enrol(User.objects.get(), b"x" * 20, code(b"x" * 20))
    assert half.get("/admin/").headers["Location"].startswith(ASKS)


def test_a_factor_that_is_removed_lets_nobody_in_who_waits_for_it(half: Client, alice: User) -> None:
    SecondFactor.objects.get().delete()
    assert half.get("/admin/", follow=True).redirect_chain[-1][0] == LOGIN
    assert "_auth_user_id" not in half.session
    assert told(alice)[:2] == ["user.second_factor_deleted", "user.code_asked"]


def test_the_code_has_a_quarter_of_an_hour(half: Client) -> None:
    half.get(ASKS)
    session = half.session
    session["began_at"] = time.time() - 901
    session.save()
    answer = half.post(ASKS, {"code": code()}, follow=True)
    assert b"the code was not given in time" in answer.content
    assert "_auth_user_id" not in half.session


def test_who_leaves_before_the_code_was_never_there(half: Client, alice: User) -> None:
    assert half.post(LEAVE).status_code == 200
    assert "_auth_user_id" not in half.session
    assert told(alice)[0] == "user.code_asked"


def test_nobody_comes_in_untold(half: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: AuditEvent) -> str:
        raise DatabaseError("disk full")

    monkeypatch.setattr(AuditEvent, "computed_hash", full)
    with pytest.raises(DatabaseError):
        give(half, code())
    assert half.get("/admin/").status_code == 302


# Guessing


def test_a_few_tries_then_neither_password_nor_code_is_looked_at(
    half: Client, alice: User, alices_codes: list[str]
) -> None:
    statuses = []
    for _ in range(5):
        statuses.append(give(half, wrong()).status_code)
        SecondFactor.objects.update(throttling_failure_timestamp=None)
    assert statuses == [200] * 4 + [429]
    for right in (code(), alices_codes[0]):
        answer = give(half, right)
        assert answer.status_code == 429 and b"Too many tries. Wait 15 minutes" in answer.content
        assert 0 < int(answer.headers["Retry-After"]) <= 900
    assert give_password(Client()).status_code == 429
    assert "user.signed_in" not in told(alice)


def test_the_right_password_does_not_make_codes_cheaper(client: Client, alices_codes: list[str]) -> None:
    tries = 0
    for _ in range(10):
        if give_password(client).status_code == 302:
            tries += give(client, wrong()).status_code == 200
            SecondFactor.objects.update(throttling_failure_timestamp=None)
            client.post(LEAVE)
    assert tries == 2


def test_from_many_addresses_the_factor_itself_makes_them_wait(alices_codes: list[str]) -> None:
    looked_at = 0
    for number in range(20):
        client = Client(REMOTE_ADDR=f"203.0.113.{number}")
        give_password(client)
        looked_at += give(client, wrong()).status_code == 200
    assert looked_at <= 6, "after 1, 2, 4, 8, 16 seconds: the test is faster"
    SecondFactor.objects.update(throttling_failure_count=6, throttling_failure_timestamp=timezone.now())
    client = Client(REMOTE_ADDR="198.51.100.1")
    give_password(client)
    answer = give(client, code())
    assert answer.status_code == 429 and re.search(rb"Wait \d+ seconds?, then", answer.content)
    assert give(client, alices_codes[0]).status_code == 302, "its owner has another way in"


def test_who_gets_in_begins_anew(half: Client, alices_codes: list[str]) -> None:
    give(half, wrong())
    SecondFactor.objects.update(throttling_failure_timestamp=None)
    give(half, code())
    half.post(LEAVE)
    assert sum(SignInTries.objects.values_list("tries", flat=True)) == 1, "the wrong one, of the address"
    assert give_password(half).status_code == 302


def test_who_gets_in_hears_of_many_wrong_codes(half: Client) -> None:
    SecondFactor.objects.update(throttling_failure_count=7)
    page = half.post(ASKS, {"code": code()}, follow=True).content.decode()
    assert "7 wrong codes were given since you last signed in" in page and "change it now" in page


def test_typing_nothing_is_no_try(half: Client) -> None:
    before = list(SignInTries.objects.values())
    give(half, "")
    assert list(SignInTries.objects.values()) == before


# Half signed in


@pytest.mark.usefixtures("read_here")
@pytest.mark.parametrize("way", ["get", "post"])
def test_a_session_whose_code_is_due_opens_nothing(record: Record, half: Client, alice: User, way: str) -> None:
    """Every address of the URLconf, with every id there is."""
    victim = Victim(record, alice)
    before = (victim.rows(), AuditEvent.objects.head())
    walked = [
        *addresses(victim, victim.ids),
        PASSWORD_PAGE,
        "/admin/password_change/done/",
        "/admin",
        "/admin/static/x",
    ]
    assert len(walked) > 300 and {OWN, RENEW, REMOVE, LOGIN} <= set(walked)
    for address in walked:
        answer = getattr(half, way)(address)
        if address == ASKS:
            continue
        assert answer.status_code in (301, 302) and answer.content == b"", address
        assert answer.headers["Location"].startswith((ASKS, "/admin/")), address
        if address != "/admin":
            assert answer.headers["Location"].startswith(ASKS), address
    assert (victim.rows(), AuditEvent.objects.head()) == before


def test_the_page_that_asks_shows_nothing_of_the_console(half: Client, acme: Tenant) -> None:
    page = half.get(ASKS).content.decode()
    assert set(re.findall(r'(?:href|action)="(/admin/[^"]*)"', page)) == {"/admin/", LEAVE}
    assert "Acme" not in page and "console-nav" not in page and "alice" not in page
    assert 'autocomplete="one-time-code"' in page


def test_nothing_opens_without_the_middleware_either(half: Client, settings: Any) -> None:
    settings.MIDDLEWARE = [name for name in settings.MIDDLEWARE if "ConsoleMiddleware" not in name]
    client = Client()  # the other one keeps the middleware that it began with
    client.cookies = half.cookies
    for address in ("/admin/", "/admin/tenants/user/", PASSWORD_PAGE, OWN):
        assert client.get(address).headers["Location"].startswith("/admin/login/?next="), address


def test_the_code_comes_before_a_password_of_ones_own(client: Client, alice: User, alices_codes: list[str]) -> None:
    User.objects.update(must_change_password=True)
    give_password(client)
    assert client.get(PASSWORD_PAGE).headers["Location"].startswith(ASKS)
    new = "an entirely new sentence"
    client.post(PASSWORD_PAGE, {"old_password": PASSWORD, "new_password1": new, "new_password2": new})
    assert User.objects.get().check_password(PASSWORD)
    give(client, code())
    assert client.get("/admin/").headers["Location"] == PASSWORD_PAGE


def test_a_password_changed_keeps_the_session(half: Client) -> None:
    give(half, code())
    new = "an entirely new sentence"
    half.post(PASSWORD_PAGE, {"old_password": PASSWORD, "new_password1": new, "new_password2": new})
    assert half.get("/admin/").status_code == 200
