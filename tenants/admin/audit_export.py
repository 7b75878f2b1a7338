"""The audit trail as a file: streamed, every column as it is signed, and itself told."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from django.db.models import QuerySet
from django.http import StreamingHttpResponse

from tenants.admin.downloads import attachment
from tenants.exports import Taking
from tenants.models import AuditEvent
from tenants.sheets import FORMS, Row

PAGE_ROWS = 500
COLUMNS = [field.attname for field in AuditEvent._meta.concrete_fields]


def response(
    rows: QuerySet[AuditEvent], form: str, filters: dict[str, str], tenant_id: int | None
) -> StreamingHttpResponse:
    """The rows, oldest first. That they are taken away is told first; that row is the first one not among them.

    It is on the trail of the tenant of whom alone the rows can be.
    """
    told = AuditEvent.objects.append(
        "audit.exported", kind="audit", label=form, tenant_id=tenant_id, after={"format": form, "filter": filters}
    )
    name = f"bridge-audit-{datetime.now(UTC):%Y-%m-%d}-{told.seq}.{form}"
    taking = Taking(form, COLUMNS, _reader(rows.filter(seq__lt=told.seq).order_by("seq")))
    return attachment(name, FORMS[form].content_type, taking.parts())


def _reader(rows: QuerySet[AuditEvent]) -> Any:
    def read(last: int | None) -> tuple[list[Row], int | None]:
        page = list(rows.filter(seq__gt=last or 0)[:PAGE_ROWS])
        return [event.columns() for event in page], page[-1].seq if page else None

    return read
