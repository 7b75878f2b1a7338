"""Token counts as a dialect reports them."""

from __future__ import annotations

from typing import Protocol


class Counts(Protocol):
    """Tokens of one answer by class. `prompt` is all input, cached or not; `output` includes `reasoning`."""

    @property
    def prompt(self) -> int: ...
    @property
    def cache_write_5m(self) -> int: ...
    @property
    def cache_write_1h(self) -> int: ...
    @property
    def cache_read(self) -> int: ...
    @property
    def output(self) -> int: ...
    @property
    def reasoning(self) -> int: ...
