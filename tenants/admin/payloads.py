"""A request's payload in the console: that there is one, and for whoever may and says why, what it holds, once.

A page that shows it is the answer to a form with a reason: it has no address of its own, nothing keeps it, and every
opening is on the audit trail before anything is shown.
"""

from __future__ import annotations

import base64
import json
from typing import Any

from django.conf import settings
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.safestring import SafeString

from tenants import reports, transcripts
from tenants.admin import shown
from tenants.admin.base import ConsoleAdmin
from tenants.admin.forms import ReasonForm
from tenants.encryption import Unreadable
from tenants.models import AuditEvent, Payload, RequestRecord
from tenants.values import Content, Side

PERMISSION = "tenants.view_payload"


class PayloadAdmin(ConsoleAdmin[RequestRecord]):
    """The part of the requests' admin that opens payloads."""

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.payload_view)
        return [path("<path:object_id>/payload/", view, name="tenants_requestrecord_payload"), *super().get_urls()]

    def may_open(self, request: HttpRequest, record: RequestRecord) -> bool:
        """Asked about this record: the right may hold at one tenant alone."""
        return self.has_view_permission(request, record) and request.user.has_perm(PERMISSION, record)

    def payload_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        record = self.get_object(request, unquote(object_id))
        if record is None:
            raise Http404
        if not self.may_open(request, record):
            raise PermissionDenied
        row = reports.payload(record)
        if row is None:
            raise Http404
        form = ReasonForm(request.POST if request.method == "POST" else None)
        if not form.is_valid():
            return self._page(request, "payload.html", record, {"form": form})
        return self._opened(request, record, row, form.cleaned_data["reason"])

    def _opened(self, request: HttpRequest, record: RequestRecord, row: Payload, reason: str) -> HttpResponse:
        """Told first, shown then."""
        as_file = "download" in request.POST
        after = {"as": "file" if as_file else "page"}
        AuditEvent.objects.append("payload.opened", record, label=str(record.pk), after=after, reason=reason)
        try:
            content = row.opened(settings.ENCRYPTION_KEYS)
        except Unreadable:
            return self._page(request, "transcript.html", record, {"unreadable": True})
        if as_file:
            return _download(record, content)
        turns = transcripts.read(content.request.body, content.answer.body)
        facts = shown.table(
            (name, _facts(side))
            for name, side in (("Client sent", content.request), ("Client was sent", content.answer))
        )
        return self._page(request, "transcript.html", record, {"turns": turns, "facts": facts, "reason": reason})

    def _page(
        self, request: HttpRequest, template: str, record: RequestRecord, context: dict[str, object]
    ) -> TemplateResponse:
        title = self.title_of(record)
        common = {"row": record.pk, "back": self.page_of(record)}
        response = self.page(
            request,
            f"tenants/requestrecord/{template}",
            f"Payload of {title[:1].lower()}{title[1:]}",
            {**common, **context},
        )
        response.headers["Cache-Control"] = "no-store"
        return response

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        record = self.get_object(request, unquote(object_id))
        may = record is not None and self.has_view_permission(request, record)
        told = self._told(request, record) if record is not None and may else {}
        return super().change_view(request, object_id, form_url, {**told, **(extra_context or {})})

    def _told(self, request: HttpRequest, record: RequestRecord) -> dict[str, str]:
        """Whether there is one, and where whoever may opens it."""
        if not reports.has_payload(record):
            lost = "Payload not there: its days are over, or it could not be kept"
            return {"payload_told": lost} if record.captured else {}
        if not self.may_open(request, record):
            return {"payload_told": "Payload kept, encrypted"}
        return {"payload_url": reverse("admin:tenants_requestrecord_payload", args=(record.pk,))}


def _facts(side: Side) -> SafeString | str:
    notes = [f"{side.size:,} bytes"]
    if side.cut:
        notes.append(f"only the first {len(side.body):,} of them are kept")
    if side.redacted:
        notes.append(f"replaced before it was kept: {side.redacted:,}")
    notes.append(f"SHA-256 {side.sha256}" if side.sha256 else "no SHA-256: one could guess by it what was replaced")
    return shown.lines(notes)


def _download(record: RequestRecord, content: Content) -> HttpResponse:
    """All of it as JSON: texts as they were sent, what is not UTF-8 as base64."""
    told: dict[str, Any] = {
        "request_id": str(record.pk),
        "at": record.at.isoformat(),
        "status": content.status,
        "content_type": content.content_type,
        "request": _as_json(content.request),
        "answer": _as_json(content.answer),
    }
    headers = {"Content-Disposition": f'attachment; filename="payload-{record.pk}.json"', "Cache-Control": "no-store"}
    return HttpResponse(json.dumps(told, indent=2), content_type="application/json", headers=headers)


def _as_json(side: Side) -> dict[str, Any]:
    facts = {"size": side.size, "sha256": side.sha256 or None, "cut": side.cut, "redacted": side.redacted}
    try:
        return {**facts, "text": side.body.decode()}
    except UnicodeDecodeError:
        return {**facts, "base64": base64.b64encode(side.body).decode()}
