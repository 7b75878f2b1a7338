"""What a load balancer and a metrics collector see."""

from __future__ import annotations

from django.test import override_settings

from tests.asgi import Client
from tests.conftest import Stage


async def test_health_needs_no_key(stage: Stage) -> None:
    anyone = Client(stage.app)
    assert (await anyone.get("/healthz")).json()["status"] == "ok"
    assert (await anyone.get("/readyz")).json() == {"status": "ready"}


async def test_a_draining_worker_is_not_ready(stage: Stage) -> None:
    stage.app.begin_shutdown(3600)
    got = await Client(stage.app).get("/readyz")
    assert (got.status, got.json()["reason"]) == (503, "shutting down")


async def test_missing_migrations_are_not_ready(stage: Stage) -> None:
    from asgiref.sync import sync_to_async
    from django.db.migrations.recorder import MigrationRecorder

    last = MigrationRecorder.Migration.objects.filter(app="tenants").order_by("-id")
    row = await sync_to_async(last.first)()
    assert row is not None
    await sync_to_async(row.delete)()
    try:
        got = await Client(stage.app).get("/readyz")
    finally:
        await sync_to_async(row.save)(force_insert=True)
    assert (got.status, got.json()["reason"]) == (503, "migrations are not applied")


async def test_metrics_are_for_this_machine_or_with_the_token(stage: Stage) -> None:
    await stage.client.chat()
    got = await Client(stage.app).get("/metrics")
    assert got.status == 200 and "bridge_requests_total" in got.body.decode()
    assert 'bridge_spend_nanodollars_total{mode="live"}' in got.body.decode()
    assert (await Client(stage.app).get("/metrics", x_forwarded_for="203.0.113.7")).status == 401
    with override_settings(METRICS_TOKEN="s3cret"):
        got = await Client(stage.app).get("/metrics", x_forwarded_for="203.0.113.7", authorization="Bearer s3cret")
    assert got.status == 200
