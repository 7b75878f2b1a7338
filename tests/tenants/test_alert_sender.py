"""Alerts: sent once, signed, again when it fails, and never to where they have no business."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import ipaddress
from collections.abc import AsyncIterator
from datetime import date, timedelta
from typing import Any

import msgspec
import pytest
from asgiref.sync import sync_to_async
from django.core import mail
from django.core.exceptions import ValidationError
from django.utils import timezone

from tenants import alert_sender, alert_signing
from tenants.alert_sender import AlertSender, Refused, check_addresses
from tenants.alerts import BACKOFF_SECONDS, Alert, check_emails, check_webhook
from tenants.database import Database
from tenants.models import Budget, BudgetWindow, Tenant


class Receiver:
    """A webhook's other end."""

    def __init__(self, *statuses: int) -> None:
        self.statuses = list(statuses)
        self.got: list[tuple[dict[str, str], bytes]] = []
        self.url = ""

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:] if line)}
        self.got.append((headers, await reader.readexactly(int(headers["content-length"]))))
        status = self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]
        location = f"location: {self.url}/elsewhere\r\n" if status == 302 else ""
        writer.write(f"HTTP/1.1 {status} x\r\n{location}content-length: 0\r\nconnection: close\r\n\r\n".encode())
        await writer.drain()
        writer.close()


@pytest.fixture
async def receiver(settings: Any) -> AsyncIterator[Receiver]:
    settings.ALERT_PRIVATE_NETWORKS = True
    receiver = Receiver(200)
    server = await asyncio.start_server(receiver.answer, "127.0.0.1", 0)
    receiver.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    yield receiver
    server.close()
    await server.wait_closed()


@pytest.fixture
async def sender(acme: Tenant) -> AsyncIterator[AlertSender]:
    database = Database(threads=1)
    yield AlertSender(database)
    await asyncio.to_thread(database.close)


def _put_out(tenant: Tenant, channel: str, target: str) -> Alert:
    budget = Budget.objects.give(tenant, "month", 100 * 10**9)
    window = BudgetWindow.objects.create(budget=budget, first_day=date(2026, 11, 1), spent_nanos=80 * 10**9)
    return Alert.objects.create(
        window=window, threshold=80, spent_nanos=80 * 10**9, limit_nanos=10**11, channel=channel, target=target
    )


put_out = sync_to_async(_put_out)


async def test_a_webhook_gets_what_happened_signed(acme: Tenant, sender: AlertSender, receiver: Receiver) -> None:
    alert = await put_out(acme, "webhook", f"{receiver.url}/hook?x=1")
    assert await sender.send_due() == 1
    assert await sender.send_due() == 0
    ((headers, body),) = receiver.got
    parts = dict(part.split("=") for part in headers["x-bridge-signature"].split(","))
    secret = alert_signing.secret(acme.pk).encode()
    expected = hmac.new(secret, parts["t"].encode() + b"." + body, hashlib.sha256).hexdigest()
    assert hmac.compare_digest(parts["v1"], expected)
    told = msgspec.json.decode(body)
    assert (told["type"], told["id"], told["threshold_percent"]) == (
        "budget.threshold_reached",
        f"alert_{alert.pk}",
        80,
    )
    assert (told["spent_usd"], told["limit_usd"], told["tenant"]) == ("80.000000000", "100.000000000", "acme")
    assert told["resets_at"] == 1796083200
    assert (await Alert.objects.aget()).sent_at


async def test_every_tenant_has_a_secret_of_its_own(acme: Tenant) -> None:
    assert alert_signing.secret(acme.pk) != alert_signing.secret(acme.pk + 1)


@pytest.mark.parametrize("status", [500, 404, 302])
async def test_what_does_not_arrive_is_sent_again_later_and_later(
    acme: Tenant, sender: AlertSender, receiver: Receiver, status: int
) -> None:
    receiver.statuses = [status, status, 204]
    await put_out(acme, "webhook", receiver.url)
    for seconds in BACKOFF_SECONDS[:2]:
        assert await sender.send_due() == 0
        alert = await Alert.objects.aget()
        assert alert.problem == f"it was answered with {status}"
        assert alert.due_at and abs((alert.due_at - timezone.now()).total_seconds() - seconds) < 5
        assert await sender.send_due() == 0
        await Alert.objects.aupdate(due_at=timezone.now())
    assert await sender.send_due() == 1
    assert len(receiver.got) == 3  # a redirect was not followed


async def test_it_is_given_up_at_last(acme: Tenant, sender: AlertSender, receiver: Receiver) -> None:
    receiver.statuses = [500]
    await put_out(acme, "webhook", receiver.url)
    for _ in range(len(BACKOFF_SECONDS) + 3):
        await sender.send_due()
        await Alert.objects.filter(due_at__isnull=False).aupdate(due_at=timezone.now())
    assert len(receiver.got) == len(BACKOFF_SECONDS) + 1
    assert (await Alert.objects.aget()).due_at is None


async def test_two_workers_send_it_once(acme: Tenant, sender: AlertSender, receiver: Receiver) -> None:
    await put_out(acme, "webhook", receiver.url)
    other = AlertSender(sender._database)
    assert sum(await asyncio.gather(sender.send_due(), other.send_due())) == 1
    assert len(receiver.got) == 1


async def test_what_a_dead_worker_had_claimed_is_sent_by_another(acme: Tenant, sender: AlertSender) -> None:
    await put_out(acme, "email", "bob@acme.example")
    claimed = await sync_to_async(Alert.objects.claim)()
    assert len(claimed) == 1 and await sync_to_async(Alert.objects.claim)() == []
    await Alert.objects.aupdate(due_at=timezone.now() - timedelta(seconds=1))
    assert len(await sync_to_async(Alert.objects.claim)()) == 1


async def test_an_email_says_it_in_words(acme: Tenant, sender: AlertSender, settings: Any) -> None:
    settings.EMAIL_URL = "smtp://localhost"
    await put_out(acme, "email", "bob@acme.example")
    assert await sender.send_due() == 1
    (letter,) = mail.outbox
    assert (letter.subject, letter.to) == ("80 % of the budget of tenant acme is spent", ["bob@acme.example"])
    assert "$80.000000000" in letter.body


async def test_without_a_way_to_send_mail_it_says_so(acme: Tenant, sender: AlertSender) -> None:
    await put_out(acme, "email", "bob@acme.example")
    assert await sender.send_due() == 0
    assert (await Alert.objects.aget()).problem == "EMAIL_URL is not set"


async def test_a_name_that_leads_to_a_private_network_is_not_called(
    acme: Tenant, sender: AlertSender, receiver: Receiver, settings: Any
) -> None:
    settings.ALERT_PRIVATE_NETWORKS = False
    await put_out(acme, "webhook", receiver.url.replace("127.0.0.1", "localhost"))
    assert await sender.send_due() == 0
    assert (await Alert.objects.aget()).problem == "it leads to a private network"
    assert receiver.got == []


async def test_the_address_that_was_looked_at_is_the_one_connected_to(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = ["93.184.215.14", "127.0.0.1"]

    async def resolve(*_: Any, **__: Any) -> list[Any]:
        return [(0, 0, 0, "", (answers.pop(0), 443))]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", resolve)
    url, name = await alert_sender._resolved("https://rebinding.example/hook")
    assert (str(url), name) == ("https://93.184.215.14/hook", "rebinding.example")


PRIVATE = [
    "127.0.0.1", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1",
    "::1", "fe80::1", "fd00::1", "::ffff:10.0.0.1", "ff02::1", "64:ff9b:1::a00:1",
]  # fmt: skip


@pytest.mark.parametrize("address", PRIVATE)
def test_private_networks_are_refused(address: str) -> None:
    with pytest.raises(Refused, match="private"):
        check_addresses("https", [ipaddress.ip_address("93.184.215.14"), ipaddress.ip_address(address)])


def test_they_may_be_allowed_but_plain_http_only_here(settings: Any) -> None:
    settings.ALERT_PRIVATE_NETWORKS = True
    check_addresses("https", [ipaddress.ip_address("10.0.0.1")])
    check_addresses("http", [ipaddress.ip_address("127.0.0.1")])
    with pytest.raises(Refused, match="https"):
        check_addresses("http", [ipaddress.ip_address("10.0.0.1")])
    with pytest.raises(Refused):
        check_addresses("https", [])


@pytest.mark.parametrize(
    "url", ["http://a.example", "ftp://a.example", "https://", "https://u:p@a.example", "x", "https://a:99999"]
)
def test_a_webhook_that_would_never_be_called_is_not_taken(url: str) -> None:
    with pytest.raises(ValidationError):
        check_webhook(url)


def test_addresses_are_addresses() -> None:
    check_emails("bob@acme.example\ncarol@acme.example")
    for text in ("bob", "bob@acme.example,carol@acme.example", "\n".join(f"a{n}@a.example" for n in range(21))):
        with pytest.raises(ValidationError):
            check_emails(text)
