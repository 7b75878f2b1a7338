"""Money on the one road: what a call may cost at most is held on every budget of its key before anything is sent.

    Funds.hold       before the request is sent; may set a `max_tokens` that fits where the client named none
    Funds.hold_more  before an answer that upstream paused is continued
    described        how the budgets of a key stand, for its holder

A request whose bound does not fit is tried again after the ledger has settled what has ended, and again with upstream's
own count of its input if a guess says that this would fit. docs/budgets.md has it in words.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from bridge.bounds import Bound, bound
from bridge.call import Call
from bridge.catalog import Model
from bridge.errors import ApiError
from bridge.overdrawn import refusal
from bridge.prices import dearest_terms
from bridge.speech import Question
from tenants.asks import Ask, Standing, Verdict
from tenants.budgets import BudgetsUnavailable
from tenants.money import Tariff, usd
from tenants.values import Caller

if TYPE_CHECKING:
    from bridge.pipeline import Services

LEAST_TOKENS = 1_024  # an answer may be cut to so much, no further, where the client set no limit of its own
COUNTED = ("model", "messages", "system", "tools", "tool_choice", "thinking", "output_config")  # by count_tokens


class Funds:
    """The holds of one call, all in the windows that were open when it was admitted."""

    def __init__(self, services: Services, call: Call, question: Question, model: Model) -> None:
        self._services, self._call, self._question, self._model = services, call, question, model
        self._parts = 0
        self._held = 0

    async def hold(self, request: dict[str, Any]) -> None:
        """Holds what the request may cost. Raises ApiError: 429 where it does not fit, 403 where no bound is known."""
        if not self._call.caller.budgets:
            return
        most = bound(request, self._model, self._tariff(request), self._question.choices)
        if most.nanos is None:
            raise ApiError(
                "cost_unknown",
                "This key has a budget, and what this request may cost at most is not known: "
                f"{'; '.join(most.reasons)}.",
                facts={"rule": "budget", "why": "unbounded", "reasons": list(most.reasons)},
            )
        least = most.each.output
        if self._question.open_ended:
            least = min(least, max(LEAST_TOKENS, _thinking(request) + 1))
        ask, verdict = await self._tried(request, most, least)
        if verdict.tokens is None:
            raise refusal(verdict, ask, self._call.caller)
        if verdict.tokens < most.each.output:
            request["max_tokens"] = verdict.tokens
            self._question.receipt.add("max_tokens", f"clamped({verdict.tokens})")
        self._take(verdict)

    async def hold_more(self, request: dict[str, Any]) -> bool:
        """Whether the answer may go on: holds what one more call may cost."""
        if not self._call.caller.budgets:
            return True
        most = bound(request, self._model, self._tariff(request))
        if most.nanos is None:
            return False
        self._parts += 1
        try:
            verdict = await self._services.budgets.reserve(self._ask(most, most.each.output))
        except BudgetsUnavailable:
            return False
        if verdict.tokens is not None:
            self._take(verdict)
            self._call.mark()  # on disk before it is sent
        return verdict.tokens is not None

    async def _tried(self, request: dict[str, Any], most: Bound, least: int) -> tuple[Ask, Verdict]:
        ask = self._ask(most, least)
        verdict = await self._reserve(ask)
        if verdict.tokens is None and all(verdict.nanos <= standing.unspent for standing in verdict.standings):
            await self._services.settle()  # calls that have ended since may make room
            verdict = await self._reserve(ask)
        if verdict.tokens is None and most.countable and self._may_fit(most, least, verdict.standings):
            counted = await self._counted(request, most)
            if counted is not None:
                ask = self._ask(counted, least)
                verdict = await self._reserve(ask)
        return ask, verdict

    def _may_fit(self, most: Bound, least: int, standings: Sequence[Standing]) -> bool:
        guess = most.with_output(least).estimate_nanos
        return guess is not None and all(guess <= standing.left for standing in standings)

    async def _counted(self, request: dict[str, Any], most: Bound) -> Bound | None:
        """The bound by upstream's own count of the input. None: there is none, so the proved one has to do."""
        body = msgspec.json.encode({name: request[name] for name in COUNTED if name in request})
        upstream = self._services.upstream(self._call.caller)
        try:
            answer = await upstream.post("/v1/messages/count_tokens", body, self._question.headers, seconds=10.0)
        except ApiError:
            return None
        tokens = answer.get("input_tokens") if isinstance(answer, dict) else None
        return most.counted(tokens) if isinstance(tokens, int) and tokens >= 0 else None

    async def _reserve(self, ask: Ask) -> Verdict:
        try:
            return await self._services.budgets.reserve(ask)
        except BudgetsUnavailable:
            raise unavailable() from None

    def _ask(self, most: Bound, least: int) -> Ask:
        fixed, token = most.with_output(0).nanos, most.token_nanos
        assert fixed is not None and token is not None  # without a bound or a price there is no hold
        return Ask(
            request_id=self._call.id,
            at=self._call.at,
            rules=self._call.caller.budgets,
            fixed_nanos=fixed,
            token_nanos=token,
            most=most.each.output,
            least=least,
            part=self._parts,
        )

    def _take(self, verdict: Verdict) -> None:
        self._held += verdict.nanos
        self._call.entry.note(held_nanos=self._held)

    def _tariff(self, request: dict[str, Any]) -> Tariff:
        tariff = self._services.prices.tariff(self._model.id, self._call.at, dearest_terms(request))
        if tariff is None:
            raise ApiError(
                "not_priced",
                f"This key has a budget, and there is no price for the model `{self._model.id[:200]}`: what it costs "
                "cannot be held.",
                "model",
                facts={"rule": "budget", "why": "unpriced", "model": self._model.id[:200]},
            )
        return tariff


async def described(services: Services, caller: Caller) -> list[dict[str, Any]]:
    """How the budgets of this key and of its tenant stand. Raises ApiError (503)."""
    if not caller.budgets:
        return []
    try:
        standings = await asyncio.wait_for(services.budgets.standings(caller.budgets), 2)
    except (BudgetsUnavailable, TimeoutError):
        raise unavailable() from None
    return [
        {
            "scope": standing.rule.scope,
            "window": standing.rule.window,
            "limit_usd": usd(standing.limit),
            "spent_usd": usd(standing.spent),
            "held_usd": usd(standing.held),
            "left_usd": usd(standing.left),
            "resets_at": standing.resets_at and int(standing.resets_at.timestamp()),
        }
        for standing in standings
    ]


def unavailable() -> ApiError:
    return ApiError(
        "budgets_unavailable",
        "This key has a budget, and what is left of it cannot be asked now: the request was not sent.",
        headers={"retry-after": "1"},
    )


def _thinking(request: dict[str, Any]) -> int:
    """A budget for thinking is part of `max_tokens` and must lie below it."""
    thinking = request.get("thinking")
    tokens = thinking.get("budget_tokens") if isinstance(thinking, dict) else None
    return tokens if isinstance(tokens, int) else 0
