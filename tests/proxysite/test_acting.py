"""The trail knows who was at the console, and from where: a forwarded address only from a proxy that is trusted."""

from __future__ import annotations

import ipaddress
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from tenants.audit import AuditEvent
from tenants.models import Tenant, User


@pytest.fixture
def alice(db: None) -> Client:
    client = Client(REMOTE_ADDR="10.0.0.1", HTTP_USER_AGENT="a browser", HTTP_X_FORWARDED_FOR="6.6.6.6, 203.0.113.9")
    client.force_login(User.objects.create_superuser("alice"))
    return client


def suspended_by(client: Client) -> AuditEvent:
    acme = Tenant.objects.create(slug="acme", name="Acme")
    client.post(reverse("admin:tenants_tenant_suspend", args=(acme.pk,)), {"reason": "unpaid"})
    row: AuditEvent = AuditEvent.objects.order_by("-seq")[0]
    assert row.action == "tenant.suspended" and row.told_context == {"reason": "unpaid", "user_agent": "a browser"}
    return row


def test_the_peer_is_where_it_came_from(alice: Client) -> None:
    row = suspended_by(alice)
    assert (row.actor_kind, row.actor_name, row.address) == ("user", "alice", "10.0.0.1")
    assert row.actor_id == str(User.objects.get().pk)


def test_a_trusted_proxy_says_where_it_came_from(alice: Client, settings: Any) -> None:
    settings.TRUSTED_PROXIES = [ipaddress.ip_network("10.0.0.0/8")]
    assert suspended_by(alice).address == "203.0.113.9"


def test_nobody_acts_after_the_answer(alice: Client) -> None:
    suspended_by(alice)
    Tenant.objects.get().resume()
    assert AuditEvent.objects.order_by("-seq")[0].actor_kind == "system"
