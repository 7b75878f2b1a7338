"""WebSocket mode on a running server: what crosses the wire, its bounds, hang-ups, and a restart."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from tests.contract.clients import ECHO, MODEL
from tests.live import Server, until

ENDS = ("response.completed", "response.incomplete", "response.failed", "error")
SLOW = "[sandbox:slow first=0 rate=1] " + "word " * 200


class Wire:
    """Connections to a server, by one key."""

    def __init__(self, server: Server, key: str) -> None:
        self.server, self.headers = server, {"authorization": f"Bearer {key}"}

    async def __aenter__(self) -> Wire:
        self._session = aiohttp.ClientSession()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._session.close()

    async def open(self, path: str = "/v1/responses", **more: Any) -> aiohttp.ClientWebSocketResponse:
        return await self._session.ws_connect(self.server.url + path, headers=self.headers, max_msg_size=0, **more)


async def ask(socket: aiohttp.ClientWebSocketResponse, text: Any, **more: Any) -> None:
    await socket.send_str(json.dumps({"type": "response.create", "model": MODEL, "input": text, **more}))


async def answer(socket: aiohttp.ClientWebSocketResponse) -> list[dict[str, Any]]:
    told: list[dict[str, Any]] = []
    while not told or told[-1]["type"] not in ENDS:
        told.append(await socket.receive_json(timeout=30))
    return told


@pytest.fixture
async def wire(server: Server, key: str) -> AsyncIterator[Wire]:
    async with Wire(server, key) as wire:
        yield wire


async def test_a_handshake_without_a_known_key_is_a_401_that_says_why(wire: Wire) -> None:
    wire.headers = {"authorization": "Bearer sk-unknown"}
    with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
        await wire.open()
    assert caught.value.status == 401 and caught.value.headers is not None and caught.value.headers["x-request-id"]


@pytest.mark.parametrize(("path", "status"), [("/v1/chat/completions", 405), ("/v1/models", 200), ("/healthz", 200)])
async def test_elsewhere_the_wish_is_ignored(wire: Wire, path: str, status: int) -> None:
    with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
        await wire.open(path)
    assert caught.value.status == status


async def test_a_conversation_goes_on(wire: Wire) -> None:
    socket = await wire.open()
    await ask(socket, f"{ECHO}One")
    first = await answer(socket)
    await socket.ping()
    await ask(socket, f"{ECHO}Two", previous_response_id=first[-1]["response"]["id"])
    second = await answer(socket)
    assert second[-1]["response"]["output"][0]["content"][0]["text"] == "Two"
    assert second[-1]["response"]["usage"]["input_tokens"] > first[-1]["response"]["usage"]["input_tokens"]
    await socket.close()
    assert socket.close_code == 1000


async def test_a_large_message_arrives_whole_and_does_not_stop_the_worker(wire: Wire) -> None:
    socket = await wire.open()
    began = time.monotonic()
    await ask(socket, [{"role": "user", "content": f"{ECHO}Hello"}, {"role": "user", "content": "x" * 30_000_000}])
    assert (await answer(socket))[-1]["type"] in ENDS
    assert time.monotonic() - began < 10


async def test_a_message_that_is_too_large_closes_the_connection(wire: Wire) -> None:
    socket = await wire.open()
    await socket.send_bytes(b" " * (33 * 1024 * 1024))
    assert (await socket.receive(timeout=30)).data == 1009


async def test_a_client_that_leaves_cancels_what_it_asked(wire: Wire) -> None:
    socket = await wire.open()
    await ask(socket, SLOW)
    begun = await socket.receive_json(timeout=30)
    socket._response.connection.transport.abort()  # type: ignore[union-attr]
    request_id = begun["headers"]["x-request-id"]
    (record,) = await asyncio.to_thread(until, lambda: wire.server.records(id=request_id, state="cancelled"), 10)
    assert record["dialect"] == "responses"


async def test_a_restart_ends_what_is_idle_at_once_and_what_runs_in_time() -> None:
    with Server({"UPSTREAM": "sandbox"}, workers=1) as server:
        async with Wire(server, server.test_key) as wire:
            idle, busy = await wire.open(), await wire.open()
            await ask(busy, SLOW)
            assert (await busy.receive_json(timeout=30))["type"] == "response.created"
            stopping = asyncio.create_task(asyncio.to_thread(server.stop))
            assert (await idle.receive(timeout=2)).type is aiohttp.WSMsgType.CLOSE
            told = await answer(busy)
            assert told[-1]["type"] == "response.failed"
            assert (await busy.receive(timeout=5)).type is aiohttp.WSMsgType.CLOSE
            assert (idle.close_code, busy.close_code) == (1012, 1012)
            await stopping
