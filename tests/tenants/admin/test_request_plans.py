"""How the database finds the explorer's pages: by an index in the order of the page, whatever is filtered."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import unescape
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from tests.tenants.admin.conftest import Issued, Record

LIST = "/admin/tenants/requestrecord/"
BAD = re.compile(r"Seq Scan|\bSort +\(|TEMP B-TREE|SCAN \S+$", re.M)
BAD_BUT_FEW = re.compile(r"Seq Scan|SCAN \S+$", re.M)  # open requests have an index of their own, and may be sorted


@pytest.fixture
def no_other_way(db: None) -> Iterator[None]:
    """PostgreSQL reads a small table whole and sorts it, unless that is made dear."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            for way in ("seqscan", "bitmapscan", "sort"):
                cursor.execute(f"SET LOCAL enable_{way} = off")
    yield


def filters(page: str) -> list[str]:
    """Every choice of every filter, over a day and over all time."""
    selects = re.findall(r'<select name="([^"]+)"[^>]*>(.*?)</select>', page, re.S)
    chosen = [(name, unescape(value)) for name, text in selects for value in re.findall(r'value="([^"]+)"', text)]
    return [f"?{time}{name}={value}" for time in ("", "since=all&") for name, value in chosen if name != "since"]


def plans(client: Client, query: str) -> list[str]:
    """How each question about requests is answered."""
    with CaptureQueriesContext(connection) as captured:
        assert client.get(f"{LIST}{query}").status_code == 200
    asked = [each["sql"] for each in captured if 'FROM "tenants_requestrecord"' in each["sql"]]
    assert asked and not any("COUNT(" in sql for sql in asked)
    return [plan(sql) for sql in asked]


def plan(sql: str) -> str:
    with connection.cursor() as cursor:
        cursor.execute(f"{'EXPLAIN' if connection.vendor == 'postgresql' else 'EXPLAIN QUERY PLAN'} {sql}")
        return "\n".join(str(row[-1]) for row in cursor.fetchall())


def test_an_index_finds_every_page(
    as_alice: Client, bobs_key: Issued, mallorys_key: Issued, record: Record, no_other_way: None
) -> None:
    for age in range(1, 60):
        record(bobs_key.row, age, state="failed" if age % 9 == 0 else "settled")
        record(mallorys_key.row, age)
    chosen = filters(as_alice.get(f"{LIST}?since=all").content.decode())
    assert len(chosen) > 30
    chosen += [f"?key={bobs_key.row.pk}", f"?since=all&key={bobs_key.row.pk}&state=failed", "?from=2020-01-01"]
    wrong: dict[str, Any] = {}
    for query in chosen:
        bad = BAD_BUT_FEW if "state=open" in query else BAD
        if found := list(filter(bad.search, plans(as_alice, query))):
            wrong[query] = found[0]
    assert wrong == {}
