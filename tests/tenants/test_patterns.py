"""Patterns are RE2's, few, short, and match something."""

from __future__ import annotations

import pytest
from django.core.exceptions import ValidationError

from tenants import patterns


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("(", "“\\(” is not a regular expression of RE2's: missing"),
        (r"(?=ahead)", "invalid perl operator"),
        (r"(a)\1", "invalid escape sequence"),
        ("x*", "would match everywhere"),
        ("a" * 301, "too long"),
        ("\n".join("a" * 21), "At most 20"),
        ("(a{1000}){1000}", "repetition"),
    ],
)
def test_what_is_none_says_why(text: str, says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        patterns.check(text)


def test_empty_lines_are_none() -> None:
    patterns.check("\n  \n")
    assert patterns.read(" a+ \n\n(?i)b\n") == ("a+", "(?i)b")
    assert patterns.compiled(("a+", "(?i)b")).sub("-", "aaBc") == "--c"
