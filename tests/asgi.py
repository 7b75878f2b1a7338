"""Drives the application over ASGI, one message at a time: streams as they come, and clients that hang up."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

import msgspec

from proxysite.sending import DIRECT_WRITE


@dataclass
class Got:
    """An answer. `parts` are the body messages as they were sent."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    parts: list[bytes] = field(default_factory=list)

    @property
    def body(self) -> bytes:
        return b"".join(self.parts)

    def json(self) -> Any:
        return msgspec.json.decode(self.body)

    @property
    def error(self) -> dict[str, Any]:
        error: dict[str, Any] = self.json()["error"]
        assert set(error) == {"message", "type", "param", "code"}
        return error

    def chunks(self) -> list[Any]:
        """The data of its server-sent events."""
        datas = [line[6:] for line in self.body.split(b"\n") if line.startswith(b"data: ")]
        return [data.decode() if data == b"[DONE]" else msgspec.json.decode(data) for data in datas]


class Visit:
    """A request under way."""

    def __init__(self, app: Any, method: str, path: str, headers: list[tuple[bytes, bytes]], body: list[bytes]) -> None:
        path, _, query = path.partition("?")
        self.got = Got()
        self.some = asyncio.Event()  # a piece of the body has been sent
        self.stall: asyncio.Event | None = None  # set by a test: the client reads no more until it is set
        self.writable = True  # whether the server could write at once
        self._messages: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        for index, piece in enumerate(body):
            self._messages.put_nowait({"type": "http.request", "body": piece, "more_body": index + 1 < len(body)})
        scope = {
            "type": "http",
            "http_version": "1.1",
            "method": method,
            "path": path,
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "root_path": "",
            "scheme": "http",
            "headers": headers,
            "client": ("127.0.0.1", 50000),
            "server": ("127.0.0.1", 5000),
            "extensions": {DIRECT_WRITE: lambda: self.got.parts.append if self.writable else None},
        }
        self.task = asyncio.create_task(app(scope, self._messages.get, self._send))

    def hang_up(self) -> None:
        self._messages.put_nowait({"type": "http.disconnect"})

    async def done(self) -> Got:
        await self.task
        return self.got

    async def _send(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            self.got.status = message["status"]
            self.got.headers = {name.decode(): value.decode("latin-1") for name, value in message["headers"]}
        elif message["type"] == "http.response.body":
            self.got.parts.append(message.get("body", b""))
            self.some.set()
            if self.stall is not None:
                await self.stall.wait()


class Client:
    """Calls an ASGI application with one key."""

    def __init__(self, app: Any, key: str | None = None) -> None:
        self.app, self.key = app, key

    def open(self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None) -> Visit:
        raw = {"host": "localhost", **({"authorization": f"Bearer {self.key}"} if self.key else {}), **(headers or {})}
        content = body if isinstance(body, list) else [body if isinstance(body, bytes) else msgspec.json.encode(body)]
        if body is None:
            content = [b""]
        raw.setdefault("content-length", str(sum(map(len, content))))
        pairs = [(name.lower().encode(), value.encode("latin-1")) for name, value in raw.items()]
        return Visit(self.app, method, path, pairs, content)

    def talk(self, path: str = "/v1/responses", **headers: str) -> Talk:
        raw = {"host": "localhost", **({"authorization": f"Bearer {self.key}"} if self.key else {}), **headers}
        return Talk(self.app, path, [(name.replace("_", "-").encode(), raw[name].encode("latin-1")) for name in raw])

    async def get(self, path: str, **headers: str) -> Got:
        return await self.open("GET", path, headers={k.replace("_", "-"): v for k, v in headers.items()}).done()

    async def post(self, path: str, body: Any, **headers: str) -> Got:
        return await self.open("POST", path, body, {k.replace("_", "-"): v for k, v in headers.items()}).done()

    async def chat(self, text: str = "Hello", **more: Any) -> Got:
        return await self.post("/v1/chat/completions", chat(text, **more))


def chat(text: str = "Hello", **more: Any) -> dict[str, Any]:
    return {"model": "claude-sonnet-5-5", "messages": [{"role": "user", "content": text}], **more}


class Talk:
    """A WebSocket under way. `said`: the events so far; `closed`: the code and the reason it was closed with."""

    def __init__(self, app: Any, path: str, headers: list[tuple[bytes, bytes]]) -> None:
        self.said: list[dict[str, Any]] = []
        self.refused = Got()  # what answered the handshake, if it was not accepted
        self.closed: tuple[int, str] | None = None
        self.some = asyncio.Event()  # an event has been sent
        self._messages: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._messages.put_nowait({"type": "websocket.connect"})
        scope = {
            "type": "websocket",
            "http_version": "1.1",
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "root_path": "",
            "scheme": "ws",
            "headers": headers,
            "client": ("127.0.0.1", 50000),
            "server": ("127.0.0.1", 5000),
            "subprotocols": [],
        }
        self.task = asyncio.create_task(app(scope, self._messages.get, self._send))

    def say(self, message: Any) -> None:
        text = message if isinstance(message, str) else msgspec.json.encode(message).decode()
        self._messages.put_nowait({"type": "websocket.receive", "text": text})

    def create(self, text: Any = "Hello", **more: Any) -> None:
        self.say({"type": "response.create", "model": "claude-sonnet-5-5", "input": text, **more})

    async def ask(self, text: Any = "Hello", **more: Any) -> list[dict[str, Any]]:
        """The events of one answer."""
        start = len(self.said)
        self.create(text, **more)
        return await self.answer(start)

    async def answer(self, start: int = 0) -> list[dict[str, Any]]:
        """The events from there on, up to the end of an answer."""
        async with asyncio.timeout(10):
            while not (ends := [n for n, event in enumerate(self.said) if n >= start and event["type"] in ENDS]):
                assert not self.closed, self.closed
                self.some.clear()
                await self.some.wait()
        return self.said[start : ends[0] + 1]

    def hang_up(self) -> None:
        self._messages.put_nowait({"type": "websocket.disconnect", "code": 1006})

    async def done(self) -> Talk:
        async with asyncio.timeout(10):
            await self.task
        return self

    async def _send(self, message: Any) -> None:
        match message["type"]:
            case "websocket.accept":
                return
            case "websocket.send":
                self.said.append(msgspec.json.decode(message["text"]))
            case "websocket.close":
                self.closed = (message["code"], message["reason"])
            case "websocket.http.response.start":
                self.refused.status = message["status"]
                self.refused.headers = {name.decode(): value.decode("latin-1") for name, value in message["headers"]}
            case "websocket.http.response.body":
                self.refused.parts.append(message["body"])
        self.some.set()


ENDS = ("response.completed", "response.incomplete", "response.failed", "error")
