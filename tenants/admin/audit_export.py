"""The audit trail as a file: streamed, every column as it is signed, harmless to spreadsheets, and itself told."""

from __future__ import annotations

import csv
import io
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from typing import Any

from asgiref.sync import sync_to_async
from django.db.models import QuerySet
from django.http import StreamingHttpResponse

from tenants import audit
from tenants.models import AuditEvent

PAGE_ROWS = 500
COLUMNS = [field.attname for field in AuditEvent._meta.concrete_fields]
FORMULA = ("=", "+", "-", "@", "\t", "\r")  # what a spreadsheet would compute


def response(rows: QuerySet[AuditEvent], form: str, filters: dict[str, str]) -> StreamingHttpResponse:
    """The rows, oldest first. That they are taken away is told first; that row is the first one not among them."""
    told = AuditEvent.objects.append(
        "audit.exported", kind="audit", label=form, after={"format": form, "filter": filters}
    )
    content_type, write = FORMATS[form]
    name = f"bridge-audit-{datetime.now(UTC):%Y-%m-%d}-{told.seq}.{form}"
    return StreamingHttpResponse(
        _stream(rows.filter(seq__lt=told.seq).order_by("seq"), write, form),
        content_type=content_type,
        headers={"Content-Disposition": f'attachment; filename="{name}"', "X-Content-Type-Options": "nosniff"},
    )


async def _stream(rows: QuerySet[AuditEvent], write: Callable[[AuditEvent], str], form: str) -> AsyncIterator[str]:
    """Page by page: memory does not grow with the trail, and no transaction stays open meanwhile."""
    if form == "csv":
        yield _line(COLUMNS)
    last = 0
    while page := await sync_to_async(_page)(rows, last):
        last = page[-1].seq
        yield "".join(map(write, page))


def _page(rows: QuerySet[AuditEvent], last: int) -> list[AuditEvent]:
    return list(rows.filter(seq__gt=last)[:PAGE_ROWS])


def as_jsonl(event: AuditEvent) -> str:
    return audit.canonical(event.columns()).decode() + "\n"


def as_csv(event: AuditEvent) -> str:
    return _line([_harmless(value) for value in event.columns().values()])


def _line(cells: list[Any]) -> str:
    file = io.StringIO()
    csv.writer(file).writerow(cells)
    return file.getvalue()


def _harmless(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA) else value


FORMATS: dict[str, tuple[str, Callable[[AuditEvent], str]]] = {
    "csv": ("text/csv; charset=utf-8", as_csv),
    "jsonl": ("application/x-ndjson", as_jsonl),
}
