"""Which fields each role can write: every column of every page is sent, and only those of the table change."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib import admin
from django.db.models import Model
from django.utils import timezone

from tenants.models import Budget, Issued, Membership, ModelAlias, ModelPrice, Tenant, User
from tenants.money import CLASSES
from tests.tenants.admin.conftest import Record, at, person, signed_in

TERMS = ("long_above", "long_multiplier", "fast_multiplier", "us_multiplier", "web_search")
CAPTURE = {"capture": "errors", "capture_percent": "7", "capture_days": "7", "capture_redactions": "new"}
# What a form of each page sends; the values differ from those of the rows below.
SENT: dict[str, dict[str, Any]] = {
    "tenant": {
        "name": "new", "slug": "new", "note": "new", "retention_days": "9", "idempotent": "on", "thinking_vault": "on",
        "time_zone": "Europe/Berlin", "alert_emails": "new@example.com",
        "alert_webhook": "https://example.com/new", "rpm": "7", "tpm": "7",
        "concurrency": "7", "dark_limits": "on", **CAPTURE,
    },
    "apikey": {
        "name": "new", "note": "new", "allowed_models": "claude-opus-5", "networks": "203.0.113.0/24",
        "expires_at": "2999-01-01T00:00", "tags": "team=new", "compat": "strict", "idempotent": "on", "rpm": "7",
        "tpm": "7", "concurrency": "7", "dark_limits": "on", **CAPTURE,
    },
    "budget": {"limit_usd": "7"},
    "modelalias": {"name": "new", "target": "newer"},
    "modelprice": {
        "model": "new", "starts_at_0": "2999-01-01", "starts_at_1": "00:00", "note": "new",
        **dict.fromkeys(CLASSES, "7"), **dict.fromkeys(TERMS, "7"),
    },
    "user": {
        "username": "new", "first_name": "new", "last_name": "new", "email": "new@example.com",
        "must_change_password": "on", "role": "auditor", "is_staff": "on",
        "memberships-TOTAL_FORMS": "0", "memberships-INITIAL_FORMS": "0",
    },
    "requestrecord": {},
    "auditevent": {},
}  # fmt: skip
OF_A_KEY = {
    "name", "note", "allowed_models", "networks", "expires_at", "tags", "compat", "auto_cache", "idempotent",
    "rpm", "tpm", "concurrency", "dark_limits", *CAPTURE,
}  # fmt: skip
OF_A_TENANT = set(SENT["tenant"])
OF_AN_ALIAS, OF_A_BUDGET = {"name", "target"}, {"limit_nanos"}
OF_A_PERSON = {"username", "first_name", "last_name", "email", "must_change_password", "role", "is_active", "is_staff"}
NOTHING: dict[str, set[str]] = {}
WRITES: dict[str, dict[str, set[str]]] = {
    "platform admin": {
        "tenant": OF_A_TENANT,
        "apikey": OF_A_KEY,
        "budget": OF_A_BUDGET,
        "modelalias": OF_AN_ALIAS | {"tenant_id"},
        "modelprice": {"model", "starts_at", "note", *CLASSES, *TERMS},
        "user": OF_A_PERSON,
    },
    "manager": {"apikey": OF_A_KEY, "budget": OF_A_BUDGET, "modelalias": OF_AN_ALIAS},
    "auditor": NOTHING,
    "payload auditor": NOTHING,
    "auditor of acme": NOTHING,
    "nobody": NOTHING,
}
CAST: dict[str, Any] = {
    "platform admin": lambda acme: person("me", "admin"),
    "manager": lambda acme: at(person("me"), acme),
    "auditor": lambda acme: person("me", "auditor"),
    "payload auditor": lambda acme: person("me", "payload-auditor"),
    "auditor of acme": lambda acme: at(person("me"), acme, "auditor"),
    "nobody": lambda acme: person("me"),
}


@pytest.fixture
def rows(acme: Tenant, bobs_key: Issued, record: Record) -> dict[str, Model]:
    """One row of every page, Acme's where it can be."""
    known = User.objects.create_user("known", first_name="old", last_name="old", email="old@example.com")
    return {
        "tenant": acme,
        "apikey": bobs_key.row,
        "budget": Budget.objects.give(bobs_key.row, "month", 10**9),
        "modelalias": ModelAlias.objects.create(tenant=acme, name="old", target="old"),
        "modelprice": ModelPrice.objects.create(model="old", starts_at=timezone.now(), **dict.fromkeys(CLASSES, 1)),
        "user": known,
        "requestrecord": record(bobs_key.row),
        "auditevent": _event(),
    }


def _event() -> Model:
    from tenants.models import AuditEvent

    event: Model = AuditEvent.objects.first()
    return event


def columns(row: Model) -> dict[str, Any]:
    return type(row)._base_manager.filter(pk=row.pk).values().get()


def junk(row: Model) -> dict[str, str]:
    """Something for every column that the page has no field for, by its name and by its column's name."""
    names = {name for field in row._meta.concrete_fields for name in (field.name, field.attname)}
    return dict.fromkeys(names - set(SENT[str(row._meta.model_name)]) - {"is_active", "tenant"}, "1")


def test_every_page_is_in_the_matrix() -> None:
    assert {str(model._meta.model_name) for model in admin.site._registry} == set(SENT)


@pytest.mark.parametrize("who", CAST)
@pytest.mark.parametrize("kind", SENT)
def test_a_role_writes_its_fields_and_no_other(
    acme: Tenant, globex: Tenant, rows: dict[str, Model], who: str, kind: str
) -> None:
    client, row = signed_in(CAST[who](acme)), rows[kind]
    for tenant in (acme.pk, globex.pk):
        before = columns(row)
        body = {**junk(row), **SENT[kind], "tenant": tenant}
        client.post(f"/admin/tenants/{kind}/{row.pk}/change/", body)
        after = columns(row)
        changed = {name for name in before if before[name] != after[name]}
        allowed = WRITES[who].get(kind, set())
        if tenant == acme.pk:
            assert changed == allowed - {"tenant_id", "auto_cache"} | changed & {"tenant_id", "auto_cache"}
        assert changed <= allowed, tenant
    assert not Membership.objects.exclude(user__username="me").exists()


@pytest.mark.parametrize("who", CAST)
@pytest.mark.parametrize("kind", SENT)
def test_a_role_adds_what_it_may(acme: Tenant, rows: dict[str, Model], who: str, kind: str) -> None:
    client, row = signed_in(CAST[who](acme)), rows[kind]
    adds = {"tenant", "apikey", "budget", "modelalias", "modelprice", "user"} & WRITES[who].keys()
    password = {"password1": "a sentence of some length", "password2": "a sentence of some length"}
    more = {"tenant": acme.pk, "key": rows["apikey"].pk, "window": "week", "mode": "test", **password}
    body = {**SENT[kind], **more, "issue_id": "01a20440-9481-7c86-9a08-fa1fddc6bbb5"}
    before = type(row)._base_manager.count()
    client.post(f"/admin/tenants/{kind}/add/", body)
    made = kind != "auditevent" and type(row)._base_manager.count() > before
    assert made == (kind in adds)
