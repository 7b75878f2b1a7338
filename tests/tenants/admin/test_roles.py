"""What each role sees and may do: on the whole site, or at its tenants."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib import admin
from django.test import Client

from tenants import ids
from tenants.models import ApiKey, AuditEvent, Budget, Issued, Membership, ModelAlias, Tenant, User
from tenants.roles import MAY, PATHS, Role
from tests.tenants.admin.conftest import Record, at, person, signed_in

LISTS = ("tenant", "apikey", "budget", "modelalias", "modelprice", "requestrecord", "auditevent", "user")
SITE_LISTS = {"modelprice", "auditevent", "user"}


def statuses(client: Client, page: str = "") -> dict[str, int]:
    return {kind: client.get(f"/admin/tenants/{kind}/{page}").status_code for kind in LISTS}


def allowed(client: Client, page: str = "") -> set[str]:
    return {kind for kind, status in statuses(client, page).items() if status == 200}


@pytest.fixture
def dora(db: None) -> User:
    return person("dora", Role.ADMIN)


def new_key(tenant: Tenant, **fields: Any) -> dict[str, Any]:
    about = {"tenant": tenant.pk, "name": "a key", "mode": "test", "issue_id": str(ids.uuid7()), "compat": "lenient"}
    return {**about, "capture": "full", "capture_percent": "10", **fields}


def test_a_role_names_every_page_that_there_is() -> None:
    """A new page belongs to somebody: the platform admin sees it, without being a superuser."""
    for model in admin.site._registry:
        if model._meta.app_label == "tenants":
            assert f"tenants.view_{model._meta.model_name}" in MAY[Role.ADMIN], model


def test_a_platform_admin_needs_no_superuser(dora: User, acme: Tenant) -> None:
    client = signed_in(dora)
    assert allowed(client) == set(LISTS)
    assert allowed(client, "add/") == {"tenant", "apikey", "budget", "modelalias", "modelprice", "user"}
    assert client.post("/admin/tenants/apikey/add/", new_key(acme)).status_code == 200
    assert ApiKey.objects.count() == 1


def test_a_manager_sees_the_pages_of_their_tenants(bob: User) -> None:
    client = signed_in(bob)
    assert allowed(client) == set(LISTS) - SITE_LISTS
    assert allowed(client, "add/") == {"apikey", "budget", "modelalias"}
    nav = client.get("/admin/").content.decode()
    assert "/admin/tenants/user/" not in nav and "/admin/tenants/modelprice/" not in nav


def test_an_auditor_sees_everything_and_changes_nothing(acme: Tenant, bobs_key: Issued) -> None:
    carol = person("carol", Role.AUDITOR)
    client = signed_in(carol)
    assert allowed(client) == set(LISTS)
    assert allowed(client, "add/") == set()
    page = f"/admin/tenants/apikey/{bobs_key.row.pk}/"
    assert client.get(f"{page}change/").status_code == 200
    for verb in ("revoke", "rotate"):
        assert client.post(f"{page}{verb}/", {"reason": "x", "overlap": "now"}).status_code == 403
    assert client.post(f"{page}change/", {"name": "hers"}).status_code == 403
    client.post("/admin/tenants/auditevent/verify/")
    assert client.post("/admin/tenants/auditevent/export/", {"format": "csv"}).status_code == 200
    bobs_key.row.refresh_from_db()
    assert bobs_key.row.revoked_at is None and bobs_key.row.name == "support bot"


@pytest.mark.parametrize("role", [Role.ADMIN, Role.MANAGER, Role.AUDITOR])
def test_only_one_role_reads_payloads(role: Role) -> None:
    assert "tenants.view_payload" not in MAY[role]
    assert "tenants.view_payload" in MAY[Role.PAYLOAD_AUDITOR]


def test_a_role_at_one_tenant_is_none_at_another(
    acme: Tenant, globex: Tenant, bobs_key: Issued, mallorys_key: Issued
) -> None:
    both = at(at(person("erin"), acme, "manager"), globex, "auditor")
    client = signed_in(both)
    assert client.get(f"/admin/tenants/apikey/{mallorys_key.row.pk}/change/").status_code == 200
    for key, status in ((bobs_key, 302), (mallorys_key, 403)):
        answer = client.post(f"/admin/tenants/apikey/{key.row.pk}/revoke/", {"reason": "x"})
        assert answer.status_code == status
    chosen = {"action": "revoke_selected", "confirmed": "yes", "reason": "x", "_selected_action": [mallorys_key.row.pk]}
    client.post("/admin/tenants/apikey/", chosen)
    mallorys_key.row.refresh_from_db()
    assert mallorys_key.row.revoked_at is None


def test_a_site_wide_page_is_not_given_by_a_tenant(globex: Tenant) -> None:
    client = signed_in(at(person("frank"), globex, "auditor"))
    assert allowed(client) == set(LISTS) - SITE_LISTS | {"auditevent"}
    assert client.post("/admin/tenants/auditevent/verify/").status_code == 403


def test_who_is_deactivated_has_no_scope(bob: User) -> None:
    assert bob.scope("tenants.view_apikey").tenants
    bob.is_active = False
    assert bob.scope("tenants.view_apikey").tenants == frozenset()


def test_every_path_to_a_tenant_leads_to_one() -> None:
    from django.apps import apps

    for name, path in PATHS.items():
        if path != "pk":
            field = apps.get_model("tenants", name)._meta
            for step in path.split("__"):
                related = field.get_field(step).related_model
                assert related is not None
                field = related._meta  # type: ignore[union-attr]
            assert field.model_name == "tenant", name


# What a manager may set


@pytest.mark.parametrize("field", ["rpm", "tpm", "concurrency"])
@pytest.mark.parametrize(("asked", "well"), [("", True), ("1", True), ("60", True), ("61", False), ("0", False)])
def test_a_key_gets_no_more_than_its_tenant(bob: User, acme: Tenant, field: str, asked: str, well: bool) -> None:
    setattr(acme, field, 60)
    acme.save()
    answer = signed_in(bob).post("/admin/tenants/apikey/add/", new_key(acme, **{field: asked}))
    assert ApiKey.objects.exists() == well
    assert (b"At most 60: the limit of Acme itself." in answer.content) == (not well)


def test_a_tenant_without_a_limit_is_no_ceiling(bob: User, acme: Tenant) -> None:
    signed_in(bob).post("/admin/tenants/apikey/add/", new_key(acme, rpm="100000"))
    assert ApiKey.objects.get().rpm == 100_000


def test_administrators_may_go_beyond(as_alice: Client, acme: Tenant) -> None:
    acme.rpm = 60
    acme.save()
    as_alice.post("/admin/tenants/apikey/add/", new_key(acme, rpm="61"))
    assert ApiKey.objects.get().rpm == 61


@pytest.mark.parametrize(
    ("window", "dollars", "well"),
    [("month", "100", True), ("month", "100.01", False), ("day", "101", False), ("total", "1000", True)],
)
def test_a_budget_of_a_key_fits_into_its_tenants(
    bob: User, acme: Tenant, bobs_key: Issued, window: str, dollars: str, well: bool
) -> None:
    Budget.objects.give(acme, "month", 100 * 10**9)
    fields = {"tenant": acme.pk, "key": bobs_key.row.pk, "window": window, "limit_usd": dollars}
    answer = signed_in(bob).post("/admin/tenants/budget/add/", fields)
    assert Budget.objects.filter(key=bobs_key.row).exists() == well
    assert (b"At most $100.00: the month budget of Acme itself." in answer.content) == (not well)


def test_a_manager_sets_no_budget_of_the_whole_tenant(bob: User, acme: Tenant) -> None:
    client = signed_in(bob)
    client.post("/admin/tenants/budget/add/", {"tenant": acme.pk, "key": "", "window": "day", "limit_usd": "1"})
    assert not Budget.objects.exists()
    given = Budget.objects.give(acme, "month", 10**9)
    assert client.get(f"/admin/tenants/budget/{given.pk}/change/").status_code == 200
    assert client.post(f"/admin/tenants/budget/{given.pk}/change/", {"limit_usd": "9"}).status_code == 403
    assert client.post(f"/admin/tenants/budget/{given.pk}/remove/", {"reason": "x"}).status_code == 403
    given.refresh_from_db()
    assert given.limit_nanos == 10**9 and given.removed_at is None


def test_a_managers_alias_is_for_their_tenant(bob: User, acme: Tenant, globex: Tenant) -> None:
    client = signed_in(bob)
    for tenant in ("", globex.pk):
        answer = client.post("/admin/tenants/modelalias/add/", {"name": "gpt", "target": "claude", "tenant": tenant})
        assert answer.status_code == 200
    assert not ModelAlias.objects.exists()
    client.post("/admin/tenants/modelalias/add/", {"name": "gpt", "target": "claude", "tenant": acme.pk})
    assert ModelAlias.objects.get().tenant == acme


def test_an_alias_for_everyone_is_not_a_managers(bob: User, acme: Tenant) -> None:
    common = ModelAlias.objects.create(name="everyones-alias", target="claude-opus-5")
    client = signed_in(bob)
    assert b"everyones-alias" not in client.get("/admin/tenants/modelalias/").content
    client.post(
        "/admin/tenants/modelalias/", {"action": "delete_selected", "post": "yes", "_selected_action": [common.pk]}
    )
    client.post(f"/admin/tenants/modelalias/{common.pk}/delete/", {"post": "yes"})
    assert ModelAlias.objects.get() == common


def test_the_overview_counts_what_is_theirs(bob: User, bobs_key: Issued, mallorys_key: Issued, record: Record) -> None:
    record(mallorys_key.row)
    page = signed_in(bob).get("/admin/")
    assert page.context["counts"].tenants == page.context["counts"].active_keys == 1
    assert page.context["latest"] == []
    assert b"Globex" not in page.content


def test_what_is_noted_about_a_tenant_is_not_for_its_manager(bob: User, acme: Tenant) -> None:
    acme.note, acme.alert_webhook = "pays late", "https://hooks.example.com/secret-token"
    acme.save()
    acme.hold("the court asked")
    page = f"/admin/tenants/tenant/{acme.pk}/"
    told = signed_in(bob).get(f"{page}change/").content.decode()
    assert "Acme" in told and not [word for word in ("pays late", "court", "secret-token") if word in told]
    assert signed_in(bob).get(f"{page}history/").status_code == 403
    carol = signed_in(person("carol", Role.AUDITOR))
    told = carol.get(f"{page}change/").content.decode()
    assert "pays late" in told and "court" in told and "secret-token" not in told
    assert carol.get(f"{page}history/").status_code == 200


# People


def form(places: dict[int, str], **fields: Any) -> dict[str, Any]:
    rows = {
        f"memberships-{number}-{name}": value
        for number, (tenant, role) in enumerate(places.items())
        for name, value in (("tenant", tenant), ("role", role))
    }
    return {"memberships-TOTAL_FORMS": len(places), "memberships-INITIAL_FORMS": 0, **rows, **fields}


def newcomer(**more: Any) -> dict[str, Any]:
    password = "a password for the first day"
    return {"username": "grace", "password1": password, "password2": password, "is_staff": "on", **more}


def test_a_person_a_role_and_tenants_come_in_one_form(dora: User, acme: Tenant, globex: Tenant) -> None:
    fields = form({acme.pk: "manager", globex.pk: "auditor"}, **newcomer())
    assert signed_in(dora).post("/admin/tenants/user/add/", fields).status_code == 302
    grace = User.objects.get(username="grace")
    assert grace.scope("tenants.change_apikey").tenants == {acme.pk}
    assert grace.scope("tenants.view_apikey").tenants == {acme.pk, globex.pk}
    given = AuditEvent.objects.filter(action="user.membership_created")
    assert [(event.actor_name, event.object_label) for event in given] == [("dora", "grace")] * 2
    assert {event.tenant_id for event in given} == {acme.pk, globex.pk}


def test_a_change_of_role_is_told(dora: User, as_alice: Client) -> None:
    carol = person("carol")
    fields = form({}, username="carol", role="auditor", is_active="on", is_staff="on")
    assert signed_in(dora).post(f"/admin/tenants/user/{carol.pk}/change/", fields).status_code == 302
    event = AuditEvent.objects.filter(action="user.changed", object_id=str(carol.pk)).first()
    assert (event.told_before["role"], event.told_after["role"]) == ("", "auditor")


def test_taking_a_tenant_away_is_told_and_holds_at_once(dora: User, bob: User, acme: Tenant, bobs_key: Issued) -> None:
    client = signed_in(bob)
    assert client.get(f"/admin/tenants/apikey/{bobs_key.row.pk}/change/").status_code == 200
    row = Membership.objects.get(user=bob)
    fields = form({acme.pk: "manager"}, username="bob", is_active="on", is_staff="on")
    fields |= {"memberships-INITIAL_FORMS": 1, "memberships-0-id": row.pk, "memberships-0-user": bob.pk}
    fields["memberships-0-DELETE"] = "on"
    assert signed_in(dora).post(f"/admin/tenants/user/{bob.pk}/change/", fields).status_code == 302
    assert AuditEvent.objects.filter(action="user.membership_deleted").count() == 1
    assert client.get(f"/admin/tenants/apikey/{bobs_key.row.pk}/change/").status_code == 403


def test_who_is_deactivated_is_out_at_once(dora: User, bob: User) -> None:
    client = signed_in(bob)
    signed_in(dora).post(f"/admin/tenants/user/{bob.pk}/change/", form({}, username="bob", is_staff="on"))
    assert client.get("/admin/tenants/apikey/").headers["Location"].startswith("/admin/login/")


def test_nobody_raises_themselves(dora: User) -> None:
    fields = form({}, username="dora", is_superuser="on", is_staff="on", is_active="on", role="payload-auditor")
    signed_in(dora).post(f"/admin/tenants/user/{dora.pk}/change/", fields)
    dora.refresh_from_db()
    assert (dora.is_superuser, dora.role) == (False, "admin")


def test_a_platform_admin_makes_no_superuser_and_touches_none(dora: User, alice: User) -> None:
    carol, client = person("carol"), signed_in(dora)
    fields = form({}, username="carol", is_superuser="on", user_permissions=["1"], is_staff="on", is_active="on")
    client.post(f"/admin/tenants/user/{carol.pk}/change/", fields)
    carol.refresh_from_db()
    assert not carol.is_superuser and not carol.user_permissions.exists()
    assert client.post(f"/admin/tenants/user/{alice.pk}/change/", fields).status_code == 403
    assert client.get(f"/admin/tenants/user/{alice.pk}/password/").status_code == 403


def test_the_list_says_who_looks_after_what(as_alice: Client, bob: User, mallory: User) -> None:
    page = as_alice.get("/admin/tenants/user/").content.decode()
    assert "Tenant manager of Acme" in page and "Superuser" in page
