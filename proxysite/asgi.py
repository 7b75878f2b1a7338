"""The composition root: two doors, and what lives as long as a worker does.

/v1/…, /models, /healthz, …   the API door (door.py), also by way of a WebSocket (websocket.py)
/, /admin/, /static/          stock Django with its middleware
"""

from __future__ import annotations

import asyncio
import gc
import os
from collections.abc import Awaitable, Callable
from contextlib import suppress

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "proxysite.settings")

import django

django.setup()

from django.conf import settings  # noqa: E402
from django.core.handlers.asgi import ASGIHandler  # noqa: E402
from django.db import Error, connection  # noqa: E402
from django.db.migrations.executor import MigrationExecutor  # noqa: E402

from bridge import catalog, telemetry  # noqa: E402
from bridge.listing import Listing, OwnListings  # noqa: E402
from bridge.pipeline import Services  # noqa: E402
from bridge.prices import Prices  # noqa: E402
from bridge.redaction import redact  # noqa: E402
from bridge.sandbox import Sandbox  # noqa: E402
from bridge.upstream import Upstream  # noqa: E402
from bridge.upstream_answer import Deadlines  # noqa: E402
from bridge.upstream_network import network_transport  # noqa: E402
from proxysite.door import ApiDoor, Receive, Scope  # noqa: E402
from proxysite.sending import Send  # noqa: E402
from proxysite.site_key import SiteKey  # noqa: E402
from proxysite.websocket import Sockets, accepts  # noqa: E402
from tenants import pricing, witness  # noqa: E402
from tenants.alert_sender import AlertSender  # noqa: E402
from tenants.budgets import Budgets  # noqa: E402
from tenants.credential_news import CredentialNews  # noqa: E402
from tenants.database import Database  # noqa: E402
from tenants.fairness import Fairness  # noqa: E402
from tenants.gate import Gate  # noqa: E402
from tenants.journal import Journal  # noqa: E402
from tenants.ledger import Ledger  # noqa: E402
from tenants.limits import Limiter  # noqa: E402
from tenants.limits_memory import MemoryStore  # noqa: E402
from tenants.limits_redis import RedisStore, installation  # noqa: E402
from tenants.nightly import Nightly  # noqa: E402
from tenants.payloads import Payloads  # noqa: E402
from tenants.replays import Replays  # noqa: E402
from tenants.sealing import Seals  # noqa: E402
from tenants.values import Mode  # noqa: E402
from tenants.vault import Vault  # noqa: E402

GC_THRESHOLDS = (50_000, 20, 20)  # a request leaves no cycles behind: the collector need not look after every tenth
DRAIN_MARGIN = 2.5  # seconds between the end of the streams and the end of the grace period, to write what is left

SETTLE_SECONDS = 0.5  # that a request waits for what has ended to be settled, before it is refused for want of money


class Application:
    """The ASGI application. `begin_shutdown` is called by the server's worker when it is told to stop."""

    def __init__(self) -> None:
        self._api = ApiDoor(self.unready)
        self._sockets = Sockets(self._api)
        self._console = ASGIHandler()
        self._tasks: list[asyncio.Task[None]] = []
        self._migrated = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif scope["type"] == "http":
            path = scope["path"]
            console = path == "/" or path == "/admin" or path.startswith(("/admin/", "/static/"))
            await (self._console if console else self._api)(scope, receive, send)  # type: ignore[arg-type]
        else:
            await self._sockets(scope, receive, send)

    def accepts_websocket(self, path: str) -> bool:
        """Elsewhere the wish for one is ignored: it is answered as the request that it also is."""
        return accepts(path)

    async def unready(self) -> str:
        """Why this worker should not get traffic; empty when it should."""
        if self._api.draining:
            return "shutting down"
        if not self._migrated:
            try:
                self._migrated = not await self._database(_unapplied)
            except Error:
                return "the database cannot be reached"
        return "" if self._migrated else "migrations are not applied"

    def begin_shutdown(self, grace: float) -> float:
        """New traffic should go elsewhere; what runs may finish until shortly before the grace period ends: returns
        in how many seconds that is."""
        left = max(grace - DRAIN_MARGIN, 0)
        if not self._api.draining:
            self._api.draining = True
            self._sockets.drain()
            asyncio.get_running_loop().call_later(left, self._api.drain)
        return left

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        try:
            await self._open()
        except Exception as error:
            await send({"type": "lifespan.startup.failed", "message": str(error)})
            raise
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self._close()
        await send({"type": "lifespan.shutdown.complete"})

    async def _open(self) -> None:
        self._database = Database()
        self._journal = Journal(settings.JOURNAL_DIR, settings.JOURNAL_FSYNC)
        self._ledger = Ledger(self._journal, self._database, settings.JOURNAL_DIR, settings.JOURNAL_FSYNC)
        self._budgets = Budgets(self._database)
        self._counts = MemoryStore(settings.LIMITS_DIR)
        site_key = SiteKey(settings.ANTHROPIC_API_KEY, settings.ANTHROPIC_API_KEY_FILE)
        self._redis = RedisStore(settings.REDIS_URL, installation(settings.SECRET_KEY)) if settings.REDIS_URL else None
        limiter = Limiter(self._counts, self._redis, settings.INSTANCES)
        self._services = make_services(site_key.text, limiter, self._budgets, self._settle)
        self._services.replays = replays = Replays(self._database, settings.ENCRYPTION_KEYS)
        self._services.tell = CredentialNews(self._database).tell
        self._services.vault = self._vault = Vault(
            self._database, settings.ENCRYPTION_KEYS, settings.THINKING_VAULT_HOURS
        )
        self._services.seals = Seals(settings.ENCRYPTION_KEYS)
        self._gate = gate = Gate(self._database, settings.KEY_PEPPERS, self._reprice)
        await gate.poll()
        encryption, limit = settings.ENCRYPTION_KEYS, settings.CAPTURE_MAX_BYTES
        self._payloads = payloads = Payloads(self._database, encryption, limit, redact)
        self._api.open(gate, self._journal, self._services, payloads)
        self._nightly = Nightly()
        background = [
            gate.watch(), self._ledger.run(), self._budgets.run(), self._gauge(), self._nightly.run(), replays.run(),
            payloads.run(),
            witness.watch(self._database), AlertSender(self._database).run(), site_key.watch(self._use_key),
            self._vault.run(),
        ]  # fmt: skip
        if self._redis is not None:
            await self._redis.open()
            background.append(self._redis.run())
        self._tasks = [asyncio.create_task(work) for work in background]
        # What was made so far stays for ever: the collector need not look at it again.
        gc.collect()
        gc.freeze()
        gc.set_threshold(*GC_THRESHOLDS)

    async def _reprice(self) -> None:
        """Takes the site's own prices, at the start and whenever one changed."""
        self._services.prices.override(await self._database(pricing.own))

    async def _settle(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(SETTLE_SECONDS):
                await self._ledger.flush()

    def _use_key(self, text: str) -> None:
        """Calls that begin now carry it; those under way end with the one before."""
        live = self._services.live
        if live is not None and settings.UPSTREAM == "anthropic":
            live.headers = {**live.headers, "x-api-key": text}

    async def _gauge(self) -> None:
        while True:
            telemetry.journal_depth.set(self._journal.depth)
            telemetry.journal_behind.set(self._ledger.behind)
            telemetry.journal_failures.set(self._journal.failures)
            telemetry.payloads_lost.set(self._payloads.lost)
            telemetry.in_flight.set(len(self._api.live))
            telemetry.websockets.set(len(self._sockets.open))
            await asyncio.sleep(1)

    async def _close(self) -> None:
        self._api.drain()
        self._nightly.stop()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._services.kept.aclose()
        await self._payloads.flush()
        await self._vault.aclose()
        await self._ledger.close()
        await self._budgets.close()
        for listing in self._services.listings.values():
            listing.close()
        self._services.own_listings.close()
        for upstream in filter(None, {self._services.live, self._services.test}):
            await upstream.aclose()
        if self._redis is not None:
            await self._redis.close()
        self._counts.close()
        await asyncio.to_thread(self._database.close)


def make_services(site_key: str, limiter: Limiter, budgets: Budgets, settle: Callable[[], Awaitable[None]]) -> Services:
    """What the settings say is upstream."""
    models = catalog.load()
    infos = [catalog.as_info(model) for model in models.models]
    live = sandbox = Upstream(Sandbox(infos), "http://sandbox", {})
    if settings.UPSTREAM == "anthropic":
        live = Upstream(
            network_transport(settings.UPSTREAM_TRANSPORT),
            settings.ANTHROPIC_BASE_URL,
            {"anthropic-version": settings.ANTHROPIC_VERSION, "x-api-key": site_key},
            in_flight=settings.MAX_IN_FLIGHT,
            deadlines=Deadlines(**settings.UPSTREAM_DEADLINES),
        )
    listings = {mode: Listing(models) for mode in Mode}
    prices, own, fairness = Prices(models), OwnListings(models), Fairness(settings.MAX_IN_FLIGHT)
    return Services(
        models, live, sandbox, listings, prices, settings.SECRET_KEY, limiter, fairness, budgets, settle, own
    )


def _unapplied() -> bool:
    executor = MigrationExecutor(connection)
    return bool(executor.migration_plan(executor.loader.graph.leaf_nodes()))


application = Application()
