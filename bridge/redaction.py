"""Replaces what patterns match in the bodies of a payload, before it is kept. Pure.

Every text and number of a JSON body is searched as it reads, not as it is escaped, and what a stream sends in pieces is
searched put together: a card number in five chunks is found. Only what held a match is written anew.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tenants import patterns

INSTEAD = "[redacted]"

# Members of a stream's events that say which of several texts a piece belongs to.
_WHICH = ("index", "output_index", "content_index", "summary_index", "type")
# Members that are no pieces of a text, however often they come.
_WHOLE = frozenset({"id", "item_id", "model", "object", "type", "role", "name", "created", "call_id"})
_STREAM = (b"data:", b"event:", b":")

Place = tuple[Any, ...]


@dataclass(slots=True)
class _Leaf:
    """One text or number, and where it stands."""

    holder: Any
    at: Any
    text: str
    place: Place
    event: int


def redact(body: bytes, wanted: tuple[str, ...], cut: bool) -> tuple[bytes, int]:
    """The body without what the patterns match, and how often they did. `cut`: the body is only a beginning; of a
    stream its last, incomplete event goes, and of anything else all."""
    pattern = patterns.compiled(wanted)
    if body.startswith(_STREAM):
        return _stream(body[: body.rfind(b"\n\n") + 2] if cut else body, pattern)
    if cut:
        return b"", 0
    try:
        value = [_load(body)]
    except (ValueError, RecursionError):
        return _plain(body, pattern)
    count = _replace(list(_walk(value, (), 0, pattern)), pattern, set())
    count += _keys(value, pattern)
    return (_dump(value[0]), count) if count else (body, 0)


def _stream(body: bytes, pattern: Any) -> tuple[bytes, int]:
    blocks = body.split(b"\n\n")
    events: dict[int, list[Any]] = {}
    leaves: list[_Leaf] = []
    changed: set[int] = set()
    count = 0
    for number, block in enumerate(blocks):
        head, mark, data = block.rpartition(b"data: ")
        try:
            events[number] = [_load(data)] if mark else []
        except (ValueError, RecursionError):
            blocks[number], found = _plain(block, pattern)
            count += found
            continue
        leaves.extend(_walk(events[number], (), number, pattern))
        if found := _keys(events[number], pattern):
            count += found
            changed.add(number)
    count += _replace(leaves, pattern, changed)
    for number in changed:
        head, mark, _ = blocks[number].rpartition(b"data: ")
        blocks[number] = head + mark + _dump(events[number][0])
    return b"\n\n".join(blocks), count


def _replace(leaves: list[_Leaf], pattern: Any, changed: set[int]) -> int:
    """Replaces in the leaves, those of one place joined; notes whose events changed."""
    groups: dict[Place, list[_Leaf]] = {}
    for leaf in leaves:
        groups.setdefault(leaf.place, []).append(leaf)
    return sum(_replace_joined(group, pattern, changed) for group in groups.values())


def _replace_joined(group: list[_Leaf], pattern: Any, changed: set[int]) -> int:
    spans = [match.span() for match in pattern.finditer("".join(leaf.text for leaf in group)) if match.end()]
    spans = [(start, end) for start, end in spans if end > start]
    begin = 0
    for leaf in group if spans else ():
        end = begin + len(leaf.text)
        here = [span for span in spans if span[0] < end and span[1] > begin]
        if here:
            leaf.holder[leaf.at] = _without(leaf.text, begin, here)
            changed.add(leaf.event)
        begin = end
    return len(spans)


def _without(text: str, begin: int, spans: list[tuple[int, int]]) -> str:
    """The text, which starts at `begin`, without the spans; a span's substitute stands where it starts."""
    out, at = [], 0
    for start, end in spans:
        out.append(text[at : max(start - begin, 0)])
        if start >= begin:
            out.append(INSTEAD)
        at = end - begin
    return "".join([*out, text[at:]])


def _walk(value: Any, place: Place, event: int, pattern: Any) -> Iterator[_Leaf]:
    """Every text and number; texts of one place in a stream's events have the same `place`, all others their own."""
    pairs = enumerate(value) if isinstance(value, list) else value.items()
    which = tuple(value.get(name) for name in _WHICH if _is_plain(value.get(name))) if isinstance(value, dict) else ()
    for at, inner in pairs:
        here = (*place, which, at)
        if isinstance(inner, dict | list):
            yield from _walk(inner, here, event, pattern)
        elif isinstance(inner, str):
            yield _Leaf(value, at, _clean(inner), (*here, event) if at in _WHOLE else here, event)
        elif isinstance(inner, int | float) and not isinstance(inner, bool):
            yield _Leaf(value, at, str(inner), (*here, event), event)


def _is_plain(value: Any) -> bool:
    return isinstance(value, str | int)


def _keys(value: Any, pattern: Any) -> int:
    """Replaces the names of members."""
    count, waiting = 0, [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            for name in [name for name in one if pattern.search(_clean(name))]:
                one[INSTEAD] = one.pop(name)
                count += 1
        waiting.extend(inner for inner in (one.values() if isinstance(one, dict) else one) if _is_nested(inner))
    return count


def _is_nested(value: Any) -> bool:
    return isinstance(value, dict | list)


def _plain(body: bytes, pattern: Any) -> tuple[bytes, int]:
    """What is not JSON, as text."""
    text, count = pattern.subn(INSTEAD, body.decode(errors="replace"))
    return (text.encode(), count) if count else (body, 0)


def _clean(text: str) -> str:
    """A half of a surrogate pair is no text to RE2."""
    return text if text.isascii() else text.encode(errors="replace").decode()


def _load(data: bytes) -> Any:
    """Raises ValueError, also for a member that stands there twice: one of them would go unseen."""
    return json.loads(data, object_pairs_hook=_once)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(found := dict(pairs)) < len(pairs):
        raise ValueError("a member stands there twice")
    return found


def _dump(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()
