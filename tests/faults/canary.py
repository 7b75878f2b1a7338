"""Canaries: texts that occur nowhere else, and the search for them in whatever a server has written or said."""

from __future__ import annotations

import base64
import contextlib
import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

PIECE = 12  # characters of a secret that are too many to be told
STEP = 3


@dataclass(frozen=True, slots=True)
class Canary:
    """`name` is what a report calls it, for a report must not show it."""

    name: str
    whole: str

    def forms(self) -> Iterator[bytes]:
        """Any piece of it as it is; all of it in hexadecimal, backwards, and in Base64 wherever it begins."""
        whole = self.whole.encode()
        size = PIECE - STEP + 1  # so that every piece holds one of these
        for start in range(0, len(whole) - size + 1, STEP):
            yield whole[start : start + size]
        yield whole.hex().encode()
        yield whole[::-1]
        for shift in range(3):
            yield base64.b64encode(b"\0" * shift + whole)[4 : (shift + len(whole)) // 3 * 4]


Places = Iterable[tuple[str, bytes]]


def found(canaries: Iterable[Canary], places: Places) -> list[str]:
    """'the prompt in bridge.sqlite3' for each that is somewhere."""
    sought = [(canary.name, list(canary.forms())) for canary in canaries]
    return [
        f"{name} in {place}" for place, data in places for name, forms in sought if any(form in data for form in forms)
    ]


def files(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Every file, at whatever moment: one that goes meanwhile is not there any more."""
    for path in sorted(folder.rglob("*")):
        with contextlib.suppress(FileNotFoundError, IsADirectoryError):
            yield f"file {path.relative_to(folder)}", path.read_bytes()


def rows(database: Path) -> Iterator[tuple[str, bytes]]:
    """Every row of every table, its columns as text."""
    with contextlib.closing(sqlite3.connect(database, timeout=10)) as connection:
        tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        for (table,) in tables:
            for row in connection.execute(f'SELECT * FROM "{table}"'):
                cells = [cell if isinstance(cell, bytes) else str(cell).encode() for cell in row]
                yield f"a row of {table}", b"\n".join(cells)
