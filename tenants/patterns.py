"""What is to be replaced before a payload is kept: regular expressions, one a line, run by RE2.

RE2's time grows with the text and never with the pattern's cleverness: it has no backtracking, so no pattern that a
tenant writes and no text that a client sends can make it hang (docs/decisions/0016-capture.md).
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import re2
from django.core.exceptions import ValidationError

MOST = 20
LONGEST = 300
MEMORY = 8 * 1024 * 1024


def read(text: str) -> tuple[str, ...]:
    """The patterns of a field, without its empty lines."""
    return tuple(line for line in (line.strip() for line in text.splitlines()) if line)


def check(text: str) -> None:
    """Raises ValidationError that names the pattern and what is wrong with it."""
    patterns = read(text)
    if len(patterns) > MOST:
        raise ValidationError(f"At most {MOST} patterns.")
    for pattern in patterns:
        if len(pattern) > LONGEST:
            raise ValidationError(f"“{pattern[:40]}…” is too long: at most {LONGEST} characters.")
        try:
            found = compiled((pattern,)).search("")
        except re2.error as error:
            why = error.args[0].decode() if isinstance(error.args[0], bytes) else str(error)
            text = f"“{pattern[:60]}” is not a regular expression of RE2's: {why}."
            raise ValidationError(text) from None
        if found:
            raise ValidationError(f"“{pattern[:60]}” matches nothing at all, so it would match everywhere.")


@lru_cache(256)
def compiled(patterns: tuple[str, ...]) -> Any:
    """All of them as one. Raises re2.error."""
    options = re2.Options()
    options.log_errors, options.max_mem = False, MEMORY
    return re2.compile("|".join(f"(?:{pattern})" for pattern in patterns), options)
