"""Sharing on the one road: a live request enters beside those of other tenants, or is told why it has to wait."""

from __future__ import annotations

import math

from bridge.call import Call
from bridge.errors import ApiError
from bridge.limiting import EXPECTED_OUTPUT, used
from tenants.fairness import Fairness, Unfair
from tenants.values import Caller, Mode

_SAID = {
    "slots": "The gateway is nearly full: {total:,} requests are running, and {own:,} of them are the tenant "
    "{tenant}'s, whose part is {share:,} now",
    "quota": "The upstream account's quota is used up for now, and the tenant {tenant} used {own:,} of the last "
    "minute's {total:,} tokens, where an equal part is {share:,}",
}


def enter(fairness: Fairness, call: Call) -> None:
    """Counts the call as running until it is settled. Test keys need no upstream. Raises ApiError (429)."""
    caller = call.caller
    if caller.mode is Mode.TEST:
        return
    unfair = fairness.enter(caller.tenant_id, shared=call.belongings is not None)
    if unfair is not None:
        raise _refusal(unfair, caller)
    call.grant.releases.append(lambda usage, cost: fairness.leave(caller.tenant_id, used(usage, EXPECTED_OUTPUT) or 0))


def heard(fairness: Fairness, call: Call, problem: ApiError) -> None:
    """Upstream refused this call: if that was for want of the site's own quota, it is shared out for a while."""
    if problem.kind == "rate_limited" and call.caller.mode is not Mode.TEST and call.belongings is not None:
        try:
            wait = float(problem.headers.get("retry-after", ""))
        except ValueError:
            wait = math.nan
        fairness.press(None if math.isnan(wait) else wait)


def _refusal(unfair: Unfair, caller: Caller) -> ApiError:
    wait = max(1, math.ceil(unfair.wait))
    said = _SAID[unfair.what].format(**unfair._asdict(), tenant=caller.tenant)
    facts = {"rule": "fair_share", "scope": "tenant", **unfair._asdict()}
    return ApiError("rate_limited", f"{said}; retry in {wait} s.", headers={"retry-after": str(wait)}, facts=facts)
