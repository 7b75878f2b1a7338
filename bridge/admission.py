"""Whether a request may go upstream now: the one place for every endpoint that asks a model something."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bridge import limiting, sharing
from bridge.bounds import Bound
from bridge.call import Call
from bridge.catalog import Model
from bridge.errors import ApiError
from bridge.funding import Funds
from bridge.grant import Grant
from bridge.speech import Dialect, Question

if TYPE_CHECKING:
    from bridge.pipeline import Services

__all__ = ["Grant", "admit"]


async def admit(
    services: Services,
    dialect: Dialect,
    call: Call,
    question: Question,
    request: dict[str, Any],
    content: bytes,
    model: Model,
) -> Bound:
    """Takes what the request needs and notes it on `call.grant`, which is settled with the call however that ends.
    Returns the most that it can use.

    `content` is its JSON. A smaller `max_tokens` may be set in `request`. Raises ApiError (429); a refusal takes
    nothing.
    """
    taken = await limiting.take(services.limiter, call, dialect.name, request, content, question.choices)
    try:
        sharing.enter(services.fairness, call)
        funds = Funds(services, call, question, model)
        most = await funds.hold(request, content)
    except ApiError:
        if taken is not None:
            taken.settle(None, requests=False)
        raise
    call.grant.more = funds.hold_more
    return most
