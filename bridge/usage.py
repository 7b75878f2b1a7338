"""Counting tokens as upstream reports them: the last word per field wins."""

from __future__ import annotations

from bridge.wire.anthropic import Event, WireUsage
from tenants.values import Usage, UsageSource

_FIELDS = WireUsage.__struct_fields__


class Meter:
    """Taps a stream: feed it every event. `final` once upstream has sent its closing count."""

    def __init__(self, request_bytes: int, max_tokens: int) -> None:
        self._wire = WireUsage()
        self._request_bytes = request_bytes  # a token is at least one byte of what was sent
        self._max_tokens = max_tokens  # the most that can have been produced
        self._shown = 0  # bytes of output seen so far, for an estimate if the stream breaks
        self._thought = False  # thinking is billed in full and shown in part or not at all
        self.shown = False  # the first piece of content has come
        self.started = False  # upstream has begun to answer
        self.final = False  # upstream has sent its closing count

    def feed(self, event: Event) -> None:
        match event.type:
            case "content_block_delta" if event.delta:
                delta = event.delta
                self.shown = True
                self._shown += len((delta.text or delta.partial_json or "").encode())
            case "message_start" if event.message and event.message.usage:
                self.started = True
                self._merge(event.message.usage)
            case "content_block_start" if event.content_block:
                self._thought |= event.content_block.get("type") in ("thinking", "redacted_thinking")
            case "message_delta":
                if event.usage:
                    self._merge(event.usage)
                self.final = True

    @property
    def service_tier(self) -> str:
        return self._wire.service_tier or ""

    def usage(self) -> Usage:
        """Tokens so far. Until the final count the output is an estimate from what was shown (3 bytes a token, which
        is high) or, once the model has been thinking, the bound that `max_tokens` sets: `source` says which."""
        wire = self._wire
        written = wire.cache_creation_input_tokens or 0
        split = wire.cache_creation
        one_hour = min(written, (split.ephemeral_1h_input_tokens or 0) if split else 0)
        reasoning = (wire.output_tokens_details.thinking_tokens or 0) if wire.output_tokens_details else 0
        searches = (wire.server_tool_use.web_search_requests or 0) if wire.server_tool_use else 0
        usage = Usage(
            input=wire.input_tokens or 0,
            cache_write_5m=written - one_hour,
            cache_write_1h=one_hour,
            cache_read=wire.cache_read_input_tokens or 0,
            output=wire.output_tokens or 0,
            reasoning=reasoning,
            web_searches=searches,
        )
        if self.final:
            return usage
        if self._thought:
            return usage.but(output=self._max_tokens, source=UsageSource.BOUND)
        return usage.but(output=max(usage.output, -(-self._shown // 3)), source=UsageSource.ESTIMATED)

    def bound(self) -> Usage:
        """The most that a request can have used that upstream got and never answered."""
        return Usage(input=self._request_bytes, output=self._max_tokens, source=UsageSource.BOUND)

    def _merge(self, update: WireUsage) -> None:
        for name in _FIELDS:
            value = getattr(update, name)
            if value is not None:
                setattr(self._wire, name, value)


class Meters:
    """Several answers' meters as one: what the choices of a request used together."""

    def __init__(self, request_bytes: int, max_tokens: int, count: int) -> None:
        self.each = [Meter(request_bytes, max_tokens) for _ in range(count)]

    def feed(self, event: Event) -> None:
        self.each[event.choice].feed(event)

    @property
    def started(self) -> bool:
        return any(meter.started for meter in self.each)

    @property
    def shown(self) -> bool:
        return any(meter.shown for meter in self.each)

    @property
    def service_tier(self) -> str:
        return self.each[0].service_tier

    def usage(self) -> Usage:
        """The sum; as uncertain as the most uncertain of them."""
        return _total([meter.usage() if meter.started else meter.bound() for meter in self.each])

    def bound(self) -> Usage:
        return _total([meter.bound() for meter in self.each])


_CERTAINTY = (UsageSource.EXACT, UsageSource.ESTIMATED, UsageSource.BOUND)


def _total(usages: list[Usage]) -> Usage:
    counts = ("input", "cache_write_5m", "cache_write_1h", "cache_read", "output", "reasoning", "web_searches")
    sums = {name: sum(getattr(usage, name) for usage in usages) for name in counts}
    return Usage(**sums, source=max((usage.source for usage in usages), key=_CERTAINTY.index))
