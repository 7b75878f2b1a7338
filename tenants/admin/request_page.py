"""A request's own page, above its facts: how it ended, where its time went, what it cost and why it was refused."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from tenants.admin import shown
from tenants.models import RequestRecord
from tenants.values import State

TONES = {
    State.SETTLED: "good",
    State.REFUSED: "wait",
    State.FAILED: "bad",
    State.INTERRUPTED: "bad",
    State.CANCELLED: "quiet",
}
ENDS = {
    State.ADMITTED: "Being looked at.",
    State.SENT: "Sent; upstream has not begun to answer.",
    State.STREAMING: "Being answered now.",
    State.SETTLED: "Answered in full.",
    State.REFUSED: "Refused before anything went upstream.",
    State.FAILED: "Failed after it was sent.",
    State.CANCELLED: "The client hung up before the end.",
    State.INTERRUPTED: "Cut off: its worker ended, or was told to.",
}
TOKENS = {
    "input": "input_tokens",
    "cache write, 5 minutes": "cache_write_5m_tokens",
    "cache write, 1 hour": "cache_write_1h_tokens",
    "cache read": "cache_read_tokens",
    "output": "output_tokens",
    "of which reasoning": "reasoning_tokens",
    "web searches": "web_searches",
}
SOURCES = {
    "exact": "Upstream’s own final count.",
    "estimated": "Estimated from what was seen: upstream’s final count never came.",
    "bound": "An upper bound: output may have been produced that nobody saw.",
}
# What the facts of a refusal are called; those not named here keep their own name.
FACTS = {
    "rule": "Rule",
    "scope": "Of the",
    "unit": "Counted",
    "window": "Window",
    "limit": "Limit",
    "remaining": "Left",
    "needed": "Needed",
    "retry_seconds": "Again in seconds",
    "max_tokens_fits": "max_tokens that fits",
    "param": "Parameter",
    "why": "Why",
    "reasons": "Reasons",
}
# What a verdict on the receipt means; what stands in its brackets is shown as it is.
VERDICTS = {
    "ignored": "had no effect",
    "dropped": "left out: the model does not take it",
    "left_out": "left out: it tells the model nothing",
    "clamped": "brought within what is allowed",
    "limited": "only the first ones count",
    "emulated": "done in another way",
    "prompted": "asked of the model in words",
    "adapted": "done as far as the model allows",
    "translated": "put in Anthropic’s form",
    "as_text": "passed on as text",
    "as_user": "passed on as the user’s words",
    "inlined": "moved into the conversation",
    "merged": "put together with another",
    "repaired": "mended: it was not valid",
    "result_added": "a result was missing and was added",
    "automatic": "set by Bridge",
    "shortened": "kept for a shorter time",
    "alias": "another name for the model",
}


def summary(record: RequestRecord) -> dict[str, Any]:
    """What the template shows above the facts."""
    state = State(record.state)
    return {
        "tone": TONES.get(state, "plain"),
        "pill": outcome(record),
        "ends": ENDS[state],
        "tiles": list(_tiles(record)),
        "timing": timing(record),
        "refusal": refusal(record),
        "bill": bill(record),
        "source": SOURCES.get(record.usage_source, ""),
    }


def outcome(record: RequestRecord) -> SafeString:
    text = f"{record.state} {record.status or ''}".strip() + (f" ×{record.count}" if record.count > 1 else "")
    return shown.pill(text, TONES.get(State(record.state), "plain"))


def prompt_tokens(record: RequestRecord) -> int:
    """All that went in, cached or not."""
    written = record.cache_write_5m_tokens + record.cache_write_1h_tokens
    return record.input_tokens + written + record.cache_read_tokens


def _tiles(record: RequestRecord) -> Iterator[dict[str, str]]:
    cached = record.cache_read_tokens
    prompt = prompt_tokens(record)
    yield _tile("Cost", shown.exact_money(record.cost_nanos), _cost_note(record))
    yield _tile("Total", shown.duration(record.total_us), "streamed" if record.streamed else "whole")
    yield _tile("First token", shown.duration(record.first_token_us))
    yield _tile("Tokens in", shown.number(prompt), f"{cached / prompt:.0%} from the cache" if cached else "")
    yield _tile("Tokens out", shown.number(record.output_tokens), _speed(record))


def _tile(title: str, figure: str, text: str = "") -> dict[str, str]:
    return {"title": title, "figure": figure, "text": text, "tone": ""}


def _cost_note(record: RequestRecord) -> str:
    """Test keys cost nothing; of a budget's hold it is said when it was not enough."""
    if record.mode == "test":
        return "a test key"
    if record.held_nanos is None:
        return ""
    over = (record.cost_nanos or 0) > record.held_nanos
    return f"{shown.spend(record.held_nanos)} was held{', which was too little' if over else ''}"


def _speed(record: RequestRecord) -> str:
    writing = (record.total_us or 0) - (record.first_token_us or 0)
    if not record.first_token_us or writing <= 0 or record.output_tokens < 2:
        return ""
    return f"{record.output_tokens / writing * 1_000_000:.0f} a second"


def timing(record: RequestRecord) -> SafeString | str:
    """One bar from admission to the end, and its parts in words."""
    if not record.total_us or record.queue_us is None:  # refused: nothing was waited for
        return ""
    total = record.total_us
    sent = min(record.queue_us, total)
    first = min(max(record.first_token_us or total, sent), total)
    parts = (
        ("queue", "in Bridge, before it was sent", 0, sent),
        ("wait", "until the first token" if record.first_token_us else "waiting", sent, first),
        ("rest", "receiving the answer", first, total),
    )
    drawn = [
        (name, f"{100 * start / total:.3f}", f"{100 * (end - start) / total:.3f}", shown.duration(end - start), label)
        for name, label, start, end in parts
        if end > start
    ]
    rects = format_html_join(
        "", '<rect class="{}" x="{}%" width="{}%" height="100%"><title>{} {}</title></rect>', drawn
    )
    keys = format_html_join(
        "",
        '<li><svg class="key" aria-hidden="true"><rect class="{}" width="100%" height="100%" rx="2"/></svg>'
        "<strong>{}</strong> {}</li>",
        ((name, time, label) for name, _, _, time, label in drawn),
    )
    return format_html(
        '<svg class="timeline" role="img" aria-label="Where the time went">{}</svg><ul class="legend quiet">{}</ul>',
        rects, keys,
    )  # fmt: skip


def refusal(record: RequestRecord) -> dict[str, Any] | None:
    """What the client was told, and the rule with its numbers. `dark`: only watched, nothing was refused."""
    facts = record.refusal
    if not isinstance(facts, dict):
        return None
    listed = [
        (FACTS.get(str(name), str(name).replace("_", " ").capitalize()), _text(value))
        for name, value in facts.items()
        if name not in ("message", "dark") and value not in (None, "", [], {})
    ]
    return {"dark": bool(facts.get("dark")), "message": str(facts.get("message") or ""), "facts": listed}


def _text(value: object) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float | str | list):
        return json.dumps(value, ensure_ascii=False, default=str)
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return value if isinstance(value, str) else f"{value:,}"


def bill(record: RequestRecord) -> SafeString | str:
    """Line by line with its price where there is one; else what was counted."""
    if record.cost_lines:
        return shown.cost_lines(record.cost_lines)
    used = [(label, shown.number(getattr(record, name))) for label, name in TOKENS.items() if getattr(record, name)]
    return shown.table(used) if used else ""


def receipt(lines: Iterable[str]) -> SafeString | str:
    """Line by line: the name, what became of it, and what that means."""
    rows = []
    for line in lines:
        name, _, verdict = line.strip().partition("=")
        kind, _, rest = verdict.partition("(")
        meaning = VERDICTS.get(kind, "")
        detail = rest.removesuffix(")")
        rows.append((shown.mono(name), shown.pill(kind.replace("_", " ") or "said", "plain"), detail, meaning))
    return shown.table(rows) if rows else "Nothing was changed: it went upstream as it was asked."
