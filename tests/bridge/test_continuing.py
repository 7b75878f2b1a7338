"""A paused answer goes on inside, and is one answer for the client."""

from __future__ import annotations

from typing import Any

from tests import wire
from tests.asgi import chat
from tests.conftest import Stage

SEARCH: dict[str, Any] = {"web_search_options": {}}
USED = [
    wire.event("content_block_start", index=1, content_block={"type": "server_tool_use", "id": "srvtoolu_1"}),
    wire.event("content_block_delta", index=1, delta={"type": "input_json_delta", "partial_json": '{"query": "x"}'}),
    wire.event("content_block_stop", index=1),
]


def paused(*texts: str) -> Any:
    end = wire.end("pause_turn", output_tokens=5, server_tool_use={"web_search_requests": 2})
    return lambda _: wire.streamed(wire.start(input_tokens=10), *wire.text_block(*texts), *USED, *end)


def finished(*texts: str) -> Any:
    end = wire.end(output_tokens=3, input_tokens=20, server_tool_use={"web_search_requests": 1})
    return lambda _: wire.streamed(wire.start(input_tokens=19), *wire.text_block(*texts), *end)


async def test_the_answer_so_far_goes_back_and_the_texts_are_joined(stage: Stage) -> None:
    transport = stage.play(paused("Let me "), finished("see."))
    answer = (await stage.client.chat(**SEARCH)).json()
    assert answer["choices"][0]["message"]["content"] == "Let me see."
    assert answer["choices"][0]["finish_reason"] == "stop"
    sent_back = transport.sent()["messages"][-1]
    assert sent_back["role"] == "assistant"
    assert [block["type"] for block in sent_back["content"]] == ["text", "server_tool_use"]
    assert sent_back["content"][1]["input"] == {"query": "x"}
    assert transport.sent(0)["tools"] == transport.sent(1)["tools"]


async def test_usage_is_the_sum(stage: Stage) -> None:
    stage.play(paused("a"), finished("b"))
    usage = (await stage.client.chat(**SEARCH)).json()["usage"]
    assert (usage["prompt_tokens"], usage["completion_tokens"]) == (30, 8)
    record = await stage.record()
    assert (record.input_tokens, record.output_tokens, record.web_searches, record.attempts) == (30, 8, 3, 2)


async def test_a_stream_goes_on_as_one(stage: Stage) -> None:
    stage.play(paused("Let me "), finished("see."))
    chunks = (await stage.client.chat(stream=True, **SEARCH)).chunks()
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks[:-1]]
    assert "".join(delta.get("content") or "" for delta in deltas) == "Let me see."
    assert sum("role" in delta for delta in deltas) == 1
    assert [chunk["choices"][0]["finish_reason"] for chunk in chunks[:-1]].count(None) == len(deltas) - 1
    assert chunks[-1] == "[DONE]"


async def test_it_does_not_go_on_for_ever(stage: Stage) -> None:
    transport = stage.play(paused("again "))
    got = await stage.client.chat(**SEARCH)
    assert got.status == 200 and len(transport.requests) == 6


async def test_a_failure_while_going_on_is_a_failure(stage: Stage) -> None:
    stage.play(paused("a"), wire.failed(500))
    assert (await stage.client.chat(**SEARCH)).status == 502
    stage.play(paused("a"), wire.failed(500))
    chunks = (await stage.client.chat(stream=True, **SEARCH)).chunks()
    assert "error" in chunks[-1] and "[DONE]" not in chunks


async def test_without_tools_of_upstreams_own_a_pause_is_an_end(stage: Stage) -> None:
    transport = stage.play(paused("all there is"))
    got = await stage.client.post("/v1/chat/completions", chat())
    assert got.json()["choices"][0]["message"]["content"] == "all there is" and len(transport.requests) == 1
