"""What `/metrics` counts. Under gunicorn the numbers of all workers add up (PROMETHEUS_MULTIPROC_DIR)."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from prometheus_client import Counter, Gauge, Histogram

_SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)

requests = Counter("bridge_requests", "Inference requests by how they ended", ["dialect", "mode", "state", "streamed"])
refusals = Counter("bridge_refusals", "Requests answered with an error before they went upstream", ["code"])
dark = Counter("bridge_dark_refusals", "Requests that limits which only watch would have refused", ["scope", "unit"])
unidentified = Counter("bridge_unidentified", "Requests without a known key", ["reason"])
tokens = Counter("bridge_tokens", "Tokens by class", ["mode", "class"])
spend = Counter("bridge_spend_nanodollars", "What requests cost, in nano-dollars", ["mode"])
upstream_errors = Counter("bridge_upstream_errors", "Requests that failed after they went upstream", ["code"])
latency = Histogram("bridge_request_seconds", "Whole time of a request", ["streamed"], buckets=_SECONDS)
first_token = Histogram("bridge_first_token_seconds", "Time to the first token", buckets=_SECONDS)
queue = Histogram(
    "bridge_queue_seconds", "Time in Bridge before it went upstream", buckets=(0.001, 0.005, 0.025, 0.1, 1)
)
journal_depth = Gauge("bridge_journal_depth", "Requests not yet final in the database", multiprocess_mode="livesum")
journal_failures = Gauge(
    "bridge_journal_failures", "Writes to the journal that the disk would not take", multiprocess_mode="livesum"
)
payloads_lost = Gauge(
    "bridge_payloads_lost", "Payloads that were to be kept and could not be", multiprocess_mode="livesum"
)
in_flight = Gauge("bridge_in_flight", "Requests being served", multiprocess_mode="livesum")

_TOKEN_CLASSES = {
    "input_tokens": "input",
    "cache_write_5m_tokens": "cache_write_5m",
    "cache_write_1h_tokens": "cache_write_1h",
    "cache_read_tokens": "cache_read",
    "output_tokens": "output",
    "reasoning_tokens": "reasoning",
}


# The same few labels come again and again: finding their counter costs more than counting.
_request, _latency, _tokens = cache(requests.labels), cache(latency.labels), cache(tokens.labels)


def settled(row: Mapping[str, Any]) -> None:
    """Counts a request from its record."""
    mode, state, streamed = str(row["mode"]), str(row["state"]), "yes" if row.get("streamed") else "no"
    _request(row["dialect"], mode, state, streamed).inc()
    for column, name in _TOKEN_CLASSES.items():
        if row.get(column):
            _tokens(mode, name).inc(row[column])
    if row.get("cost_nanos"):
        spend.labels(mode).inc(row["cost_nanos"])
    _latency(streamed).observe(row["total_us"] / 1e6)
    if row.get("first_token_us") is not None:
        first_token.observe(row["first_token_us"] / 1e6)
    if row.get("queue_us") is not None:
        queue.observe(row["queue_us"] / 1e6)
    if state == "refused":
        refusals.labels(row.get("error_code") or "invalid_request").inc()
    elif state == "failed":
        upstream_errors.labels(row.get("error_code") or "unknown").inc()
