"""The request explorer: newest first, by exact ids, in pages that are never counted."""

from __future__ import annotations

import re
from datetime import timedelta
from uuid import UUID

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone
from django.utils.dateformat import format as date

from tenants import ids, looking
from tenants.models import ApiKey, Issued, RequestRecord, UsageDay
from tests.tenants.admin.conftest import Record

LIST = "/admin/tenants/requestrecord/"
DAY = 86_400


def listed(client: Client, query: str = "") -> list[UUID]:
    response = client.get(f"{LIST}{query}", follow=True)
    assert response.status_code == 200
    return [row.pk for row in response.context["cl"].result_list]


def pager(client: Client, query: str) -> dict[str, str]:
    page = client.get(f"{LIST}{query}").content.decode()
    links = re.findall(r'rel="(prev|next)" href="([^"]+)"', page)
    return {name: url.replace("&amp;", "&") for name, url in links}


def test_the_list_is_newest_first_and_holds_the_last_day(as_alice: Client, bobs_key: Issued, record: Record) -> None:
    rows = [record(bobs_key.row, age) for age in (10, 20, DAY - 60, DAY + 60)]
    assert listed(as_alice) == [row.pk for row in rows[:3]]


@pytest.mark.parametrize(("since", "count"), [("1h", 1), ("24h", 2), ("7d", 3), ("30d", 4), ("all", 5)])
def test_time_is_a_range_of_ids(as_alice: Client, bobs_key: Issued, record: Record, since: str, count: int) -> None:
    for age in (60, 7200, 2 * DAY, 8 * DAY, 31 * DAY):
        record(bobs_key.row, age)
    assert len(listed(as_alice, f"?since={since}")) == count


def test_days_are_whole_and_both_ends_belong(as_alice: Client, bobs_key: Issued, record: Record) -> None:
    midnight = timezone.now().replace(hour=0, minute=0, second=0, microsecond=0)
    edges = [midnight - timedelta(days=days) for days in (3, 2, 1)]  # each the first moment of its day
    rows = [record(bobs_key.row, (timezone.now() - edge).total_seconds() - 1) for edge in edges]
    first, second, third = (f"{edge:%Y-%m-%d}" for edge in edges)
    assert listed(as_alice, f"?from={second}") == [rows[2].pk, rows[1].pk]
    assert listed(as_alice, f"?until={second}") == [rows[1].pk, rows[0].pk]
    assert listed(as_alice, f"?from={second}&until={second}") == [rows[1].pk]
    assert listed(as_alice, f"?from={third}&until={first}") == []


def test_pages_lead_to_the_end_and_back_without_a_gap(as_alice: Client, bobs_key: Issued, record: Record) -> None:
    rows = [record(bobs_key.row, age).pk for age in range(1, 122)]
    seen, query, pages = [], "?mode=live", []
    while query:
        pages.append(listed(as_alice, query))
        seen += pages[-1]
        query = pager(as_alice, query).get("next", "")
    assert seen == rows
    assert [len(page) for page in pages] == [50, 50, 21]
    last = f"?mode=live&before={pages[1][-1]}"
    back = pager(as_alice, last)["prev"]
    assert "mode=live" in back
    assert listed(as_alice, back) == pages[1]
    assert listed(as_alice, pager(as_alice, back)["prev"]) == pages[0]
    assert "prev" not in pager(as_alice, "?mode=live")


def test_a_filter_starts_from_the_newest_again(as_alice: Client, bobs_key: Issued, record: Record) -> None:
    rows = [record(bobs_key.row, age).pk for age in range(1, 60)]
    response = as_alice.get(f"{LIST}?before={rows[49]}")
    assert "before=" not in response.context["cl"].get_query_string({"mode": "live"})


def test_nothing_is_counted_and_nothing_is_scanned_for_a_word(
    as_alice: Client, bobs_key: Issued, record: Record
) -> None:
    for age in range(1, 60):
        record(bobs_key.row, age, upstream_id=f"req_{age}", end_user="u_1")
    queries = ["", "?since=all", "?state=settled", "?q=req_7", "?q=u_1", f"?q={bobs_key.key.public_id}", "?p=2"]
    with CaptureQueriesContext(connection) as captured:
        for query in queries:
            listed(as_alice, query)
        as_alice.get("/admin/")
    asked = [query["sql"] for query in captured if "tenants_requestrecord" in query["sql"]]
    assert len(asked) >= len(queries)
    for sql in asked:
        assert "COUNT(" not in sql.upper()
        assert "LIKE" not in sql.upper()
        assert " JOIN " not in sql.upper()
        assert " LIMIT " in sql.upper()


def test_a_request_is_found_by_exact_ids_of_any_age(as_alice: Client, bobs_key: Issued, record: Record) -> None:
    row = record(bobs_key.row, 40 * DAY, upstream_id="req_011abc", end_user="u_3f9c")
    record(bobs_key.row, upstream_id="req_other", end_user="u_other")
    assert listed(as_alice) != [row.pk]
    for asked in (str(row.pk), row.pk.hex, "req_011abc", "u_3f9c"):
        assert listed(as_alice, f"?q={asked}") == [row.pk], asked
    for asked in ("req_011", "u_3f", str(ids.uuid7()), "%"):
        assert listed(as_alice, f"?q={asked}") == [], asked


def test_requests_are_found_by_key_hint(
    as_alice: Client, bobs_key: Issued, mallorys_key: Issued, record: Record
) -> None:
    row = record(bobs_key.row)
    record(mallorys_key.row)
    for asked in (bobs_key.key.hint, bobs_key.key.public_id, bobs_key.key.text):
        assert listed(as_alice, f"?q={asked}") == [row.pk]


def test_filters_narrow_the_list(as_alice: Client, bobs_key: Issued, mallorys_key: Issued, record: Record) -> None:
    whole = record(bobs_key.row, 3, state="refused", status=429)
    streamed = record(mallorys_key.row, 2, streamed=True)
    running = record(mallorys_key.row, 1, state="streaming", status=0)
    assert listed(as_alice, "?state=refused") == [whole.pk]
    assert listed(as_alice, "?state=open") == [running.pk]
    assert listed(as_alice, "?streamed=yes") == [streamed.pk]
    assert listed(as_alice, f"?tenant={bobs_key.row.tenant_id}") == [whole.pk]
    assert listed(as_alice, f"?key={mallorys_key.row.pk}") == [running.pk, streamed.pk]
    assert listed(as_alice, "?mode=test") == []


BANDS = {
    "status=429": {"status": 429},
    "status=5xx": {"status": 503},
    "stop=max_tokens": {"stop_reason": "max_tokens"},
    "total=10s": {"total_us": 10_000_000},
    "first=1s": {"first_token_us": 1_000_000},
    "cost=free": {"cost_nanos": 0},
    "cost=1c": {"cost_nanos": 10_000_000},
    "cost=1d": {"cost_nanos": 10**9},
    "cost=none": {"cost_nanos": None},
    "model=claude-x": {"model": "claude-x"},
}


@pytest.mark.parametrize("query", BANDS)
def test_bands_narrow_the_list(as_alice: Client, bobs_key: Issued, record: Record, query: str) -> None:
    columns = {"cost_nanos": 100, "total_us": 3_000_000, "first_token_us": 999_999, "status": 200}
    record(bobs_key.row, 2, **columns)
    found = record(bobs_key.row, 1, **{**columns, **BANDS[query]})
    assert listed(as_alice, f"?{query}") == [found.pk]
    folded = '<details class="more" open>' if "model" not in query else '<details class="more">'
    assert folded in as_alice.get(f"{LIST}?{query}").content.decode()


def test_a_band_that_does_not_exist_narrows_nothing(as_alice: Client, bobs_key: Issued, record: Record) -> None:
    row = record(bobs_key.row)
    assert listed(as_alice, "?cost=%27--&total=x&status=y") == [row.pk]
    assert listed(as_alice, "?model=%27--") == []


def test_the_models_to_choose_from_are_those_of_the_days(as_alice: Client, bobs_key: Issued) -> None:
    today = timezone.now().date()
    for model, age in (("claude-new", 0), ("claude-old", 30), ("", 0)):
        day = today - timedelta(days=age)
        UsageDay.objects.create(tenant=bobs_key.row.tenant, key=bobs_key.row, day=day, model=model)
    page = as_alice.get(f"{LIST}?model=claude-asked").content.decode()
    select = page.partition('name="model"')[2].partition("</select>")[0]
    assert re.findall(r'value="([^"]*)"', select) == ["", "claude-asked", "claude-new"]


@pytest.mark.parametrize(
    "query", ["?before=nonsense", "?from=nonsense", "?until=0000-00-00", "?after=%00", "?since=nonsense"]
)
def test_a_made_up_address_leads_back_to_the_list(as_alice: Client, query: str) -> None:
    response = as_alice.get(f"{LIST}{query}")
    assert (response.status_code, response.headers["Location"]) == (302, f"{LIST}?e=1")


def test_a_lookup_made_up_in_the_address_is_refused(as_alice: Client) -> None:
    assert as_alice.get(f"{LIST}?user_agent__contains=a").status_code == 400


def test_a_record_outlives_its_key(as_alice: Client, bobs_key: Issued, record: Record) -> None:
    row = record(bobs_key.row)
    RequestRecord.objects.filter(pk=row.pk).update(key_id=ids.uuid7(), tenant_id=9999)
    assert listed(as_alice) == [row.pk]
    for page in ("/admin/", reverse("admin:tenants_requestrecord_change", args=(row.pk,))):
        response = as_alice.get(page)
        assert response.status_code == 200 and bobs_key.key.hint.encode() in response.content


def test_a_request_reads_in_dollars_and_seconds(as_alice: Client, bobs_key: Issued, record: Record) -> None:
    row = record(
        bobs_key.row,
        alias="gpt-4o",
        input_tokens=1200,
        cache_read_tokens=34,
        output_tokens=5,
        cost_nanos=1_234_567,
        queue_us=1_500,
        first_token_us=812_000,
        total_us=1_240_000,
        receipt="temperature=ignored, n=emulated",
        refusal={"limit": "requests"},
    )
    line = as_alice.get(LIST).content.decode()
    assert all(text in line for text in ("$0.001234", "1,234", "812 ms", "1.24 s"))
    page = as_alice.get(reverse("admin:tenants_requestrecord_change", args=(row.pk,))).content.decode()
    shown = ("$0.001234567", "1,200", "1.5 ms", "asked for as gpt-4o", "done in another way", str(row.pk), "<rect")
    assert all(text in page for text in shown)
    assert "<form" not in page.partition('id="requestrecord_form"')[2].partition("</form>")[0]
    assert 'type="submit" value="Save"' not in page


def test_a_request_leads_to_the_ones_beside_it(
    as_alice: Client, bobs_key: Issued, mallorys_key: Issued, record: Record
) -> None:
    older, between, row, newer = (
        record(key, age)
        for key, age in ((bobs_key.row, 4), (mallorys_key.row, 3), (bobs_key.row, 2), (bobs_key.row, 1))
    )
    page = as_alice.get(reverse("admin:tenants_requestrecord_change", args=(row.pk,))).content.decode()
    assert str(older.pk) in page and str(newer.pk) in page and str(between.pk) not in page


def test_requests_are_read_only(as_alice: Client, bobs_key: Issued, record: Record) -> None:
    row = record(bobs_key.row)
    assert as_alice.get(f"{LIST}add/").status_code == 403
    page = reverse("admin:tenants_requestrecord_change", args=(row.pk,))
    assert as_alice.post(page, {"model": "x"}).status_code == 403
    assert ApiKey.objects.get().requests.get().model == "claude-sonnet-5-5"


def test_a_rare_state_is_looked_for_bit_by_bit(
    as_alice: Client, bobs_key: Issued, record: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each page says how far it looked, and the next one goes on there; only the last one is through."""
    monkeypatch.setattr(looking, "STRETCH_ROWS", 10)
    monkeypatch.setattr(looking, "SECONDS", 0)
    rows = [record(bobs_key.row, age, state="failed" if age == 25 else "settled") for age in range(1, 31)]
    seen, query, told = [], "?state=failed", []
    while query:
        page = as_alice.get(f"{LIST}{query}").content.decode()
        seen += listed(as_alice, query)
        told.append([text for text in ("Nothing since", "looked back to", "Look further back") if text in page])
        query = pager(as_alice, query).get("next", "")
    assert seen == [rows[24].pk]
    found_none = ["Nothing since", "looked back to", "Look further back"]
    assert told == [found_none, found_none, found_none[1:], []]
    assert listed(as_alice, f"?q={rows[24].pk}&state=failed") == seen  # what is searched for is found at once


@pytest.mark.parametrize("query", ["state=failed", "cost=1d", "total=10s", "first=10s", "status=5xx", "stop=refusal"])
def test_whatever_has_no_index_says_how_far_it_looked(
    as_alice: Client, bobs_key: Issued, record: Record, monkeypatch: pytest.MonkeyPatch, query: str
) -> None:
    monkeypatch.setattr(looking, "STRETCH_ROWS", 3)
    monkeypatch.setattr(looking, "SECONDS", 0)
    rows = [record(bobs_key.row, 60 * age, cost_nanos=1, total_us=1, first_token_us=1) for age in range(1, 10)]
    page = as_alice.get(f"{LIST}?{query}").content.decode()
    assert f"Nothing since {date(rows[2].at, 'j M Y H:i')} UTC" in page and "Look further back" in page
    assert f"before={rows[2].pk}" in pager(as_alice, f"?{query}")["next"]


def test_a_page_of_some_says_how_far_it_looked_too(
    as_alice: Client, bobs_key: Issued, record: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(looking, "STRETCH_ROWS", 3)
    monkeypatch.setattr(looking, "SECONDS", 0)
    rows = [record(bobs_key.row, 60 * age, cost_nanos=10**9 if age in (2, 5) else 1) for age in range(1, 10)]
    page = as_alice.get(f"{LIST}?cost=1d").content.decode()
    assert listed(as_alice, "?cost=1d") == [rows[1].pk]
    assert f">{date(rows[2].at, 'j M Y H:i')} UTC</time>" in page and "Look further back ›" in page
    assert listed(as_alice, pager(as_alice, "?cost=1d")["next"]) == [rows[4].pk]
