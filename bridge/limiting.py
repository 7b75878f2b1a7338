"""Rate limits on the one road: what a request asks of them, what is told of them, and what a refusal says."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Mapping
from typing import Any

from bridge import telemetry
from bridge.call import Call
from bridge.dialects.standing import anthropic_headers, openai_headers
from bridge.errors import ApiError
from bridge.estimate import input_tokens
from tenants.limits import Limiter, Standing, Taken, Unit
from tenants.values import Caller, Usage, UsageSource

EXPECTED_OUTPUT = 4_096  # tokens of an answer that are taken in advance, at most: what is over is settled at its end
_LONGEST_WAIT = 60  # s; above, SDKs do not wait as long as they are told, and come back too early

_FORMS = {"messages": anthropic_headers}  # by dialect; all others have OpenAI's
_SHOWN = (Unit.REQUESTS, Unit.TOKENS)
_NAMES = {
    Unit.REQUESTS: "requests per minute (RPM)",
    Unit.TOKENS: "tokens per minute (TPM)",
    Unit.CONCURRENCY: "requests at once",
}


async def take(
    limiter: Limiter, call: Call, form: str, request: dict[str, Any], content: bytes, choices: int
) -> Taken | None:
    """Takes what the request needs of every limit of its key and tenant, to be settled with the call. Raises ApiError
    (429), in which case nothing was taken."""
    limits = call.caller.limits
    if not limits:
        return None
    given = min(request["max_tokens"], EXPECTED_OUTPUT)
    size = input_tokens(request, content) if any(limit.unit is Unit.TOKENS for limit in limits) else 0
    need = {Unit.REQUESTS: 1, Unit.TOKENS: (size + given) * choices, Unit.CONCURRENCY: 1}
    taken = await limiter.take([(limit, need[limit.unit]) for limit in limits])
    call.grant.headers.update(headers(form, taken.standings()))
    if taken.refused is not None:
        raise refusal(taken.standing(taken.refused), call.caller, size * choices, given * choices, choices)
    call.grant.releases.append(lambda usage, cost: taken.settle(used(usage, need[Unit.TOKENS])))
    if taken.dark is not None:
        problem = refusal(taken.standing(taken.dark), call.caller, size * choices, given * choices, choices)
        call.entry.note(refusal={"dark": True, "message": problem.message, **problem.facts})
        telemetry.dark.labels(str(problem.facts["scope"]), str(problem.facts["unit"])).inc()
    return taken


async def take_one(limiter: Limiter, caller: Caller, form: str) -> dict[str, str]:
    """Takes one request of those a minute, for an endpoint that costs no tokens and leaves no record; the headers that
    tell of it. Raises ApiError (429)."""
    asks = [(limit, 1) for limit in caller.limits if limit.unit is Unit.REQUESTS]
    if not asks:
        return {}
    taken = await limiter.take(asks)
    told = headers(form, taken.standings())
    if taken.refused is not None:
        problem = refusal(taken.standing(taken.refused), caller)
        problem.headers = {**told, **problem.headers}
        raise problem
    return told


def headers(form: str, standings: Iterable[Standing]) -> dict[str, str]:
    """The tightest limit of each unit; none of what is only watched."""
    tightest: dict[str, Standing] = {}
    for each in standings:
        unit = each.limit.unit
        if unit not in _SHOWN or each.limit.dark:
            continue
        if unit not in tightest or each.remaining < tightest[unit].remaining:
            tightest[unit] = each
    return _FORMS.get(form, openai_headers)(tightest, time.time())


def described(standings: Iterable[Standing]) -> list[dict[str, Any]]:
    """For the holder of a key: what holds, and what is left of it."""
    return [
        {
            "scope": each.limit.scope,
            "unit": each.limit.unit,
            "limit": each.size,
            "remaining": each.remaining,
            "reset_seconds": round(each.reset, 3),
        }
        for each in standings
        if not each.limit.dark
    ]


def refusal(standing: Standing, caller: Caller, given: int = 0, expected: int = 0, choices: int = 1) -> ApiError:
    """Says which rule, of whom, the numbers, and what would fit: when, and for tokens how many."""
    limit, wait = standing.limit, standing.wait
    whose = "this key" if limit.scope == "key" else f"the tenant {caller.tenant}"
    text = f"Rate limit reached for {_NAMES[limit.unit]} of {whose}: limit {standing.size:,}, "
    text += f"{standing.remaining:,} left, {standing.asked:,} needed"
    if limit.unit is Unit.TOKENS:
        text += f" (about {given:,} of input, {expected:,} for the answer)"
    room = (standing.remaining if wait is not None else standing.size) - given
    fits = max(0, room) // choices if limit.unit is Unit.TOKENS else 0
    text += f"; retry in {_seconds(wait)} s." if wait is not None else ". A request of this size never fits."
    if fits:
        text += f" max_tokens ≤ {fits:,} fits{'' if wait is None else ' now'}."
    facts: dict[str, Any] = {
        "rule": "rate_limit",
        "scope": limit.scope,
        "unit": str(limit.unit),
        "limit": standing.size,
        "remaining": standing.remaining,
        "needed": standing.asked,
        "retry_seconds": wait,
    }
    if fits:
        facts["max_tokens_fits"] = fits
    retry = False if wait is None or wait > _LONGEST_WAIT else None
    return ApiError("rate_limited", text, headers=_when(wait), retry=retry, facts=facts)


def _when(wait: float | None) -> Mapping[str, str]:
    if wait is None:
        return {}
    return {"retry-after": str(_seconds(wait)), "retry-after-ms": str(math.ceil(wait * 1000))}


def _seconds(wait: float) -> int:
    return max(1, math.ceil(wait - 1e-5))


def used(usage: Usage | None, taken: int) -> int | None:
    """What counts against the limit: not what was read from the cache. Where upstream never said,
    what was taken stays taken: its bound would lock a client out that only hung up."""
    if usage is None:
        return None
    if usage.source is UsageSource.BOUND:
        return taken
    return usage.input + usage.cache_write_5m + usage.cache_write_1h + usage.output
