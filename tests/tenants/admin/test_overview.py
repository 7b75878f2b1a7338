"""The overview: the day's figures, the month in bars, what needs attention, in few queries however much there is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from bridge import telemetry
from tenants import append_only, reports_attention
from tenants.models import (
    ApiKey,
    Budget,
    BudgetWindow,
    Installation,
    Issued,
    Tenant,
    UpstreamCredential,
    UsageDay,
    User,
)
from tenants.usage import bucket
from tenants.windows import first_day
from tests.scenery import furnish
from tests.tenants.admin.conftest import Record, allowed, at, issue, person, signed_in


def used(key: ApiKey, age: int = 0, **columns: Any) -> None:
    day = timezone.now().date() - timedelta(days=age)
    UsageDay.objects.create(tenant=key.tenant, key=key, day=day, model="claude-opus-5", **columns)


def told(client: Client) -> list[str]:
    """What needs attention, without markup."""
    return [str(need.what) for need in client.get("/admin/").context["needs"]]


@pytest.fixture
def behind() -> Iterator[Callable[..., None]]:
    """Has this process's worker say for how many seconds rows have waited for the database."""
    yield telemetry.journal_behind.set
    telemetry.journal_behind.set(0)


@pytest.fixture(autouse=True)
def upstream(settings: Any) -> None:
    settings.UPSTREAM, settings.ANTHROPIC_API_KEY = "anthropic", "sk-ant-secret"


def test_the_day_is_told_in_figures(as_alice: Client, bobs_key: Issued) -> None:
    times = {"total_times": {bucket(2**21): 9}, "first_token_times": {bucket(2**19): 9}}
    used(bobs_key.row, requests=1234, errors=50, cost_nanos=41_204_000_000, **times)
    used(bobs_key.row, 1, requests=7, cost_nanos=5_000)
    tiles = {each["title"]: (each["figure"], each["text"]) for each in as_alice.get("/admin/").context["use"]["tiles"]}
    assert tiles["Requests"] == ("1,234", "Yesterday 7")
    assert tiles["Spend"] == ("$41.20", "Yesterday $0.0000050")
    assert tiles["Errors"] == ("50", "4.1% of requests")
    assert tiles["Answer, p50"][0] == "2.29 s" and tiles["First token, p50"][0] == "572 ms"


def test_the_month_is_drawn_and_stands_in_a_table(as_alice: Client, bobs_key: Issued) -> None:
    used(bobs_key.row, 29, requests=17, refusals=2, cost_nanos=1_500_000)
    used(bobs_key.row, 30, requests=987_654)
    page = as_alice.get("/admin/").content.decode()
    day = timezone.now().date() - timedelta(days=29)
    assert f"<title>{day.day} {day:%b}: 15 answered, 2 refused, 0 failed</title>" in page
    assert f'<th scope="row">{day.day} {day:%b}</th><td class="num">17</td><td class="num">2</td>' in page
    assert "987,654" not in page


def test_nothing_needs_attention_where_all_is_well(as_alice: Client, bobs_key: Issued, record: Record) -> None:
    used(bobs_key.row, requests=100)
    record(bobs_key.row)
    assert told(as_alice) == []


def test_what_needs_attention_is_told_the_worst_first(
    as_alice: Client, acme: Tenant, bobs_key: Issued, record: Record, settings: Any, tmp_path: Path
) -> None:
    settings.UPSTREAM = "sandbox"
    settings.JOURNAL_DIR = tmp_path
    (tmp_path / "rejected.jsonl").write_text("{}\n")
    used(bobs_key.row, requests=100, errors=10)
    for _ in range(5):
        record(bobs_key.row, state="failed", status=429, error_code="rate_limit_exceeded")
    for day in range(1, 6):
        issue(acme, f"ends {day}", expires_at=timezone.now() + timedelta(days=day, hours=1))
    month = first_day("month", timezone.now(), "UTC")
    for owner, spent in ((acme, 85), (bobs_key.row, 100)):
        BudgetWindow.objects.create(budget=Budget.objects.give(owner, "month", 100), first_day=month, spent_nanos=spent)
    lines = told(as_alice)
    parts = [
        "10.0% of today’s requests failed (10), 0.0%",
        "support bot of Acme.</strong> All of its budget (month)",
        "set aside",
        "Sandbox",
        "5 of the last 5 requests got 429 or 529",
        "Acme.</strong> 85% of its budget",
        "ends 1",
        "ends 2",
        "ends 3",
        "2 more keys",
    ]
    assert len(lines) == len(parts)
    for line, part in zip(lines, parts, strict=True):
        assert part in line


def test_an_anthropic_key_that_is_refused_is_told(as_alice: Client, acme: Tenant) -> None:
    row = UpstreamCredential.objects.put(acme, "sk-ant-" + "x" * 20)
    assert told(as_alice) == []
    UpstreamCredential.objects.note(row.pk, "authentication_error")
    assert ["Anthropic refuses the key of Acme" in line for line in told(as_alice)] == [True]


def test_rows_that_wait_for_the_database_are_told_after_a_minute(as_alice: Client, behind: Callable[..., None]) -> None:
    behind(59)
    assert told(as_alice) == []
    behind(200)
    assert ["has not had all of what ended here for 3 min" in line for line in told(as_alice)] == [True]


def test_a_trail_that_does_not_hold_is_told(as_alice: Client, acme: Tenant) -> None:
    append_only.unprotect(connection)
    assert ["triggers are missing" in line for line in told(as_alice)] == [True]
    with connection.cursor() as cursor:
        cursor.execute("UPDATE tenants_auditevent SET actor_name = 'nobody' WHERE seq = 2")
    append_only.protect(connection)
    assert ["row 2 was changed" in line for line in told(as_alice)] == [True]


def test_only_the_newest_rows_of_the_trail_are_looked_at(as_alice: Client, acme: Tenant, globex: Tenant) -> None:
    append_only.unprotect(connection)
    with connection.cursor() as cursor:
        cursor.execute("UPDATE tenants_auditevent SET actor_name = 'nobody' WHERE seq = 1")
    append_only.protect(connection)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reports_attention, "TRAIL_ROWS", 2)
        assert told(as_alice) == []
    assert ["row 1 was changed" in line for line in told(as_alice)] == [True]


def test_a_trail_without_a_witness_is_told(as_alice: Client, acme: Tenant) -> None:
    Installation.objects.get_or_create(pk=1)
    for hours, there in ((2, False), (5, True)):
        Installation.objects.update(witnessed_at=timezone.now() - timedelta(hours=hours))
        assert ["not been in the log for 5 h" in line for line in told(as_alice)] == [True] * there
    Installation.objects.update(witnessed_at=None)
    assert told(as_alice) == []  # its first row has only just been written


def test_a_tenants_people_are_not_told_of_the_site(
    acme: Tenant, bobs_key: Issued, behind: Callable[..., None], settings: Any, tmp_path: Path
) -> None:
    settings.JOURNAL_DIR = tmp_path
    (tmp_path / "rejected.jsonl").write_text("{}\n")
    behind(200)
    append_only.unprotect(connection)
    for role in ("manager", "auditor", "payload-auditor"):
        assert told(signed_in(at(person(role), acme, role))) == [], role
    assert len(told(signed_in(person("carol", "auditor")))) == 1  # the trail
    assert len(told(signed_in(person("dora", "admin")))) == 3
    append_only.protect(connection)


def test_nobody_is_told_of_what_they_may_not_see(carol: User, acme: Tenant, bobs_key: Issued, settings: Any) -> None:
    settings.UPSTREAM = "sandbox"
    issue(acme, "ends", expires_at=timezone.now() + timedelta(days=1))
    used(bobs_key.row, requests=100, errors=50)
    client = signed_in(allowed(carol, "view_apikey"))
    assert [line for line in told(client) if "expires" not in line] == []
    assert client.get("/admin/").context["use"] is None


@pytest.mark.parametrize("page", ["tenant", "apikey"])
def test_a_tenant_and_a_key_show_their_own_use(
    as_alice: Client, bobs_key: Issued, mallorys_key: Issued, page: str
) -> None:
    used(bobs_key.row, requests=40, input_tokens=1_000)
    used(bobs_key.row, 10, requests=2)
    used(mallorys_key.row, requests=5_000)
    pk = bobs_key.row.pk if page == "apikey" else bobs_key.row.tenant_id
    url = reverse(f"admin:tenants_{page}_change", args=(pk,))
    for asked, requests in (("", "42"), ("?range=7d", "40"), ("?range=today", "40"), ("?range=%3Cnonsense", "42")):
        response = as_alice.get(url + asked)
        assert response.context["usage"]["tiles"][0]["figure"] == requests, asked
        assert b"5,000" not in response.content
    assert b"1,000 input, 0 cache write" in as_alice.get(f"{url}?range=7d").content


def test_use_is_shown_to_those_who_may_see_requests(carol: User, bobs_key: Issued) -> None:
    used(bobs_key.row, requests=40)
    url = reverse("admin:tenants_apikey_change", args=(bobs_key.row.pk,))
    assert b'id="usage"' in signed_in(carol).get(url).content
    assert b'id="usage"' not in signed_in(allowed(carol, "view_apikey")).get(url).content


@pytest.mark.parametrize(
    "page", ["/admin/", "/admin/tenants/tenant/", "/admin/tenants/apikey/", "/admin/tenants/requestrecord/"]
)
def test_more_rows_cost_no_more_queries(as_alice: Client, page: str) -> None:
    def queries() -> int:
        with CaptureQueriesContext(connection) as asked:
            assert as_alice.get(page).status_code == 200
        return len(asked)

    furnish()
    few = queries()
    for number in range(5):
        tenant = Tenant.objects.create(slug=f"t{number}", name=f"Tenant {number}")
        ends = timezone.now() + timedelta(days=3)
        for _ in range(3):
            used(issue(tenant, f"key {number}", expires_at=ends).row, requests=3)
    assert queries() <= few
    assert few < 30


def test_a_manager_is_told_of_their_own_tenant_alone(
    bob: User, bobs_key: Issued, mallorys_key: Issued, acme: Tenant, globex: Tenant
) -> None:
    month = first_day("month", timezone.now(), "UTC")
    for key, requests in ((bobs_key.row, 40), (mallorys_key.row, 5_000)):
        used(key, requests=requests, errors=requests // 4)
        ApiKey.objects.filter(pk=key.pk).update(expires_at=timezone.now() + timedelta(days=1))
        budget = Budget.objects.give(key.tenant, "month", 100)
        BudgetWindow.objects.create(budget=budget, first_day=month, spent_nanos=99)
        UpstreamCredential.objects.put(key.tenant, "sk-ant-" + "x" * 20)
    for credential in UpstreamCredential.objects.all():
        UpstreamCredential.objects.note(credential.pk, "authentication_error")
    page = signed_in(bob).get("/admin/")
    assert page.context["use"]["tiles"][0]["figure"] == "40"
    assert len(page.context["needs"]) == 4
    assert b"Globex" not in page.content and b"Mallory" not in page.content and b"5,000" not in page.content
