"""A hostile manager at every address of the console, with everything of another tenant's that an address can hold.

The addresses are those of the URLconf: one that this file does not know how to fill fails the test, so that no view is
added without being walked.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any
from urllib.parse import quote, unquote
from uuid import uuid4

import pytest
from asgiref.sync import async_to_sync
from django.apps import apps
from django.conf import settings
from django.contrib import admin
from django.contrib.contenttypes.models import ContentType
from django.db.models import Model
from django.http import HttpResponse
from django.test import Client
from django.urls import get_resolver
from django.urls.resolvers import URLPattern, URLResolver
from django.utils import timezone

from tenants.actors import Actor, Kind
from tenants.models import (
    AuditEvent,
    Budget,
    BudgetWindow,
    Issued,
    KeySecret,
    Membership,
    ModelAlias,
    ModelPrice,
    Tenant,
    UpstreamCredential,
    User,
)
from tenants.money import CLASSES
from tenants.windows import first_day
from tests.tenants.admin.conftest import Record, at, issue, person, signed_in

pytestmark = pytest.mark.usefixtures("read_here")

HARMLESS = ("logout", "password_change")  # they end the walk, and are about oneself
WORDS = ["Umbrella", "umbrella-slug", "secret-alias", "secret-model", "secret-end-user", "req_umbrella", "31,337"]
SITE_WORDS = ["everyones-alias", "priced-model", "alice@umbrella.example"]


class Victim:
    """Another tenant with all that a tenant can have, and what is the whole site's."""

    def __init__(self, record: Record, alice: User) -> None:
        self.tenant = Tenant.objects.create(pk=987_654_321, slug="umbrella-slug", name="Umbrella", note="Umbrella pays")
        self.key = issue(self.tenant, "Umbrella's key", note="of Umbrella", idempotent=True)
        self.key.row.rotate(timedelta(hours=1), settings.KEY_PEPPERS)
        self.test_key = issue(self.tenant, "Umbrella's test key", mode="test").row
        self.owner = at(person("umbrella-owner"), self.tenant)
        UpstreamCredential.objects.put(self.tenant, "sk-ant-" + "u" * 30, by="Umbrella")
        UpstreamCredential.objects.update(refused_at=timezone.now())
        spent = 31_337 * 10**9
        budgets = [Budget.objects.give(owner, "month", spent, by="x") for owner in (self.tenant, self.key.row)]
        for budget in budgets:
            day = first_day("month", timezone.now(), "UTC")
            BudgetWindow.objects.create(budget=budget, first_day=day, spent_nanos=spent)
        more = {"upstream_id": "req_umbrella", "end_user": "secret-end-user", "cost_nanos": spent}
        requests = [record(self.key.row, 60, model="secret-model", **more)]
        requests.append(record(self.key.row, 1, state="refused", status=429, refusal={"message": "Umbrella"}))
        alias = ModelAlias.objects.create(tenant=self.tenant, name="secret-alias", target="secret-model")
        common = ModelAlias.objects.create(name="everyones-alias", target="secret-model")
        price = ModelPrice.objects.create(model="priced-model", starts_at=timezone.now(), **dict.fromkeys(CLASSES, 1))
        User.objects.filter(pk=alice.pk).update(email="alice@umbrella.example")
        event = AuditEvent.objects.filter(tenant=self.tenant).first()
        exported = {"kind": "export", "id": uuid4(), "label": "Umbrella.csv", "after": {"filter": "Umbrella"}}
        owner = Actor(Kind.USER, "umbrella-owner", str(self.owner.pk))
        self.export = AuditEvent.objects.append("records.exported", actor=owner, **exported).object_id
        taken = AuditEvent.objects.append("audit.exported", actor=owner, tenant_id=self.tenant.pk, label="Umbrella.csv")
        self.ids: dict[str, list[Any]] = {
            "tenant": [self.tenant.pk],
            "apikey": [self.key.row.pk, self.test_key.pk],
            "budget": [budget.pk for budget in budgets],
            "modelalias": [alias.pk, common.pk],
            "modelprice": [price.pk],
            "requestrecord": [request.pk for request in requests],
            "auditevent": [event.pk, taken.pk],
            "user": [self.owner.pk, alice.pk],
            "<uuid:export>": [self.export],
        }
        hints = list(KeySecret.objects.filter(key__tenant=self.tenant).values_list("hint", flat=True))
        uuids = [str(pk) for kind in ("apikey", "requestrecord") for pk in self.ids[kind]]
        self.words = [*WORDS, *SITE_WORDS, *hints, *uuids, "987654321", "987,654,321", self.key.key.public_id]

    def rows(self) -> list[dict[str, Any]]:
        """All of it, as the database has it, and what the trail says of it."""
        models = apps.get_app_config("tenants").get_models()
        chosen = ((model, filters) for model in models if (filters := _theirs(model, self)))
        return [row for model, filters in chosen for row in model._base_manager.filter(**filters).values()]


def _theirs(model: type[Model], victim: Victim) -> dict[str, Any]:
    """The filter that finds the rows of a model that are theirs; nothing where none can be."""
    if model is AuditEvent:
        return {"tenant": victim.tenant, "seq__lte": max(victim.ids["auditevent"])}
    if pks := victim.ids.get(str(model._meta.model_name)):
        return {"pk__in": pks}
    links = {"tenant": "tenant", "key": "key__tenant", "budget": "budget__tenant"}
    names = [links[field.name] for field in model._meta.fields if field.name in links]
    return {names[0]: victim.tenant} if names else {}


# The addresses


def patterns(resolver: Any = None, prefix: str = "") -> Iterator[tuple[str, URLPattern]]:
    for entry in (resolver or get_resolver()).url_patterns:
        where = f"{prefix}{entry.pattern}"
        if isinstance(entry, URLResolver):
            yield from patterns(entry, where)
        elif where.startswith("admin/"):
            yield where, entry


def models_of_the_console() -> dict[str, type[Model]]:
    return {str(model._meta.model_name): model for model in admin.site._registry}


def filled(where: str, pattern: URLPattern, ids: dict[str, list[Any]]) -> list[str]:
    """The addresses that a pattern stands for, with every id that fits. Raises for a pattern nobody thought of."""
    name = str(pattern.name or "")
    if "(?P<app_label>" in where:
        return ["admin/tenants/"]
    if "(?P<url>" in where:
        return ["admin/nonsense/", "admin/tenants/tenant/987654321"]
    if name == "view_on_site":
        return [f"admin/r/{_type(kind)}/{pk}/" for kind in models_of_the_console() for pk in ids[kind]]
    (kind,) = [part for part in where.split("/") if part in models_of_the_console()] or [""]
    found = where
    for parameter, of in {"<path:object_id>": kind, "<id>": kind, "<uuid:export>": "<uuid:export>"}.items():
        if parameter in where:
            return [found.replace(parameter, str(pk)) for pk in ids[of]]
    assert "<" not in found and "(" not in found, f"{where}: say in this test how it is filled"
    return [found]


def _type(kind: str) -> int:
    return int(ContentType.objects.get_for_model(models_of_the_console()[kind]).pk)


def queries(kind: str, victim: Victim) -> list[str]:
    """What a list can be asked for: every filter and search with what is not one's own, and joins to it."""
    tenant, key = victim.tenant.pk, victim.key.row.pk
    record, event = victim.ids["requestrecord"][0], victim.ids["auditevent"][0]
    page = admin.site._registry[models_of_the_console()[kind]]
    names = [getattr(known, "parameter_name", known) for known in page.list_filter]
    values = [tenant, key, f"key:{key}", f"tenant:{tenant}", "umbrella-slug", "live", "revoked", "all"]
    joins = ["tenant__name__startswith=U", "tenant__memberships__user__username=umbrella-owner", "key__name=x"]
    joins += ["tenant__id__exact=987654321", "secrets__digest__gt=a", "keys__name__contains=U", "id__gt=0", "pk__gt=0"]
    odd = ["all=", "o=1.-2", "p=0", "e=1", "_popup=1&_to_field=id", "_facets=True", "since=all", "range=30d"]
    odd += [f"before={record}&since=all", f"after={record}&since=all", f"before={event}", f"after={event}"]
    searched = [f"q={quote(str(word))}" for word in victim.words]
    return [*(f"{name}={quote(str(value))}&since=all" for name in names for value in values), *joins, *odd, *searched]


def autocompletes(victim: Victim) -> Iterator[str]:
    for kind, model in models_of_the_console().items():
        for field in model._meta.fields:
            if field.is_relation:
                asked = f"app_label={model._meta.app_label}&model_name={kind}&field_name={field.name}"
                yield from (f"admin/autocomplete/?{asked}&term={term}" for term in ("", "Umb"))


def addresses(victim: Victim, ids: dict[str, list[Any]]) -> list[str]:
    found = []
    for where, pattern in patterns():
        if not any(word in where for word in HARMLESS):
            found += filled(where, pattern, ids)
    lists = [(kind, f"admin/tenants/{kind}/") for kind in models_of_the_console()]
    found += [f"{where}?{query}" for kind, where in lists for query in queries(kind, victim)]
    found += [
        f"admin/tenants/{kind}/add/?tenant={victim.tenant.pk}&key={victim.key.row.pk}"
        for kind in models_of_the_console()
    ]
    return [f"/{address}" for address in [*found, *autocompletes(victim)]]


# What is sent there


def bodies(kind: str, victim: Victim, mine: Tenant) -> list[dict[str, Any]]:
    """Forms with everything that could take, move, end or show what is not one's own."""
    theirs, key = victim.tenant.pk, str(victim.key.row.pk)
    everything = {
        "reason": "mine", "overlap": "now", "replacing": victim.key.row.secrets.first().pk, "post": "yes",
        "name": "mine", "slug": "mine", "tenant": theirs, "key": key, "window": "day", "limit_usd": "0", "mode": "live",
        "target": "mine", "username": "mine", "role": "admin", "is_superuser": "on", "is_staff": "on", "id": theirs,
        "issue_id": key, "compat": "lenient", "secret": "sk-ant-" + "m" * 30, "format": "csv", "password1": "m" * 15,
        "password2": "m" * 15, "usable_password": "true", "rpm": "1", "memberships-TOTAL_FORMS": "1",
        "memberships-INITIAL_FORMS": "0", "memberships-0-tenant": str(mine.pk), "memberships-0-role": "manager",
        "capture": "full", "capture_percent": "10",
    }  # fmt: skip
    chosen = [str(pk) for pk in victim.ids.get(kind, [])]
    page = admin.site._registry[models_of_the_console()[kind]] if kind else None
    actions = [*(page.actions or ()), "delete_selected"] if page else []
    return [
        everything,
        {**everything, "tenant": mine.pk},
        *({"action": name, "confirmed": "yes", "post": "yes", "reason": "x", "_selected_action": chosen,
           "select_across": across} for name in actions for across in ("0", "1")),
    ]  # fmt: skip


def leaks(victim: Victim, response: HttpResponse, *sent: str) -> list[str]:
    """The words of the other tenant's in an answer, beside those that were in the question."""
    body = read_whole(response) if response.streaming else response.content
    told = body.decode(errors="replace") + " ".join(f"{name}: {value}" for name, value in response.headers.items())
    asked = unquote(" ".join(sent))
    return [word for word in victim.words if word in told and word not in asked]


def read_whole(response: Any) -> bytes:
    """What is sent while it is being made."""

    async def whole() -> bytes:
        return b"".join([part async for part in response])

    return b"".join(response) if not response.is_async else async_to_sync(whole)()


@pytest.fixture
def victim(record: Record, alice: User) -> Victim:
    return Victim(record, alice)


Cast = Callable[[Tenant], User]
CAST: dict[str, Cast] = {
    "manager": lambda acme: at(person("bob"), acme, "manager"),
    "auditor": lambda acme: at(person("bob"), acme, "auditor"),
}


@pytest.mark.parametrize("who", CAST)
def test_no_page_tells_of_another_tenant(victim: Victim, acme: Tenant, bobs_key: Issued, who: str) -> None:
    client = signed_in(CAST[who](acme))
    client.raise_request_exception = False
    walked = addresses(victim, victim.ids)
    assert len(walked) > 300
    for address in walked:
        response = client.get(address, follow=True)
        assert response.status_code < 500, address
        assert leaks(victim, response, address) == [], address


@pytest.mark.parametrize("who", CAST)
def test_no_form_touches_another_tenant(victim: Victim, acme: Tenant, bobs_key: Issued, who: str) -> None:
    client = signed_in(CAST[who](acme))
    client.raise_request_exception = False
    before = victim.rows()
    assert len(before) > 20
    for address in [address for address in addresses(victim, victim.ids) if "?" not in address]:
        kind = next((part for part in address.split("/") if part in models_of_the_console()), "")
        for body in bodies(kind, victim, acme):
            response = client.post(address, body, follow=True)
            assert response.status_code < 500, address
            assert leaks(victim, response, address, str(body)) == [], address
    assert victim.rows() == before
    me = User.objects.get(username="bob")
    assert not me.is_superuser and not me.role and me.memberships.count() <= 1
    assert not User.objects.filter(username="mine").exists()
    assert not Membership.objects.exclude(user=me).exclude(user=victim.owner).exists()


def test_the_words_looked_for_are_words_that_pages_have(victim: Victim, as_alice: Client) -> None:
    """Alice, who may see all of it, meets every word: the walk above would have met them too."""
    told = set()
    for address in addresses(victim, victim.ids):
        if "?" not in address or "since=all" in address or "autocomplete" in address:
            told.update(leaks(victim, as_alice.get(address), ""))
    assert told >= set(WORDS) | set(SITE_WORDS) | {str(victim.key.row.pk), "987654321", victim.key.key.public_id}


def test_one_sees_ones_own(victim: Victim, acme: Tenant, bobs_key: Issued, record: Record) -> None:
    """The walk is worth nothing where a manager sees nothing at all."""
    client = signed_in(CAST["manager"](acme))
    mine = {"tenant": [acme.pk], "apikey": [bobs_key.row.pk], "requestrecord": [record(bobs_key.row).pk]}
    for kind, (pk,) in mine.items():
        assert client.get(f"/admin/tenants/{kind}/{pk}/change/").status_code == 200
        assert str(pk) in client.get(f"/admin/tenants/{kind}/").content.decode()


AUDIT, REQUESTS = "/admin/tenants/auditevent/", "/admin/tenants/requestrecord/"


def take(client: Client, where: str, query: str = "") -> list[dict[str, Any]]:
    taken = read_whole(client.post(f"{where}export/{query}", {"format": "jsonl"}))
    return [json.loads(row) for row in taken.splitlines()]


def taken_by(client: Client, name: str) -> list[str]:
    """What the audit page tells of someone's exports."""
    rows = client.get(AUDIT).context["cl"].result_list
    return [event.action for event in rows if event.actor_name == name and "export" in event.action]


@pytest.mark.parametrize("query", ["", "?tenant=987654321", "?object=tenant:987654321", "?q=umbrella-owner"])
def test_an_auditor_takes_the_trail_of_their_tenant_alone(
    victim: Victim, acme: Tenant, bobs_key: Issued, query: str
) -> None:
    client = signed_in(CAST["auditor"](acme))
    page = client.get(AUDIT).content.decode()
    assert f'action="{AUDIT}export/?"' in page and "Your exports of requests" in page and "Verify now" not in page
    rows = take(client, AUDIT, query)
    assert {row["tenant_id"] for row in rows} == (set() if query else {acme.pk})


def test_what_is_taken_of_one_tenant_is_told_on_its_trail_and_on_no_others(
    victim: Victim, acme: Tenant, bobs_key: Issued
) -> None:
    client = signed_in(CAST["auditor"](acme))
    for where in (AUDIT, REQUESTS):
        take(client, where)
    told = ["records.exported", "records.export_began", "audit.exported"]
    assert taken_by(client, "bob") == taken_by(signed_in(person("carol", "auditor")), "bob") == told
    assert taken_by(signed_in(at(person("grace"), victim.tenant, "auditor")), "bob") == []


def test_who_sees_more_than_one_tenant_tells_neither_of_the_other(
    victim: Victim, acme: Tenant, bobs_key: Issued
) -> None:
    both = at(CAST["auditor"](acme), victim.tenant, "manager")
    take(signed_in(both), REQUESTS, f"?tenant={victim.tenant.pk}")
    assert AuditEvent.objects.filter(object_type="export", after__contains="Umbrella", actor_name="bob").exists()
    assert taken_by(signed_in(at(person("frank"), acme, "auditor")), "bob") == []


def test_no_join_answers_yes_or_no(victim: Victim, bob: User) -> None:
    client = signed_in(bob)
    for kind in models_of_the_console():
        for lookup in ("tenant__slug=x", "tenant__memberships__user__username=x", "secrets__digest=a", "key__name=x"):
            answer = client.get(f"/admin/tenants/{kind}/?{lookup}")
            assert answer.status_code in (302, 400, 403), (kind, lookup)
            assert answer.status_code != 302 or "e=1" in answer.headers["Location"], (kind, lookup)
