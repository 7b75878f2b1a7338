"""Addresses and the networks that a key may be used from. Pure.

An IPv4 address inside IPv6 (::ffff:192.0.2.1, as sockets that speak both say it) is that IPv4 address, everywhere.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from functools import lru_cache

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address

MOST = 50
_MAPPED = ipaddress.IPv6Network("::ffff:0:0/96")


@lru_cache(4096)
def read_address(text: str) -> Address | None:
    """The address, or None if it is none. A zone (fe80::1%eth0) means nothing beyond its host."""
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return (address.ipv4_mapped or address) if isinstance(address, ipaddress.IPv6Address) else address


def read(text: str) -> Network:
    """A network or a single address. Raises ValueError that says what would do."""
    try:
        network = ipaddress.ip_network(text.strip(), strict=False)
    except ValueError:
        raise ValueError(f"“{text.strip()[:60]}” is neither an address nor a network such as 203.0.113.0/24.") from None
    given = ipaddress.ip_interface(text.strip())
    if given.ip != network.network_address:
        raise ValueError(f"“{text.strip()[:60]}” has bits after its prefix: write {network}, or {given.ip} alone.")
    if isinstance(network, ipaddress.IPv6Network) and network.subnet_of(_MAPPED):
        inner = int(network.network_address) & 0xFFFFFFFF
        return ipaddress.IPv4Network((inner, network.prefixlen - 96))
    return network


def read_all(texts: Iterable[str]) -> list[str]:
    """The networks as they are stored, each once. Raises ValueError."""
    found = list(dict.fromkeys(str(read(text)) for text in texts))
    if len(found) > MOST:
        raise ValueError(f"A key has {MOST} networks at most; these are {len(found)}.")
    return found


def contain(networks: Iterable[Network], address: Address) -> bool:
    return any(address in network for network in networks)
