"""An answer that upstream paused (its own tools ran long) goes on inside: for the client it is one answer.

Anthropic stops with `pause_turn` after a number of its server tools' steps and wants the answer so far sent back as the
assistant's turn. Source: platform.claude.com/docs/en/build-with-claude/handling-stop-reasons.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from bridge.grant import More, no_end
from bridge.upstream_account import Sends
from bridge.upstream_answer import Answer, Passed
from bridge.wire.anthropic import Delta, Event, Frame, Iteration, WireUsage
from bridge.wire.fold import Fold

MOST_CONTINUATIONS = 5


class ContinuedAnswer:
    """Reads like an Answer. What a pause hides is left out; block indexes and token counts go on where they were."""

    def __init__(
        self,
        upstream: Sends,
        request: dict[str, Any],
        answer: Answer,
        headers: Mapping[str, str],
        more: More = no_end,
    ) -> None:
        self._upstream, self._request, self._answer = upstream, request, answer
        self._headers, self._more = headers, more
        self._fold = Fold()
        self._blocks = 0  # of the parts before this one
        self._spent = WireUsage()  # by them
        self._current = WireUsage()  # by this one, so far
        self._left = MOST_CONTINUATIONS
        self.attempts = answer.attempts
        self.upstream_id = answer.upstream_id
        self.done = False

    async def read(self) -> list[Event]:
        """The next events of the whole. Raises ApiError."""
        # Only now: what came before is counted, even if this fails.
        if self._answer.done and self._paused and not await self._go_on():
            return self._cut_off()
        passed = [event for event in await self._answer.read() if self._passes(event)]
        self.done = self._answer.done and not self._paused
        return passed

    def take(self) -> list[Frame]:
        return []

    def tap(self, passed: Passed) -> None:
        """Never: what a pause hides is left out, and all is counted for the whole."""

    async def aclose(self) -> None:
        await self._answer.aclose()

    @property
    def _paused(self) -> bool:
        return self._left > 0 and self._fold.message().stop_reason == "pause_turn"

    def _passes(self, event: Event) -> bool:
        """Whether the client sees this event; it is numbered and counted for the whole."""
        self._fold.feed(event)
        first = self._left == MOST_CONTINUATIONS
        if event.type == "message_start":
            if event.message and event.message.usage:
                self._current = event.message.usage
            return first or self._counts_only(event)
        if event.type.startswith("content_block"):
            event.index += self._blocks
        if event.type == "message_delta" and event.usage:
            _replace(self._current, event.usage)
            if not first:
                event.usage = _together(self._spent, self._current)
        if event.type == "message_delta" and self._paused:
            return self._counts_only(event)
        return not (event.type == "message_stop" and self._paused)

    def _counts_only(self, event: Event) -> bool:
        """The event goes on as what was used so far, for whoever counts: the next part may never come, or break."""
        event.type, event.usage = "usage", _together(self._spent, self._current)
        return True

    def _cut_off(self) -> list[Event]:
        """The end of an answer that may not go on: `length`, in OpenAI's words."""
        self.done = True
        end = Event("message_delta", delta=Delta(stop_reason="max_tokens"), usage=_together(self._spent, self._current))
        return [end, Event("message_stop")]

    async def _go_on(self) -> bool:
        """Sends the answer so far back as the assistant's turn, if that may be. Raises ApiError."""
        content = self._fold.message().content
        turn = {"role": "assistant", "content": content}
        request = {**self._request, "messages": [*self._request["messages"], turn]}
        if not await self._more(request):
            return False
        self._request = request
        self._blocks += len(content)
        self._spent = _together(self._spent, self._current)
        self._current = WireUsage()
        self._left -= 1
        self._fold = Fold()
        await self._answer.aclose()
        body = msgspec.json.encode({**self._request, "stream": True})
        self._answer = await self._upstream.send(body, retry=False, headers=self._headers)
        self.attempts += self._answer.attempts
        return True


def _replace(usage: WireUsage, update: WireUsage) -> None:
    for name in WireUsage.__struct_fields__:
        value = getattr(update, name)
        if value is not None:
            setattr(usage, name, value)


def _together(spent: WireUsage, current: WireUsage) -> WireUsage:
    """What the parts so far and this one used: the sum, and each of them, because each is billed on its own."""
    total: WireUsage = _sum(spent, current)
    total.iterations = [*_each(spent), *_each(current)]
    return total


def _each(usage: WireUsage) -> list[Iteration]:
    if usage.iterations or usage.input_tokens is None:
        return usage.iterations or []
    counts = {name: getattr(usage, name) for name in Iteration.__struct_fields__ if name not in ("type", "model")}
    return [Iteration(**counts)]


def _sum(one: Any, other: Any) -> Any:
    """Counts added, within nested counts too; what is not a count is the later one."""
    if one is None or other is None:
        return one if other is None else other
    if isinstance(other, msgspec.Struct):
        return type(other)(**{name: _sum(getattr(one, name), getattr(other, name)) for name in other.__struct_fields__})
    return one + other if isinstance(other, int) else other


def may_pause(request: dict[str, Any]) -> bool:
    """Only tools that upstream runs itself make it pause."""
    return any("type" in tool and "input_schema" not in tool for tool in request.get("tools", ()))
