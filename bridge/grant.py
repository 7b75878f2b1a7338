"""What a call was given to run with: taken at its admission, given back once when it ends."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from tenants.values import Usage

log = logging.getLogger(__name__)

# What is done when the call ends, with what it used (None: nothing) and what that costs (None: nothing, or unpriced).
Release = Callable[[Usage | None, int | None], None]
# Whether one more request may be sent for the same call.
More = Callable[[dict[str, Any]], Awaitable[bool]]


async def no_end(request: dict[str, Any]) -> bool:
    """For a call that nothing is held for."""
    return True


@dataclass(slots=True)
class Grant:
    """`headers` go on the call's answer, whatever it is. Call.settle calls `settle`, once, however the call ends.
    `more` is asked before an answer that upstream paused goes on."""

    headers: dict[str, str] = field(default_factory=dict)
    releases: list[Release] = field(default_factory=list)
    more: More = no_end

    def settle(self, usage: Usage | None, cost_nanos: int | None) -> None:
        """Gives back what the call did not use. Synchronous; the second time there is nothing left to do."""
        releases, self.releases = self.releases, []
        self.more = no_end  # it knows the call, which knows it: nothing is to be left to the collector
        for release in releases:
            try:
                release(usage, cost_nanos)
            except Exception:  # the others must still be given back, and the answer still goes out
                log.exception("what a call was given could not be taken back")
