"""What the sandbox is asked for and what it will answer: request shapes, markers, and how tokens are counted.

Markers in the last user turn script the answer. They are cut out of the text and combine in any order; a wrong one is
answered with an explanation. Arguments in parentheses may be left out.

| marker in the last user turn                             | what happens                                             |
|----------------------------------------------------------|----------------------------------------------------------|
| `[sandbox:echo]`                                         | answers with exactly the rest of the text                |
| `[sandbox:lorem (tokens=200) (rate=50)]`                 | answers with so many tokens, at once or so many a second |
| `[sandbox:slow (first=2.5) (rate=50)]`                   | echoes, the first event after so many seconds            |
| `[sandbox:think (tokens=20)]`                            | thinks first, unless the request disables thinking       |
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
from itertools import dropwhile, takewhile
from typing import Annotated, Any, Literal, NamedTuple, TypeVar

import msgspec

Json = dict[str, Any]
Args = Mapping[str, float]

SIGNED = "This answer comes from Bridge's sandbox, not from Claude."
SCRIPTED = "This error comes from Bridge's sandbox, as the request asked."
REFUSED = {"type": "refusal", "category": None, "explanation": "Bridge's sandbox refused, as the request asked."}
THOUGHT = "I am a sandbox, so I only pretend to think about this before I answer. "
LOREM = ("qui", "non", "est", "cum", "lux", "sed", "per", "vim", "aut", "mox", "hic", "nec", "pax")  # " qui": one token
MARKER = re.compile(r"\[sandbox:([^\[\]]{0,200})\]\s?")
WORD = re.compile(r"\s*\S{1,40}|\s+")  # at most 40: a text without spaces comes in several deltas too
ERRORS = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    409: "conflict_error",
    413: "request_too_large",
    429: "rate_limit_error",
    500: "api_error",
    503: "api_error",
    504: "timeout_error",
    529: "overloaded_error",
}
PROSE = ("text", "thinking")  # blocks with a text, in the field that has the name of their type
BLOCK_BYTES = 6400  # what an image or a document weighs: 1,600 tokens, about the most an image costs

NO_CONTENT = "messages.{}: all messages must have non-empty content except for the optional final assistant message"
NO_TEXT = "messages: text content blocks must contain non-whitespace text"
NO_STOP = "stop_sequences: each stop sequence must contain non-whitespace"


class Part(msgspec.Struct):
    """A content block of a request. Only the size of `input` matters, so it stays as it came."""

    type: str
    text: str = ""
    thinking: str = ""
    input: msgspec.Raw = msgspec.Raw(b"")
    content: str | list[Part] | dict[str, object] = ""


class Turn(msgspec.Struct):
    role: Literal["user", "assistant", "system"]
    content: str | list[Part]


class Prompt(msgspec.Struct, kw_only=True):
    """The body of `count_tokens`."""

    model: str
    messages: Annotated[list[Turn], msgspec.Meta(min_length=1)]
    system: str | list[Part] | None = None
    tools: list[msgspec.Raw] | None = None
    thinking: dict[str, object] | None = None


class Call(Prompt, kw_only=True):
    """The body of `messages`."""

    max_tokens: Annotated[int, msgspec.Meta(ge=0)]
    stream: bool | None = None
    stop_sequences: list[str] | None = None
    temperature: Annotated[float, msgspec.Meta(ge=0, le=1)] | None = None
    top_p: Annotated[float, msgspec.Meta(ge=0, le=1)] | None = None


Body = TypeVar("Body", bound=Prompt)


class Failure(Exception):
    """An HTTP error instead of an answer; with `times`, only for the first requests with the same text."""

    def __init__(self, status: int, message: str, *, retry: float | None = None, times: float | None = None) -> None:
        super().__init__(message)
        self.status, self.message, self.retry, self.times = status, message, retry, times


def read(body: bytes, shape: type[Body]) -> Body:
    """Refuse what the API refuses, in words as near to its own as the decoder's allow."""
    try:
        prompt = msgspec.json.decode(body, type=shape)
    except msgspec.ValidationError as error:
        raise Failure(400, _worded(str(error))) from None
    except (msgspec.DecodeError, ValueError) as error:
        raise Failure(400, f"The request body is not valid JSON: {error}") from None
    for n, turn in enumerate(prompt.messages):
        if not turn.content and (turn.role, n + 1) != ("assistant", len(prompt.messages)):
            raise Failure(400, NO_CONTENT.format(n))
    for content in (prompt.system, *(turn.content for turn in prompt.messages)):
        if any(part.type == "text" and not part.text.strip() for part in _parts(content)):
            raise Failure(400, NO_TEXT)
    if not all(stop.strip() for stop in getattr(prompt, "stop_sequences", None) or ()):
        raise Failure(400, NO_STOP)
    return prompt


def _worded(problem: str) -> str:
    """Turn "Object missing required field `model` - at `$.x[0]`" into "x.0.model: Field required"."""
    said, _, path = problem.rstrip("`").partition(" - at `$")
    if missing := re.fullmatch(r"Object missing required field `(\w+)`?", said):
        said, path = "Field required", f"{path}.{missing[1]}"
    where = re.sub(r"\W+", ".", path).strip(".")
    return f"{where}: {said}" if where else said


class Misused(Exception):
    """A marker that cannot be followed; the message is for the user."""


@dataclass(slots=True)
class Script:
    """One answer to be: its content blocks, how it stops, what it counts, when it comes and where it breaks."""

    call: Call
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

    @property
    def text(self) -> str:
        return "".join(block["text"] for block in self.blocks if block["type"] == "text")

    def say(self, text: str) -> None:
        """Make `text` the answer; an empty one is no block at all, as on the wire."""
        others = [block for block in self.blocks if block["type"] != "text"]
        self.blocks = [*others, {"type": "text", "text": text}] if text else others

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
        size = 4 * int(args["tokens"])
        thought = (THOUGHT * (1 + size // len(THOUGHT)))[:size]
        script.blocks.insert(0, {"type": "thinking", "thinking": thought, "signature": "c2FuZGJveA=="})


def _stop(script: Script, args: Args) -> None:
    if not script.call.stop_sequences:
        raise Misused("[sandbox:stop] needs `stop_sequences` in the request (`stop` in the OpenAI API).")
    script.say(f"{script.text} {script.call.stop_sequences[0]} This is never sent.")


def _max_tokens(script: Script, args: Args) -> None:
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

# Played in this order, whatever the order in the text: what is said, then how it ends, then what goes wrong.
MARKERS: dict[str, tuple[Play, Mapping[str, Bound]]] = {
    "slow": (_slow, {"first": SECONDS, **RATE}),
    "echo": (_echo, {}),
    "lorem": (_lorem, {"tokens": TOKENS._replace(default=200), **RATE}),
    "think": (_think, {"tokens": TOKENS._replace(default=20)}),
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
    found: dict[str, float] = {key: bound.default for key, bound in takes.items() if bound.default is not None}
    for word in words:
        key, _, value = word.partition("=")
        try:
            bound = takes[key]
            found[key] = number = type(bound.low)(value)
            if not bound.low <= number <= bound.high:
                raise ValueError
        except (KeyError, ValueError):
            allowed = ", ".join(f"{key}={bound.low:g}…{bound.high:g}" for key, bound in takes.items())
            raise Misused(f"[sandbox:{name}] cannot take {word!r}. It takes {allowed or 'nothing'}.") from None
    return found


def follow(call: Call) -> Script:
    """Let the markers write the answer; if one of them cannot be followed, the answer says why."""
    heard = _last_user_text(call.messages)
    said = MARKER.sub("", heard)
    try:
        script = _signed(call, heard, said, f"You said: {said if len(said) <= 400 else said[:399] + '…'}")
        asked = [marker.split() or [""] for marker in MARKER.findall(heard)]
        wanted = {name: _arguments(name, words) for name, *words in asked}
        for name in filter(wanted.__contains__, MARKERS):
            MARKERS[name][0](script, wanted[name])
    except Misused as problem:
        script = _signed(call, heard, said, str(problem))
    _limit(script)
    return script


def _signed(call: Call, heard: str, said: str, text: str) -> Script:
    script = Script(call, heard, said)
    script.say(f"{SIGNED} {text}")
    script.end("end_turn")
    return script


def _limit(script: Script) -> None:
    """Cut the answer where a stop sequence or `max_tokens` falls, whatever was scripted."""
    text, left = script.text, script.call.max_tokens
    if found := [(text.index(stop), stop) for stop in script.call.stop_sequences or () if stop in text]:
        at, stop = min(found)
        script.say(text[:at])
        script.end("stop_sequence", sequence=stop)
    for block in script.blocks:
        kind, size = block["type"], block_tokens(block)
        if size > left and kind in PROSE:
            block[kind] = block[kind].encode()[: 4 * left].decode(errors="ignore")
            script.end("max_tokens")
        left = max(0, left - size)
    script.blocks = [block for block in script.blocks if block.get(block["type"]) != ""]


def _last_user_text(messages: Sequence[Turn]) -> str:
    """The last user turn (the API joins user messages that follow each other): its text, else its tool results'."""
    backwards = dropwhile(lambda turn: turn.role == "assistant", reversed(messages))
    turns = list(takewhile(lambda turn: turn.role != "assistant", backwards))[::-1]
    parts = [part for turn in turns if turn.role == "user" for part in _parts(turn.content)]
    texts = [part.text for part in parts if part.type == "text"]
    return "\n".join(texts or [inner.text for part in parts for inner in _parts(part.content)])


def _parts(content: object) -> list[Part]:
    if isinstance(content, str):
        return [Part("text", text=content)] if content else []
    return content if isinstance(content, list) else []


def _tokens(text: str) -> int:
    return math.ceil(len(text.encode()) / 4)


def block_tokens(block: Json) -> int:
    kind = block["type"]
    return _tokens(block[kind] if kind in PROSE else msgspec.json.encode(block).decode())


def input_tokens(prompt: Prompt) -> int:
    contents = [prompt.system, *(turn.content for turn in prompt.messages)]
    size = sum(_weight(part) for content in contents for part in _parts(content))
    return max(1, math.ceil((size + sum(map(len, prompt.tools or ()))) / 4))


def _weight(part: Part) -> int:
    if part.type in ("image", "document"):
        return BLOCK_BYTES
    return len((part.text + part.thinking).encode()) + len(part.input) + sum(map(_weight, _parts(part.content)))
