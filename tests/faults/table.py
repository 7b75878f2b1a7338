"""The fault table: what becomes of each way in which upstream can fail, for its client, on the record and in money.

docs/faults.md has the same in words, with the rows that are shown elsewhere. An `id` begins with its row there.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from tests.faults.load import Ask, Leave, Seen, run, swarm
from tests.faults.stage import OPEN_STATES, SETTLE_SECONDS, Json, Stage, pseudonym
from tests.live import until

INPUT_NANOS, OUTPUT_NANOS = 2_000, 10_000  # a token of claude-sonnet-5-5
FIRST, SILENCE, PROGRESS, TOTAL = 2, 2, 3, 4  # seconds
NOTICING = 1.5  # seconds that noticing a limit may take, on a machine that has other things to do


@dataclass(frozen=True, slots=True)
class Row:
    """`status` is what clients get whom nothing has been sent; where a stream has `begun` its client has a 200, and the
    error is an event of it. `charged`: nothing, what was seen (estimated), or all that was held (bound)."""

    id: str
    text: str
    status: int
    code: str | None
    type: str = "server_error"
    begun: bool = False
    retried: bool = False
    retry_after: str | None = None
    no_retry: bool = False  # x-should-retry: false
    charged: str = ""
    unread: bool = False  # upstream's headers were not there, or no headers
    within: float = 10.0  # seconds


def _begun(id: str, text: str, status: int, code: str, **more: Any) -> Row:
    return Row(id, text, status, code, begun=True, charged="estimated", **more)


def _silent(id: str, text: str) -> Row:
    return Row(id, text, 504, "upstream_timeout", no_retry=True, charged="bound", within=FIRST + NOTICING)


def _late(id: str, text: str, code: str, limit: float) -> Row:
    return _begun(id, text, 504, code, no_retry=True, within=limit + NOTICING)


INVALID, OVERLOAD, RATE = "invalid_request_error", "service_unavailable_error", "rate_limit_error"
TRUNCATED, MALFORMED = "upstream_truncated", "upstream_malformed"

ROWS = (
    Row("U1 closed before it answers", "[fault:refuse]", 502, "upstream_unreachable", retried=True, unread=True),
    _silent("U2 no headers", "[fault:hang]"),
    _silent("U2 headers and no event", "[fault:headers_then_hang]"),
    _silent("U2 nothing but pings", "[fault:pings every=0.2]"),
    _silent("U2 an event that does not end", "[fault:drip every=0.05]"),
    _late("U3 silent", "[fault:stall after=6]", "upstream_stalled", SILENCE),
    _late("U3 nothing but pings", "[fault:ping_stall after=6]", "upstream_stalled", PROGRESS),
    _late("U3 endless", "[fault:ok tokens=200 rate=20]", "upstream_timeout", TOTAL),
    _begun("U4 error event", "[fault:error_event after=6]", 503, "server_is_overloaded", type=OVERLOAD),
    Row("U4 first event an error", "[fault:first_error]", 503, "server_is_overloaded", type=OVERLOAD, retried=True),
    _begun("U5 FIN", "[fault:eof after=6]", 502, TRUNCATED),
    _begun("U5 FIN without framing", "[fault:eof after=6 chunked=0]", 502, TRUNCATED),
    _begun("U5 RST", "[fault:rst after=6]", 502, TRUNCATED),
    _begun("U5 short length", "[fault:short_length after=6]", 502, TRUNCATED),
    _begun("U5 bad chunk", "[fault:bad_chunk after=6]", 502, TRUNCATED),
    _begun("U5 within an event", "[fault:cut_bytes at=900]", 502, TRUNCATED),
    Row("U5 nothing at all", "[fault:empty]", 502, TRUNCATED, retried=True),
    _begun("U6 no JSON", "[fault:malformed_json after=6]", 502, MALFORMED),
    _begun("U6 huge event", "[fault:huge_event after=6]", 502, MALFORMED),
    _begun("U6 no UTF-8", "[fault:non_utf8 after=6]", 502, MALFORMED),
    Row("U7 a long wait", "[fault:status code=429 retry=7]", 429, "rate_limit_exceeded", RATE, retry_after="7"),
    Row(
        "U7 longer than SDKs wait", "[fault:status code=429 retry=90]", 429, "rate_limit_exceeded", RATE,
        retry_after="90", no_retry=True,
    ),
    Row("U7 no wait named", "[fault:status code=429]", 429, "rate_limit_exceeded", RATE, retried=True),
    Row("U8 529", "[fault:status code=529]", 503, "server_is_overloaded", OVERLOAD, retried=True),
    Row("U8 529 and a wait", "[fault:status code=529 retry=7]", 503, "server_is_overloaded", OVERLOAD, retry_after="7"),
    Row("U8 500", "[fault:status code=500]", 502, "upstream_error", retried=True),
    Row("U8 502 in HTML", "[fault:html502]", 502, "upstream_error", retried=True),
    Row("U8 503", "[fault:status code=503]", 502, "upstream_error", retried=True),
    Row("U8 504", "[fault:status code=504]", 504, "upstream_timeout", no_retry=True, charged="bound"),
    Row("U9 401", "[fault:status code=401]", 503, "upstream_auth_error"),
    Row("U9 403", "[fault:status code=403]", 503, "upstream_auth_error"),
    Row("U9 402", "[fault:status code=402]", 503, "upstream_billing_error"),
    Row("U10 413", "[fault:status code=413]", 413, "request_too_large", INVALID),
    Row("U11 400", "[fault:status code=400]", 400, None, INVALID),
    Row("U11 404", "[fault:status code=404]", 404, "not_found", INVALID),
    Row("U12 redirect", "[fault:redirect]", 502, "upstream_error"),
    Row("U12 gzip", "[fault:gzip]", 502, TRUNCATED, retried=True),
    Row("U12 HTML", "[fault:html200]", 502, MALFORMED),
    Row("U12 JSON instead of a stream", "[fault:whole_json]", 502, MALFORMED),
    Row("U12 huge headers", "[fault:huge_head]", 502, "upstream_unreachable", retried=True, unread=True),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Outcome:
    """One request: what its client saw, its record, and what upstream heard of it."""

    seen: Seen
    record: Json
    calls: list[Json] = field(default_factory=list)

    @property
    def error(self) -> Json:
        """In a stream that had begun, its last event; else the body."""
        body = self.seen.body
        if self.seen.status == 200:
            body = body.removesuffix(b"\n\n").rpartition(b"\n\n")[2].removeprefix(b"data: ")
        error: Json = json.loads(body)["error"]
        return error


class Stand(Stage):
    """A stage with short deadlines, and a key with a budget whose every movement is accounted for."""

    def __init__(self, workers: int, **env: str) -> None:
        deadlines = {"FIRST": FIRST, "SILENCE": SILENCE, "PROGRESS": PROGRESS, "TOTAL": TOTAL}
        short = {f"UPSTREAM_{name}_SECONDS": str(seconds) for name, seconds in deadlines.items()}
        super().__init__(workers, DRAIN_SECONDS="4", **short, **env)

    def __enter__(self) -> Stand:
        super().__enter__()
        self.free_key, self.key = self.key, self.server.issue_key("acme", "budgeted", "--budget", "1000:total")
        return self

    def both(self, text: str, leave: Leave | None = None, key: str = "") -> list[Outcome]:
        """Asked whole and as a stream, at once."""
        asks = [Ask(text, False, leave), Ask(text, True, leave)]
        return self.ended(run(swarm(self.port, key or self.key, asks, len(asks))))

    def ended(self, seen: list[Seen], seconds: float = SETTLE_SECONDS) -> list[Outcome]:
        """What became of them, once all of it is on record for good."""
        found = until(lambda: self._final(seen), seconds, "the end of every record")
        heard = self.fake.calls()
        return [Outcome(one, row, [call for call in heard if call["marker"] == one.ask.name]) for one, row in found]

    def money(self) -> tuple[int, int]:
        """Spent and held."""
        rows = self.server._rows("SELECT spent_nanos, reserved_nanos FROM tenants_budgetwindow")
        return (rows[0]["spent_nanos"], rows[0]["reserved_nanos"]) if rows else (0, 0)

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Somebody else writes to the database, and does not come to an end."""
        path = self.server.data_dir / "bridge.sqlite3"
        with contextlib.closing(sqlite3.connect(path, timeout=10, isolation_level=None)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            yield

    def _final(self, seen: list[Seen]) -> list[tuple[Seen, Json]]:
        """Each with its record, found by the id that its client was told or by its user; none while one is missing."""
        rows = [row for row in self.server.records() if row["state"] not in OPEN_STATES]
        known = {row["id"]: row for row in rows} | {row["end_user"]: row for row in rows}
        pairs = [(one, known.get(one.id) or known.get(pseudonym(_tenant(rows), one.ask.name))) for one in seen]
        return [(one, row) for one, row in pairs if row] if all(row for _, row in pairs) else []


def _tenant(rows: list[Json]) -> int:
    return int(rows[0]["tenant_id"]) if rows else 0
