"""Counting tokens as upstream reports them: the last word per field wins."""

from __future__ import annotations

import msgspec

from bridge.wire.anthropic import Event, Iteration, WireUsage
from tenants.values import Usage, UsageSource

FAST = frozenset({"fast"})
# platform.claude.com/docs/en/release-notes, 2 June 2026
REFUSED = "Refused before any output: upstream does not bill that."

_FIELDS = WireUsage.__struct_fields__


class Meter:
    """Taps a stream: feed it every event. `final` once upstream has sent its closing count."""

    def __init__(self, most: Usage, asked: frozenset[str] = frozenset()) -> None:
        self._wire = WireUsage()
        self._told = False  # upstream has said something of its tokens
        self._asked = asked  # the terms that the request names
        self._most = most  # that can have been used before upstream begins to answer, and the most output there can be
        self._model = ""
        self._refused = False
        self._shown = 0  # bytes of output seen so far, for an estimate if the stream breaks
        self._thought = False  # thinking is billed in full and shown in part or not at all
        self._said = False  # any block has begun
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
                self._model = event.message.model
                self._merge(event.message.usage)
            case "usage" if event.usage:  # ours, between the parts of an answer that goes on
                self._merge(event.usage)
            case "content_block_start" if event.content_block:
                self._said = True
                self._thought |= event.content_block.get("type") in ("thinking", "redacted_thinking")
            case "message_delta":
                if event.usage:
                    self._merge(event.usage)
                self._refused = event.delta is not None and event.delta.stop_reason == "refusal"
                self.final = True

    @property
    def service_tier(self) -> str:
        return self._wire.service_tier or ""

    def usage(self) -> Usage:
        """Tokens so far, as upstream tells its client. Until the final count the output is an estimate from what was
        shown (3 bytes a token, which is high) or, once the model has been thinking, the bound that `max_tokens` sets:
        `source` says which."""
        return self._settled([self._whole()])

    def billed(self) -> Usage:
        """Tokens so far, as upstream bills them: with those of its own steps and of other models that took part."""
        return self._settled(self._iterations() or [self._whole()])

    def bound(self) -> Usage:
        """The most that a request can have used that upstream got and never answered."""
        return self._most

    def _settled(self, pieces: list[Usage]) -> Usage:
        if not self.final:
            pieces[-1] = self._uncertain(pieces[-1], sum(piece.output for piece in pieces))
        elif self._refused and not self._said:
            pieces = [piece.but(free=REFUSED) for piece in pieces]
        return pieces[0] if len(pieces) == 1 else Usage.total(pieces)

    def _whole(self) -> Usage:
        return _counts(self._wire).but(model=self._model, terms=self._terms(), **self._extra())

    def _extra(self) -> dict[str, int]:
        """What is counted once for all iterations."""
        details, tools = self._wire.output_tokens_details, self._wire.server_tool_use
        return {
            "reasoning": (details.thinking_tokens or 0) if details else 0,
            "web_searches": (tools.web_search_requests or 0) if tools else 0,
        }

    def _iterations(self) -> list[Usage]:
        listed, terms = self._wire.iterations or [], self._terms()
        pieces = [
            _counts(one).but(model=one.model or self._model, terms=terms if _same(one, self._model) else terms - FAST)
            for one in listed
        ]
        for number, following in enumerate(listed[1:]):
            if following.type == "fallback_message" and not pieces[number].output:
                pieces[number] = pieces[number].but(free=REFUSED)
        return [*pieces[:-1], pieces[-1].but(**self._extra())] if pieces else []

    def _uncertain(self, last: Usage, counted: int) -> Usage:
        if self._thought:
            return last.but(output=self._most.output, source=UsageSource.BOUND)
        missing = max(0, -(-self._shown // 3) - counted)
        return last.but(output=last.output + missing, source=UsageSource.ESTIMATED)

    def _terms(self) -> frozenset[str]:
        """What upstream says it was done under; what it does not say, as it was asked."""
        said = {"us": self._wire.inference_geo, "fast": self._wire.speed}
        return frozenset(term for term, value in said.items() if (value == term if value else term in self._asked))

    def _merge(self, update: WireUsage) -> None:
        if not self._told:
            self._told, self._wire = True, msgspec.structs.replace(update)
            return
        for name in _FIELDS:
            value = getattr(update, name)
            if value is not None:
                setattr(self._wire, name, value)


def _counts(wire: WireUsage | Iteration) -> Usage:
    written = wire.cache_creation_input_tokens or 0
    split = wire.cache_creation
    one_hour = min(written, (split.ephemeral_1h_input_tokens or 0) if split else 0)
    return Usage(
        input=wire.input_tokens or 0,
        cache_write_5m=written - one_hour,
        cache_write_1h=one_hour,
        cache_read=wire.cache_read_input_tokens or 0,
        output=wire.output_tokens or 0,
    )


def _same(one: Iteration, model: str) -> bool:
    """Whether it is an iteration of the answering model; another that took part has no terms of speed."""
    return one.model in (None, "", model)


class Meters:
    """Several answers' meters as one: what the choices of a request used together."""

    def __init__(self, most: Usage, count: int, asked: frozenset[str] = frozenset()) -> None:
        self.each = [Meter(most, asked) for _ in range(count)]

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
        return Usage.total([meter.usage() if meter.started else meter.bound() for meter in self.each])

    def billed(self) -> Usage:
        return Usage.total([meter.billed() if meter.started else meter.bound() for meter in self.each])

    def bound(self) -> Usage:
        return Usage.total([meter.bound() for meter in self.each])
