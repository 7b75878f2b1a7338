"""Limits in the console: set with a new key, changed later, and shown with what is left of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from tenants.limits import Unit
from tenants.limits_memory import MemoryStore
from tenants.models import ApiKey, Tenant
from tests.tenants.admin.test_issue import send, text


@pytest.fixture(autouse=True)
def table(tmp_path: Path, settings: Any) -> Any:
    settings.LIMITS_DIR = tmp_path
    store = MemoryStore(tmp_path)
    yield store
    store.close()


def test_a_key_is_issued_with_its_limits(as_alice: Client, acme: Tenant) -> None:
    assert send(as_alice, acme, rpm="60", tpm="0", dark_limits="on").status_code == 200
    key = ApiKey.objects.get()
    assert (key.rpm, key.tpm, key.concurrency, key.dark_limits) == (60, 0, None, True)
    assert [(limit.unit, limit.limit, limit.dark) for limit in key.limits()] == [(Unit.REQUESTS, 60, True)]


def test_a_limit_that_no_table_can_count_is_not_accepted(as_alice: Client, acme: Tenant) -> None:
    assert "less than or equal to 60000" in text(send(as_alice, acme, concurrency="70000"))
    assert not ApiKey.objects.exists()


def test_the_pages_show_what_is_left(as_alice: Client, acme: Tenant, table: MemoryStore) -> None:
    Tenant.objects.filter(pk=acme.pk).update(concurrency=7)
    send(as_alice, acme, rpm="60")
    key = ApiKey.objects.get()
    for _ in range(3):
        table.take_now([(limit, 1) for limit in key.limits()])
    page = text(as_alice.get(f"/admin/tenants/apikey/{key.pk}/change/"))
    assert "requests a minute" in page and "57" in page and "requests at once" in page
    page = text(as_alice.get(f"/admin/tenants/tenant/{acme.pk}/change/"))
    assert "requests at once" in page and ">4<" in page.replace(" ", "").replace("\n", "")


def test_a_page_says_that_redis_is_away(as_alice: Client, acme: Tenant, settings: Any) -> None:
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    Tenant.objects.filter(pk=acme.pk).update(rpm=7)
    page = text(as_alice.get(f"/admin/tenants/tenant/{acme.pk}/change/"))
    assert "Redis does not answer" in page
