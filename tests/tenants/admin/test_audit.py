"""The audit page: a read-only timeline with filters, the chain's state, verify, export; sign-ins are on it too."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.db import DatabaseError, connection
from django.test import AsyncClient, Client
from django.urls import reverse

from tenants import append_only, sign_ins
from tenants.audit import AuditEvent
from tenants.models import Issued, ModelAlias, Tenant, User
from tests.tenants.admin.conftest import PASSWORD, allowed, signed_in

PAGE = "/admin/tenants/auditevent/"


@pytest.fixture
def auditor(carol: User) -> Client:
    return signed_in(allowed(carol, "view_auditevent"))


def shown(client: Client, query: str = "") -> list[str]:
    response = client.get(PAGE + query)
    assert response.status_code == 200
    return [event.action for event in response.context["cl"].result_list]


def last() -> AuditEvent:
    event: AuditEvent = AuditEvent.objects.order_by("-seq")[0]
    return event


# Looking


def test_the_newest_comes_first(auditor: Client, acme: Tenant, bobs_key: Issued) -> None:
    bobs_key.row.revoke("leaked")
    assert shown(auditor)[:4] == ["key.revoked", "key.secret_created", "key.created", "tenant.created"]
    page = auditor.get(PAGE).content.decode()
    assert "Key revoked" in page and "Append-only" in page and str(AuditEvent.objects.head()) in page


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("?action=tenant.suspended", ["tenant.suspended"]),
        ("?object=tenant", ["tenant.suspended", "tenant.created", "tenant.created"]),
        ("?by=user", []),
        ("?from=2999-01-01", []),
        ("?until=2001-01-01", []),
        ("?from=2001-01-01&until=2999-01-01&action=tenant.suspended", ["tenant.suspended"]),
        ("?q=198.51.100.7", []),
        ("?action=nonsense", []),
    ],
)
def test_filters(auditor: Client, acme: Tenant, globex: Tenant, query: str, expected: list[str]) -> None:
    acme.suspend("unpaid")
    assert shown(auditor, query) == expected


def test_one_thing_and_one_tenant(auditor: Client, acme: Tenant, globex: Tenant, bobs_key: Issued) -> None:
    assert shown(auditor, f"?tenant={globex.pk}") == ["tenant.created"]
    assert shown(auditor, f"?object=key:{bobs_key.row.pk}") == ["key.secret_created", "key.created"]
    assert shown(auditor, f"?q={bobs_key.row.pk}") == ["key.secret_created", "key.created"]
    assert shown(auditor, "?q=1") == [AuditEvent.objects.get(seq=1).action]


def test_what_is_gone_has_no_link(as_alice: Client, acme: Tenant) -> None:
    alias = ModelAlias.objects.create(tenant=acme, name="fast", target="claude-haiku-5-5")
    page = f"/admin/tenants/modelalias/{alias.pk}/change/"
    assert page in as_alice.get(PAGE).content.decode()
    alias.delete()
    listed, row = as_alice.get(PAGE), as_alice.get(f"{PAGE}{last().seq}/change/")
    assert page not in listed.content.decode() and page not in row.content.decode()
    assert "fast" in listed.content.decode() and "fast" in row.content.decode()


@pytest.mark.parametrize("query", ["?from=yesterday", "?before=x", "?seq__gt=3", "?context__contains=x", "?object=:"])
def test_nonsense_in_the_address_harms_nothing(auditor: Client, acme: Tenant, query: str) -> None:
    assert auditor.get(PAGE + query).status_code in (200, 302, 400)


def test_pages_go_by_number(auditor: Client, acme: Tenant) -> None:
    for number in range(120):
        AuditEvent.objects.append("audit.exported", after={"n": number})
    first = auditor.get(PAGE).context["cl"]
    second = auditor.get(PAGE + first.older_url).context["cl"]
    assert [rows[0].seq - rows[-1].seq for rows in (first.result_list, second.result_list)] == [49, 49]
    assert first.result_list[-1].seq == second.result_list[0].seq + 1
    back = auditor.get(PAGE + second.newer_url).context["cl"]
    assert back.result_list[0].seq == first.result_list[0].seq


def test_a_row_says_before_and_after(auditor: Client, acme: Tenant) -> None:
    acme.name = "Acme Inc."
    acme.save(reason="merger")
    page = auditor.get(f"{PAGE}{last().seq}/change/").content.decode()
    assert "Acme Inc." in page and "merger" in page and last().hash in page


def test_nothing_can_be_changed_here(as_alice: Client, acme: Tenant) -> None:
    seq = last().seq
    assert as_alice.get(f"{PAGE}add/").status_code == 403
    assert as_alice.post(f"{PAGE}{seq}/change/", {"action": "x.y"}).status_code == 403
    assert as_alice.post(f"{PAGE}{seq}/delete/", {"post": "yes"}).status_code == 403


def test_those_who_may_not_see_it_do_not(as_carol: Client, acme: Tenant) -> None:
    for path in ("", f"{last().seq}/change/"):
        assert as_carol.get(PAGE + path).status_code == 403
    for path in ("verify/", "export/"):
        assert as_carol.post(PAGE + path, {"format": "csv"}).status_code == 403


# History of one row


def test_a_row_has_its_history(as_alice: Client, as_carol: Client, bobs_key: Issued) -> None:
    as_alice.post(reverse("admin:tenants_apikey_revoke", args=(bobs_key.row.pk,)), {"reason": "leaked in a log"})
    url = reverse("admin:tenants_apikey_history", args=(bobs_key.row.pk,))
    page = as_carol.get(url).content.decode()
    assert "Key revoked: leaked in a log" in page and "alice" in page and "Key issued" in page
    assert "All of it in the audit trail" not in page
    assert f"?object=key%3A{bobs_key.row.pk}" in as_alice.get(url).content.decode()
    assert as_alice.get("/admin/tenants/apikey/01890000-0000-7000-8000-000000000000/history/").status_code == 404


# Verify


def test_the_button_verifies(auditor: Client, acme: Tenant) -> None:
    page = auditor.post(f"{PAGE}verify/", follow=True).content.decode()
    assert f"The trail holds: {AuditEvent.objects.count()} rows verified. Head: {AuditEvent.objects.head()}" in page
    assert auditor.get(f"{PAGE}verify/").status_code == 405


def test_the_button_names_the_broken_row(auditor: Client, acme: Tenant) -> None:
    append_only.unprotect(connection)
    with connection.cursor() as cursor:
        cursor.execute("UPDATE tenants_auditevent SET actor_name = 'nobody' WHERE seq = 1")
    page = auditor.post(f"{PAGE}verify/", follow=True).content.decode()
    append_only.protect(connection)
    assert "The trail does not hold: row 1 was changed" in page


def test_a_long_trail_is_verified_in_part(auditor: Client, acme: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tenants.admin.audit.VERIFY_ROWS", 1)
    page = auditor.post(f"{PAGE}verify/", follow=True).content.decode()
    assert "1 rows verified (the newest 1; audit_verify verifies all)" in page


# Export

Export = Callable[..., Any]


@pytest.fixture
async def export(transactional_db: None) -> Export:
    """Takes the trail away as Alice would; returns the text."""
    alice = await sync_to_async(User.objects.create_superuser)("alice")
    acme = await sync_to_async(Tenant.objects.create)(slug="acme", name="=SUM(A1:A9)")
    await sync_to_async(acme.suspend)("@unpaid")
    client = AsyncClient()
    await client.aforce_login(alice)

    async def take(form: str, query: str = "") -> str:
        response = await client.post(f"{PAGE}export/{query}", {"format": form})
        assert response.status_code == 200, response.content
        assert "attachment" in response.headers["Content-Disposition"]
        return b"".join([part async for part in response]).decode()

    return take


async def test_jsonl_is_every_column_as_it_is_signed(export: Export) -> None:
    rows = [json.loads(line) for line in (await export("jsonl")).splitlines()]
    stored = [event.columns() async for event in AuditEvent.objects.filter(seq__lte=len(rows)).order_by("seq")]
    assert rows == stored and len(rows) == 3


async def test_the_documents_thirty_lines_verify_it(export: Export, settings: Any) -> None:
    text = (Path(__file__).resolve().parents[3] / "docs" / "audit.md").read_text()
    program = text.partition("```python\n")[2].partition("```")[0]

    def run(rows: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", program, settings.AUDIT_KEYS[1].decode()]
        return subprocess.run(command, input=rows, capture_output=True, text=True)

    rows = await export("jsonl")
    assert run(rows).stdout.startswith("holds up to 3 ")
    assert "row 2 was changed" in run(rows.replace("SUM", "SUB")).stderr
    assert "row 3 does not follow row 1" in run("".join(rows.splitlines(True)[::2])).stderr


async def test_csv_is_harmless_to_spreadsheets(export: Export) -> None:
    rows = list(csv.DictReader(io.StringIO(await export("csv"))))
    assert [row["action"] for row in rows] == ["user.created", "tenant.created", "tenant.suspended"]
    assert rows[1]["object_label"] == "'=SUM(A1:A9)"


async def test_an_export_is_of_the_rows_that_are_filtered_and_is_told(
    export: Export, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tenants.admin.audit_export.PAGE_ROWS", 1)
    rows = (await export("jsonl", "?object=tenant")).splitlines()
    assert [json.loads(row)["action"] for row in rows] == ["tenant.created", "tenant.suspended"]
    told = await sync_to_async(last)()
    assert (told.action, told.actor_name) == ("audit.exported", "alice")
    assert told.told_after == {"format": "jsonl", "filter": {"object": "tenant"}}


def test_an_unknown_format_is_refused(auditor: Client, acme: Tenant) -> None:
    head = AuditEvent.objects.head()
    assert auditor.post(f"{PAGE}export/", {"format": "xlsx"}).status_code == 400
    assert auditor.get(f"{PAGE}export/").status_code == 405
    assert AuditEvent.objects.head() == head


# Signing in


@pytest.fixture
def failures(monkeypatch: pytest.MonkeyPatch) -> sign_ins.Failures:
    fresh = sign_ins.Failures()
    monkeypatch.setattr(sign_ins, "failures", fresh)
    return fresh


def sign_in(client: Client, username: str, password: str = PASSWORD) -> Any:
    return client.post("/admin/login/", {"username": username, "password": password})


def test_who_comes_and_goes_is_told(client: Client, alice: User) -> None:
    sign_in(client, "alice")
    event = last()
    assert (event.action, event.actor_name, event.address) == ("user.signed_in", "alice", "127.0.0.1")
    client.post("/admin/logout/")
    assert (last().action, last().actor_name) == ("user.signed_out", "alice")


def test_who_is_turned_away_is_told_without_what_was_typed(
    client: Client, alice: User, failures: sign_ins.Failures
) -> None:
    sign_in(client, "alice", "wrong")
    assert (last().action, last().object_label, last().object_id) == ("user.sign_in_failed", "alice", str(alice.pk))
    sign_in(client, "correct horse battery")
    assert last().object_label == "someone unknown"
    assert not AuditEvent.objects.filter(context__contains="horse").exists()


def test_a_flood_of_wrong_passwords_is_counted(client: Client, alice: User, failures: sign_ins.Failures) -> None:
    for _ in range(100):
        failures.tell("alice", now=60.0)
    assert AuditEvent.objects.filter(action="user.sign_in_failed").count() == sign_ins.ROWS_A_MINUTE
    failures.tell_rest(now=119.0)
    failures.tell_rest(now=120.0)
    assert last().told_context == {"not_told_before": 90}
    failures.tell_rest(now=180.0)
    assert AuditEvent.objects.filter(action="user.sign_in_failed").count() == sign_ins.ROWS_A_MINUTE + 1


def test_nobody_comes_in_untold(client: Client, alice: User, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: AuditEvent) -> str:
        raise DatabaseError("disk full")

    monkeypatch.setattr(AuditEvent, "computed_hash", full)
    with pytest.raises(DatabaseError):
        sign_in(client, "alice")


def test_a_password_of_ones_own_is_told(as_alice: Client) -> None:
    new = "another horse battery"
    as_alice.post("/admin/password_change/", {"old_password": PASSWORD, "new_password1": new, "new_password2": new})
    assert (last().action, last().actor_name) == ("user.password_changed", "alice")
    assert new not in last().after


def test_permissions_given_are_told(as_alice: Client, carol: User) -> None:
    carol.user_permissions.clear()
    page = as_alice.get(f"/admin/tenants/user/{carol.pk}/change/")
    choices = page.context["adminform"].form.fields["user_permissions"].queryset
    chosen = choices.get(codename="view_auditevent")
    fields = {"username": "carol", "is_active": "on", "is_staff": "on", "user_permissions": [chosen.pk]}
    fields |= {"memberships-TOTAL_FORMS": 0, "memberships-INITIAL_FORMS": 0}
    as_alice.post(f"/admin/tenants/user/{carol.pk}/change/", fields)
    assert last().action == "user.permissions_changed"
    assert (last().told_before, last().told_after) == ({"permissions": []}, {"permissions": ["view_auditevent"]})
