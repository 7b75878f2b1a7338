"""The most that a request can cost, proved from the request as it is sent, before anything is sent.

A token of text covers at least one byte, so the bytes of the request's JSON are more tokens than its text can be, tools
and schemas included. What is not text is bounded by what Anthropic documents: an image by its cap after downscaling,
a PDF and whatever upstream fetches by the context window, because more is refused. Tools that upstream runs itself read
the conversation again in each of their steps. What cannot be bounded at all says so in `reasons`, and has no `nanos`.

Sources: platform.claude.com/docs/en: build-with-claude/vision, pdf-support, citations, prompt-caching,
handling-stop-reasons; agents-and-tools/tool-use/overview (its prices); about-claude/pricing.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec

from bridge.catalog import Model
from bridge.prices import asked_terms
from tenants.money import INPUT_CLASSES, NO_TERMS, PICOS_PER_NANO, Bill, Line, Tariff
from tenants.values import Usage, UsageSource

IMAGE_TOKENS = 5_000  # 4,784 at most after downscaling (1,568 before Opus 4.7), and what surrounds it
TOOLS_TOKENS = 1_000  # the system prompt that enables tools: up to 804 tokens (Opus 4.7, forced choice)
FORMAT_TOKENS = 1_000  # and the one that explains an output format
REQUEST_TOKENS = 100  # turns and their marks; their JSON is longer
OWN_TOOL_TOKENS = 4_000  # of a tool that Anthropic defined and the client runs: 245 to 1,234 documented
OPAQUE_TOKENS = 4  # per byte of a signature: it holds thinking, encrypted and perhaps compressed
SERVER_STEPS = 10  # of its own tools that upstream does in one call, each of which reads everything before it again
BYTES_PER_TOKEN = 4  # of usual text: for an estimate only
COUNT_MARGIN = (11, 10, 1_000)  # count_tokens is an estimate itself: times 11/10, plus 1,000

PLAIN_TOOLS = ("custom", "tool_reference")
CLIENT_TOOLS = ("bash_", "text_editor_", "computer_2", "memory_")
SERVER_TOOLS = ("web_search_", "web_fetch_", "code_execution_", "tool_search_tool_")
TEXT_BLOCKS = frozenset({"text", "tool_use", "server_tool_use", "mcp_tool_use", "tool_reference", "fallback"})
BEYOND = {  # top-level parameters whose cost no request tells
    "mcp_servers": "what remote MCP servers answer is read by the model",
    "container": "skills and files of a container are read by the model",
    "fallbacks": "another model may answer after this one, and both are billed",
    "compaction": "summarising the conversation is billed beside the answer",
    "thread": "the conversation so far is kept upstream",
}


class Bound(NamedTuple):
    """At most so much. `usage` is all choices together, its input in the dearest class that the request allows.

    `nanos` is None where no bound can be proved or the model has no price: `reasons` says which. `estimate_nanos` is a
    guess from the size, for deciding whether to ask upstream for a count (`countable`: a count would see all of it).
    """

    first: Usage  # of one choice, until upstream has begun to answer: no tool of its own has run by then
    usage: Usage
    tariff: Tariff | None
    choices: int
    asked: frozenset[str]  # the terms that the request names
    input_class: str
    guess: int  # input tokens of one choice, estimated
    reasons: tuple[str, ...] = ()
    countable: bool = True
    provable: bool = True

    @property
    def each(self) -> Usage:
        """The most that one choice can use."""
        return self.usage.pieces[0]

    @property
    def bill(self) -> Bill:
        """What it comes to if it is all used."""
        return self.tariff.bill(self.usage) if self.tariff else Bill(None, [_unpriced()])

    @property
    def nanos(self) -> int | None:
        return self.bill.nanos if self.provable else None

    @property
    def estimate_nanos(self) -> int | None:
        guessed = self.with_input(self.guess)
        return guessed.bill.nanos

    @property
    def token_nanos(self) -> int | None:
        """What one more of `max_tokens` comes to at most, rounded up; its price hangs on the prompt."""
        if self.tariff is None:
            return None
        picos = self.tariff.at(self.each.prompt).output * self.choices
        return -(-picos // PICOS_PER_NANO)

    def counted(self, tokens: int) -> Bound:
        """The bound once upstream has counted the input of one choice; for what a count sees all of."""
        times, over, plus = COUNT_MARGIN
        return self.with_input(tokens * times // over + plus)._replace(provable=True)

    def with_input(self, tokens: int) -> Bound:
        """With so many input tokens per choice, if that is less."""
        first, each = (one.but(**{self.input_class: min(tokens, one.prompt)}) for one in (self.first, self.each))
        return self._of(first, each)

    def with_output(self, max_tokens: int) -> Bound:
        """With another `max_tokens`."""
        return self._of(self.first.but(output=max_tokens), self.each.but(output=max_tokens))

    def _of(self, first: Usage, each: Usage) -> Bound:
        return self._replace(first=first, usage=_times(each, self.choices))


def bound(
    request: dict[str, Any], model: Model, tariff: Tariff | None, choices: int = 1, content: bytes | None = None
) -> Bound:
    """The bound of a Messages request, at the tariff of `prices.dearest_terms`. `content` is its JSON, if known."""
    content = msgspec.json.encode(request) if content is None else content
    parts = _Parts()
    parts.request(request)
    window = model.context_window
    text = len(content) - parts.media_bytes + parts.opaque_bytes * (OPAQUE_TOKENS - 1)
    fixed = REQUEST_TOKENS + parts.tokens
    once = window if parts.unknown else min(text + fixed, window)
    input_class = _dearest(content, tariff)
    first = Usage(
        **{input_class: once},  # type: ignore[arg-type]
        output=min(request["max_tokens"], model.max_output_tokens),  # more is refused upstream
        source=UsageSource.BOUND,
        terms=tariff.terms if tariff else NO_TERMS,
    )
    steps = {input_class: window * SERVER_STEPS, "web_searches": parts.searches} if parts.steps else {}
    return Bound(
        first=first,
        usage=_times(first.but(**steps), choices),
        tariff=tariff,
        choices=choices,
        asked=asked_terms(request),
        input_class=input_class,
        guess=text // BYTES_PER_TOKEN + fixed,
        reasons=tuple(dict.fromkeys(parts.reasons)),
        countable=parts.provable and not parts.steps,
        provable=parts.provable,
    )


class _Parts:
    """What a request holds beside plain text. Whatever is out of shape is taken for text: upstream refuses it."""

    def __init__(self) -> None:
        self.tokens = 0  # of parts with a cap of their own
        self.media_bytes = 0  # of these, which are no text
        self.opaque_bytes = 0
        self.searches = 0
        self.steps = False  # upstream works in steps of its own
        self.unknown = False  # as much as the context window may be read
        self.provable = True
        self.reasons: list[str] = []

    def request(self, request: dict[str, Any]) -> None:
        for name, reason in BEYOND.items():
            if request.get(name):
                self._beyond(f"`{name}`: {reason}")
        for edit in _listed(_field(request.get("context_management"), "edits")):
            if str(_field(edit, "type")).startswith("compact"):
                self._beyond(f"`context_management`: {BEYOND['compaction']}")
        self.tokens += FORMAT_TOKENS if _field(request.get("output_config"), "format") else 0
        self._tools(_listed(request.get("tools")))
        self._content(request.get("system"))
        for message in _listed(request.get("messages")):
            self._content(_field(message, "content"))

    def _tools(self, tools: list[Any]) -> None:
        self.tokens += TOOLS_TOKENS if tools else 0
        self.tokens += FORMAT_TOKENS if any(_field(tool, "strict") for tool in tools) else 0
        for tool in tools:
            kind = _field(tool, "type")
            if not isinstance(kind, str) or kind in PLAIN_TOOLS:
                continue
            if kind.startswith(CLIENT_TOOLS):
                self.tokens += OWN_TOOL_TOKENS
            elif kind.startswith(SERVER_TOOLS):
                self.steps = True
                self.reasons.append(f"`{kind}`: upstream reads what it finds, in up to {SERVER_STEPS} steps of its own")
                self._searches(kind, _field(tool, "max_uses"))
            else:
                self._beyond(f"`{kind}`: what this tool makes upstream do is not known")

    def _searches(self, kind: str, most: Any) -> None:
        if not kind.startswith("web_search_"):
            return
        if isinstance(most, int) and most > 0:
            self.searches += most
        else:
            self._beyond(f"`{kind}` without `max_uses`: each search has a fee")

    def _content(self, content: Any) -> None:
        """Looks at the blocks of a turn and at those within them, a level at a time: they may be nested deeply."""
        waiting = [content]
        while waiting:
            for block in _listed(waiting.pop()):
                kind = _field(block, "type")
                if isinstance(kind, str) and kind not in TEXT_BLOCKS:
                    waiting.extend(self._block(kind, block))

    def _block(self, kind: str, block: dict[str, Any]) -> Iterator[Any]:
        source = block.get("source")
        match kind:
            case "tool_result":
                yield block.get("content")
            case "image":
                self.tokens += IMAGE_TOKENS
                self.media_bytes += _length(_field(source, "data")) if _field(source, "type") == "base64" else 0
            case "document" if _field(source, "type") in ("text", "content"):
                yield _field(source, "content")
                self._citations(block)
            case "document":
                self._window("a document whose pages upstream counts")
            case "search_result":
                yield block.get("content")
                self._citations(block)
            case "thinking" | "redacted_thinking":
                self.opaque_bytes += _length(block.get("signature")) + _length(block.get("data"))
            case "tool_addition":
                self._tools([block.get("tool")])
            case _:
                self._window(f"`{kind}`: only upstream can read what it holds")

    def _citations(self, block: dict[str, Any]) -> None:
        if _field(block.get("citations"), "enabled"):
            self._window("citations: upstream marks every sentence")

    def _window(self, reason: str) -> None:
        self.unknown = True
        self.reasons.append(f"{reason}: up to the context window")

    def _beyond(self, reason: str) -> None:
        self.unknown, self.provable = True, False
        self.reasons.append(reason)


def _field(value: Any, name: str) -> Any:
    return value.get(name) if isinstance(value, dict) else None


def _length(value: Any) -> int:
    return len(value) if isinstance(value, str) else 0


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _times(each: Usage, choices: int) -> Usage:
    return each if choices == 1 else Usage.total([each] * choices)


def _dearest(content: bytes, tariff: Tariff | None) -> str:
    """The dearest class that an input token of this request can be billed as: written to the cache only if asked."""
    # In a text the quotes are escaped, so these are keys and values of the request (or of a tool's schema).
    asked = b'"cache_control"' in content
    if not asked or tariff is None:
        return "input"
    classes = [name for name in INPUT_CLASSES if name != "cache_write_1h" or b'"ttl":"1h"' in content]
    return max(classes, key=lambda name: getattr(tariff.rates, name))


def _unpriced() -> Line:
    return {"class": "unpriced", "tokens": 0, "pico": None, "why": "No price is known for this model."}
