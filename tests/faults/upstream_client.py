"""Asks the fake Anthropic for things, for its own tests."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from typing import Any

import httpx

from tests.faults.upstream import Upstream

Json = dict[str, Any]
HEAD = b"POST /v1/messages HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: %d\r\n\r\n"
FRAME = re.compile(rb"event: (\w+)\ndata: ([^\n]*)\n\n")


def request(text: str, *, stream: bool = True, model: str = "claude-opus-5-5") -> Json:
    return {"model": model, "max_tokens": 64, "stream": stream, "messages": [{"role": "user", "content": text}]}


async def send(client: httpx.AsyncClient, text: str, **fields: Any) -> httpx.Response:
    return await client.post("/v1/messages", json=request(text, **fields))


async def ledger(client: httpx.AsyncClient, query: str = "quiet=5") -> Json:
    report: Json = (await client.get(f"/__ledger?{query}")).json()
    return report


async def last(client: httpx.AsyncClient) -> Json:
    record: Json = (await ledger(client))["requests"][-1]
    return record


def kinds(body: bytes) -> list[str]:
    return [name.decode() for name, _ in FRAME.findall(body)]


async def raw(upstream: Upstream, text: str) -> bytes:
    """All bytes of the answer, headers and framing included, until the connection ends."""
    body = json.dumps(request(text)).encode()
    reader, writer = await asyncio.open_connection("127.0.0.1", int(upstream.url.rsplit(":", 1)[1]))
    writer.write(HEAD % len(body) + body)
    with contextlib.suppress(ConnectionResetError):
        answer = await reader.read(-1)
    writer.close()
    return answer
