"""Made-up requests by the million, as real ones look: for measuring the console, never for an installation in use."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import connection, transaction

from tenants import bulk, ids, partitions
from tenants.models import ApiKey, RequestRecord, Tenant, UsageDay
from tenants.records import from_columns
from tenants.usage import Place
from tenants.values import State

BATCH_ROWS = 5000
MODELS = {"claude-sonnet-5-5": 60, "claude-haiku-5-5": 25, "claude-opus-5": 15}  # name → share
NANOS = {"claude-sonnet-5-5": (3000, 15_000), "claude-haiku-5-5": (1000, 5000), "claude-opus-5": (5000, 25_000)}
# State, status, code and stop reason → share. What is rare here is what an auditor looks for.
ENDS = {
    (State.SETTLED, 200, "", "end_turn"): 800,
    (State.SETTLED, 200, "", "tool_use"): 130,
    (State.SETTLED, 200, "", "max_tokens"): 20,
    (State.SETTLED, 200, "", "refusal"): 1,
    (State.REFUSED, 429, "rate_limit_exceeded", ""): 25,
    (State.REFUSED, 400, "invalid_value", ""): 8,
    (State.FAILED, 503, "upstream_overloaded", ""): 6,
    (State.CANCELLED, 499, "", ""): 8,
    (State.INTERRUPTED, 500, "server_shutdown", ""): 2,
}
AGENTS = ("OpenAI/Python 2.8.1", "OpenAI/JS 6.9.0", "ai-sdk/5.0", "curl/8.5.0")
LINE_CLASSES = ("input", "output")


@dataclass(frozen=True, slots=True)
class Seeded:
    tenants: list[Tenant]
    keys: list[ApiKey]


def cast(tenants: int, keys_each: int) -> Seeded:
    """The tenants and keys that the requests are of. Nobody knows the keys: they are not kept."""
    made = [
        Tenant.objects.get_or_create(slug=f"seeded-{n:03}", defaults={"name": f"Seeded {n:03}"})[0]
        for n in range(1, tenants + 1)
    ]
    issue = ApiKey.objects.issue
    keys = [issue(t, f"key {n}", peppers=settings.KEY_PEPPERS).row for t in made for n in range(1, keys_each + 1)]
    return Seeded(made, keys)


def seed(count: int, days: int, who: Seeded, number: int, told: Callable[[int], None]) -> None:
    """Writes that many records, evenly over these days until now, oldest first, and their sums by day."""
    end = datetime.now(UTC) - timedelta(seconds=1)
    start = end - timedelta(days=days)
    month = start
    while month <= end:
        partitions.prepare_months(now=month)
        month += timedelta(days=28)
    rows = _records(count, start, end, who, random.Random(number))
    sums: dict[Place, UsageDay] = {}
    done = 0
    while batch := list(islice(rows, BATCH_ROWS)):
        for row in batch:
            place = Place.of(row)
            if place not in sums:
                sums[place] = UsageDay(**place._asdict())
            sums[place].count(row)
        with transaction.atomic():
            bulk.insert(map(vars, batch), RequestRecord)
        done += len(batch)
        told(done)
    with transaction.atomic():
        UsageDay.objects.bulk_create(sums.values(), batch_size=200)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")


def _records(count: int, start: datetime, end: datetime, who: Seeded, dice: random.Random) -> Iterator[RequestRecord]:
    step = (end - start) / count
    models, model_shares = list(MODELS), list(MODELS.values())
    ends, end_shares = list(ENDS), list(ENDS.values())
    hints = {key.pk: key.secrets.get().hint for key in who.keys}
    weights = [1 / (n + 1) for n in range(len(who.keys))]  # a few keys do most of it
    at = 0
    while at < count:
        many = min(1000, count - at)
        drawn = zip(
            dice.choices(models, model_shares, k=many),
            dice.choices(ends, end_shares, k=many),
            dice.choices(who.keys, weights, k=many),
            strict=True,
        )
        for model, how, key in drawn:
            yield from_columns(_row(dice, _id(dice, start + at * step), key, hints[key.pk], model, how))
            at += 1


def _row(dice: random.Random, pk: UUID, key: ApiKey, hint: str, model: str, how: tuple[Any, ...]) -> dict[str, Any]:
    state, status, code, stop = how
    row = {
        "id": pk,
        "tenant_id": key.tenant_id,
        "key_id": key.pk,
        "key_hint": hint,
        "mode": "live",
        "state": str(state),
        "status": status,
        "error_code": code,
        "stop_reason": stop,
        "dialect": "chat",
        "streamed": dice.random() < 0.7,
        "alias": model,
        "model": model,
        "end_user": f"{dice.getrandbits(16):016x}" if dice.random() < 0.3 else None,
        "remote_address": f"10.0.{dice.getrandbits(8)}.{dice.getrandbits(8)}",
        "user_agent": AGENTS[dice.getrandbits(2)],
    }
    if state == State.REFUSED:
        return {**row, "refusal": {"rule": code, "level": "key", "message": "Refused, as seeded."}, "total_us": 900}
    return {**row, **_used(dice, model)}


def _used(dice: random.Random, model: str) -> dict[str, Any]:
    tokens_in, tokens_out = int(dice.lognormvariate(7, 1.2)), int(dice.lognormvariate(5.5, 1))
    first = int(dice.lognormvariate(13.3, 0.5))
    nanos = [rate * tokens for rate, tokens in zip(NANOS[model], (tokens_in, tokens_out), strict=True)]
    return {
        "upstream_id": f"req_{dice.getrandbits(96):024x}",
        "message_id": f"msg_{dice.getrandbits(96):024x}",
        "attempts": 1,
        "input_tokens": tokens_in,
        "output_tokens": tokens_out,
        "usage_source": "exact",
        "cost_nanos": sum(nanos),
        "cost_lines": [
            {"what": what, "tokens": tokens, "nanos": cost}
            for what, tokens, cost in zip(LINE_CLASSES, (tokens_in, tokens_out), nanos, strict=True)
        ],
        "queue_us": dice.randrange(300, 3000),
        "first_token_us": first,
        "total_us": first + tokens_out * 15_000,
    }


def _id(dice: random.Random, at: datetime) -> UUID:
    """A UUIDv7 of that moment."""
    return UUID(int=ids.floor(at).int | dice.getrandbits(12) << 64 | dice.getrandbits(62))
