"""Proof: a long history costs little time, and a huge image holds nobody up."""

from __future__ import annotations

import asyncio
import base64
import json
import random
import statistics
from dataclasses import dataclass
from typing import Any

from tests.faults.load import Ask, Client, End, Seen, run
from tests.faults.report import Report
from tests.faults.stage import Stage

QUICK = "[fault:ok tokens=10]"
STREAM = "[fault:ok tokens=60 rate=20]"
RATE = 20
STREAMS = 10  # out of step, so that one of them meets whatever holds the worker up
MESSAGES = 200
HISTORY_BYTES = 1_000_000
IMAGE_BYTES = 20_000_000  # as base64
TOOLS = 20
LIMITS = ("--rpm", "100000", "--tpm", "2000000000", "--concurrency", "100", "--budget", "100000:month")
PNG = b"\x89PNG\r\n\x1a\n"


def large(histories: int, images: int, limit_ms: float, stall_ms: float, seed: int = 1) -> Report:
    report = Report(
        f"{histories} requests with a history of 1 MB ({MESSAGES} messages, {TOOLS} tools and their calls, an image)"
        f" and as many small ones, in turn; then {images} rounds of {STREAMS} streams of 20 tokens a second alone, and"
        f" beside a request with an image of 20 MB; 1 worker; seed {seed}"
    )
    chance = random.Random(seed)
    with Stage(workers=1) as stage:
        stage.key = stage.server.issue_key("acme", "limited", *LIMITS)
        small, long = run(_in_turn(stage, histories, chance))
        alone, beside, sent = run(_beside(stage, images, chance))
        calls = {call["marker"]: call for call in stage.fake.calls()}
    seen = [*small, *long, *sent]
    report.none_of(
        "requests without an answer", [f"{one.end} {one.body[:160]!r}" for one in seen if one.end != End.DONE]
    )
    before, after = (statistics.median(_own(one, calls) for one in each) for each in (small, long))
    report.told("a small request, less the time of upstream, median", f"{before:.1f} ms")
    report.told("one of 1 MB, less the time of upstream, median", f"{after:.1f} ms")
    report.at_most("what 1 MB adds", after - before, limit_ms, " ms")
    report.told("an image of 20 MB, median", f"{statistics.median(one.seconds for one in sent):.2f} s")
    report.told("the longest gap in the streams alone, median of the rounds", f"{statistics.median(alone):.0f} ms")
    report.told("the longest gap beside an image, median of the rounds", f"{statistics.median(beside):.0f} ms")
    stall = statistics.median(beside) - statistics.median(alone)
    report.at_most("by how much an image holds streams up", stall, stall_ms, " ms")
    return report


@dataclass(slots=True)
class Prepared(Ask):
    """Its body has been made before it is asked: that takes longer than sending it."""

    content: bytes = b""

    def body(self) -> bytes:
        return self.content


def history(chance: random.Random) -> Prepared:
    """An agent's, near the end of a long day."""
    ask = Prepared(QUICK, stream=False)
    tools = [_tool(number) for number in range(TOOLS)]
    image = [{"type": "image_url", "image_url": {"url": _image(chance, HISTORY_BYTES // 5)}}]
    turns = MESSAGES // 4  # of four messages each
    size = HISTORY_BYTES * 7 // 10 // turns
    messages = [message for number in range(turns) for message in _turn(chance, number, size)]
    fields = ask.fields()
    whole = [{"role": "user", "content": image}, *messages[1:], *fields["messages"]]
    ask.content = json.dumps({**fields, "messages": whole, "tools": tools, "stream": False}).encode()
    return ask


def huge_image(chance: random.Random) -> Prepared:
    ask = Prepared(QUICK, stream=False)
    fields = ask.fields()
    text = fields["messages"][0]["content"]
    parts = [{"type": "image_url", "image_url": {"url": _image(chance, IMAGE_BYTES)}}, {"type": "text", "text": text}]
    ask.content = json.dumps({**fields, "messages": [{"role": "user", "content": parts}], "stream": False}).encode()
    return ask


def _turn(chance: random.Random, number: int, size: int) -> list[dict[str, Any]]:
    """A question, a call of a tool, what it gave, and an answer."""
    words = " ".join(chance.choices(("def", "return", "naïve", '"quoted"', "a\n", "path/to/it", "0x1f"), k=size // 8))
    call = {"id": f"call_{number}", "type": "function"}
    arguments = json.dumps({"path": "src/main.py", "text": words[: size // 4]})
    function = {"name": f"tool_{number % TOOLS}", "arguments": arguments}
    return [
        {"role": "user", "content": f"Number {number}, please: {words[: size // 8]}"},
        {"role": "assistant", "content": None, "tool_calls": [{**call, "function": function}]},
        {"role": "tool", "tool_call_id": f"call_{number}", "content": words[: size // 2]},
        {"role": "assistant", "content": f"It says: {words[: size // 8]}"},
    ]


def _tool(number: int) -> dict[str, Any]:
    fields = {f"field_{n}": {"type": "string", "description": "What to do with it. " * 8} for n in range(8)}
    schema = {"type": "object", "properties": fields, "required": ["field_0"]}
    function = {"name": f"tool_{number}", "description": "Looks into a file. " * 10, "parameters": schema}
    return {"type": "function", "function": function}


def _image(chance: random.Random, size: int) -> str:
    return "data:image/png;base64," + base64.b64encode(PNG + chance.randbytes(size * 3 // 4)).decode()


async def _in_turn(stage: Stage, count: int, chance: random.Random) -> tuple[list[Seen], list[Seen]]:
    client = Client(stage.port, stage.key)
    await client.ask(history(chance))
    small, long = list[Seen](), list[Seen]()
    for _ in range(count):
        small.append(await client.ask(Ask(QUICK, False)))
        long.append(await client.ask(history(chance)))
    await client.close()
    return small, long


async def _beside(stage: Stage, rounds: int, chance: random.Random) -> tuple[list[float], list[float], list[Seen]]:
    """The longest gap of each round, in milliseconds, alone and beside; and what came of the images."""
    client, ask = Client(stage.port, stage.key), huge_image(chance)
    alone, beside, sent = list[float](), list[float](), [await client.ask(ask)]
    for _ in range(rounds):
        alone.append(await _longest_gap(stage))
        streams = asyncio.create_task(_longest_gap(stage))
        await asyncio.sleep(1)
        sent.append(await client.ask(ask))
        beside.append(await streams)
    await client.close()
    return alone, beside, sent


async def _longest_gap(stage: Stage) -> float:
    clients, streams = [Client(stage.port, stage.key) for _ in range(STREAMS)], list[asyncio.Task[Seen]]()
    for client in clients:
        streams.append(asyncio.create_task(client.ask(Ask(STREAM))))
        await asyncio.sleep(1 / RATE / STREAMS)
    seen = await asyncio.gather(*streams)
    await asyncio.gather(*(client.close() for client in clients))
    return max(one.gap for one in seen) * 1000


def _own(one: Seen, calls: dict[str, dict[str, Any]]) -> float:
    """Milliseconds of a request, without those between upstream's last byte of it and its last of the answer."""
    call = calls[one.ask.name]
    return (one.seconds - (call["ended_at"] - call["started"])) * 1000
