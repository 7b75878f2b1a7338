"""Rows as a file: CSV that is harmless to spreadsheets, JSONL, and the count and hash of what was written."""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

# What a spreadsheet would compute, or drop to find something to compute; the wide ones are read alike in Asia.
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Form:
    """A kind of file: what it begins with, for these columns, and rows as text of it."""

    content_type: str
    begin: Callable[[Sequence[str]], str]
    rows: Callable[[Iterable[Row]], str]


def _csv(rows: Iterable[Iterable[Any]]) -> str:
    file = io.StringIO()
    csv.writer(file).writerows(rows)
    return file.getvalue()


def _cell(value: Any) -> Any:
    if isinstance(value, str):
        return f"'{value}" if value.startswith(FORMULA) else value
    return msgspec.json.encode(value).decode() if isinstance(value, dict | list) else value


def _csv_rows(rows: Iterable[Row]) -> str:
    return _csv([_cell(value) for value in row.values()] for row in rows)


def _jsonl_rows(rows: Iterable[Row]) -> str:
    return "".join([msgspec.json.encode(row).decode() + "\n" for row in rows])


FORMS = {
    "csv": Form("text/csv; charset=utf-8", lambda columns: _csv([columns]), _csv_rows),
    "jsonl": Form("application/x-ndjson", lambda _: "", _jsonl_rows),
}


class Sheet:
    """A file in the making, that is kept nowhere: `begin` and `add` return its next bytes."""

    def __init__(self, form: str, columns: Sequence[str]) -> None:
        self._form, self._columns = FORMS[form], columns
        self._sha256 = hashlib.sha256()
        self.rows = self.bytes = 0

    def begin(self) -> bytes:
        return self._written(self._form.begin(self._columns))

    def add(self, rows: Sequence[Row]) -> bytes:
        part = self._written(self._form.rows(rows))
        self.rows += len(rows)
        return part

    @property
    def sha256(self) -> str:
        return self._sha256.hexdigest()

    def _written(self, text: str) -> bytes:
        part = text.encode()
        self._sha256.update(part)
        self.bytes += len(part)
        return part
