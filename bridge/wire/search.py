"""A quick look through a request's JSON for what most requests do not have, before it is walked."""

from __future__ import annotations

SEARCHED_BYTES = 2 * 1024 * 1024  # in what is larger, mostly images, it is quicker to look at the parts


def may_name(content: bytes, *names: bytes) -> bool:
    """Whether JSON may have one of these as a key; quoted, as inside a text the quotes would be escaped."""
    return len(content) > SEARCHED_BYTES or any(name in content for name in names)
