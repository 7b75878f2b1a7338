"""Refusals explained: the last ones of a key, each with its rule, its numbers and what the client was told."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from tenants.admin import shown
from tenants.models import RequestRecord

_TOLD_ELSEWHERE = ("message", "param")


def listed(records: Iterable[RequestRecord]) -> SafeString | str:
    items = format_html_join("", "<li>{}</li>", ((_told(record),) for record in records))
    return format_html('<ol class="refusals">{}</ol>', items) if items else "Nothing with this key was refused."


def _told(record: RequestRecord) -> SafeString:
    refusal: dict[str, Any] = record.refusal if isinstance(record.refusal, dict) else {}
    facts = [(name.replace("_", " "), _text(value)) for name, value in refusal.items() if name not in _TOLD_ELSEWHERE]
    return format_html(
        "<p>{} {} {}{}</p><p>{}</p>{}",
        shown.link(reverse("admin:tenants_requestrecord_change", args=(record.pk,)), shown.ago(record.at)),
        shown.pill(str(record.status), "bad"),
        shown.mono(record.error_code),
        format_html(' <span class="quiet">× {}</span>', record.count) if record.count > 1 else "",
        str(refusal.get("message") or "No explanation is on record."),
        format_html("<dl>{}</dl>", format_html_join("", "<div><dt>{}</dt> <dd>{}</dd></div>", facts)) if facts else "",
    )


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
