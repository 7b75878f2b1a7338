"""Pages of what no index finds: looked for in stretches of a list that one does find, for a moment, then on demand.

A filter that few of millions of rows pass (or none) would have the database read all of them for one page. Here a page
reads stretches of so many rows until it is full or its time is up, and says how far it looked.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from django.db.models import QuerySet

from tenants.reports import Page

STRETCH_ROWS = 20_000
SECONDS = 0.1  # nobody minds waiting so long; the last stretch ends a little later


def page(
    wanted: QuerySet[Any],
    among: QuerySet[Any],
    size: int,
    *,
    before: Any = None,
    after: Any = None,
    clock: Callable[[], float] = time.monotonic,
) -> Page:
    """Some of `wanted`, newest first: of those `among` that an index has in the order of ids, what passes a filter."""
    if after:
        rows, edge = _look(wanted, among, size, after, clock, up=True)
        if edge is None and len(rows) <= size:  # the newest page, filled up from below
            return page(wanted, among, size, clock=clock)
        shown = rows[:size][::-1]
        return Page(
            shown, True, True, newer_from=None if len(rows) > size else edge, older_from=None if shown else edge
        )
    rows, edge = _look(wanted, among, size, before, clock, up=False)
    full = len(rows) > size
    return Page(rows[:size], before is not None, full or edge is not None, older_from=None if full else edge)


def _look(
    wanted: QuerySet[Any], among: QuerySet[Any], size: int, edge: Any, clock: Callable[[], float], *, up: bool
) -> tuple[list[Any], Any]:
    """One row more than the size, if there are as many; and where the look ended, None at the end of the list."""
    rows = list[Any]()
    end = clock() + SECONDS
    order, past, within = ("pk", "pk__gt", "pk__lte") if up else ("-pk", "pk__lt", "pk__gte")
    while True:
        there = {past: edge} if edge else {}
        further = among.filter(**there).order_by(order).values_list("pk", flat=True)
        edge = next(iter(further[STRETCH_ROWS - 1 : STRETCH_ROWS]), None)
        stretch = wanted.filter(**there, **({within: edge} if edge else {})).order_by(order)
        rows += stretch[: size + 1 - len(rows)]
        if len(rows) > size or edge is None or clock() >= end:
            return rows, edge
