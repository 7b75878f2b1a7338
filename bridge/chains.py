"""What the newest response of a connection was about, so that its next request may go on from it by its id: in memory,
never stored."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import msgspec

Item = dict[str, Any]


class Chains:
    """All that a worker keeps of them, within `most` bytes: the one kept longest ago gives way."""

    def __init__(self, most: int, each: int) -> None:
        self._most, self.each = most, each
        self._kept: OrderedDict[Chain, int] = OrderedDict()
        self.size = 0

    def kept(self, chain: Chain, size: int) -> None:
        self._kept[chain] = size
        self.size += size
        while self.size > self._most:
            next(iter(self._kept)).forget()

    def left(self, chain: Chain) -> None:
        self.size -= self._kept.pop(chain, 0)


class Chain:
    """One connection's: the newest response's id, and all items up to it, as JSON, which is the smallest they get."""

    def __init__(self, chains: Chains) -> None:
        self._chains = chains
        self._id, self._items = "", b""

    def keep(self, identifier: str, items: list[Item]) -> None:
        """From here on this is the newest response. A conversation that is too long is not kept."""
        self.forget()
        data = msgspec.json.encode(items)
        if len(data) <= self._chains.each:
            self._id, self._items = identifier, data
            self._chains.kept(self, len(data))

    def take(self, identifier: str) -> list[Item] | None:
        """The items up to this response, which whoever goes on from it has now: one that fails is not gone on from
        again. None if it is not the newest."""
        if not self._id or identifier != self._id:
            return None
        items: list[Item] = msgspec.json.decode(self._items)
        self.forget()
        return items

    def forget(self) -> None:
        self._chains.left(self)
        self._id, self._items = "", b""
