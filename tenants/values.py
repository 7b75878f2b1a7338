"""What crosses between the two apps: frozen values, no wire formats and no database rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from uuid import UUID

import msgspec

from tenants.limits import Limit
from tenants.networks import Network


class Mode(StrEnum):
    LIVE = "live"
    TEST = "test"


class State(StrEnum):
    """Where a request is, or how it ended. The first three are open; a record leaves them exactly once."""

    ADMITTED = "admitted"
    SENT = "sent"
    STREAMING = "streaming"
    SETTLED = "settled"  # answered in full
    REFUSED = "refused"  # answered with an error before anything went upstream
    FAILED = "failed"  # upstream or Bridge failed after it was sent
    CANCELLED = "cancelled"  # the client hung up
    INTERRUPTED = "interrupted"  # the worker died or was shut down under it


OPEN_STATES = (State.ADMITTED, State.SENT, State.STREAMING)


class UsageSource(StrEnum):
    EXACT = "exact"  # upstream's own final count
    ESTIMATED = "estimated"  # counted from what was seen before the stream broke
    BOUND = "bound"  # an upper bound: output may have been produced that was never shown


@dataclass(frozen=True, slots=True)
class BudgetRule:
    """A budget as the gate knows it. Its limit is read from the database whenever something is held."""

    id: int
    scope: str  # key or tenant
    window: str  # day, week, month or total
    time_zone: str


@dataclass(frozen=True, slots=True)
class Credential:
    """A key that goes upstream instead of the site's. Its repr never shows it."""

    secret: str = field(repr=False)  # empty: it cannot be decrypted
    hint: str
    id: int = 0  # of its row; 0: the caller sent it, and it is kept nowhere
    refused: bool = False  # upstream did not take it the last time

    @property
    def is_callers(self) -> bool:
        return self.id == 0


@dataclass(frozen=True, slots=True)
class Capture:
    """Which of a key's requests are kept whole, and what is replaced in them first (docs/capture.md)."""

    percent: int = 100
    errors_only: bool = False  # only what did not end with a whole answer
    patterns: tuple[str, ...] = ()

    def takes(self, request_id: UUID) -> bool:
        """By the random end of its id: whoever sets the same percentage twice draws the same requests."""
        return (request_id.int & 0xFFFF_FFFF) % 100 < self.percent


@dataclass(frozen=True, slots=True)
class Taped:
    """One exchange as it went over the wire, or the beginning of what is long: nothing is replaced in it yet."""

    id: UUID
    tenant_id: int
    key_id: UUID
    end_user: str | None
    patterns: tuple[str, ...]
    request: bytes
    request_size: int
    request_sha256: str  # empty: `request` is all of it, and nobody has computed it yet
    answer: bytes
    answer_size: int
    answer_sha256: str
    status: int
    content_type: str

    @property
    def size(self) -> int:
        """What it takes in memory."""
        return len(self.request) + len(self.answer)


@dataclass(frozen=True, slots=True)
class Side:
    """What went one way, as it is kept. `size` and `sha256` are those of the whole."""

    body: bytes
    size: int
    sha256: str  # empty where something was replaced: one could guess by it what that was
    cut: bool = False
    redacted: int = 0  # how often something was replaced


@dataclass(frozen=True, slots=True)
class Content:
    """A payload, opened."""

    request: Side
    answer: Side
    status: int
    content_type: str


@dataclass(frozen=True, slots=True)
class Caller:
    """Who a key belongs to and what it may do, as the gate knows it."""

    key_id: UUID
    secret_id: int | None  # None: no key of ours was used
    tenant_id: int
    tenant: str
    name: str
    hint: str
    mode: Mode
    expires_at: float | None = None  # unix seconds
    rotated: bool = False  # what ends then is this secret, not the key
    models: frozenset[str] | None = None  # None: every model
    aliases: Mapping[str, str] = field(default_factory=dict)  # other names for models
    strict: bool = False  # refuse what would be ignored
    auto_cache: bool = False  # cache long prompts that bring no breakpoints
    budgets: tuple[BudgetRule, ...] = ()  # none for a test key: it costs nothing
    limits: tuple[Limit, ...] = ()  # its own and its tenant's
    idempotent: bool = False  # heed Idempotency-Key
    keeps_thinking: bool = False  # its tenant wants signed thinking kept, which is content
    credential: Credential | None = None  # what its requests are sent with; None: the site's
    networks: tuple[Network, ...] = ()  # where it may be used from; empty: anywhere
    tags: Mapping[str, str] = field(default_factory=dict)  # its records carry them
    capture: Capture | None = None  # None: nothing of its requests is kept but the record
    barred: str = ""  # why a key that is known may not be used: revoked or suspended


_CERTAINTY = (UsageSource.EXACT, UsageSource.ESTIMATED, UsageSource.BOUND)
COUNTS = ("input", "cache_write_5m", "cache_write_1h", "cache_read", "output", "reasoning", "web_searches")


class Usage(msgspec.Struct, frozen=True, gc=False):
    """Tokens by class, as billed. `output` includes `reasoning`; the four input classes do not overlap.

    What is priced each on its own (the answers to `n`, the continuations of one, other models that took part) is in
    `parts`, whose sum the counts are.
    """

    input: int = 0
    cache_write_5m: int = 0
    cache_write_1h: int = 0
    cache_read: int = 0
    output: int = 0
    reasoning: int = 0
    web_searches: int = 0
    source: UsageSource = UsageSource.EXACT
    model: str = ""  # the one that answered; empty: the one that was asked
    terms: frozenset[str] = frozenset()  # what it was done under that changes its price: fast, us
    free: str = ""  # why none of it is billed
    parts: tuple[Usage, ...] = ()

    @property
    def pieces(self) -> tuple[Usage, ...]:
        """Each of what is priced on its own."""
        return self.parts or (self,)

    @classmethod
    def total(cls, parts: Sequence[Usage]) -> Usage:
        """Several as one: as uncertain as the most uncertain of them."""
        sums = {name: sum(getattr(part, name) for part in parts) for name in COUNTS}
        source = max((part.source for part in parts), key=_CERTAINTY.index)
        pieces = tuple(piece for part in parts for piece in part.pieces)
        return cls(**sums, source=source, model=parts[0].model, parts=pieces)

    @property
    def prompt(self) -> int:
        """All input tokens, cached or not."""
        return self.input + self.cache_write_5m + self.cache_write_1h + self.cache_read

    def but(self, **changes: object) -> Usage:
        return msgspec.structs.replace(self, **changes)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a request ended: what its record says from then on."""

    state: State
    status: int  # the HTTP status the client got; 499 when it was gone before any
    usage: Usage = field(default_factory=Usage)
    stop_reason: str = ""
    error_code: str = ""
    refusal: dict[str, object] | None = None


class Claim(StrEnum):
    """What became of the wish to answer a request that carries an Idempotency-Key."""

    YOURS = "yours"  # nobody has answered it: do, then keep the answer or release the claim
    REUSED = "reused"  # the name was used for another request
    RUNNING = "running"  # somebody is answering it, for longer than one would wait
    UNAVAILABLE = "unavailable"  # nobody can tell


@dataclass(frozen=True, slots=True)
class KeptAnswer:
    """An answer as it was given, for whoever asks the same again."""

    request_id: UUID
    model: str
    streamed: bool
    headers: Mapping[str, str]
    body: bytes
