"""The two ends of a loop of tools: a stock client, which brings no thinking back, and Claude. And what is kept."""

from __future__ import annotations

from typing import Any

import httpx
import msgspec
from asgiref.sync import sync_to_async

from bridge import catalog
from bridge.sandbox import Sandbox
from tenants.models import KeptThinking, Tenant
from tests import wire
from tests.asgi import Client, Got
from tests.conftest import Stage

PATH = "/v1/chat/completions"
NOTHING = {"type": "object", "properties": {}, "additionalProperties": False}
TOOLS = [{"type": "function", "function": {"name": name, "parameters": NOTHING}} for name in ("look", "ask")]
LOOP = "[sandbox:tool times=9] [sandbox:echo] find it"


class Claude(httpx.AsyncBaseTransport):
    """The sandbox, and what it was asked. `refusals`: errors that it gives instead of its next answers."""

    def __init__(self) -> None:
        self.sandbox = Sandbox([catalog.as_info(model) for model in catalog.load().models])
        self.asked: list[dict[str, Any]] = []
        self.refusals: list[str] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(msgspec.json.decode(request.content))
        if self.refusals:
            return wire.failed(400, "invalid_request_error", self.refusals.pop(0))(request)
        return await self.sandbox.handle_async_request(request)

    def thoughts(self, index: int = -1) -> list[int]:
        """How many thinking blocks each turn of the assistant had."""
        turns = [turn for turn in self.asked[index]["messages"] if turn["role"] == "assistant"]
        return [sum(block["type"] == "thinking" for block in turn["content"]) for turn in turns]


class Agent:
    """A stock client in a loop of tools: of an answer it brings back the text and the calls, and nothing else."""

    def __init__(self, client: Client, text: str = LOOP, **more: Any) -> None:
        self.client = client
        self.messages: list[dict[str, Any]] = [{"role": "user", "content": text}]
        self.more = {"model": "claude-opus-5", "tools": TOOLS, "reasoning_effort": "high", **more}
        self.receipts: list[str] = []

    async def step(self, choice: int = 0) -> dict[str, Any]:
        """One answer, and the results of the calls in it."""
        got = await self.client.post(PATH, {"messages": self.messages, **self.more})
        assert got.status == 200, got.body
        self.receipts.append(got.headers.get("x-bridge-compat", ""))
        said = streamed(got) if self.more.get("stream") else got.json()["choices"][choice]["message"]
        calls = said.get("tool_calls") or []
        self.messages.append({"role": "assistant", "content": said["content"], "tool_calls": calls})
        for call in calls:
            self.messages.append({"role": "tool", "tool_call_id": call["id"], "content": f"after {call['id']}"})
        return said

    async def steps(self, count: int) -> None:
        for _ in range(count):
            await self.step()


def streamed(got: Got) -> dict[str, Any]:
    """The message that the chunks amount to."""
    text, calls = "", dict[int, dict[str, Any]]()
    for chunk in got.chunks()[:-1]:
        delta = chunk["choices"][0]["delta"]
        text += delta.get("content") or ""
        for piece in delta.get("tool_calls") or ():
            call = calls.setdefault(piece["index"], {"type": "function", "function": {"name": "", "arguments": ""}})
            call["id"] = piece.get("id") or call["id"]
            for name, value in piece["function"].items():
                call["function"][name] += value
    return {"content": text or None, "tool_calls": list(calls.values())}


async def switch(stage: Stage, on: bool) -> None:
    @sync_to_async
    def save() -> None:
        acme = Tenant.objects.get(slug="acme")
        acme.thinking_vault = on
        acme.save()

    await save()
    await stage.app._gate.poll()


async def kept() -> list[KeptThinking]:
    return await sync_to_async(lambda: list(KeptThinking.objects.order_by("pk")))()
