"""Pages of rare rows: each looks for a moment, says how far, and the next goes on there; none is left out or twice."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any
from uuid import UUID

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from tenants import looking
from tenants.models import ApiKey, RequestRecord, Tenant
from tests.tenants.admin import conftest as cast
from tests.tenants.admin.conftest import Record, issue

pytestmark = pytest.mark.django_db
record = cast.record  # the same fixture


@pytest.fixture(autouse=True)
def short_stretches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(looking, "STRETCH_ROWS", 5)


@pytest.fixture
def rows(record: Record) -> list[RequestRecord]:
    """Forty, newest first; every seventh failed."""
    key: ApiKey = issue(Tenant.objects.create(slug="acme", name="Acme")).row
    return [record(key, age, state="settled" if age % 7 else "failed") for age in range(1, 41)]


def every(seconds: float) -> Callable[[], float]:
    """A clock that is so much later whenever it is asked."""
    ticks = itertools.count()
    return lambda: next(ticks) * seconds


def look(state: str, **how: Any) -> looking.Page:
    return looking.page(RequestRecord.objects.filter(state=state), RequestRecord.objects.all(), **how)


def pages_down(state: str, size: int, seconds: float) -> Iterator[looking.Page]:
    where: dict[str, Any] = {}
    while True:
        page = look(state, size=size, clock=every(seconds), **where)
        yield page
        if not page.older:
            return
        where = {"before": page.older_from or page.rows[-1].pk}


@pytest.mark.parametrize("seconds", [0, 1])
@pytest.mark.parametrize("size", [1, 2, 3, 50])
@pytest.mark.parametrize("state", ["failed", "settled", "refused"])
def test_the_pages_hold_every_row_once(rows: list[RequestRecord], state: str, size: int, seconds: float) -> None:
    seen = [row.pk for page in pages_down(state, size, seconds) for row in page.rows]
    assert seen == [row.pk for row in rows if row.state == state]


def test_back_up_they_hold_them_too(rows: list[RequestRecord]) -> None:
    seen: list[UUID] = []
    after = rows[-1].pk
    while True:
        page = look("failed", size=1, after=after, clock=every(1))
        if not page.newer:
            break
        seen += [row.pk for row in page.rows]
        after = page.newer_from or page.rows[0].pk
    assert seen == [row.pk for row in reversed(rows) if row.state == "failed"]
    assert not page.newer and page.older  # the newest page: as far as it looked back


def test_while_there_is_time_a_page_is_filled(rows: list[RequestRecord]) -> None:
    page = look("failed", size=4, clock=every(0))
    assert len(page.rows) == 4 and page.older and page.older_from is None


def test_when_time_is_up_it_says_how_far_it_looked(rows: list[RequestRecord]) -> None:
    page = look("failed", size=4, clock=every(1))
    assert (page.rows, page.older, page.older_from) == ([], True, rows[4].pk)


def test_no_stretch_is_longer_than_it_may_be(rows: list[RequestRecord]) -> None:
    with CaptureQueriesContext(connection) as captured:
        look("refused", size=4, clock=every(1))
    assert len(captured) == 2 and all("LIMIT" in query["sql"] for query in captured)
    assert '"id" >=' in captured[1]["sql"]
