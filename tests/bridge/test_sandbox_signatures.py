"""The sandbox's thinking is good where it was made: changed, moved or missing it is a 400."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from tests.bridge.sandbox_client import OPUS

TOOLS = [{"name": name, "input_schema": {"type": "object"}} for name in ("look", "ask")]
ASKED = "[sandbox:tool times=3] [sandbox:think tokens=5] look"

Json = dict[str, Any]


def request(messages: list[Any], **more: Any) -> Json:
    thinking = {"type": "adaptive", "display": "summarized"}
    base = {"model": OPUS, "max_tokens": 4000, "tools": TOOLS, "thinking": thinking}
    return {**base, "messages": messages, "output_config": {"effort": "high"}, **more}


def follow_up(content: list[Json]) -> list[Json]:
    used = [block["id"] for block in content if block["type"] == "tool_use"]
    results = [{"type": "tool_result", "tool_use_id": one, "content": "done"} for one in used]
    return [{"role": "assistant", "content": content}, {"role": "user", "content": results}]


async def conversation(api: httpx.AsyncClient, rounds: int = 2) -> list[Json]:
    """Each answer with the results of its calls."""
    messages: list[Json] = [{"role": "user", "content": ASKED}]
    for _ in range(rounds):
        answer = (await api.post("/v1/messages", json=request(messages))).json()
        messages += follow_up(answer["content"])
    return messages


async def status(api: httpx.AsyncClient, messages: list[Json], **more: Any) -> int:
    return (await api.post("/v1/messages", json=request(messages, **more))).status_code


def swap(messages: list[Json]) -> None:
    one, other = messages[1]["content"], messages[3]["content"]
    one[0], other[0] = other[0], one[0]


DAMAGE: dict[str, Callable[[list[Json]], Any]] = {
    "changed": lambda messages: messages[1]["content"][0].update(thinking="other thoughts"),
    "moved": swap,
    "after an edit": lambda messages: messages[0].update(content=ASKED + "!"),
    "after another result": lambda messages: messages[2]["content"][0].update(content="other"),
    "after thinking that is gone": lambda messages: messages[1]["content"].pop(0),
    "twice": lambda messages: messages[3]["content"].insert(1, messages[3]["content"][0]),
}


@pytest.mark.parametrize("damage", DAMAGE)
async def test_thinking_that_is_not_where_it_was_made_is_refused(api: httpx.AsyncClient, damage: str) -> None:
    messages = copy.deepcopy(await conversation(api))
    DAMAGE[damage](messages)
    response = await api.post("/v1/messages", json=request(messages))
    assert response.status_code == 400 and "Invalid `signature`" in response.json()["error"]["message"]


async def test_thinking_may_be_left_out_where_nothing_follows_it(api: httpx.AsyncClient) -> None:
    messages = await conversation(api, rounds=1)
    messages[1]["content"].pop(0)
    assert await status(api, messages) == 200


async def test_a_loop_that_is_to_begin_with_thinking_must(api: httpx.AsyncClient) -> None:
    enabled = {"thinking": {"type": "enabled", "budget_tokens": 1024}}
    messages = await conversation(api, rounds=1)
    assert await status(api, messages, **enabled) == 200
    messages[1]["content"].pop(0)
    assert await status(api, messages, **enabled) == 400


async def test_breakpoints_and_the_form_of_texts_do_not_count(api: httpx.AsyncClient) -> None:
    messages = await conversation(api)
    messages[0]["content"] = [{"type": "text", "text": ASKED, "cache_control": {"type": "ephemeral"}}]
    assert await status(api, messages) == 200


async def test_what_others_signed_passes(api: httpx.AsyncClient) -> None:
    messages = await conversation(api, rounds=1)
    messages[1]["content"][0] = {"type": "thinking", "thinking": "Hm.", "signature": "c2ln"}
    assert await status(api, messages) == 200
