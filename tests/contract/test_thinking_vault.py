"""A stock client in loops of ten tools over chat completions, on four workers: Claude's thinking survives all of it.

The sandbox refuses thinking that was changed, moved or made in another conversation, and, where the model wants a tool
loop to begin with its thinking, thinking that is missing.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import openai
import pytest

from tests.live import Server, until

TURNS = 10
TOOL: Any = {"type": "function", "function": {"name": "look", "parameters": {"type": "object", "properties": {}}}}
MODELS = ["claude-opus-5-5", "claude-fable-5-2", "claude-sonnet-5-5", "claude-opus-4-5"]


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with Server({"UPSTREAM": "sandbox"}, workers=4) as server:
        for tenant in ("acme", "other"):
            server.issue_key(tenant, "first")
        server.manage(
            "shell",
            "-c",
            "from tenants.models import Tenant\n"
            "for tenant in Tenant.objects.all():\n    tenant.thinking_vault = True\n    tenant.save()",
        )
        yield server


def loop(
    base: str, key: str, model: str, stream: bool, messages: list[Any] | None = None
) -> tuple[list[str], list[Any]]:
    """Ten turns, each over a connection of its own, as from a pool of machines. The receipts, and the history."""
    messages = messages or [{"role": "user", "content": f"[sandbox:tool times={TURNS - 1}] Look."}]
    receipts = []
    for _ in range(TURNS):
        with openai.OpenAI(base_url=base, api_key=key, max_retries=0) as client:
            create = client.chat.completions.with_raw_response.create
            raw: Any = create(model=model, messages=messages, tools=[TOOL], reasoning_effort="high", stream=stream)
            receipts.append(raw.headers.get("x-bridge-compat", ""))
            answer = raw.parse()
            calls = (
                told(answer) if stream else [call.model_dump() for call in answer.choices[0].message.tool_calls or []]
            )
        if not calls:
            break
        messages.append({"role": "assistant", "content": None, "tool_calls": calls})
        messages += [{"role": "tool", "tool_call_id": call["id"], "content": call["id"]} for call in calls]
    return receipts, messages


def told(chunks: Any) -> list[dict[str, Any]]:
    calls: dict[int, dict[str, Any]] = {}
    for chunk in chunks:
        for piece in chunk.choices[0].delta.tool_calls or () if chunk.choices else ():
            if piece.id:
                calls[piece.index] = {"id": piece.id, "type": "function", "function": {"name": "", "arguments": ""}}
            function = calls[piece.index]["function"]
            function["name"] += piece.function.name or ""
            function["arguments"] += piece.function.arguments or ""
    return list(calls.values())


def test_thinking_is_restored_on_every_turn_of_every_loop(server: Server) -> None:
    key = server.issue_key("acme", "agents")
    tasks = [(server.base, key, model, stream) for model in MODELS for stream in (False, True) for _ in range(2)]
    with ThreadPoolExecutor(len(tasks)) as pool:
        loops = list(pool.map(lambda task: loop(*task), tasks))
    for receipts, _ in loops:
        assert len(receipts) == TURNS and "restored" not in receipts[0]
        assert all("thinking=restored" in receipt for receipt in receipts[1:]), receipts
    sent = until(lambda: (found := server.records(state="settled")) and len(found) == TURNS * len(tasks) and found)
    assert all(record["status"] == 200 and record["attempts"] == 1 for record in sent)


def test_another_tenant_with_the_same_history_has_none_of_it(server: Server) -> None:
    ours, theirs = server.issue_key("acme", "ours"), server.issue_key("other", "theirs")
    _, messages = loop(server.base, ours, MODELS[0], False)
    receipts, _ = loop(server.base, theirs, MODELS[0], False, messages=json.loads(json.dumps(messages)))
    assert not any("restored" in receipt for receipt in receipts)
    receipts, _ = loop(server.base, ours, MODELS[0], False, messages=messages)
    assert "thinking=restored" in receipts[0]
