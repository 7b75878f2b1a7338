"""Bodies that come compressed (`Content-Encoding: gzip` or `zstd`), as they were: piece by piece, so that whoever reads
them can stop at a bound, however little was sent."""

from __future__ import annotations

import asyncio
import sys
import zlib
from collections.abc import AsyncIterator, Callable
from typing import Protocol

from bridge.errors import ApiError

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

SUPPORTED = ("gzip", "zstd")
PIECE = 256 * 1024
# The most memory that a frame may ask for: 8 MB is what RFC 8878 (3.1.1.1.2) wants every decoder to have.
_WINDOW = {int(zstd.DecompressionParameter.window_log_max): 23}


class _Decoder(Protocol):
    """Of one frame: `unused_data` is what follows its end."""

    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def step(self, data: bytes) -> tuple[bytes, bytes]:
        """The next piece, and the data that is still to be read."""


class _Gzip:
    def __init__(self) -> None:
        self._inner = zlib.decompressobj(wbits=31)

    @property
    def eof(self) -> bool:
        return self._inner.eof

    @property
    def unused_data(self) -> bytes:
        return self._inner.unused_data

    def step(self, data: bytes) -> tuple[bytes, bytes]:
        return self._inner.decompress(data, PIECE), self._inner.unconsumed_tail


class _Zstd:
    def __init__(self) -> None:
        self._inner = zstd.ZstdDecompressor(options=_WINDOW)

    @property
    def eof(self) -> bool:
        return self._inner.eof

    @property
    def unused_data(self) -> bytes:
        return self._inner.unused_data

    def step(self, data: bytes) -> tuple[bytes, bytes]:
        return self._inner.decompress(data, PIECE), b""  # it keeps what it has not read


_DECODERS: dict[str, Callable[[], _Decoder]] = {"gzip": _Gzip, "zstd": _Zstd}


async def pieces(content: bytes, encoding: str) -> AsyncIterator[bytes]:
    """The body, a piece at a time, between which others get their turn. Raises ApiError (400) where it is broken."""
    rest = content
    while rest:
        decoder = _DECODERS[encoding]()
        while not decoder.eof:
            try:
                piece, rest = decoder.step(rest)
            except (zlib.error, zstd.ZstdError):
                raise _broken(encoding) from None
            if not piece and not rest and not decoder.eof:
                raise _broken(encoding)
            yield piece
            await asyncio.sleep(0)
        rest = decoder.unused_data


def _broken(encoding: str) -> ApiError:
    return ApiError("invalid_json", f"We could not decode the body of your request: it is not valid {encoding}.")
