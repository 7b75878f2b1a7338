"""The second factor in the console: set up, asked for at sign-in before anything opens, renewed, removed."""

from __future__ import annotations

import contextlib
import html
import json
import re
import time
from typing import Any

import pytest
from django.apps import apps
from django.contrib.sessions.models import Session
from django.core import serializers
from django.db import DatabaseError
from django.http import HttpResponse
from django.test import Client, RequestFactory
from django_otp.oath import TOTP

from tenants import second_factor, sign_ins
from tenants.models import AuditEvent, SecondFactor, SignInTries, Tenant, User
from tests.tenants.admin.conftest import PASSWORD, Record, allowed, at, person, signed_in
from tests.tenants.admin.test_hostile import Victim, addresses

OWN, ASKS, RENEW, REMOVE = (f"/admin/second-factor/{page}" for page in ("", "code/", "recovery-codes/", "remove/"))
LOGIN, LEAVE, PASSWORD_PAGE = "/admin/login/", "/admin/logout/", "/admin/password_change/"
SECRET = b"12345678901234567890"


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test has a minute's worth of told failures, and one moment, so that no code runs out within it."""
    monkeypatch.setattr(sign_ins, "failures", sign_ins.Failures())
    now = time.time() // 30 * 30 + 15
    monkeypatch.setattr(time, "time", lambda: now)


def code(secret: bytes = SECRET, ahead: int = 0) -> str:
    """What the app shows now, or in so many half minutes: codes are used up, and a test does not wait."""
    totp = TOTP(secret)
    totp.time = time.time() + 30 * ahead
    return f"{totp.token():06}"


def wrong() -> str:
    """A code that is none of those around now."""
    right = {code(ahead=ahead) for ahead in (-2, -1, 0, 1, 2)}
    return next(text for text in ("000000", "111111", "222222", "333333", "444444", "555555") if text not in right)


def enrol(user: User) -> list[str]:
    """Sets up a factor, half a minute ago; returns its recovery codes."""
    _, codes = SecondFactor.objects.enrol(user, SECRET, code(ahead=-1))
    return codes


def give_password(client: Client, name: str = "alice") -> HttpResponse:
    return client.post(LOGIN, {"username": name, "password": PASSWORD, "next": "/admin/tenants/apikey/"})


def give(client: Client, text: str, **more: Any) -> HttpResponse:
    return client.post(ASKS, {"code": text, **more})


def told(user: User) -> list[str]:
    """The newest first."""
    return [event.action for event in AuditEvent.objects.of(user)]


@pytest.fixture
def codes(alice: User) -> list[str]:
    """Alice has a factor; these are her recovery codes."""
    return enrol(alice)


@pytest.fixture
def half(client: Client, codes: list[str]) -> Client:
    """Somebody who gave Alice's password."""
    give_password(client)
    return client


# Signing in


def test_who_has_none_signs_in_with_the_password(client: Client, alice: User) -> None:
    assert give_password(client).headers["Location"] == "/admin/tenants/apikey/"
    assert client.get("/admin/").status_code == 200
    assert client.get(ASKS).headers["Location"] == "/admin/"


def test_a_stranger_is_not_asked_for_a_code(client: Client, codes: list[str]) -> None:
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


def test_a_recovery_code_signs_in_once(half: Client, alice: User, codes: list[str]) -> None:
    answer = half.post(ASKS, {"code": codes[0].upper()}, follow=True)
    assert b"That recovery code is used up: 9 left." in answer.content
    assert told(alice)[:3] == ["user.signed_in", "user.recovery_code_used", "user.code_asked"]
    other = Client()
    give_password(other)
    assert give(other, codes[0]).status_code == 200
    assert other.get("/admin/").status_code == 302


def test_a_session_from_before_it_was_set_up_is_asked_too(as_alice: Client, codes: list[str]) -> None:
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


def test_a_few_tries_then_neither_password_nor_code_is_looked_at(half: Client, alice: User, codes: list[str]) -> None:
    statuses = []
    for _ in range(5):
        statuses.append(give(half, wrong()).status_code)
        SecondFactor.objects.update(throttling_failure_timestamp=None)
    assert statuses == [200] * 4 + [429]
    for right in (code(), codes[0]):
        answer = give(half, right)
        assert answer.status_code == 429 and b"Too many tries. Wait 15 minutes" in answer.content
        assert 0 < int(answer.headers["Retry-After"]) <= 900
    assert give_password(Client()).status_code == 429
    assert "user.signed_in" not in told(alice)


def test_the_right_password_does_not_make_codes_cheaper(client: Client, codes: list[str]) -> None:
    tries = 0
    for _ in range(10):
        if give_password(client).status_code == 302:
            tries += give(client, wrong()).status_code == 200
            SecondFactor.objects.update(throttling_failure_timestamp=None)
            client.post(LEAVE)
    assert tries == 2


def test_from_many_addresses_the_factor_itself_makes_them_wait(codes: list[str]) -> None:
    looked_at = 0
    for number in range(20):
        client = Client(REMOTE_ADDR=f"203.0.113.{number}")
        give_password(client)
        looked_at += give(client, wrong()).status_code == 200
    assert looked_at <= 3, "1, 2, 4 seconds: the test is faster"
    client = Client(REMOTE_ADDR="198.51.100.1")
    give_password(client)
    answer = give(client, code())
    assert answer.status_code == 429 and re.search(rb"Wait \d+ seconds?, then", answer.content)
    assert give(client, codes[0]).status_code == 302, "its owner has another way in"


def test_who_gets_in_begins_anew(half: Client, codes: list[str]) -> None:
    give(half, wrong())
    SecondFactor.objects.update(throttling_failure_timestamp=None)
    give(half, code())
    half.post(LEAVE)
    assert sum(SignInTries.objects.values_list("tries", flat=True)) == 1, "the wrong one, of the address"
    assert give_password(half).status_code == 302


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


def test_the_code_comes_before_a_password_of_ones_own(client: Client, alice: User, codes: list[str]) -> None:
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


# Setting up


def offered(client: Client) -> bytes:
    """The secret that the page shows."""
    from base64 import b32decode

    page = client.get(OWN).content.decode()
    text = re.search(r'id="secret"[^>]*>([A-Z2-7 ]+)<', page)
    assert text is not None
    return b32decode(text[1].replace(" ", ""))


def shown_codes(response: HttpResponse) -> list[str]:
    return re.findall(r"\b(?:[0-9a-z]{4}-){3}[0-9a-z]{4}\b", response.content.decode())


def test_it_is_set_up_and_its_codes_are_shown_once(as_alice: Client, alice: User) -> None:
    secret = offered(as_alice)
    assert offered(as_alice) == secret, "a reload does not make another"
    before = as_alice.session.session_key
    answer = as_alice.post(OWN, {"code": code(secret)})
    assert len(shown_codes(answer)) == 10 and answer.headers["Cache-Control"] == "no-store"
    assert as_alice.session.session_key != before
    assert as_alice.get("/admin/").status_code == 200, "the session that set it up is let in by it"
    page = as_alice.get(OWN)
    assert shown_codes(page) == [] and b"10 left" in page.content and b"<svg viewBox" not in page.content
    assert told(alice)[0] == "user.second_factor_created"


def test_without_the_right_code_it_is_not(as_alice: Client) -> None:
    secret = offered(as_alice)
    answer = as_alice.post(OWN, {"code": "000000" if code(secret) != "000000" else "111111"})
    assert b"not what your app shows" in answer.content and not SecondFactor.objects.exists()
    assert offered(as_alice) == secret


def test_the_picture_is_ours_and_says_what_the_text_says(as_alice: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = []
    monkeypatch.setattr("tenants.admin.second_factor_pages._qr", lambda text: drawn.append(text) or "")
    secret = offered(as_alice)
    assert drawn == [second_factor.as_uri(secret, "alice", "testserver")]


def test_two_people_are_not_offered_the_same(as_alice: Client, carol: User) -> None:
    assert offered(as_alice) != offered(signed_in(carol))


def test_an_offer_is_worth_nothing_in_another_persons_session(as_alice: Client, carol: User) -> None:
    secret, hers = offered(as_alice), signed_in(carol)
    session = hers.session
    session["second_factor_offer"] = as_alice.session["second_factor_offer"]
    session.save()
    assert offered(hers) != secret


def test_a_session_left_open_sets_nothing_up_without_the_password(as_alice: Client) -> None:
    session = as_alice.session
    session["password_given_at"] = time.time() - 1000
    session.save()
    secret = offered(as_alice)
    for password in ("", "wrong"):
        assert as_alice.post(OWN, {"code": code(secret), "password": password}).status_code == 200
        assert not SecondFactor.objects.exists()
    assert len(shown_codes(as_alice.post(OWN, {"code": code(secret), "password": PASSWORD}))) == 10


def test_every_person_of_the_console_has_the_page(carol: User, acme: Tenant) -> None:
    for user in (allowed(carol), at(person("bob"), acme), person("erin", "auditor")):
        client = signed_in(user)
        assert f'href="{OWN}"' in client.get("/admin/").content.decode()
        client.post(OWN, {"code": code(offered(client))})
        assert SecondFactor.objects.filter(user=user).exists()


# Renewing and removing


@pytest.fixture
def inside(half: Client) -> Client:
    """Alice, with password and code."""
    give(half, code())
    return half


@pytest.mark.parametrize("page", [RENEW, REMOVE])
@pytest.mark.parametrize("password", ["", "wrong"])
def test_nothing_changes_without_the_password(inside: Client, codes: list[str], page: str, password: str) -> None:
    """Also in the first minutes after signing in."""
    assert b"Your password" in inside.get(page).content
    assert shown_codes(inside.post(page, {"password": password})) == []
    assert SecondFactor.objects.get().recovery_codes.count() == 10


@pytest.mark.parametrize("page", [RENEW, REMOVE])
def test_whoever_guesses_the_password_is_signed_out(inside: Client, page: str) -> None:
    answers = [inside.post(page, {"password": "wrong"}) for _ in range(5)]
    assert [answer.status_code for answer in answers] == [200] * 4 + [302]
    assert answers[-1].headers["Location"] == LOGIN and SecondFactor.objects.exists()


def test_new_recovery_codes_end_the_old(inside: Client, alice: User, codes: list[str]) -> None:
    new = shown_codes(inside.post(RENEW, {"password": PASSWORD}))
    assert len(new) == 10 and not set(new) & set(codes)
    assert told(alice)[0] == "user.recovery_codes_renewed"
    factor = SecondFactor.objects.get()
    assert factor.accept(codes[0]) == "" and factor.accept(new[0]) == "recovery code"


def test_the_page_says_when_few_are_left(inside: Client) -> None:
    factor = SecondFactor.objects.get()
    for left in (3, 0):
        for row in factor.recovery_codes.all()[left:]:
            row.delete()
        page = inside.get(OWN).content.decode()
        assert "Make new ones" in page and f"{left} left" in page


def test_removed_the_password_alone_signs_in(inside: Client, alice: User) -> None:
    answer = inside.post(REMOVE, {"password": PASSWORD}, follow=True)
    assert b"Your second factor is removed" in answer.content and b"Scan this" in answer.content
    assert told(alice)[0] == "user.second_factor_deleted"
    other = Client()
    give_password(other)
    assert other.get("/admin/").status_code == 200


def test_who_has_none_renews_and_removes_nothing(as_alice: Client) -> None:
    for page in (RENEW, REMOVE):
        assert as_alice.post(page, {"password": PASSWORD}).headers["Location"] == OWN


# Where it is required


@pytest.fixture
def required(settings: Any) -> None:
    settings.CONSOLE_TOTP = "required"


@pytest.mark.usefixtures("required")
def test_who_has_none_sets_one_up_before_anything_opens(client: Client, alice: User, record: Record) -> None:
    give_password(client)
    victim = Victim(record, alice)
    for address in addresses(victim, victim.ids):
        if address != OWN and address != ASKS:
            for answer in (client.get(address), client.post(address)):
                assert (answer.status_code, answer.headers["Location"]) == (302, OWN), address
    page = client.get(OWN).content.decode()
    assert "Set up a second factor" in page and "/admin/tenants/" not in page
    client.post(OWN, {"code": code(offered(client))})
    assert client.get("/admin/").status_code == 200


@pytest.mark.usefixtures("required")
def test_a_password_of_ones_own_comes_first(client: Client, alice: User) -> None:
    User.objects.update(must_change_password=True)
    give_password(client)
    assert client.get("/admin/").headers["Location"] == PASSWORD_PAGE
    assert client.get(OWN).headers["Location"] == PASSWORD_PAGE
    new = "an entirely new sentence"
    client.post(PASSWORD_PAGE, {"old_password": PASSWORD, "new_password1": new, "new_password2": new})
    assert client.get("/admin/").headers["Location"] == OWN


@pytest.mark.usefixtures("required")
def test_who_removes_it_sets_up_another(inside: Client) -> None:
    inside.post(REMOVE, {"password": PASSWORD})
    assert inside.get("/admin/").headers["Location"] == OWN
    assert inside.post(LEAVE).status_code == 200


# Somebody else's


@pytest.fixture
def bobs(bob: User) -> str:
    """The page on which Bob's factor is removed."""
    enrol(bob)
    return f"/admin/tenants/user/{bob.pk}/remove-second-factor/"


def test_a_platform_admin_removes_a_lost_one(bobs: str, bob: User) -> None:
    client = signed_in(person("dora", "admin"))
    page = client.get(f"/admin/tenants/user/{bob.pk}/change/").content.decode()
    assert "Remove second factor…" in page and "set up" in page
    assert b"make sure that it is they" in client.get(bobs).content
    assert b"Removed the second factor of bob" in client.post(bobs, {"reason": "phone lost"}, follow=True).content
    event = AuditEvent.objects.of(bob)[0]
    assert (event.action, event.actor_name) == ("user.second_factor_deleted", "dora")
    assert event.told_context["reason"] == "phone lost"
    assert "Remove second factor…" not in client.get(f"/admin/tenants/user/{bob.pk}/change/").content.decode()


def test_it_takes_a_reason_and_in_an_old_session_the_password(bobs: str) -> None:
    client = signed_in(person("dora", "admin"))
    client.post(bobs, {"reason": ""})
    session = client.session
    session["password_given_at"] = time.time() - 1000
    session.save()
    for password in ("", "wrong"):
        client.post(bobs, {"reason": "phone lost", "password": password})
    assert SecondFactor.objects.exists()
    client.post(bobs, {"reason": "phone lost", "password": PASSWORD})
    assert not SecondFactor.objects.exists()


@pytest.mark.parametrize("role", ["auditor", "payload-auditor", ""])
def test_nobody_else_does(bobs: str, role: str) -> None:
    client = signed_in(person("carol", role))
    assert client.post(bobs, {"reason": "x"}).status_code == 403
    assert SecondFactor.objects.exists()


def test_a_manager_does_not_even_of_their_own_tenant(bobs: str, acme: Tenant) -> None:
    assert signed_in(at(person("erin"), acme)).post(bobs, {"reason": "x"}).status_code == 403
    assert SecondFactor.objects.exists()


def test_a_platform_admin_touches_no_superuser(codes: list[str], alice: User) -> None:
    client = signed_in(person("dora", "admin"))
    assert client.post(f"/admin/tenants/user/{alice.pk}/remove-second-factor/", {"reason": "x"}).status_code == 403
    assert SecondFactor.objects.exists()


def test_ones_own_is_removed_on_ones_own_page(inside: Client, alice: User) -> None:
    answer = inside.post(f"/admin/tenants/user/{alice.pk}/remove-second-factor/", {"reason": "x"})
    assert answer.headers["Location"] == REMOVE and SecondFactor.objects.exists()
    assert b"Remove second factor" not in inside.get(f"/admin/tenants/user/{alice.pk}/change/").content


def test_who_has_none_has_nothing_removed(as_alice: Client, bob: User) -> None:
    answer = as_alice.get(f"/admin/tenants/user/{bob.pk}/remove-second-factor/", follow=True)
    assert b"ob has no second factor" in answer.content


# What is kept and said


def test_no_secret_and_no_code_is_kept_or_logged(client: Client, alice: User, caplog: Any) -> None:
    """From the offer to the last recovery code: in no row of any table, sessions included, and on no log line."""
    give_password(client)
    secret = offered(client)
    first = code(secret)
    waiting = _everything()
    codes = shown_codes(client.post(OWN, {"code": first}))
    client.post(LEAVE)
    give_password(client)
    give(client, wrong())
    SecondFactor.objects.update(throttling_failure_timestamp=None)
    give(client, codes[0])
    text = second_factor.as_text(secret)
    forms = [text, " ".join(text[at : at + 4] for at in range(0, 32, 4)), secret.hex(), *codes]
    forms += [each.replace("-", "") for each in codes]
    kept = waiting + _everything()
    assert [form for form in forms if form in kept] == []
    assert [form for form in [*forms, first, "otpauth"] if form in caplog.text] == []
    assert all(
        form not in event.before + event.after + event.context for event in AuditEvent.objects.all() for form in forms
    )


def _everything() -> str:
    rows = [serializers.serialize("json", model._default_manager.all()) for model in apps.get_models()]
    sessions = [json.dumps(session.get_decoded()) for session in Session.objects.all()]
    return "".join(rows + sessions)


def test_an_error_while_it_is_checked_says_nothing_of_it(
    half: Client, codes: list[str], monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    def broken(self: SecondFactor, text: str) -> str:
        raise RuntimeError("the database is away")

    monkeypatch.setattr(SecondFactor, "accept", broken)
    half.raise_request_exception = False
    answer = give(half, codes[0])
    assert answer.status_code == 500
    assert codes[0] not in answer.content.decode() + caplog.text


def test_error_reports_hide_what_was_posted(rf: RequestFactory) -> None:
    from django.views.debug import SafeExceptionReporterFilter

    from tenants.admin import second_factor_pages as pages

    for view in (pages.own, pages.renew, pages.remove, pages.code):
        request = rf.post("/", {"code": "123456", "password": PASSWORD})
        request.user, request.session = User(), {}  # type: ignore[assignment]
        with contextlib.suppress(Exception):  # the page cannot be made here: what counts is what is said of its form
            view(request)
        hidden = SafeExceptionReporterFilter().get_post_parameters(request)
        assert "123456" not in html.unescape(str(hidden)) and PASSWORD not in str(hidden)
