"""Exporting requests: exactly the rows that are listed, to whom may, with a manifest, told from beginning to end."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any
from uuid import UUID

import pytest
from asgiref.sync import sync_to_async
from django.db import OperationalError
from django.test import AsyncClient, Client
from django.urls import reverse

from tenants import exports, ids
from tenants.database import Database
from tenants.models import AuditEvent, Issued, Membership, RequestRecord, Tenant, User
from tests.tenants.admin.conftest import Record, allowed, issue, signed_in

LIST = "/admin/tenants/requestrecord/"
DAY = 86_400


@pytest.fixture
def reader(monkeypatch: pytest.MonkeyPatch) -> Iterator[Database]:
    """A reader whose connections end with the test."""
    own = Database(threads=2)
    monkeypatch.setattr(exports, "reader", own)
    yield own
    own.close()


class Stage:
    """Acme's and Globex's requests, and Alice before the list."""

    def __init__(self, acme: Tenant, globex: Tenant, record: Record) -> None:
        self.acme, self.globex = issue(acme).row, issue(globex, "=Mallory()").row
        self.newest = record(self.acme, 5, cost_nanos=1_500_000_001, tags={"team": "=1"}, user_agent="=cmd|x")
        self.failed = record(self.acme, 10, state="failed", status=503)
        self.mallorys = record(self.globex, 20, end_user="u_1")
        self.old = record(self.acme, 2 * DAY)
        self.client = AsyncClient()

    async def take(self, form: str, query: str = "", expect: int = 200) -> Any:
        response = await self.client.post(f"{LIST}export/{query}", {"format": form})
        assert response.status_code == expect
        return response

    async def file(self, form: str, query: str = "") -> bytes:
        response = await self.take(form, query)
        return b"".join([part async for part in response])

    async def rows(self, query: str = "") -> list[dict[str, Any]]:
        return [json.loads(line) for line in (await self.file("jsonl", query)).splitlines()]

    async def ids(self, query: str = "") -> list[UUID]:
        return [UUID(row["id"]) for row in await self.rows(query)]


@pytest.fixture
async def stage(
    no_connection_left: None, transactional_db: None, reader: Database, record_any: Record
) -> AsyncIterator[Stage]:
    def prepare() -> Stage:
        alice = User.objects.create_superuser("alice")
        tenants = [Tenant.objects.create(slug=name, name=name.capitalize()) for name in ("acme", "globex")]
        made = Stage(*tenants, record_any)
        made.client.force_login(alice)
        return made

    yield await sync_to_async(prepare)()


@pytest.fixture
def record_any(transactional_db: None, record: Record) -> Record:
    return record


async def told() -> list[AuditEvent]:
    return [event async for event in AuditEvent.objects.filter(object_type="export").order_by("seq")]


# Which rows


async def test_the_rows_are_those_of_the_filters_oldest_first(stage: Stage) -> None:
    assert await stage.ids() == [stage.mallorys.pk, stage.failed.pk, stage.newest.pk]
    assert await stage.ids("?since=all") == [stage.old.pk, stage.mallorys.pk, stage.failed.pk, stage.newest.pk]
    assert await stage.ids("?state=failed") == [stage.failed.pk]
    assert await stage.ids(f"?tenant={stage.globex.tenant_id}") == [stage.mallorys.pk]
    assert await stage.ids(f"?key={stage.acme.pk}&since=7d") == [stage.old.pk, stage.failed.pk, stage.newest.pk]
    assert await stage.ids("?q=u_1") == [stage.mallorys.pk]
    assert await stage.ids("?state=cancelled") == []


async def test_the_page_that_is_shown_is_no_filter(stage: Stage) -> None:
    assert len(await stage.ids(f"?before={stage.newest.pk}")) == 3
    assert len(await stage.ids(f"?after={stage.mallorys.pk}")) == 3


async def test_every_page_is_taken_and_no_row_twice(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exports, "PAGE_ROWS", 2)
    assert await stage.ids("?since=all") == [stage.old.pk, stage.mallorys.pk, stage.failed.pk, stage.newest.pk]


async def test_what_comes_after_the_beginning_is_not_taken(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exports, "PAGE_ROWS", 1)
    response = await stage.take("jsonl")
    late = RequestRecord(pk=ids.uuid7(), tenant_id=stage.acme.tenant_id, key_id=stage.acme.pk, state="settled")
    await late.asave()
    taken = b"".join([part async for part in response])
    assert str(late.pk) not in taken.decode() and taken.count(b"\n") == 3


# What is in them


async def test_jsonl_has_every_column_and_its_names(stage: Stage) -> None:
    row = (await stage.rows(f"?q={stage.newest.pk}"))[0]
    assert list(row) == list(exports.COLUMNS)
    assert (row["tenant"], row["key"], row["cost_usd"]) == ("acme", "support bot", "1.500000001")
    assert (row["tags"], row["cost_nanos"], row["at"][-1]) == ({"team": "=1"}, 1_500_000_001, "Z")


async def test_csv_is_the_same_and_harmless(stage: Stage) -> None:
    rows = list(csv.DictReader(io.StringIO((await stage.file("csv")).decode())))
    assert [row["id"] for row in rows] == [str(pk) for pk in await stage.ids()]
    assert rows[0]["key"] == "'=Mallory()" and rows[2]["user_agent"] == "'=cmd|x"
    assert rows[2]["tags"] == '{"team":"=1"}'


async def test_a_row_outlives_the_names_of_its_tenant_and_key(stage: Stage) -> None:
    gone = RequestRecord(pk=ids.uuid7(), tenant_id=999_999, key_id=ids.uuid7(), state="settled")
    await gone.asave()
    row = (await stage.rows(f"?q={gone.pk}"))[0]
    assert (row["tenant"], row["key"], row["tenant_id"]) == ("", "", 999_999)


# How it is told


async def test_both_ends_are_told_with_count_hash_and_filter(stage: Stage) -> None:
    first = stage.old.at.date().isoformat()
    query = f"?tenant={stage.acme.tenant_id}&since=7d&from={first}&before={stage.newest.pk}"
    file = await stage.file("csv", query)
    began, ended = await told()
    assert (began.action, ended.action) == ("records.export_began", "records.exported")
    assert began.object_id == ended.object_id and began.actor_name == ended.actor_name == "alice"
    facts = ended.told_after
    assert facts["filter"] == {"time": "Last 7 days", "tenant": "Acme", "first day": first}
    assert facts["query"] == f"tenant={stage.acme.tenant_id}&since=7d&from={first}"
    assert (facts["rows"], facts["bytes"]) == (3, len(file))
    assert facts["sha256"] == hashlib.sha256(file).hexdigest()
    assert facts["last_id"] == str(stage.newest.pk)


async def test_the_manifest_is_offered_afterwards(stage: Stage) -> None:
    file = await stage.file("jsonl")
    page = (await stage.client.get(f"{LIST}exports/")).content.decode()
    ended = (await told())[-1]
    assert hashlib.sha256(file).hexdigest() in page and f"{ended.object_id}.json" in page
    response = await stage.client.get(f"{LIST}exports/{ended.object_id}.json")
    manifest = json.loads(response.content)
    assert manifest["sha256"] == hashlib.sha256(file).hexdigest() and manifest["rows"] == 3
    assert (manifest["by"], manifest["event"], manifest["event_hash"]) == ("alice", ended.seq, ended.hash)
    assert manifest["file"] in response.headers["Content-Disposition"]


async def test_an_export_that_its_client_leaves_is_told_as_cut(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exports, "PAGE_ROWS", 1)
    response = await stage.take("jsonl")
    first = await anext(aiter(response))
    await sync_to_async(response.close)()
    began, cut = await told()
    assert (began.action, cut.action) == ("records.export_began", "records.export_cut")
    assert (cut.told_after["rows"], cut.told_after["bytes"]) == (1, len(first))
    page = (await stage.client.get(f"{LIST}exports/")).content.decode()
    assert "cut off" in page and "There is no manifest" in page
    assert (await stage.client.get(f"{LIST}exports/{cut.object_id}.json")).status_code == 404


async def test_a_whole_one_is_not_told_as_cut_when_it_is_closed(stage: Stage) -> None:
    response = await stage.take("jsonl")
    assert [part async for part in response]
    await sync_to_async(response.close)()
    assert [event.action for event in await told()] == ["records.export_began", "records.exported"]


async def test_a_database_that_goes_away_cuts_the_file(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(self: Any, last: Any) -> Any:
        raise OperationalError("gone")

    monkeypatch.setattr(exports._Requests, "__call__", away)
    with pytest.raises(OperationalError):
        await stage.file("jsonl")
    assert (await told())[-1].action == "records.export_cut"


async def test_a_pasted_key_is_not_told(stage: Stage) -> None:
    key = (await sync_to_async(issue)(stage.acme.tenant, "another")).key
    await stage.file("csv", f"?q={key.text}")
    for event in await told():
        assert key.text not in event.after and event.told_after["filter"]["search"] == key.public_id


# Who may, and what is refused


@pytest.fixture
async def carols(stage: Stage) -> Stage:
    """The same list before Carol, who audits Acme and manages Globex: she sees both, and takes Acme's."""

    def prepare() -> None:
        carol = User.objects.create_user("carol", is_staff=True)
        Membership.objects.create(user=carol, tenant=stage.acme.tenant, role="auditor")
        Membership.objects.create(user=carol, tenant=stage.globex.tenant, role="manager")
        stage.client.force_login(carol)

    await sync_to_async(prepare)()
    return stage


async def test_nobody_takes_more_than_their_role_lets_them(carols: Stage) -> None:
    page = (await carols.client.get(LIST)).content.decode()
    assert str(carols.mallorys.pk) in page and str(carols.newest.pk) in page
    assert await carols.ids() == [carols.failed.pk, carols.newest.pk]
    facts = (await told())[-1].told_after
    assert (facts["filter"]["within"], facts["rows"]) == ("acme", 2)


@pytest.mark.parametrize("query", ["?tenant={tenant}", "?key={key}", "?q={pk}", "?q=u_1"])
async def test_nor_by_asking_for_it(carols: Stage, query: str) -> None:
    theirs = carols.globex
    asked = query.format(tenant=theirs.tenant_id, key=theirs.pk, pk=carols.mallorys.pk)
    assert await carols.ids(asked) == []


async def test_a_manager_takes_nothing(carols: Stage) -> None:
    await Membership.objects.filter(role="auditor").adelete()
    assert "Export these rows" not in (await carols.client.get(LIST)).content.decode()
    await carols.take("csv", expect=403)
    assert await told() == []


def test_those_who_may_not_take_are_not_offered(carol: User, bobs_key: Issued, record: Record) -> None:
    record(bobs_key.row)
    as_carol = signed_in(carol)
    assert "Export these rows" not in as_carol.get(LIST).content.decode()
    assert as_carol.post(f"{LIST}export/", {"format": "csv"}).status_code == 403
    assert as_carol.get(f"{LIST}exports/").status_code == 403
    assert not AuditEvent.objects.filter(object_type="export").exists()
    carol = allowed(carol, "view_requestrecord", "export_requestrecord")
    assert "Export these rows" in signed_in(carol).get(LIST).content.decode()


@pytest.mark.django_db
def test_someone_elses_manifest_is_not_there(as_alice: Client, carol: User) -> None:
    export = ids.uuid7()
    facts = {"file": "x.csv", "filter": {}, "rows": 1, "sha256": "ab"}
    AuditEvent.objects.append(exports.DONE, kind="export", id=export, label="x.csv", after=facts)
    assert as_alice.get(f"{LIST}exports/{export}.json").status_code == 404
    assert "x.csv" not in as_alice.get(f"{LIST}exports/").content.decode()


def test_nonsense_is_refused_and_not_told(as_alice: Client) -> None:
    url = reverse("admin:tenants_requestrecord_export")
    assert as_alice.post(url, {"format": "xlsx"}).status_code == 400
    assert as_alice.get(url).status_code == 405
    assert as_alice.post(f"{url}?since=nonsense", {"format": "csv"}).status_code == 302
    assert as_alice.post(f"{url}?id__gt=1", {"format": "csv"}).status_code in (302, 400)
    assert not AuditEvent.objects.filter(object_type="export").exists()
