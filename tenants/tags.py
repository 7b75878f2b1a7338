"""Tags: short `key=value` pairs on a key that every record of it carries. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable

MOST = 10
_NAME = re.compile(r"[0-9A-Za-z][0-9A-Za-z_.-]{0,31}")
_VALUE = re.compile(r"[^\x00-\x1f\x7f=]{1,64}")


def read_all(texts: Iterable[str]) -> dict[str, str]:
    """`team=search` and others as a dict. Raises ValueError that says which is wrong."""
    found: dict[str, str] = {}
    for text in texts:
        name, separator, value = (part.strip() for part in text.partition("="))
        if not separator or not _NAME.fullmatch(name) or not _VALUE.fullmatch(value):
            raise ValueError(
                f"“{text.strip()[:100]}” is not a tag: it takes name=value, the name of up to 32 letters, digits and "
                "_ . -, the value of up to 64 characters."
            )
        if name in found:
            raise ValueError(f"The tag “{name}” is given twice.")
        found[name] = value
    if len(found) > MOST:
        raise ValueError(f"A key has {MOST} tags at most; these are {len(found)}.")
    return found


def shown(tags: dict[str, str] | None) -> list[str]:
    """The tags as they are written."""
    return [f"{name}={value}" for name, value in (tags or {}).items()]
