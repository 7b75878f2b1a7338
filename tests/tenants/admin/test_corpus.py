"""Hostile texts in every column that takes text: on no page are they more than text, in no export more than cells."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from html.parser import HTMLParser
from itertools import cycle
from typing import Any

import pytest
from django.db import models
from django.test import Client

from tenants.models import AuditEvent, User
from tests.tenants.admin.conftest import Record
from tests.tenants.admin.test_hostile import Victim, filled, models_of_the_console, patterns, read_whole

pytestmark = pytest.mark.usefixtures("read_here")

SCRIPTS = (
    "<script>alert(1)</script>",
    '"><script>alert(1)</script>',
    "'><script src=//x.example></script>",
    "<img src=x onerror=alert(1)>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    '" onfocus="alert(1)" autofocus="',
    "<svg onload=alert(1)>",
    "</title><script>alert(1)</script>",
    "</textarea><script>alert(1)</script>",
    "</option></select><img src=x onerror=alert(1)>",
    "<iframe src=javascript:alert(1)>",
    "javascript:alert(1)",
    "<a href=javascript:alert(1)>x</a>",
    "<form action=//x.example><button>Sign in</button>",
    "<base href=//x.example>",
    "<meta http-equiv=refresh content=0;url=//x.example>",
    "<style>*{display:none}</style>",
    "<link rel=stylesheet href=//x.example>",
    "<math><mtext></mtext><script>alert(1)</script>",
    "--><script>alert(1)</script><!--",
    "]]><script>alert(1)</script>",
    "{{7*7}}{% debug %}",
    "${alert(1)}",
    "&lt;script&gt;",
    "\u202egnp.exe",
    "<details open ontoggle=alert(1)>",
    "<input autofocus onfocus=alert(1)>",
)
FORMULAS = (
    "=1+1",
    "+1",
    "-1+1",
    "@SUM(A1)",
    "\t=1",
    "\r=1",
    '=HYPERLINK("//x.example")',
    "=cmd|' /C calc'!A0",
    "＝1+1",
    "\n=1",
    " =1",
    "a\n=1",
)
START = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
FREE = (models.CharField, models.TextField)


def free_columns(model: type[models.Model]) -> list[Any]:
    """Those that take whatever somebody writes."""
    kept = {"slug", "password", "hint", "public_id", "time_zone", "key_hint"}
    fields = [field for field in model._meta.concrete_fields if isinstance(field, FREE) and not field.choices]
    return [field for field in fields if field.name not in kept and not isinstance(field, models.URLField)]


def write(texts: Any, *kinds: type[models.Model]) -> int:
    """Puts these texts, in turn, into every free column of every row."""
    written = 0
    for model in kinds:
        for row in model._base_manager.all():
            values = {field.name: f"{next(texts)}"[: field.max_length] for field in free_columns(model)}
            unique = {field.name for field in model._meta.fields if field.unique}
            values = {name: f"{text} {row.pk}" if name in unique else text for name, text in values.items()}
            models.QuerySet(model).filter(pk=row.pk).update(**values)
            written += len(values)
    return written


class Elements(HTMLParser):
    """The elements of a page, each with the names of its attributes; and where its links lead."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: set[tuple[str, str]] = set()
        self.links: set[str] = set()
        self.feed(page)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.found |= {(tag, ""), *((tag, name) for name, _ in attributes)}
        self.links |= {value or "" for name, value in attributes if name in ("href", "src", "action")}


@pytest.fixture
def site(record: Record, alice: User) -> Victim:
    return Victim(record, alice)


def pages(site: Victim) -> Iterator[str]:
    for where, pattern in patterns():
        if "logout" not in where and "jsi18n" not in where:
            yield from (f"/{address}" for address in filled(where, pattern, site.ids))


def elements(client: Client, site: Victim) -> tuple[set[tuple[str, str]], set[str]]:
    found, links = set(), set()
    for page in pages(site):
        response = client.get(page)
        assert response.status_code < 500, page
        if response.headers.get("Content-Type", "").startswith("text/html"):
            seen = Elements(response.content.decode())
            found |= seen.found
            links |= seen.links
    return found, links


def own_models() -> list[type[models.Model]]:
    own = {**models_of_the_console()}
    return [model for kind, model in own.items() if kind not in ("auditevent", "user")]


def test_no_text_becomes_an_element(as_alice: Client, site: Victim) -> None:
    harmless, _ = elements(as_alice, site)
    assert write(cycle(SCRIPTS), *own_models()) > 40
    for row in (site.key.row, site.tenant):
        for text in SCRIPTS:
            AuditEvent.objects.append(
                "key.changed", row, label=text, before={text: text}, after={text: [text]}, reason=text
            )
    hostile, links = elements(as_alice, site)
    new = {(tag, name) for tag, name in hostile - harmless if tag in BAD or name.startswith("on")}
    assert new == set()
    assert not [link for link in links if "x.example" in link or link.lower().startswith("javascript:")]


BAD = {"script", "iframe", "base", "meta", "style", "math", "details", "object", "embed", "img"}


def test_the_corpus_would_be_seen() -> None:
    """Unescaped, each of the first eight is an element or an attribute that is looked for."""
    for text in ("<img src=x onerror=alert(1)>", "<svg onload=alert(1)>", "<script>alert(1)</script>", "<base href=/>"):
        found = Elements(text).found
        assert any(tag in BAD or name.startswith("on") for tag, name in found), text


def test_no_cell_of_an_export_is_a_formula(as_alice: Client, site: Victim) -> None:
    write(cycle(FORMULAS), *own_models())
    for text in FORMULAS:
        AuditEvent.objects.append("key.changed", site.key.row, label=text, after={text: text}, reason=text)
    exports = [where for where, _ in patterns() if where.endswith("/export/")]
    assert exports
    for where in exports:
        response = as_alice.post(f"/{where}{'?since=all' if 'requestrecord' in where else ''}", {"format": "csv"})
        assert response.status_code == 200, where
        text = (read_whole(response) if response.streaming else response.content).decode()
        cells = [cell for line in csv.reader(text.splitlines(keepends=True)) for cell in line]
        assert any(cell.startswith("'") for cell in cells), where
        assert [cell for cell in cells if cell.startswith(START) and not cell.lstrip("-").isdigit()] == [], where
