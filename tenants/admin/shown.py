"""How values read on a page: money, times, states. Everything that comes from a row is escaped here."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from tenants import actions
from tenants.audit import AuditEvent

NONE = "—"

_STEPS = (  # up to this age, divided by this, reads as this
    (timedelta(minutes=1), timedelta(seconds=1), "s"),
    (timedelta(hours=1), timedelta(minutes=1), "min"),
    (timedelta(days=2), timedelta(hours=1), "h"),
    (timedelta(days=60), timedelta(days=1), "days"),
)


def money(nanos: int | None) -> str:
    """Nano-dollars as dollars: six decimals, nine when there is something in the last three and nothing before."""
    if nanos is None:
        return NONE
    decimals = 9 if 0 < nanos < 1_000 else 6
    dollars, rest = divmod(nanos // 10 ** (9 - decimals), 10**decimals)
    return f"${dollars:,}.{rest:0{decimals}}"


def exact_money(nanos: int | None) -> str:
    """Nano-dollars as dollars, to the last one."""
    return NONE if nanos is None else f"${nanos // 10**9:,}.{nanos % 10**9:09}"


def pico_money(picos: int | None) -> str:
    """Pico-dollars as dollars, to the last one."""
    return NONE if picos is None else f"${picos // 10**12:,}.{picos % 10**12:012}"


def per_million(picos: int) -> str:
    """A price of so many pico-dollars a token, as price lists have it: dollars per million, two decimals or more."""
    dollars, rest = divmod(picos, 10**6)
    return f"${dollars:,}.{f'{rest:06}'.rstrip('0'):0<2}"


def cost_lines(bill: object) -> SafeString | str:
    """A bill: what was counted, at which price, and what that comes to."""
    if not (isinstance(bill, list) and bill and all(isinstance(line, dict) and "pico" in line for line in bill)):
        return structure(bill)
    head = ("", "Tokens", "USD per million", "USD")
    return table((_cost_line(line) for line in bill), head)


def _cost_line(line: Mapping[str, Any]) -> tuple[object, ...]:
    """One class; a search is priced by the thousand, and a line without a price says why."""
    name = str(line.get("class", "")).replace("_", " ")
    more = ", ".join(str(part) for part in (line.get("model"), line.get("terms"), line.get("why")) if part)
    label = format_html('{} <span class="quiet">{}</span>', name, more)
    price = line.get("pico_per_token")
    each = NONE if price is None else per_million(price)
    if name == "web search" and price is not None:
        each = f"{pico_money(price * 1_000).rstrip('0').rstrip('.')} per thousand"
    return label, number(line.get("tokens", 0)), each, pico_money(line["pico"])


def duration(microseconds: int | None) -> str:
    if microseconds is None:
        return NONE
    if microseconds < 10_000:
        return f"{microseconds / 1_000:.1f} ms"
    if microseconds < 1_000_000:
        return f"{microseconds / 1_000:.0f} ms"
    if microseconds < 60_000_000:
        return f"{microseconds / 1_000_000:.2f} s"
    minutes, seconds = divmod(microseconds // 1_000_000, 60)
    return f"{minutes} min {seconds:02} s"


def spend(nanos: int) -> str:
    """Nano-dollars to read at a glance: cents, or of less than one the first two figures that count."""
    cents = (nanos + 5_000_000) // 10_000_000
    if cents or not nanos:
        return f"${cents // 100:,}.{cents % 100:02}"
    return f"${nanos / 10**9:.{11 - len(str(nanos))}f}"


def number(value: int) -> str:
    return f"{value:,}"


def compact(value: int) -> str:
    """In whole, up to a million; above it in millions and billions, three figures of them."""
    for size, word in ((10**9, "B"), (10**6, "M")):
        if value >= size:
            return f"{value / size:.{3 - len(str(value // size)) if value < 1000 * size else 0}f} {word}"
    return f"{value:,}"


def stamp(at: datetime | None) -> SafeString | str:
    """The moment itself, in UTC."""
    return _time(at, f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC") if at else NONE


def short_stamp(at: datetime) -> SafeString:
    """The moment as a column of a list shows it; the whole of it on hover."""
    return _time(at, f"{at.astimezone(UTC):%d %b %H:%M:%S}")


def ago(at: datetime | None, never: str = NONE) -> SafeString | str:
    """How long since (or until) then, in one word; the moment itself on hover."""
    if at is None:
        return never
    age = timezone.now() - at
    text = _span(abs(age))
    if text is None:
        return _time(at, f"{at.astimezone(UTC):%d %b %Y}")
    return _time(at, f"in {text}" if age < timedelta(0) else f"{text} ago")


def length(time: timedelta) -> str:
    """How long, in one word."""
    return _span(time) or f"{time.days} days"


def _span(age: timedelta) -> str | None:
    for limit, unit, word in _STEPS:
        if age < limit:
            return f"{age // unit} {word}"
    return None


def _time(at: datetime, text: str) -> SafeString:
    whole = f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
    return format_html('<time datetime="{}" title="{}">{}</time>', at.isoformat(), whole, text)


def mono(text: str) -> SafeString | str:
    return format_html('<code class="mono">{}</code>', text) if text else NONE


def pill(text: str, tone: str) -> SafeString:
    """A state in a word; `tone` (good, wait, bad, quiet) only repeats it as a colour."""
    return format_html('<span class="pill {}">{}</span>', tone, text)


def link(url: str, text: str) -> SafeString:
    return format_html('<a href="{}">{}</a>', url, text)


def lines(texts: Iterable[str]) -> SafeString | str:
    """A list, one line each."""
    items = format_html_join("", "<li>{}</li>", ((text,) for text in texts))
    return format_html('<ul class="lines">{}</ul>', items) if items else NONE


def region(table: SafeString, name: str) -> SafeString:
    """A wide table in a region of this name, to be scrolled by hand and by keyboard where the screen is narrower."""
    return format_html('<div class="results" tabindex="0" role="region" aria-label="{}">{}</div>', name, table)


def table(rows: Iterable[tuple[object, ...]], head: tuple[str, ...] = ()) -> SafeString:
    """Facts as a small table: a label and a value (or several) per row."""
    top = format_html("<tr>{}</tr>", format_html_join("", "<th>{}</th>", ((text,) for text in head))) if head else ""
    body = ((format_html_join("", "<td>{}</td>", ((cell,) for cell in row)),) for row in rows)
    return format_html('<table class="facts">{}{}</table>', top, format_html_join("", "<tr>{}</tr>", body))


def structure(value: object) -> SafeString | str:
    """Data as indented JSON."""
    if value in (None, "", {}, []):
        return NONE
    return format_html('<pre class="data">{}</pre>', json.dumps(value, indent=2, ensure_ascii=False))


def value(told: object) -> SafeString | str:
    """A column's value as the audit trail has it."""
    if told in (None, "", {}, []):
        return NONE
    if isinstance(told, list) and all(isinstance(one, str) for one in told) and len(told) <= 10:
        return ", ".join(told)
    return structure(told) if isinstance(told, dict | list) else str(told)


def changes(before: dict[str, object], after: dict[str, object]) -> SafeString | str:
    rows = [(name, value(before.get(name)), value(after.get(name))) for name in {**before, **after}]
    return table(rows, head=("Field", "Before", "After")) if rows else NONE


def event(row: AuditEvent) -> dict[str, object]:
    """One row of the audit trail, as the history of what it is about lists it."""
    reason = row.told_context.get("reason")
    return {
        "time": short_stamp(row.at),
        "who": row.actor_name or NONE,
        "what": f"{actions.words(row.action)}: {reason}" if reason else actions.words(row.action),
        "changes": changes(row.told_before, row.told_after),
        "from_where": row.address or NONE,
    }
