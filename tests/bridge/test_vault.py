"""The thinking vault: a plain client's tool loop keeps its thinking; nobody else's, and nothing where it is off.

Upstream is the sandbox, which refuses thinking that was changed or stands where it was not made.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import msgspec
import pytest
from asgiref.sync import sync_to_async
from django.db import OperationalError

from bridge import catalog
from bridge.sandbox import Sandbox
from bridge.upstream import Upstream
from tenants.models import KeptThinking, Tenant
from tenants.vault import Vault
from tests import wire
from tests.asgi import Client, Got
from tests.conftest import Stage, issue

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


@pytest.fixture
def claude() -> Claude:
    return Claude()


@pytest.fixture
async def stage(stage: Stage, claude: Claude) -> AsyncIterator[Stage]:
    """Acme wants its thinking kept."""
    stage.app._services.live = Upstream(claude, "http://upstream", {"x-api-key": "sk-ant-secret"})
    await switch(stage, True)
    yield stage


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


# --- Off ---


async def test_off_nothing_is_stored_and_nothing_is_looked_up(
    stage: Stage, claude: Claude, monkeypatch: pytest.MonkeyPatch
) -> None:
    await switch(stage, False)
    for name in ("find", "keep", "forget"):
        monkeypatch.setattr(Vault, name, None)
    agent = Agent(stage.client)
    await agent.steps(3)
    assert await kept() == [] and claude.thoughts() == [0, 0]
    assert not any("restored" in receipt for receipt in agent.receipts)


async def test_it_is_off_until_a_tenant_turns_it_on() -> None:
    assert Tenant(slug="new").thinking_vault is False


async def test_turned_off_what_was_kept_is_gone_at_once(stage: Stage) -> None:
    await Agent(stage.client).steps(2)
    assert len(await kept()) == 2
    await switch(stage, False)
    assert await kept() == []


async def test_a_site_without_hours_keeps_nothing_whatever_its_tenants_say(stage: Stage, claude: Claude) -> None:
    stage.app._services.vault = Vault(stage.app._database, {1: b"x" * 32}, 0)
    await Agent(stage.client).steps(2)
    assert await kept() == [] and claude.thoughts() == [0]


async def test_a_request_without_calls_in_its_history_is_not_looked_up(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Vault, "find", None)
    await Agent(stage.client).step()


@pytest.mark.parametrize("more", [{"reasoning_effort": "none"}, {"model": "claude-opus-4-6", "reasoning_effort": None}])
async def test_where_nothing_is_thought_nothing_is_looked_up(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, more: dict[str, Any]
) -> None:
    agent = Agent(stage.client)
    await agent.step()
    monkeypatch.setattr(Vault, "find", None)
    agent.more |= more
    await agent.step()


async def test_a_client_that_sends_thinking_back_needs_no_vault(stage: Stage, claude: Claude) -> None:
    agent = Agent(stage.client)
    said = await agent.step()
    await sync_to_async(KeptThinking.objects.all().delete)()
    agent.messages[1]["thinking_blocks"] = said["thinking_blocks"]
    await agent.step()
    assert claude.thoughts() == [1] and await kept() == [] and "restored" not in agent.receipts[-1]


# --- On ---


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
async def test_a_loop_of_ten_turns_keeps_all_its_thinking(stage: Stage, claude: Claude, stream: bool) -> None:
    agent = Agent(stage.client, stream=stream)
    await agent.steps(10)
    assert claude.thoughts() == [1] * 9
    assert agent.receipts[0] == "" and all("thinking=restored" in receipt for receipt in agent.receipts[1:])
    assert agent.messages[-1]["tool_calls"] == [] and agent.messages[-1]["content"]
    assert all("thinking=restored" in record.receipt for record in (await stage.records())[1:])


@pytest.mark.parametrize("model", ["claude-opus-5-5", "claude-sonnet-5-5", "claude-opus-4-5", "claude-fable-5-2"])
async def test_every_kind_of_model_has_its_thinking_back(stage: Stage, claude: Claude, model: str) -> None:
    agent = Agent(stage.client, model=model)
    await agent.steps(3)
    assert claude.thoughts() == [1, 1] and claude.asked[-1]["thinking"]["type"] in ("adaptive", "enabled")


async def test_several_calls_at_once_are_one_turn(stage: Stage, claude: Claude) -> None:
    agent = Agent(stage.client, "[sandbox:tools count=3] look around")
    await agent.step()
    assert len(agent.messages) == 5 and len(await kept()) == 1
    await agent.step()
    assert claude.thoughts() == [1]


async def test_a_call_that_is_emulated_is_one(stage: Stage, claude: Claude) -> None:
    agent = Agent(stage.client, "look", model="claude-opus-5-5", tool_choice="required")
    await agent.step()
    assert "tool_choice=emulated" in agent.receipts[0] and len(await kept()) == 1
    await agent.step()
    assert claude.thoughts() == [1]


async def test_breakpoints_may_move(stage: Stage, claude: Claude) -> None:
    agent = Agent(stage.client)
    agent.messages[0]["cache_control"] = {"type": "ephemeral"}
    await agent.step()
    del agent.messages[0]["cache_control"]
    agent.messages[-1]["cache_control"] = {"type": "ephemeral"}
    await agent.step()
    assert claude.thoughts() == [1]


async def test_of_several_choices_each_is_kept(stage: Stage, claude: Claude) -> None:
    agent = Agent(stage.client, n=2)
    await agent.step(choice=1)
    assert len(await kept()) == 2
    agent.more["n"] = 1
    await agent.step()
    assert claude.thoughts() == [1]


async def test_it_is_kept_before_the_client_can_know_the_end(stage: Stage) -> None:
    """Another worker may get the results: the last part waits until the row is there."""
    visit = stage.client.open(
        "POST", PATH, {"messages": [{"role": "user", "content": LOOP}], **Agent(stage.client, stream=True).more}
    )
    while b'finish_reason":"tool_calls' not in visit.got.body:
        await visit.some.wait()
        visit.some.clear()
    assert len(await kept()) == 1
    await visit.done()


async def test_the_row_says_nothing_in_the_clear(stage: Stage) -> None:
    agent = Agent(stage.client)
    said = await agent.step()
    (row,) = await kept()
    secret = [said["reasoning_content"], said["thinking_blocks"][0]["signature"], said["tool_calls"][0]["id"]]
    assert not any(text[:12].encode() in bytes(row.sealed) + row.call.encode() for text in secret)
    assert row.size == len(bytes(row.sealed))


# --- Dropped harmlessly ---


EDITS: dict[str, Any] = {
    "an earlier text": lambda agent: agent.messages[0].update(content=LOOP + "!"),
    "an earlier result": lambda agent: agent.messages[2].update(content="something else"),
    "the system prompt": lambda agent: agent.messages.insert(0, {"role": "system", "content": "Be brief."}),
    "the tools": lambda agent: agent.more.update(tools=TOOLS[:1]),
}


@pytest.mark.parametrize("edit", EDITS)
async def test_what_comes_after_an_edit_is_dropped(stage: Stage, claude: Claude, edit: str) -> None:
    agent = Agent(stage.client)
    await agent.steps(3)
    EDITS[edit](agent)
    await agent.step()
    assert claude.thoughts() == ([1, 0, 0] if edit == "an earlier result" else [0, 0, 0])
    assert len(claude.asked) == 4, "upstream was not even asked"


async def test_another_model_gets_none_of_it(stage: Stage, claude: Claude) -> None:
    agent = Agent(stage.client)
    await agent.step()
    agent.more["model"] = "claude-sonnet-5-5"
    await agent.step()
    assert claude.thoughts() == [0] and "restored" not in agent.receipts[-1]


async def test_calls_that_were_taken_apart_get_none_of_it(stage: Stage, claude: Claude) -> None:
    agent = Agent(stage.client, "[sandbox:tools count=2] look around")
    await agent.step()
    agent.messages[1]["tool_calls"].pop()
    agent.messages.pop()
    await agent.step()
    assert claude.thoughts() == [0]


async def test_what_another_version_kept_is_not_there(
    stage: Stage, claude: Claude, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = Agent(stage.client)
    await agent.step()

    async def found(self: Vault, caller: Any, calls: list[str]) -> dict[str, bytes]:
        return dict.fromkeys(calls, msgspec.msgpack.encode({"version": 9}))

    monkeypatch.setattr(Vault, "find", found)
    await agent.step()
    assert claude.thoughts() == [0]


async def test_what_anthropics_own_tools_were_thought_around_is_not_kept(stage: Stage) -> None:
    search = wire.event(
        "content_block_start", index=1, content_block={"type": "server_tool_use", "id": "srvtoolu_1", "name": "x"}
    )
    stop = wire.event("content_block_stop", index=1)
    parts = [wire.start(), *wire.thinking_block("Hm."), search, stop, *wire.tool_block("{}", index=2)]
    stage.play(lambda _: wire.streamed(*parts, *wire.end("tool_use")))
    await Agent(stage.client, model="claude-sonnet-5-5", web_search_options={}).step()
    assert await kept() == []


# --- Refused upstream ---

BOUND = "messages.1.content.0: Invalid `signature` in `thinking` block. The block is bound to a different conversation."
COMPLAINTS = [
    BOUND,
    "messages.1.content.0: `thinking` or `redacted_thinking` blocks in the latest assistant message cannot be changed.",
]


@pytest.mark.parametrize("model", ["claude-opus-5", "claude-opus-4-5"])
@pytest.mark.parametrize("complaint", COMPLAINTS)
async def test_a_refused_signature_is_tried_once_without(
    stage: Stage, claude: Claude, complaint: str, model: str
) -> None:
    agent = Agent(stage.client, model=model)
    await agent.step()
    claude.refusals = [complaint]
    await agent.step()
    assert (claude.thoughts(-2), claude.thoughts(-1)) == ([1], [0])
    assert agent.receipts[-1] == "thinking=not_restored(refused)"
    record = (await stage.records())[-1]
    assert (record.attempts, record.receipt, record.state) == (2, agent.receipts[-1], "settled")
    await agent.step()  # and the loop goes on; what was refused is forgotten
    assert claude.thoughts() == [0, 1] or model == "claude-opus-4-5"


async def test_refused_again_is_refused(stage: Stage, claude: Claude) -> None:
    agent = Agent(stage.client)
    await agent.step()
    claude.refusals = [BOUND, BOUND]
    got = await stage.client.post(PATH, {"messages": agent.messages, **agent.more})
    assert got.status == 400 and len(claude.asked) == 3
    assert (await stage.records())[-1].attempts == 2


@pytest.mark.parametrize("complaint", ["max_tokens: too many", "tools.0: Field required"])
async def test_another_complaint_is_the_clients(stage: Stage, claude: Claude, complaint: str) -> None:
    agent = Agent(stage.client)
    await agent.step()
    claude.refusals = [complaint]
    got = await stage.client.post(PATH, {"messages": agent.messages, **agent.more})
    assert got.status == 400 and len(claude.asked) == 2


async def test_a_signature_of_the_clients_own_is_the_clients(stage: Stage, claude: Claude) -> None:
    claude.refusals = [BOUND]
    got = await stage.client.post(PATH, {"messages": [{"role": "user", "content": "Hi"}], **Agent(stage.client).more})
    assert got.status == 400 and len(claude.asked) == 1


# --- Whose it is ---


@pytest.fixture
async def mallory(stage: Stage) -> Client:
    """A key of another tenant's, which keeps its thinking too."""
    other = await Tenant.objects.acreate(slug="other", name="Other", thinking_vault=True)
    return Client(stage.app, (await sync_to_async(issue)(other)).text)


async def test_another_tenant_that_knows_the_ids_gets_nothing(stage: Stage, claude: Claude, mallory: Client) -> None:
    agent = Agent(stage.client)
    await agent.steps(2)
    agent.client = mallory
    await agent.step()
    assert claude.thoughts() == [0, 0] and "restored" not in agent.receipts[-1]


async def test_a_row_that_is_moved_to_another_tenant_does_not_open(
    stage: Stage, claude: Claude, mallory: Client
) -> None:
    agent = Agent(stage.client)
    await agent.step()
    await Agent(mallory).step()
    ours, theirs = await kept()
    ours.tenant_id, ours.key_id = theirs.tenant_id, theirs.key_id
    await ours.asave()
    agent.client = mallory
    await agent.step()
    assert claude.thoughts() == [0]


async def test_another_key_of_the_tenants_gets_nothing(stage: Stage, claude: Claude, another_key: Any) -> None:
    agent = Agent(stage.client)
    await agent.step()
    agent.client = Client(stage.app, (await another_key()).text)
    await agent.step()
    assert claude.thoughts() == [0]


# --- A database that is away ---


async def test_without_the_database_the_loop_goes_on_without_thinking(
    stage: Stage, claude: Claude, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: Any) -> None:
        raise OperationalError("away")

    agent = Agent(stage.client)
    await agent.step()
    with monkeypatch.context() as patch:
        patch.setattr(Vault, "_open", away)
        patch.setattr(Vault, "_write", away)
        await agent.step()
    assert claude.thoughts() == [0]
    await agent.step()
    assert claude.thoughts() == [1, 0]
    await agent.step()
    assert claude.thoughts() == [1, 0, 1]


async def test_an_answer_does_not_wait_long_for_a_slow_database(
    stage: Stage, claude: Claude, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tenants.vault.WRITE_SECONDS", 0.01)
    go = asyncio.Event()
    database, vault = stage.app._database, stage.app._vault

    async def slow(unit: Any) -> Any:
        await go.wait()
        return await database(unit)

    agent = Agent(stage.client)
    monkeypatch.setattr(vault, "_database", slow)
    await agent.step()
    assert await kept() == []
    go.set()
    await vault.aclose()
    assert len(await kept()) == 1
    await agent.step()
    assert claude.thoughts() == [1]


# --- Where it stood ---


def thought(index: int) -> list[bytes]:
    return wire.thinking_block(f"thought {index}", index)


async def restored(stage: Stage, *blocks: list[bytes], said: str | None = "") -> list[Any]:
    """The assistant's turn of the second request, after an answer of these blocks: what stands where. `said`: what the
    client brings back for the text; "": what it was."""
    answer = [wire.start(), *(part for block in blocks for part in block), *wire.end("tool_use")]
    transport = stage.play(lambda _: wire.streamed(*answer))
    agent = Agent(stage.client, model="claude-sonnet-5-5")
    await agent.step()
    agent.messages[1]["content"] = agent.messages[1]["content"] if said == "" else said
    await agent.step()
    turn = transport.sent()["messages"][1]["content"]
    return [block.get("thinking") or block.get("text") or block.get("id") or block["data"] for block in turn]


async def test_between_the_calls_that_it_led_to(stage: Stage) -> None:
    first, second = wire.tool_block("{}", index=1, identifier="a"), wire.tool_block("{}", index=3, identifier="b")
    assert await restored(stage, thought(0), first, thought(2), second) == ["thought 0", "a", "thought 2", "b"]


async def test_between_the_texts_that_a_chat_joins(stage: Stage) -> None:
    blocks = [thought(0), wire.text_block("One. ", index=1), thought(2), wire.text_block("Two.", index=3)]
    call = wire.tool_block("{}", index=4)
    assert await restored(stage, *blocks, call) == ["thought 0", "One. ", "thought 2", "Two.", "toolu_1"]


@pytest.mark.parametrize(
    ("said", "turn"),
    [
        (None, ["thought 0", "thought 2", "toolu_1"]),
        ("Other words", ["thought 0", "Other words", "thought 2", "toolu_1"]),
    ],
)
async def test_around_what_the_client_says_instead(stage: Stage, said: str | None, turn: list[str]) -> None:
    blocks = [thought(0), wire.text_block("One. ", index=1), thought(2), wire.text_block("Two.", index=3)]
    assert await restored(stage, *blocks, wire.tool_block("{}", index=4), said=said) == turn


async def test_before_words_that_the_client_puts_in(stage: Stage) -> None:
    turn = await restored(stage, thought(0), wire.tool_block("{}", index=1), said="I look.")
    assert turn == ["thought 0", "I look.", "toolu_1"]


async def test_a_text_is_not_cut_where_a_piece_would_be_blank(stage: Stage) -> None:
    blocks = [thought(0), wire.text_block("\n\n", index=1), thought(2), wire.text_block("Two.", index=3)]
    turn = await restored(stage, *blocks, wire.tool_block("{}", index=4))
    assert turn == ["thought 0", "\n\nTwo.", "thought 2", "toolu_1"]


async def test_redacted_thinking_is_thinking(stage: Stage) -> None:
    block = {"type": "redacted_thinking", "data": "c2VhbGVk"}
    redacted = [
        wire.event("content_block_start", index=0, content_block=block),
        wire.event("content_block_stop", index=0),
    ]
    assert await restored(stage, redacted, wire.tool_block("{}", index=1)) == ["c2VhbGVk", "toolu_1"]


@pytest.mark.parametrize("reason", ["max_tokens", "end_turn", "refusal"])
async def test_an_answer_that_ended_otherwise_is_not_kept(stage: Stage, reason: str) -> None:
    answer = [wire.start(), *thought(0), *wire.tool_block("{}", index=1), *wire.end(reason)]
    stage.play(lambda _: wire.streamed(*answer))
    await Agent(stage.client, model="claude-sonnet-5-5").step()
    assert await kept() == []


async def test_what_another_model_thought_is_not_kept(stage: Stage) -> None:
    """(the API may answer with another one)"""
    answer = [wire.start("claude-opus-5"), *thought(0), *wire.tool_block("{}", index=1), *wire.end("tool_use")]
    stage.play(lambda _: wire.streamed(*answer))
    await Agent(stage.client, model="claude-sonnet-5-5").step()
    assert await kept() == []
