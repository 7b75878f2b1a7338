"""One inference request on its way through: who called, what became of it, and the one place where it is settled."""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from bridge import telemetry
from bridge.belongings import Belongings
from bridge.bounds import Bound
from bridge.choices import Readable
from bridge.errors import ApiError, record_unavailable
from bridge.grant import Grant
from bridge.tape import Tape
from bridge.usage import Meter, Meters
from tenants import ids
from tenants.journal import Entry
from tenants.money import Bill
from tenants.values import Caller, State, Usage

log = logging.getLogger(__name__)

# Ends of a request that upstream may still have worked on, though it had not begun to answer.
_UNKNOWN_STATES = (State.CANCELLED, State.INTERRUPTED)
_UNKNOWN_CODES = ("upstream_timeout",)


Price = Callable[[Usage], Bill]


def no_price(usage: Usage) -> Bill:
    """What test keys pay: the sandbox never costs money."""
    return Bill(0, [])


class Ended(StrEnum):
    """Why a call is cancelled from outside."""

    GONE = "gone"  # the client hung up
    DRAIN = "drain"  # this process is shutting down


@dataclass(slots=True, eq=False)
class Call:
    """`ended` is set by the door before it cancels the task. `settle` counts once, whoever calls it first."""

    id: UUID
    caller: Caller
    entry: Entry
    client_retry: int
    received: float = field(default_factory=time.monotonic)
    ended: Ended | None = None
    meter: Meter | Meters | None = None
    price: Price = no_price
    first_token: float | None = None
    answer: Readable | None = None
    belongings: Belongings | None = None
    grant: Grant = field(default_factory=Grant)
    counted: int | None = None  # input tokens of a choice that its hold has room for, where upstream counted them
    tape: Tape | None = None  # None: its payload is not kept
    before_end: Callable[[], Awaitable[None]] | None = None  # done before the client can know that it has ended
    kept: bool = False  # goes on without its client (idempotency.py), which then sees to its end
    streaming: bool = False  # the client has its 200: whatever happens now, it is not told by a status

    @property
    def at(self) -> datetime:
        """When it was admitted: the moment whose prices hold."""
        return ids.moment(self.id)

    def sent(self, most: Bound, price: Price, **columns: Any) -> Meter | Meters:
        """From here on it costs: the meter runs, and the journal says so before upstream hears of it, with what is to
        be charged if nobody hears of its end."""
        self.price = price
        most = most if self.counted is None else most.with_input(self.counted)
        several = most.choices > 1
        self.meter = Meters(most.first, most.choices, most.asked) if several else Meter(most.first, most.asked)
        bound = self._usage_columns(most.usage, price(most.usage))
        try:
            self.entry.sent(queue_us=self._since(time.monotonic()), bound=bound, **columns)
        except OSError as error:
            self.meter = None  # nothing was sent, and nothing will be
            log.error("the journal cannot be written: requests are refused", extra={"error": str(error)})
            raise record_unavailable() from None
        return self.meter

    def fail(self, problem: ApiError, status: int) -> None:
        """Settles a call that ends with an error: refused if nothing was sent, failed if it was. `status` is the one
        that the client is told, which depends on its dialect."""
        state = State.REFUSED if self.meter is None else State.FAILED
        state = State.INTERRUPTED if self.ended is Ended.DRAIN else state
        refusal = (
            {"refusal": {"message": problem.message[:500], "param": problem.param, **problem.facts}}
            if state is State.REFUSED
            else {}
        )
        upstream = {"attempts": problem.attempts, "upstream_id": problem.upstream_id} if problem.attempts else {}
        self.settle(state, status, error_code=problem.code or "", **refusal, **upstream)

    def abandon(self) -> None:
        """Settles whatever nobody settled: the client left, the process is going, or there is a bug."""
        if self.ended is Ended.GONE:
            self.settle(State.CANCELLED, 200 if self.streaming else 499)
        elif self.ended is Ended.DRAIN:
            self.settle(State.INTERRUPTED, 200 if self.streaming else 503, error_code="server_shutdown")
        else:
            self.settle(State.FAILED, 500, error_code="internal_error")

    @property
    def answered(self) -> bool:
        """Whether it ended with a whole answer."""
        return self.entry.closed and self.entry.columns["state"] == State.SETTLED

    async def aclose(self) -> None:
        """The end of the call for the door: nothing of it is left open, whatever was never iterated."""
        if self.kept:
            return
        self.abandon()
        if self.answer is not None:
            await self.answer.aclose()

    def settle(self, state: State, status: int, **columns: Any) -> None:
        """Closes the record with the usage so far. Synchronous, so that no cancellation can come in between."""
        if self.entry.closed:
            return
        row: dict[str, Any] = {"state": state, "status": status, **columns}
        if self.tape is not None and self.tape.wanted(state is State.SETTLED):
            row["captured"] = True
        row["total_us"] = self._since(time.monotonic())
        row["first_token_us"] = self._since(self.first_token) if self.first_token else None
        usage = self._usage(state, columns.get("error_code", ""))
        bill = self.price(usage) if usage else None
        row.update(self._usage_columns(usage, bill))
        try:
            self.entry.close(**row)
        finally:
            self.grant.settle(usage, bill.nanos if bill else None)
        telemetry.settled({**self.entry.columns, **row})

    def mark(self) -> None:
        """Notes the usage so far, every few seconds of a stream."""
        usage = self._usage(State.STREAMING, "")
        self.entry.mark(**self._usage_columns(usage, self.price(usage) if usage else None))

    def _since(self, moment: float) -> int:
        return int((moment - self.received) * 1_000_000)

    def _usage(self, state: State, error_code: str) -> Usage | None:
        """What was used. A request that upstream never began to answer used nothing, if it is sure that it failed."""
        if self.meter is None:
            return None
        if self.meter.started:
            return self.meter.billed()
        unknown = state in _UNKNOWN_STATES or error_code in _UNKNOWN_CODES
        return self.meter.bound() if unknown else None

    def _usage_columns(self, usage: Usage | None, bill: Bill | None) -> dict[str, Any]:
        if usage is None or bill is None or self.meter is None:
            return {}
        return {
            "input_tokens": usage.input,
            "cache_write_5m_tokens": usage.cache_write_5m,
            "cache_write_1h_tokens": usage.cache_write_1h,
            "cache_read_tokens": usage.cache_read,
            "output_tokens": usage.output,
            "reasoning_tokens": usage.reasoning,
            "web_searches": usage.web_searches,
            "usage_source": usage.source,
            "service_tier": self.meter.service_tier,
            "cost_nanos": bill.nanos,
            "cost_lines": bill.lines,
        }
