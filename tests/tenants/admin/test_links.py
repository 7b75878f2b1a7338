"""Every role follows every link and presses every button of every page that it reaches: none may be shut to it."""

from __future__ import annotations

import re
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any
from urllib.parse import urldefrag, urljoin, urlsplit

import pytest
from django.db import transaction

from tenants.models import Issued, RequestRecord, Tenant, User
from tests.tenants.admin.conftest import Record, at, person, signed_in
from tests.tenants.admin.test_hostile import Victim, read_whole
from tests.tenants.admin.test_payloads import seal

pytestmark = pytest.mark.usefixtures("read_here")

MOST_ALIKE = 5  # pages of one kind, such as events of the audit trail
ABOUT_ONESELF = ("/admin/logout/", "/admin/password_change/")  # a button there ends the walk


@dataclass
class Form:
    """What its buttons send: where, and what is hidden in it."""

    where: str
    method: str
    hidden: dict[str, str] = field(default_factory=dict)
    buttons: list[dict[str, str]] = field(default_factory=list)


class Doors(HTMLParser):
    """The links of a page, and its forms."""

    def __init__(self, address: str, page: str) -> None:
        super().__init__()
        self.address = address
        self.links: list[str] = []
        self.forms: dict[str, Form] = {}
        self._form = ""
        self._actions = False
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        told = {name: value or "" for name, value in attrs}
        if tag == "a" and "href" in told:
            self.links.append(self._from_here(told["href"]))
        elif tag == "form":
            self._form = told.get("id") or f"form {len(self.forms)}"
            self.forms[self._form] = Form(self._from_here(told.get("action", "")), told.get("method", "get").lower())
        elif tag in ("input", "button", "select", "option"):
            self._control(tag, told)

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self._form = ""
        elif tag == "select":
            self._actions = False

    def _control(self, tag: str, told: dict[str, str]) -> None:
        form = self.forms.get(told.get("form", self._form))
        if form is None:
            return
        sent = {told["name"]: told.get("value", "")} if told.get("name") else {}
        if tag == "select":
            self._actions = told.get("name") == "action"
        elif tag == "option":
            form.buttons += [{"action": told["value"]}] if self._actions and told.get("value") else []
        elif told.get("type") == "submit" or (tag == "button" and "type" not in told):
            form.buttons.append(sent)
        elif told.get("type") == "hidden" or told.get("name") == "_selected_action":
            form.hidden.update(sent)

    def _from_here(self, href: str) -> str:
        return urldefrag(urljoin(self.address, href)).url


class Walk:
    """Someone who tries every door of the console. `shut` are those that were shown and did not open."""

    def __init__(self, user: User) -> None:
        self.client = signed_in(user)
        self.client.raise_request_exception = False
        self.shut: list[str] = []
        self.pages = {"/admin/"}
        self._alike = Counter[str]()
        self._ahead = deque([("the beginning", "/admin/")])
        while self._ahead:
            self._open(*self._ahead.popleft())

    def _open(self, from_where: str, address: str) -> None:
        response = self.client.get(address, follow=True)
        self._judge(response, f"{from_where} leads to {address}")
        if not response.headers["Content-Type"].startswith("text/html"):
            return
        doors = Doors(address, response.content.decode())
        for link in doors.links:
            if link not in self.pages and self._is_new(link):
                self.pages.add(link)
                self._ahead.append((address, link))
        for form in doors.forms.values():
            self._press(form, address)

    def _is_new(self, link: str) -> bool:
        """Of the console, and of a kind of which not many were seen."""
        kind = re.sub(r"/[0-9a-f-]*\d[0-9a-f-]*(?=[/.])", "/ID", urlsplit(link).path)
        self._alike[kind] += 1
        return link.startswith("/admin/") and self._alike[kind] <= MOST_ALIKE

    def _press(self, form: Form, address: str) -> None:
        """Each of its buttons; nothing of what it does stays."""
        if form.method != "post" or form.where.startswith(ABOUT_ONESELF):
            return
        for button in form.buttons:
            with transaction.atomic():
                response = self.client.post(form.where, {**form.hidden, **button}, follow=True)
                if response.streaming:
                    read_whole(response)
                transaction.set_rollback(True)
            self._judge(response, f"{address} sends {button} to {form.where}")

    def _judge(self, response: Any, door: str) -> None:
        if response.status_code != 200:
            self.shut.append(f"{response.status_code}: {door}")


CAST: dict[str, Callable[[Tenant], User]] = {
    "superuser": lambda tenant: User.objects.create_superuser("alice"),
    "platform admin": lambda tenant: person("dora", "admin"),
    "auditor": lambda tenant: person("carol", "auditor"),
    "auditor with payload": lambda tenant: person("carol", "payload-auditor"),
    "manager of one": lambda tenant: at(person("bob"), tenant),
    "auditor of one": lambda tenant: at(person("bob"), tenant, "auditor"),
    "auditor with payload of one": lambda tenant: at(person("bob"), tenant, "payload-auditor"),
}


@pytest.mark.parametrize("who", CAST)
def test_no_door_of_a_site_in_use_is_shut(record: Record, acme: Tenant, bobs_key: Issued, who: str) -> None:
    victim = Victim(record, person("someone"))
    seal(RequestRecord.objects.get(pk=victim.ids["requestrecord"][0]), b"{}")
    walk = Walk(CAST[who](victim.tenant))
    assert walk.shut == []
    kinds = {page.split("/")[3] for page in walk.pages if page.startswith("/admin/tenants/")}
    assert kinds >= {"tenant", "apikey", "budget", "modelalias", "requestrecord"}


@pytest.mark.parametrize("who", CAST)
def test_no_door_of_a_new_site_is_shut(acme: Tenant, who: str) -> None:
    assert Walk(CAST[who](acme)).shut == []


def test_no_door_of_a_site_without_a_tenant_is_shut(db: None) -> None:
    for role in ("admin", "auditor"):
        assert Walk(person(role, role)).shut == []


def test_who_manages_one_tenant_and_audits_another_is_offered_what_holds_there(
    acme: Tenant, globex: Tenant, bobs_key: Issued, mallorys_key: Issued
) -> None:
    client = signed_in(at(at(person("erin"), acme), globex, "auditor"))
    offers = ("/admin/tenants/apikey/add/", "/admin/tenants/budget/add/", "/revoke/", "/history/")
    for tenant, key, may in ((acme, bobs_key, True), (globex, mallorys_key, False)):
        pages = [f"/admin/tenants/tenant/{tenant.pk}/change/", f"/admin/tenants/apikey/{key.row.pk}/change/"]
        links = [link for page in pages for link in Doors(page, client.get(page).content.decode()).links]
        found = [any(offer in link for link in links) for offer in offers]
        assert found == [may, may, may, True]
