"""People: added with a password that is theirs to replace; only an administrator hands out power."""

from __future__ import annotations

import pytest
from django.test import Client

from tenants.models import User
from tests.tenants.admin.conftest import PASSWORD, allowed, signed_in

GIVEN = "a password for the first day"
NO_TENANT = {"memberships-TOTAL_FORMS": "0", "memberships-INITIAL_FORMS": "0"}


@pytest.fixture
def bob(carol: User) -> Client:
    """Bob may look after people, and is no administrator."""
    return signed_in(allowed(carol, "view_user", "add_user", "change_user"))


def test_a_new_person_must_choose_a_password(as_alice: Client) -> None:
    page = as_alice.get("/admin/tenants/user/add/")
    initial = page.context["adminform"].form.initial
    assert initial["is_staff"] and initial["must_change_password"]
    fields = {
        "username": "dora",
        "password1": GIVEN,
        "password2": GIVEN,
        "is_staff": "on",
        "must_change_password": "on",
        **NO_TENANT,
    }
    as_alice.post("/admin/tenants/user/add/", fields)
    dora = User.objects.get(username="dora")
    assert dora.check_password(GIVEN) and dora.must_change_password and dora.is_staff


def test_a_password_set_by_another_must_be_replaced(as_alice: Client, carol: User) -> None:
    fields = {"usable_password": "true", "password1": GIVEN, "password2": GIVEN, "set-password": "x"}
    as_alice.post(f"/admin/tenants/user/{carol.pk}/password/", fields)
    carol.refresh_from_db()
    assert carol.check_password(GIVEN) and carol.must_change_password


def test_ones_own_password_has_its_own_page(as_alice: Client, alice: User) -> None:
    answer = as_alice.get(f"/admin/tenants/user/{alice.pk}/password/")
    assert answer.headers["Location"] == "/admin/password_change/"


def test_nobody_locks_themselves_out(as_alice: Client, alice: User) -> None:
    as_alice.post(f"/admin/tenants/user/{alice.pk}/change/", {"username": "alice", **NO_TENANT})
    alice.refresh_from_db()
    assert alice.is_active and alice.is_staff and alice.is_superuser


def test_power_is_handed_out_by_administrators_only(bob: Client, carol: User) -> None:
    other = User.objects.create_user("mallory", password=PASSWORD)
    fields = {"username": "mallory", "is_superuser": "on", "is_staff": "on", "user_permissions": ["1"], "role": "admin"}
    fields |= NO_TENANT
    assert bob.post(f"/admin/tenants/user/{other.pk}/change/", fields).status_code == 302
    bob.post(f"/admin/tenants/user/{carol.pk}/change/", {**fields, "username": "carol"})
    for person in User.objects.all():
        assert not person.is_superuser and not person.role
    other.refresh_from_db()
    assert not other.is_staff and not other.user_permissions.exists()


def test_an_administrators_account_is_not_taken_by_others(bob: Client, alice: User) -> None:
    fields = {"usable_password": "true", "password1": GIVEN, "password2": GIVEN, "set-password": "x"}
    assert bob.post(f"/admin/tenants/user/{alice.pk}/password/", fields).status_code == 403
    assert bob.post(f"/admin/tenants/user/{alice.pk}/change/", {"username": "a", "email": "b@b.b"}).status_code == 403
    alice.refresh_from_db()
    assert alice.check_password(PASSWORD) and alice.username == "alice"


def test_no_page_shows_how_a_password_is_stored(as_alice: Client, alice: User) -> None:
    page = as_alice.get(f"/admin/tenants/user/{alice.pk}/change/").content.decode()
    assert alice.password not in page and "salt" not in page
