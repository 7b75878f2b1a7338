"""What the sandbox will answer: the markers of a request and the script that they write.

Markers in the last user turn script the answer. They are cut out of the text and combine in any order; a wrong one is
answered with an explanation. Arguments in parentheses may be left out.

| marker in the last user turn                             | what happens                                             |
|----------------------------------------------------------|----------------------------------------------------------|
| `[sandbox:echo]`                                         | answers with exactly the rest of the text                |
| `[sandbox:lorem (tokens=200) (rate=50)]`                 | answers with so many tokens, at once or so many a second |
| `[sandbox:slow (first=2.5) (rate=50)]`                   | echoes, the first event after so many seconds            |
| `[sandbox:think (tokens=20)]`                            | thinks first, unless the request disables thinking       |
| `[sandbox:tool (name=) (times=1)]`                       | calls this tool (or the first one), in so many rounds    |
| `[sandbox:tools (count=2)]`                              | calls so many tools at once                              |
| `[sandbox:cite]`                                         | searches the web, and cites a page for its answer        |
| `[sandbox:pause]`                                        | `pause_turn` in the middle of a web search, once         |
| `[sandbox:fence]`                                        | puts the answer in a code fence                          |
| `[sandbox:stop]`                                         | runs into the first of the request's `stop_sequences`    |
| `[sandbox:max_tokens]`                                   | breaks off half way with stop reason `max_tokens`        |
| `[sandbox:refusal (after=0)]`                            | HTTP 200, stop reason `refusal`, after so many words     |
| `[sandbox:cached (tokens=1000) (write_5m=) (write_1h=)]` | `usage` has these cache reads and writes                 |
| `[sandbox:cut (after=3)]`                                | the connection breaks after so many text deltas          |
| `[sandbox:error_midstream (after=3)]`                    | an `overloaded_error` event after so many text deltas    |
| `[sandbox:overloaded (times=) (retry=)]`                 | HTTP 529; `times`: only the first requests of this text  |
| `[sandbox:rate_limited (retry=) (times=)]`               | HTTP 429; `retry`: seconds in a `retry-after` header     |
| `[sandbox:error (status=500) (retry=) (times=)]`         | this HTTP status, with Anthropic's error type for it     |

`stop_sequences` and `max_tokens` cut every answer where they really fall. A token is four bytes of UTF-8.
To add a behaviour, write a function that changes the `Script` and name it in `MARKERS`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal, NamedTuple

import msgspec

from bridge import sandbox_tools
from bridge.sandbox_request import ERRORS, MARKER, PROSE, Call, Failure, Json, Tool, block_tokens, tools
from bridge.sandbox_tools import Loop

Args = Mapping[str, Any]

SIGNED = "This answer comes from Bridge's sandbox, not from Claude."
SCRIPTED = "This error comes from Bridge's sandbox, as the request asked."
REFUSED = {"type": "refusal", "category": None, "explanation": "Bridge's sandbox refused, as the request asked."}
THOUGHT = "I am a sandbox, so I only pretend to think about this before I answer. "
THOUGHT_TOKENS = 20
LOREM = ("qui", "non", "est", "cum", "lux", "sed", "per", "vim", "aut", "mox", "hic", "nec", "pax")  # " qui": one token
WORD = re.compile(r"\s*\S{1,40}|\s+")  # at most 40: a text without spaces comes in several deltas too


class Misused(Exception):
    """A marker that cannot be followed; the message is for the user."""


@dataclass(slots=True)
class Script:
    """One answer to be: its content blocks, how it stops, what it counts, when it comes and where it breaks."""

    call: Call
    loop: Loop
    heard: str  # the last user turn, `said` without its markers
    said: str
    blocks: list[Json] = field(default_factory=list)
    stop: Json = field(default_factory=dict)
    cached: Args = field(default_factory=dict)
    first: float = 0.0
    rate: float = math.inf
    failure: Failure | None = None
    breaks: Literal["cut", "error"] | None = None
    breaks_after: int = 0
    formed: bool = False  # the text is JSON because the request wants it

    @property
    def text(self) -> str:
        return "".join(block["text"] for block in self.blocks if block["type"] == "text")

    def say(self, text: str) -> None:
        """Make `text` the answer, before any calls; an empty one is no block at all, as on the wire."""
        prose = [block for block in self.blocks if block["type"] == "text"]
        thought = [block for block in self.blocks if block["type"] == "thinking"]
        rest = [block for block in self.blocks if block not in prose + thought]
        self.blocks = [*thought, *([{"type": "text", "text": text}] if text else []), *rest]

    def call_tools(self, called: Sequence[Tool]) -> None:
        """Call these and no others, without a word."""
        if called:
            thought = [block for block in self.blocks if block["type"] == "thinking"]
            self.blocks = [*thought, *sandbox_tools.blocks(called, self.call, self.loop.said)]
            self.end("tool_use")

    def end(self, reason: str, *, sequence: str | None = None, details: Json | None = None) -> None:
        self.stop = {"stop_reason": reason, "stop_sequence": sequence, "stop_details": details}


def _echo(script: Script, args: Args) -> None:
    script.say(script.said)


def _slow(script: Script, args: Args) -> None:
    script.say(script.said)
    script.first, script.rate = args["first"], args.get("rate", math.inf)


def _lorem(script: Script, args: Args) -> None:
    script.say("The" + "".join(f" {LOREM[n * n % len(LOREM)]}" for n in range(1, int(args["tokens"]))) + ".")
    script.rate = args.get("rate", script.rate)


def _think(script: Script, args: Args) -> None:
    if (script.call.thinking or {}).get("type") != "disabled":
        script.blocks = [block for block in script.blocks if block["type"] != "thinking"]
        size = 4 * int(args["tokens"])
        thought = (THOUGHT * (1 + size // len(THOUGHT)))[:size]
        script.blocks.insert(0, {"type": "thinking", "thinking": thought, "signature": "c2FuZGJveA=="})


def _offered(script: Script, name: str) -> list[Tool]:
    """The tools that a marker may call: those the request's choice allows."""
    offered, choice = tools(script.call), script.call.tool_choice
    if not offered:
        raise Misused(f"[sandbox:{name}] needs `tools` in the request.")
    if choice and choice.type in ("none", "tool"):
        return [tool for tool in offered if tool.name == choice.name]
    return offered


def _tool(script: Script, args: Args) -> None:
    offered, name = _offered(script, "tool"), args.get("name")
    if name is not None and name not in [tool.name for tool in tools(script.call)]:
        raise Misused(f"There is no tool {name}. There are {', '.join(tool.name for tool in tools(script.call))}.")
    if script.loop.rounds < args["times"]:
        named = sandbox_tools.chosen(script.call, script.loop) or offered
        script.call_tools([tool for tool in offered if tool.name == name][:1] if name else named[:1])


def _tools(script: Script, args: Args) -> None:
    offered, choice = _offered(script, "tools"), script.call.tool_choice
    if offered and not script.loop.rounds:
        count = 1 if choice and choice.disable_parallel_tool_use else int(args["count"])
        script.call_tools([offered[n % len(offered)] for n in range(count)])


def _cite(script: Script, args: Args) -> None:
    text = script.text
    others = [block for block in script.blocks if block["type"] == "tool_use"]
    thought = [block for block in script.blocks if block["type"] == "thinking"]
    answer = [sandbox_tools.cited(text)] if text else []
    script.blocks = [*thought, *sandbox_tools.search(script.said), *answer, *others]


def _pause(script: Script, args: Args) -> None:
    """Once: a request that ends with the assistant's turn goes on after the pause."""
    if script.call.messages[-1].role != "assistant":
        thought = [block for block in script.blocks if block["type"] == "thinking"]
        script.blocks = [*thought, sandbox_tools.search(script.said)[0]]
        script.end("pause_turn")


def _fence(script: Script, args: Args) -> None:
    script.say(f"```{'json' if script.formed else ''}\n{script.text}\n```")


def _stop(script: Script, args: Args) -> None:
    if not script.call.stop_sequences:
        raise Misused("[sandbox:stop] needs `stop_sequences` in the request (`stop` in the OpenAI API).")
    script.say(f"{script.text} {script.call.stop_sequences[0]} This is never sent.")


def _max_tokens(script: Script, args: Args) -> None:
    """In the middle of the text, or of the last call."""
    last = script.blocks[-1] if script.blocks else {}
    if last.get("type") == "tool_use":
        given = msgspec.json.encode(last["input"])
        last["input"] = msgspec.Raw(given[: len(given) // 2])
    else:
        script.say(script.text[: len(script.text) // 2])
    script.end("max_tokens")


def _refusal(script: Script, args: Args) -> None:
    script.say("".join(WORD.findall(script.text)[: int(args["after"])]))
    script.end("refusal", details=REFUSED)


def _cached(script: Script, args: Args) -> None:
    script.cached = args


def _breaks(how: Literal["cut", "error"], script: Script, args: Args) -> None:
    script.breaks, script.breaks_after = how, int(args["after"])


def _fails(status: int, script: Script, args: Args) -> None:
    script.failure = Failure(status, SCRIPTED, retry=args.get("retry"), times=args.get("times"))


def _error(script: Script, args: Args) -> None:
    if args["status"] not in ERRORS:
        raise Misused(f"[sandbox:error] takes one of these: {', '.join(f'status={status}' for status in ERRORS)}.")
    _fails(int(args["status"]), script, args)


class Bound(NamedTuple):
    """What an argument may be (whole if `low` is) and what it is if it is not given: None for absent."""

    low: float
    high: float
    default: float | None = None


Play = Callable[[Script, Args], None]
TOKENS, DELTAS, SECONDS = Bound(1, 100_000), Bound(0, 100_000, 3), Bound(0.0, 120.0, 2.5)
RATE, RETRY = {"rate": Bound(0.1, 100_000)}, {"retry": Bound(0, 86_400), "times": Bound(1, 1000)}

# What each takes: numbers in bounds, or any one word (None).
# Played in this order, whatever the order in the text: what is said, then how it ends, then what goes wrong.
MARKERS: dict[str, tuple[Play, Mapping[str, Bound | None]]] = {
    "tool": (_tool, {"name": None, "times": Bound(1, 1000, 1)}),
    "tools": (_tools, {"count": Bound(1, 64, 2)}),
    "slow": (_slow, {"first": SECONDS, **RATE}),
    "echo": (_echo, {}),
    "lorem": (_lorem, {"tokens": TOKENS._replace(default=200), **RATE}),
    "think": (_think, {"tokens": TOKENS._replace(default=20)}),
    "fence": (_fence, {}),
    "cite": (_cite, {}),
    "pause": (_pause, {}),
    "stop": (_stop, {}),
    "max_tokens": (_max_tokens, {}),
    "refusal": (_refusal, {"after": DELTAS._replace(default=0)}),
    "cached": (_cached, {"tokens": TOKENS._replace(default=1000), "write_5m": TOKENS, "write_1h": TOKENS}),
    "cut": (partial(_breaks, "cut"), {"after": DELTAS}),
    "error_midstream": (partial(_breaks, "error"), {"after": DELTAS}),
    "overloaded": (partial(_fails, 529), RETRY),
    "rate_limited": (partial(_fails, 429), RETRY),
    "error": (_error, {"status": Bound(400, 599, 500), **RETRY}),
}


def _arguments(name: str, words: Sequence[str]) -> Args:
    if name not in MARKERS:
        raise Misused(f"There is no [sandbox:{name}]. There are {', '.join(MARKERS)}.")
    takes = MARKERS[name][1]
    found: dict[str, Any] = {key: bound.default for key, bound in takes.items() if bound and bound.default is not None}
    for word in words:
        key, _, value = word.partition("=")
        try:
            bound = takes[key]
            found[key] = value if bound is None else type(bound.low)(value)
            if not value or (bound and not bound.low <= found[key] <= bound.high):
                raise ValueError
        except (KeyError, ValueError):
            allowed = ", ".join(f"{key}={f'{b.low:g}…{b.high:g}' if b else '…'}" for key, b in takes.items())
            raise Misused(f"[sandbox:{name}] cannot take {word!r}. It takes {allowed or 'nothing'}.") from None
    return found


def follow(call: Call) -> Script:
    """Let the markers write the answer; if one of them cannot be followed, the answer says why."""
    loop, heard = Loop(call), sandbox_tools.heard(call)
    said = MARKER.sub("", heard)
    script = Script(call, loop, heard, said)
    try:
        _answer(script)
        for name, args in _wanted(script).items():
            MARKERS[name][0](script, args)
    except Misused as problem:
        script = Script(call, loop, heard, said)
        script.say(f"{SIGNED} {problem}")
        script.end("end_turn")
    _limit(script)
    return script


def _wanted(script: Script) -> dict[str, Args]:
    """The markers of the last user turn; while tools are called, also those of the text that led to it, for tools."""
    asked = [marker.split() or [""] for marker in MARKER.findall(script.heard)]
    if script.heard != script.loop.asked:
        before = [marker.split() for marker in MARKER.findall(script.loop.asked)]
        asked = [*(marker for marker in before if marker[:1] in (["tool"], ["tools"])), *asked]
    found = {name: _arguments(name, words) for name, *words in asked}
    return {name: found[name] for name in MARKERS if name in found}


def _answer(script: Script) -> None:
    """What is said without a marker."""
    call, said = script.call, script.said if len(script.said) <= 400 else script.said[:399] + "…"
    noticed = sandbox_tools.noticed(call)
    words = f"{SIGNED} {' '.join(filter(None, [noticed, f'You said: {said}' if said or not noticed else '']))}"
    form = sandbox_tools.formed(call, script.loop, words)
    script.formed = form is not None
    script.say(words if form is None else form)
    script.end("end_turn")
    script.call_tools(sandbox_tools.chosen(call, script.loop))
    effort = call.output_config and call.output_config.effort
    kind = (call.thinking or {}).get("type")
    if kind == "enabled" or (kind == "adaptive" and effort):
        _think(script, {"tokens": THOUGHT_TOKENS})


def _limit(script: Script) -> None:
    """Cut the answer where a stop sequence or `max_tokens` falls, whatever was scripted."""
    text, left = script.text, script.call.max_tokens
    if found := [(text.index(stop), stop) for stop in script.call.stop_sequences or () if stop in text]:
        at, stop = min(found)
        script.say(text[:at])
        script.blocks = [block for block in script.blocks if block["type"] != "tool_use"]
        script.end("stop_sequence", sequence=stop)
    for n, block in enumerate(script.blocks):
        size = block_tokens(block)
        if size > left:
            script.blocks = [*script.blocks[:n], *_cut(block, 4 * left)]
            script.end("max_tokens")
            break
        left -= size


def _cut(block: Json, size: int) -> list[Json]:
    """What is there of a block after so many bytes, if anything."""
    kind = block["type"]
    if kind in PROSE:
        text = block[kind].encode()[:size].decode(errors="ignore")
        return [{**block, kind: text}] if text else []
    if kind != "tool_use" or not size:
        return []
    given = msgspec.json.encode(block["input"])
    return [{**block, "input": msgspec.Raw(given[: min(size, len(given) - 1)].decode(errors="ignore").encode())}]
