"""JSON from strangers."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.wire import strict


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "empty"),
        (b" \n", "empty"),
        (b"{", "truncated"),
        (b'{"a" 1}', "byte 5"),
        (b'{"a": NaN}', "byte 6"),
        (b'{"a": Infinity}', "byte 6"),
        (b'{"a": 1e999}', "out of range"),
        (b'{"a": "\\ud83d"}', "lone surrogate (byte 7)"),
        (b'{"a": "\\ude00\\ud83d"}', "lone surrogate (byte 7)"),
        (b'{"a": "\xff"}', "UTF-8: invalid start byte (byte 7)"),
        ('{"a": 1}'.encode("utf-16"), "byte 0"),
        (b"{} {}", "trailing"),
        (b"[" * 65 + b"]" * 65, "64 levels"),
        (b'{"a":' * 65 + b"1" + b"}" * 65, "64 levels"),
        (b"[" * 100_000, "64 levels"),
    ],
)
def test_what_is_not_json_says_where(data: bytes, says: str) -> None:
    with pytest.raises(ValueError, match=says.replace("(", r"\(").replace(")", r"\)")):
        strict.loads(data)


def test_what_is_accepted() -> None:
    assert strict.loads(b"\xef\xbb\xbf{}") == {}
    assert strict.loads(b'{"a": 1, "a": 2}') == {"a": 2}
    assert strict.loads(b"18446744073709551615") == 2**64 - 1
    assert strict.loads(b'"\\ud83d\\ude00"') == "😀"
    assert strict.loads(b'"\\u0000"') == "\0"
    strict.loads(b"[" * 64 + b"]" * 64)


@given(st.binary(max_size=200))
def test_no_bytes_raise_anything_but_a_value_error(data: bytes) -> None:
    with contextlib.suppress(ValueError):
        strict.loads(data)
