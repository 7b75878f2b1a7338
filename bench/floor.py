"""The floor: bytes in, bytes out, on the same server and the same client, with none of what Bridge is for.

    gunicorn -c python:proxysite.server bench.floor:application     FLOOR_UPSTREAM names the fake upstream

The client's body goes upstream as it came (to /v1/messages), the answer comes back as it came.
"""

from __future__ import annotations

import os
from typing import Any

import httpx

from bridge.upstream_http1 import Http1Transport


class Floor:
    def __init__(self) -> None:
        self.url = httpx.URL(os.environ["FLOOR_UPSTREAM"] + "/v1/messages")
        self.transport: Http1Transport | None = None

    def begin_shutdown(self, grace: float) -> float:
        return grace

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await receive()
            self.transport = Http1Transport()
            await send({"type": "lifespan.startup.complete"})
            await receive()
            await send({"type": "lifespan.shutdown.complete"})
            return
        assert self.transport is not None
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        response = await self.transport.handle_async_request(httpx.Request("POST", self.url, content=body))
        kind = response.headers["content-type"].encode()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", kind)]})
        async for chunk in response.stream:  # type: ignore[union-attr]
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})
        await response.aclose()


application = Floor()
