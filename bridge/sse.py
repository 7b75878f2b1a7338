"""Server-sent events, byte by byte: whatever way the network cut them, the same events come out.

Lines end in LF, CRLF or CR. Only those: U+2028 and U+0085 are legal inside JSON strings. Field names other than
`event` and `data` are ignored, as are comments. Source: WHATWG HTML §9.2.
"""

from __future__ import annotations

import re

MAX_EVENT_BYTES = 8 * 1024 * 1024


class EventTooLarge(ValueError):
    """One event is larger than any real one: the stream is not what it claims to be."""


# An event as Anthropic writes it, its lines ended by LF alone. What is not exactly of this form goes line by line.
_USUAL = re.compile(rb"(?:event: .*\n)?data: (.*)\n\n")
_ALL_USUAL = re.compile(rb"(?:(?:event: .*\n)?data: .*\n\n)*")


class Parser:
    """Feed it bytes, get the data of each complete event (several `data:` lines joined by a newline)."""

    def __init__(self) -> None:
        self._rest = b""  # bytes of a line that has not ended yet
        self._data: list[bytes] = []
        self._size = 0

    def feed(self, chunk: bytes) -> list[bytes]:
        """The data of the events that this chunk completes. Raises EventTooLarge."""
        content = self._rest + chunk if self._rest else chunk
        plain = b"\r" not in content
        events: list[bytes] = []
        if plain and not self._data and len(content) <= MAX_EVENT_BYTES:
            end = _ALL_USUAL.match(content).end()  # type: ignore[union-attr]  # nothing at all would match
            events = _USUAL.findall(content, 0, end)
            if end == len(content):
                self._rest = b""
                return events
            content = content[end:]
        if not plain:
            content, held = _newlines(content)
        else:
            held = b""
        lines = content.split(b"\n")
        self._rest = lines.pop() + held
        for line in lines:
            if line:
                self._field(line)
            elif self._data:
                events.append(self._data[0] if len(self._data) == 1 else b"\n".join(self._data))
                self._data, self._size = [], 0
        if self._size + len(self._rest) > MAX_EVENT_BYTES:
            raise EventTooLarge
        return events

    def whole(self, chunk: bytes) -> list[bytes] | None:
        """The same for a chunk of nothing but whole events of the usual form; else None, and it is still to be fed."""
        if self._rest or self._data or b"\r" in chunk or len(chunk) > MAX_EVENT_BYTES:
            return None
        one = _USUAL.fullmatch(chunk)
        if one is not None:
            return [one[1]]
        end = _ALL_USUAL.match(chunk).end()  # type: ignore[union-attr]  # nothing at all would match
        return _USUAL.findall(chunk) if end == len(chunk) else None

    def finish(self) -> list[bytes]:
        """What the end of the stream completes: some servers leave out the last empty line. Whether the data is whole
        is for whoever decodes it to say."""
        return self.feed(b"\n\n")

    def _field(self, line: bytes) -> None:
        if line.startswith(b"data:"):
            value = line[6:] if line[5:6] == b" " else line[5:]
        elif line == b"data":
            value = b""
        else:
            return
        self._data.append(value)
        self._size += len(value)
        if self._size > MAX_EVENT_BYTES:
            raise EventTooLarge


# Atomic, so that one CRLF is never taken for two ends of a line.
_END = re.compile(rb"(?>\r\n|\n|\r)(?>\r\n|\n|\r)")


class FrameParser:
    """A Parser that also keeps the bytes of each event, for those who relay them: `raws` beside what `feed` gives.

    Comments and empty lines belong to the event after them.
    """

    def __init__(self) -> None:
        self._parser = Parser()
        self._raw = b""  # bytes of an event that has not ended yet
        self._seen = 0  # of these, how many have been searched for its end
        self._before = b""
        self.raws: list[bytes] = []

    def feed(self, chunk: bytes) -> list[bytes]:
        self._raw += chunk
        self.raws, events, start = [], [], 0
        for end in _END.finditer(self._raw, max(0, self._seen - 3)):
            events += self._event(self._raw[start : end.end()])
            start = end.end()
        self._raw = self._raw[start:]
        self._seen = len(self._raw)
        if self._seen + len(self._before) > MAX_EVENT_BYTES:
            raise EventTooLarge
        return events

    def finish(self) -> list[bytes]:
        ended = self._raw.rstrip(b"\r\n") + b"\n\n"
        self.raws, self._raw = [], b""
        return self._event(ended) if ended.strip() else []

    def _event(self, raw: bytes) -> list[bytes]:
        datas = self._parser.feed(raw) + self._parser.finish()
        if datas:
            self.raws.append(self._before + raw)
        self._before = b"" if datas else self._before + raw
        return datas


def _newlines(content: bytes) -> tuple[bytes, bytes]:
    """CRLF and CR as LF; a CR at the very end is held back, for an LF may follow it."""
    held = b"\r" if content.endswith(b"\r") else b""
    if held:
        content = content[:-1]
    return content.replace(b"\r\n", b"\n").replace(b"\r", b"\n"), held
