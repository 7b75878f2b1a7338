"""What a request is told that does not fit in a budget: which one, of whom, its numbers, and what would fit."""

from __future__ import annotations

from typing import Any

from bridge.errors import ApiError
from tenants.asks import Ask, Standing, Verdict
from tenants.money import usd
from tenants.values import Caller

RETRY_SECONDS = 2  # for calls in flight to end: nobody knows when they will

_NAMES = {"day": "daily budget", "week": "weekly budget", "month": "monthly budget", "total": "total budget"}


def refusal(verdict: Verdict, ask: Ask, caller: Caller) -> ApiError:
    """429: `insufficient_quota` where too little is unspent, `rate_limit_exceeded` where too much is merely held."""
    spent = [standing for standing in verdict.standings if standing.unspent < verdict.nanos]
    held = [standing for standing in verdict.standings if standing.left < verdict.nanos]
    tightest = min(spent or held, key=lambda standing: standing.unspent if spent else standing.left)
    fits = _fits(ask, min(standing.left for standing in verdict.standings))
    facts = _facts(tightest, verdict.nanos, fits, "spent" if spent else "held")
    if spent:
        text = f"You exceeded your current quota: {_numbers(tightest, verdict.nanos, caller)}{_until(tightest)}."
        return ApiError("insufficient_quota", text + _hint(fits, ""), retry=False, facts=facts)
    text = f"Rate limit reached for money in flight: {_numbers(tightest, verdict.nanos, caller)}. "
    text += f"Holds end with the calls they are for; retry in {RETRY_SECONDS} s."
    facts["retry_seconds"] = RETRY_SECONDS
    headers = {"retry-after": str(RETRY_SECONDS), "retry-after-ms": str(RETRY_SECONDS * 1000)}
    return ApiError("rate_limited", text + _hint(fits, " now"), headers=headers, facts=facts)


def _numbers(standing: Standing, needed: int, caller: Caller) -> str:
    whose = "this key" if standing.rule.scope == "key" else f"the tenant {caller.tenant}"
    return (
        f"the {_NAMES[standing.rule.window]} of {whose} is {dollars(standing.limit)}, {dollars(standing.spent)} spent "
        f"and {dollars(standing.held)} held for calls in flight; this request may cost up to {dollars(needed)}"
    )


def _until(standing: Standing) -> str:
    ends = standing.resets_at
    return f". The window ends at {ends:%Y-%m-%dT%H:%M:%SZ}" if ends else ""


def _hint(fits: int, when: str) -> str:
    return f" max_tokens ≤ {fits} fits{when}." if fits else ""


def _fits(ask: Ask, left: int) -> int:
    """The largest `max_tokens` that would have been admitted; 0: none."""
    if not ask.token_nanos:
        return 0
    return max(min((left - ask.fixed_nanos) // ask.token_nanos, ask.least - 1), 0)


def _facts(standing: Standing, needed: int, fits: int, why: str) -> dict[str, Any]:
    ends = standing.resets_at
    facts: dict[str, Any] = {
        "rule": "budget",
        "why": why,
        "scope": standing.rule.scope,
        "window": standing.rule.window,
        "budget": standing.rule.id,
        "limit_usd": usd(standing.limit),
        "spent_usd": usd(standing.spent),
        "held_usd": usd(standing.held),
        "needed_usd": usd(needed),
        "window_ends": ends.isoformat() if ends else None,
    }
    return facts | ({"max_tokens_fits": fits} if fits else {})


def dollars(nanos: int) -> str:
    """For reading: cents, and as many digits more as an amount has."""
    whole, fraction = usd(nanos).split(".")
    return f"${int(whole):,}.{fraction[:2]}{fraction[2:].rstrip('0')}"
