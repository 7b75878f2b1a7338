"""A site that has been in use for a month: tenants, keys, budgets, days of usage and the newest requests.

furnish()      Acme, Globex and Initech with a month behind them; the same every time, save for the clock
"""

from __future__ import annotations

import math
import random
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.utils import timezone

from tenants import ids
from tenants.models import ApiKey, Budget, BudgetWindow, KeySecret, RequestRecord, Tenant, UsageDay
from tenants.usage import bucket
from tenants.values import Mode
from tenants.windows import first_day

SITES = {
    "Acme": (("support bot", 9.0), ("ticket triage", 4.0), ("nightly reports", 1.2)),
    "Globex": (("code review", 6.0), ("pair programming", 3.0)),
    "Initech": (("meeting notes", 1.5), ("staging", 0.3)),
}
MODELS = {"claude-sonnet-5-5": (0.6, 3.0, 15.0), "claude-haiku-5-5": (0.3, 1.0, 5.0), "claude-opus-5": (0.1, 5.0, 25.0)}
REFUSAL = {
    "message": "Rate limit reached for requests per minute (RPM) of this key: limit 60, 0 left; retry in 2 s.",
    "param": None,
    "rule": "rate_limit",
    "scope": "key",
    "unit": "requests",
    "limit": 60,
    "remaining": 0,
    "needed": 1,
    "retry_seconds": 1.4,
}
Ends = dict[str, Any]
ENDS: tuple[tuple[float, Ends], ...] = (
    (0.93, {"state": "settled", "status": 200, "stop_reason": "end_turn"}),
    (0.03, {"state": "refused", "status": 429, "error_code": "rate_limit_exceeded", "refusal": REFUSAL}),
    (0.02, {"state": "cancelled", "status": 200}),
    (0.01, {"state": "failed", "status": 503, "error_code": "server_is_overloaded"}),
    (0.01, {"state": "settled", "status": 200, "stop_reason": "max_tokens"}),
)


def furnish(now: datetime | None = None) -> None:
    now, chance = now or timezone.now(), random.Random(5)
    for name, keys in SITES.items():
        tenant = Tenant.objects.create(slug=name.lower(), name=name)
        for key_name, size in keys:
            key = _key(tenant, key_name, now)
            for age in range(30):
                _day(key, size, now.date() - timedelta(days=age), chance, now)
            for _ in range(round(size * 4)):
                _request(key, now - timedelta(seconds=chance.expovariate(1 / 4000)), chance)
    _budgets(now)


def _key(tenant: Tenant, name: str, now: datetime) -> ApiKey:
    ends = now + timedelta(days=6, hours=3) if name == "nightly reports" else None
    mode = Mode.TEST if name == "staging" else Mode.LIVE
    key = ApiKey.objects.issue(tenant, name, peppers=settings.KEY_PEPPERS, mode=mode, expires_at=ends).row
    KeySecret.objects.filter(key=key).update(last_used_at=now - timedelta(minutes=len(name)))
    return key


def _day(key: ApiKey, size: float, day: Any, chance: random.Random, now: datetime) -> None:
    """Less at weekends, more from week to week, and today only as far as it has come."""
    weekend = 0.25 if day.weekday() > 4 else 1.0
    part = (now.hour + 1) / 24 if day == now.date() else 1.0
    growth = 1.4 - (now.date() - day).days / 40
    for model, (share, dear, dearer) in MODELS.items():
        requests = int(size * 240 * weekend * part * growth * share * chance.uniform(0.75, 1.25)) + 1
        read, given, answer = requests * 5200, requests * 900, requests * 420
        cost = 0 if key.mode == "test" else int((given * dear + read * dear / 10 + answer * dearer) * 1000)
        UsageDay.objects.create(
            tenant=key.tenant, key=key, day=day, model=model, requests=requests, refusals=requests // 40,
            errors=requests // 150, cancelled=requests // 90, input_tokens=given, cache_read_tokens=read,
            cache_write_5m_tokens=given // 3, output_tokens=answer, cost_nanos=cost,
            total_times=_times(requests, 3_400_000, chance), first_token_times=_times(requests, 640_000, chance),
        )  # fmt: skip


def _times(count: int, middle: int, chance: random.Random) -> dict[str, int]:
    times: dict[str, int] = {}
    for _ in range(min(count, 60)):
        place = bucket(int(middle * math.exp(chance.gauss(0, 0.5))))
        times[place] = times.get(place, 0) + max(count // 60, 1)
    return times


def _request(key: ApiKey, at: datetime, chance: random.Random) -> None:
    model = chance.choices(list(MODELS), [share for share, *_ in MODELS.values()])[0]
    end = chance.choices([end for _, end in ENDS], [share for share, _ in ENDS])[0]
    row: dict[str, Any] = {"queue_us": None, "total_us": chance.randrange(900, 4000)}
    if end["state"] != "refused":
        row = _used(model, chance) | ({} if key.mode == "live" else {"cost_nanos": 0, "cost_lines": []})
    RequestRecord.objects.create(
        id=UUID(int=ids.floor(at).int | chance.getrandbits(62)), tenant=key.tenant, key=key, mode=key.mode,
        key_hint=key.secrets.get().hint, dialect="chat", streamed=chance.random() < 0.7, model=model, alias="gpt-4o",
        receipt="temperature=ignored, n=emulated, reasoning_effort=adapted", end_user=f"u_{chance.getrandbits(24):06x}",
        remote_address="192.0.2.17", user_agent="OpenAI/Python 2.8.1", **row, **end,
    )  # fmt: skip


def _used(model: str, chance: random.Random) -> dict[str, Any]:
    _, dear, dearer = MODELS[model]
    given, read, answer = chance.randrange(60, 2400), chance.choice([0, 5200, 18_400]), chance.randrange(20, 1800)
    lines = [
        {"class": name, "model": model, "tokens": tokens, "pico_per_token": int(price * 10**6),
         "pico": tokens * int(price * 10**6)}
        for name, tokens, price in (("input", given, dear), ("cache_read", read, dear / 10), ("output", answer, dearer))
        if tokens
    ]  # fmt: skip
    first = int(480_000 * math.exp(chance.gauss(0, 0.4)))
    return {
        "queue_us": chance.randrange(400, 2_000), "first_token_us": first, "total_us": first + answer * 9_000,
        "input_tokens": given, "cache_read_tokens": read, "output_tokens": answer, "usage_source": "exact",
        "cost_nanos": sum(line["pico"] for line in lines) // 1000, "cost_lines": lines, "attempts": 1,
        "upstream_id": f"req_{chance.getrandbits(60):015x}", "message_id": f"msg_{chance.getrandbits(60):015x}",
    }  # fmt: skip


def _budgets(now: datetime) -> None:
    spent = {"Acme": (150, 86), "Globex": (2_000, 31)}
    for name, (dollars, percent) in spent.items():
        budget = Budget.objects.give(Tenant.objects.get(name=name), "month", dollars * 10**9)
        BudgetWindow.objects.create(
            budget=budget, first_day=first_day("month", now, "UTC"), spent_nanos=dollars * percent * 10**7
        )
