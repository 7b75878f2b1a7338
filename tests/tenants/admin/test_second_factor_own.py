"""One's own second factor in the console: set up, renewed, removed; required of everybody; lost by somebody else."""

from __future__ import annotations

import contextlib
import html
import json
import re
import time
from base64 import b32decode
from typing import Any

import pytest
from django.apps import apps
from django.contrib.sessions.models import Session
from django.core import serializers
from django.http import HttpResponse
from django.test import Client, RequestFactory

from tenants import second_factor
from tenants.models import AuditEvent, SecondFactor, Tenant, User
from tests.second_factors import (
    ASKS,
    LEAVE,
    LOGIN,
    OWN,
    PASSWORD_PAGE,
    REMOVE,
    RENEW,
    code,
    enrol,
    give,
    give_password,
    told,
    wrong,
)
from tests.tenants.admin.conftest import PASSWORD, Record, allowed, at, person, signed_in
from tests.tenants.admin.test_hostile import Victim, addresses

pytestmark = pytest.mark.usefixtures("one_moment")


# Setting up


def offered(client: Client) -> bytes:
    """The secret that the page shows."""
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
def test_nothing_changes_without_the_password(
    inside: Client, alices_codes: list[str], page: str, password: str
) -> None:
    """Also in the first minutes after signing in."""
    assert b"Your password" in inside.get(page).content
    assert shown_codes(inside.post(page, {"password": password})) == []
    assert SecondFactor.objects.get().recovery_codes.count() == 10


@pytest.mark.parametrize("page", [RENEW, REMOVE])
def test_whoever_guesses_the_password_is_signed_out(inside: Client, page: str) -> None:
    answers = [inside.post(page, {"password": "wrong"}) for _ in range(5)]
    assert [answer.status_code for answer in answers] == [200] * 4 + [302]
    assert answers[-1].headers["Location"] == LOGIN and SecondFactor.objects.exists()


def test_new_recovery_codes_end_the_old(inside: Client, alice: User, alices_codes: list[str]) -> None:
    new = shown_codes(inside.post(RENEW, {"password": PASSWORD}))
    assert len(new) == 10 and not set(new) & set(alices_codes)
    assert told(alice)[0] == "user.recovery_codes_renewed"
    factor = SecondFactor.objects.get()
    assert factor.accept(alices_codes[0]) == "" and factor.accept(new[0]) == "recovery code"


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


def test_a_platform_admin_touches_no_superuser(alices_codes: list[str], alice: User) -> None:
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
    half: Client, alices_codes: list[str], monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    def broken(self: SecondFactor, text: str) -> str:
        raise RuntimeError("the database is away")

    monkeypatch.setattr(SecondFactor, "accept", broken)
    half.raise_request_exception = False
    answer = give(half, alices_codes[0])
    assert answer.status_code == 500
    assert alices_codes[0] not in answer.content.decode() + caplog.text


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
