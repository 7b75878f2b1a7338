"""Sends the outbox's alerts, off every request's road: a signed POST, or an e-mail. The only HTTP client of this app.

A webhook's address comes from a person, so it is not trusted: https only, names resolved here and connected to as they
were resolved, no private network unless the site says so, no redirect, a short time, nothing read of the answer.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import socket
import time
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import urlsplit

import httpx
import msgspec
from django.conf import settings
from django.core.mail import send_mail
from django.db import Error

from tenants.alert_signing import signature
from tenants.alerts import Alert
from tenants.database import Database
from tenants.money import usd
from tenants.windows import end

log = logging.getLogger(__name__)

LOOK_SECONDS = 5.0
TIMEOUT = httpx.Timeout(10.0)
TOTAL_SECONDS = 20.0
# Addresses that stand for one of IPv4, perhaps a private one: NAT64 and 6to4.
TRANSLATED = [ipaddress.ip_network(network) for network in ("64:ff9b::/96", "64:ff9b:1::/48", "2002::/16")]


class Refused(Exception):
    """The message cannot go there; why, in words that hold no secret."""


class AlertSender:
    """One per worker; which one sends an alert is decided by whoever claims it first."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            with contextlib.suppress(Error):  # the database is away: they wait in it
                await self.send_due()

    async def send_due(self) -> int:
        """Sends what is due; returns how many went out."""
        alerts = await self._database(Alert.objects.claim)
        return sum(await asyncio.gather(*(self._send(alert) for alert in alerts)))

    async def _send(self, alert: Alert) -> bool:
        channels: dict[str, Callable[[Alert], Awaitable[None]]] = {Alert.WEBHOOK: _post, Alert.EMAIL: _mail}
        try:
            async with asyncio.timeout(TOTAL_SECONDS):
                await channels[alert.channel](alert)
        except Exception as error:  # whatever a receiver or a mail server comes up with: it is tried again
            problem = str(error) if isinstance(error, Refused) else type(error).__name__
            log.warning("an alert could not be sent", extra={"alert": alert.pk, "why": problem})
            await self._database(lambda: Alert.objects.put_off(alert.pk, alert.attempts, problem))
            return False
        await self._database(lambda: Alert.objects.sent(alert.pk))
        return True


def message(alert: Alert) -> dict[str, Any]:
    """What a webhook is told. `id` stays the same when it is sent again."""
    window, budget = alert.window, alert.window.budget
    ends = end(budget.window, window.first_day, budget.tenant.time_zone)
    return {
        "type": "budget.threshold_reached",
        "id": f"alert_{alert.pk}",
        "created": int(alert.created_at.timestamp()),
        "tenant": budget.tenant.slug,
        "key": {"id": str(budget.key.pk), "name": budget.key.name} if budget.key else None,
        "budget": {"id": budget.pk, "scope": budget.scope, "window": budget.window},
        "threshold_percent": alert.threshold,
        "limit_usd": usd(alert.limit_nanos),
        "spent_usd": usd(alert.spent_nanos),
        "window_begins": window.first_day.isoformat(),
        "resets_at": int(ends.timestamp()) if ends else None,
    }


async def _post(alert: Alert) -> None:
    """One signed POST. Raises Refused, or whatever httpx does."""
    body = msgspec.json.encode(message(alert))
    url, name = await _resolved(alert.target)
    headers = {
        "host": urlsplit(alert.target).netloc,
        "content-type": "application/json",
        "user-agent": "bridge",
        "x-bridge-signature": signature(alert.window.budget.tenant_id, int(time.time()), body),
    }
    async with httpx.AsyncClient(timeout=TIMEOUT, follow_redirects=False, trust_env=False) as client:
        sent = client.build_request("POST", url, headers=headers, content=body, extensions={"sni_hostname": name})
        response = await client.send(sent, stream=True)
        await response.aclose()
    if not 200 <= response.status_code < 300:
        raise Refused(f"it was answered with {response.status_code}")


async def _resolved(target: str) -> tuple[httpx.URL, str]:
    """The URL with an address in the place of its name, and the name. Raises Refused.

    Connecting to the very address that was looked at leaves a name server no chance to answer differently later.
    """
    url = httpx.URL(target)
    if url.userinfo:
        raise Refused("its address has a password in it")
    try:
        port = url.port or (443 if url.scheme == "https" else 80)
        found = await asyncio.get_running_loop().getaddrinfo(url.host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise Refused("its name cannot be resolved") from None
    addresses = [ipaddress.ip_address(str(entry[4][0]).partition("%")[0]) for entry in found]
    check_addresses(url.scheme, addresses)
    return url.copy_with(host=str(addresses[0])), url.host


def check_addresses(scheme: str, addresses: list[ipaddress.IPv4Address | ipaddress.IPv6Address]) -> None:
    """Raises Refused unless a webhook may lead to all of these: https, to the public internet. With
    ALERT_PRIVATE_NETWORKS also to private networks and, with plain http too, to this machine."""
    if not addresses:
        raise Refused("its name cannot be resolved")
    for address in addresses:
        address = getattr(address, "ipv4_mapped", None) or address
        inside = not address.is_global or address.is_multicast or any(address in network for network in TRANSLATED)
        if inside and not settings.ALERT_PRIVATE_NETWORKS:
            raise Refused("it leads to a private network")
        if scheme != "https" and not (scheme == "http" and address.is_loopback):
            raise Refused("it is not https")


async def _mail(alert: Alert) -> None:
    if not settings.EMAIL_URL:
        raise Refused("EMAIL_URL is not set")
    subject, text = letter(alert)
    await asyncio.to_thread(send_mail, subject, text, settings.DEFAULT_FROM_EMAIL, [alert.target])


def letter(alert: Alert) -> tuple[str, str]:
    """Subject and text of an e-mail."""
    told = message(alert)
    whose = f"key {told['key']['name']} of {told['tenant']}" if told["key"] else f"tenant {told['tenant']}"
    subject = f"{alert.threshold} % of the budget of {whose} is spent"
    lines = [
        f"{subject}.",
        "",
        f"Spent:  ${told['spent_usd']}",
        f"Limit:  ${told['limit_usd']}, window: {told['budget']['window']} from {told['window_begins']}",
        "",
        "Requests that could cost more than what is left are refused until the window ends or the limit is raised."
        if told["resets_at"]
        else "Requests that could cost more than what is left are refused until the limit is raised.",
    ]
    return " ".join(subject.split()), "\n".join(lines)
