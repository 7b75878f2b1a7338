"""The transports to a real upstream: our own HTTP/1.1 client, or aiohttp, both under the httpx API."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial

import aiohttp
import httpx
from aiohttp.client_proto import ResponseHandler
from aiohttp.http_exceptions import HttpProcessingError
from httpx_aiohttp import AiohttpTransport

from bridge.upstream_http1 import Http1Transport


class _Connection(ResponseHandler):
    """aiohttp's C parser forgets whose body it was in when a chunk is broken, and the reader would wait for ever."""

    def set_exception(self, exc: BaseException, *cause: BaseException) -> None:
        super().set_exception(exc, *cause)
        if isinstance(exc, HttpProcessingError) and self._payload is not None:
            self._payload.set_exception(aiohttp.ClientPayloadError(exc.message))


def aiohttp_transport() -> AiohttpTransport:
    """It leaks no pool slot when callers hang up (docs/decisions/0004-upstream.md).

    No proxies or netrc from the environment, no cookies, no redirects; our own semaphore caps what is in flight.
    """

    def session() -> aiohttp.ClientSession:
        connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=60, ttl_dns_cache=60)
        connector._factory = partial(_Connection, loop=asyncio.get_running_loop())  # type: ignore[assignment]
        return aiohttp.ClientSession(
            connector=connector, trust_env=False, cookie_jar=aiohttp.DummyCookieJar(), read_bufsize=256 * 1024
        )

    return AiohttpTransport(client=session, trust_env=False)


TRANSPORTS: dict[str, Callable[[], httpx.AsyncBaseTransport]] = {"http1": Http1Transport, "aiohttp": aiohttp_transport}


def network_transport(name: str) -> httpx.AsyncBaseTransport:
    """By the name that UPSTREAM_TRANSPORT has for it."""
    return TRANSPORTS[name]()
