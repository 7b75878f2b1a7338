"""POST responses/compact: a conversation comes back shorter, and goes on from there."""

from __future__ import annotations

from typing import Any

import pytest
from asgiref.sync import sync_to_async

from bridge.dialects import sealing
from tenants.models import Tenant
from tests import wire
from tests.asgi import Client
from tests.conftest import Stage, issue
from tests.sealing import PlainSeal

PATH = "/v1/responses/compact"
TALK = [
    {"role": "developer", "content": "Be brief."},
    {"role": "user", "content": "Where is it?"},
    {"type": "function_call", "call_id": "a", "name": "look", "arguments": "{}"},
    {"type": "function_call_output", "call_id": "a", "output": "In the attic."},
    {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "In the attic."}]},
    {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Thanks"}]},
]


def about(talk: Any = TALK, **more: Any) -> dict[str, Any]:
    return {"model": "claude-sonnet-5-5", "input": talk, **more}


@pytest.mark.parametrize(
    ("body", "code", "param"),
    [
        ({"input": TALK}, "missing_required_parameter", "model"),
        ({"model": "claude-sonnet-5-5"}, "missing_required_parameter", "input"),
        (about(7), "invalid_type", "input"),
        (about([*TALK, {"role": "king", "content": "x"}]), "invalid_value", "input[6].role"),
        (about(previous_response_id="resp_1"), "previous_response_not_found", "previous_response_id"),
        (b"[]", "invalid_type", "body"),
    ],
)
async def test_a_refusal_says_where_and_is_on_record(stage: Stage, body: Any, code: str, param: str) -> None:
    got = await stage.client.post(PATH, body)
    assert (got.status, got.error["code"], got.error["param"]) == (400, code, param)
    assert (await stage.record()).state == "refused" and stage.transport.requests == []


@pytest.mark.parametrize(
    "answer",
    [
        [wire.start(), *wire.text_block("Half a"), *wire.end("max_tokens")],
        [wire.start(), *wire.text_block("I"), *wire.end("refusal")],
        [wire.start(), *wire.text_block(" "), *wire.end()],
        [wire.start(), *wire.tool_block("{}"), *wire.end("tool_use")],
    ],
    ids=["cut", "refused", "empty", "a call"],
)
async def test_no_whole_summary_is_an_error_that_is_not_repeated_and_paid_for(
    stage: Stage, answer: list[bytes]
) -> None:
    stage.play(wire.streamed(*answer))
    got = await stage.client.post(PATH, about())
    assert (got.status, got.error["code"], got.headers["x-should-retry"]) == (502, "compaction_failed", "false")
    record = await stage.record()
    assert (record.state, record.output_tokens, record.error_code) == ("failed", 7, "compaction_failed")


async def test_the_users_messages_stay_and_the_rest_is_a_sealed_summary(stage: Stage) -> None:
    stage.play(wire.streamed(*wire.answer("It is in", " the attic.")))
    got = await stage.client.post(PATH, about(instructions="You find things.", prompt_cache_key="k", stream=True))
    told = got.json()
    assert (got.status, told["object"], told["usage"]["total_tokens"]) == (200, "response.compaction", 18)
    *kept, item = told["output"]
    assert [(one["role"], one["content"][0]["text"]) for one in kept] == [("user", "Where is it?"), ("user", "Thanks")]
    assert item["type"] == "compaction" and "attic" not in got.body.decode().replace("Where", "")
    assert got.headers["x-bridge-compat"] == "prompt_cache_key=ignored, stream=ignored"
    sent = stage.transport.sent()
    assert [block["text"] for block in sent["system"]] == ["You find things.", "Be brief."]
    assert sent["max_tokens"] == 16_384 and "Summarise" in sent["messages"][-1]["content"][-1]["text"]
    record = await stage.record()
    assert (record.dialect, record.state, record.streamed, record.usage_source) == (
        "responses", "settled", False, "exact",
    )  # fmt: skip


async def test_the_conversation_goes_on_from_its_summary_for_its_tenant_and_no_other(stage: Stage) -> None:
    stage.play(wire.streamed(*wire.answer("It is in the attic.")))
    output = (await stage.client.post(PATH, about())).json()["output"]
    history = [*output, {"role": "user", "content": "Go on"}]
    stage.play(wire.streamed(*wire.answer("Hi")))
    got = await stage.client.post("/v1/responses", about(history))
    assert "x-bridge-compat" not in got.headers
    (turn,) = stage.transport.sent()["messages"]
    assert [block["text"].splitlines()[-1] for block in turn["content"]] == [
        "Where is it?", "Thanks", "It is in the attic.", "Go on",
    ]  # fmt: skip
    tenant = await sync_to_async(Tenant.objects.create)(slug="other", name="Other")
    mallory = Client(stage.app, (await sync_to_async(issue)(tenant)).text)
    stage.play(wire.streamed(*wire.answer("Hi")))
    got = await mallory.post("/v1/responses", about(history))
    assert (got.status, got.headers["x-bridge-compat"]) == (200, "input.compaction=dropped")
    assert "attic" not in str(stage.transport.sent())


async def test_a_summary_is_summarised_again(stage: Stage) -> None:
    stage.play(wire.streamed(*wire.answer("It is in the attic.")))
    output = (await stage.client.post(PATH, about("Where is it?"))).json()["output"]
    stage.play(wire.streamed(*wire.answer("In the attic, still.")))
    again = (await stage.client.post(PATH, about(output))).json()["output"]
    assert "It is in the attic." in str(stage.transport.sent())
    assert [item["type"] for item in again] == ["message", "compaction"]


async def test_what_a_request_offers_beside_the_conversation_does_not_change_the_summary(stage: Stage) -> None:
    tools = [{"type": "function", "name": "look"}]
    form = {"format": {"type": "json_object"}}
    await stage.client.post(PATH, about(tools=tools, tool_choice="required", text=form, stop="a", max_output_tokens=1))
    sent = stage.transport.sent()
    assert sent["tool_choice"] == {"type": "none"} and sent["max_tokens"] == 16_384
    assert not {"stop_sequences", "output_config"} & set(sent)


async def test_an_item_that_is_no_message_is_none_of_the_users(stage: Stage) -> None:
    got = await stage.client.post(PATH, about([*TALK, {"role": "user", "type": "of_2027"}]))
    assert [item["type"] for item in got.json()["output"]] == ["message", "message", "compaction"]


def test_a_summary_never_opens_as_thinking_nor_thinking_as_a_summary() -> None:
    seal = PlainSeal()
    thought = [{"type": "thinking", "thinking": "Hm.", "signature": "c2ln"}]
    assert sealing.unpack(sealing.pack_summary("x", seal), seal) == []
    assert sealing.unpack_summary(sealing.pack(thought, seal), seal) is None
    assert sealing.unpack_summary(sealing.pack_summary("x", seal), seal) == "x"
    assert sealing.unpack_summary(sealing.pack_summary("x", seal), PlainSeal("other")) is None
    assert sealing.unpack_summary(7, seal) is None
