"""Bodies that come compressed (`Content-Encoding: gzip` or `zstd`), as they were: piece by piece, so that whoever reads
them can stop at a bound, however little was sent."""

from __future__ import annotations

import asyncio
import sys
import zlib
from collections.abc import AsyncIterator, Callable
from typing import Any

from bridge.errors import ApiError

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

SUPPORTED = ("gzip", "zstd")
PIECE = 256 * 1024
# The most memory that a frame may ask for: 8 MB is what RFC 8878 (3.1.1.1.2) wants every decoder to have.
_WINDOW = {int(zstd.DecompressionParameter.window_log_max): 23}


# Decoders of one frame. gzip's leaves what it has not read (`unconsumed_tail`), zstd's keeps it.
_DECODERS: dict[str, Callable[[], Any]] = {
    "gzip": lambda: zlib.decompressobj(wbits=31),
    "zstd": lambda: zstd.ZstdDecompressor(options=_WINDOW),
}


async def pieces(content: bytes, encoding: str) -> AsyncIterator[bytes]:
    """The body, a piece at a time, between which others get their turn. Raises ApiError (400) where it is broken."""
    rest = content
    while rest:
        decoder = _DECODERS[encoding]()
        while not decoder.eof:
            try:
                piece: bytes = decoder.decompress(rest, PIECE)
            except (zlib.error, zstd.ZstdError):
                raise _broken(encoding) from None
            rest = getattr(decoder, "unconsumed_tail", b"")
            if not piece and not rest and not decoder.eof:
                raise _broken(encoding)
            yield piece
            await asyncio.sleep(0)
        rest = decoder.unused_data


def _broken(encoding: str) -> ApiError:
    return ApiError("invalid_json", f"We could not decode the body of your request: it is not valid {encoding}.")
