"""A live key needs the password again once a session is old; a test key does not."""

from __future__ import annotations

import time
from typing import Any

import pytest
from django.http import HttpResponse
from django.test import Client
from django.urls import reverse

from tenants.admin import password_again
from tenants.models import ApiKey, Issued, KeySecret, Tenant, User
from tests.tenants.admin.conftest import KEY, PASSWORD
from tests.tenants.admin.test_issue import ADD, form, rendered_id


@pytest.fixture
def old(as_alice: Client) -> Client:
    """Alice, whose session began this morning."""
    session = as_alice.session
    session["password_given_at"] = time.time() - password_again.FRESH_SECONDS - 1
    session.save()
    return as_alice


def issue(client: Client, tenant: Tenant, **changes: Any) -> HttpResponse:
    return client.post(ADD, form(tenant, issue_id=rendered_id(client), **changes))


def rotate(client: Client, issued: Issued, **more: Any) -> HttpResponse:
    fields = {"overlap": "24h", "replacing": issued.row.secrets.get().pk}
    return client.post(reverse("admin:tenants_apikey_rotate", args=(issued.row.pk,)), {**fields, **more})


def test_signing_in_counts_for_a_while(client: Client, alice: User, acme: Tenant) -> None:
    client.post("/admin/login/", {"username": "alice", "password": PASSWORD})
    assert b"Your password" not in client.get(ADD).content
    assert KEY.search(issue(client, acme).content.decode())


def test_a_wrong_password_at_the_door_of_ones_own_session_does_not_count(old: Client, acme: Tenant) -> None:
    old.post("/admin/login/", {"username": "alice", "password": "wrong"})
    assert b"Your password" in old.get(ADD).content


def test_a_session_that_never_gave_a_password_is_not_fresh(client: Client, alice: User, acme: Tenant) -> None:
    client.force_login(alice)
    assert b"Your password" in client.get(ADD).content


@pytest.mark.parametrize("password", ["", "wrong"])
def test_an_old_session_issues_no_live_key_without_the_password(old: Client, acme: Tenant, password: str) -> None:
    response = issue(old, acme, password=password)
    assert not KEY.search(response.content.decode())
    assert b"our password" in response.content
    assert not ApiKey.objects.exists()


def test_with_the_password_it_does_and_is_fresh_again(old: Client, acme: Tenant) -> None:
    assert KEY.search(issue(old, acme, password=PASSWORD).content.decode())
    assert KEY.search(issue(old, acme).content.decode())


def test_a_test_key_never_needs_it(old: Client, acme: Tenant) -> None:
    assert KEY.search(issue(old, acme, mode="test").content.decode())


def test_rotating_a_live_key_needs_it_too(old: Client, bobs_key: Issued) -> None:
    assert b"Give your password" in rotate(old, bobs_key).content
    assert b"That is not your password" in rotate(old, bobs_key, password="wrong").content
    assert KeySecret.objects.count() == 1
    assert KEY.search(rotate(old, bobs_key, password=PASSWORD).content.decode())


def test_the_password_is_never_sent_back(old: Client, bobs_key: Issued) -> None:
    assert b"a wrong guess" not in rotate(old, bobs_key, password="a wrong guess").content


def test_whoever_guesses_is_signed_out(old: Client, acme: Tenant, bobs_key: Issued) -> None:
    for _ in range(password_again.MOST_TRIES - 1):
        assert rotate(old, bobs_key, password="wrong").status_code == 200
    assert rotate(old, bobs_key, password="wrong").headers["Location"] == "/admin/login/"
    assert rotate(old, bobs_key, password=PASSWORD).status_code == 302
    assert KeySecret.objects.count() == 1


def test_guessing_while_issuing_ends_the_same_way(old: Client, acme: Tenant) -> None:
    fields = form(acme, issue_id=rendered_id(old), password="wrong")
    statuses = [old.post(ADD, fields).status_code for _ in range(password_again.MOST_TRIES)]
    assert statuses == [200, 200, 200, 200, 302]
    assert not ApiKey.objects.exists()
