"""A scripted Claude as an httpx transport: it speaks the real Messages wire and costs nothing.

Test keys and `UPSTREAM=sandbox` are answered here. Without a marker the answer repeats what the user said; markers in
the last user turn script everything else. They are cut out of the text and combine in any order; a wrong one is
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

import asyncio
import hashlib
import math
import re
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import dropwhile, takewhile
from typing import Annotated, Any, Literal, NamedTuple, TypeVar

import httpx
import msgspec

Json = dict[str, Any]
Args = Mapping[str, float]

SIGNED = "This answer comes from Bridge's sandbox, not from Claude."
SCRIPTED = "This error comes from Bridge's sandbox, as the request asked."
CUT = "Bridge's sandbox cut the connection, as the request asked."
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
LONGEST = 1800.0  # seconds an answer may take, whatever its rate: nobody may hold a connection for days
REMEMBERED = 4096  # texts whose failures are counted for `times`

TOO_LONG = "max_tokens: {} > {}, which is the maximum allowed number of output tokens for {}"
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


def _read(body: bytes, shape: type[Body]) -> Body:
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


def _script(call: Call) -> Script:
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
        kind, size = block["type"], _block_tokens(block)
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


def _block_tokens(block: Json) -> int:
    kind = block["type"]
    return _tokens(block[kind] if kind in PROSE else msgspec.json.encode(block).decode())


def _input_tokens(prompt: Prompt) -> int:
    contents = [prompt.system, *(turn.content for turn in prompt.messages)]
    size = sum(_weight(part) for content in contents for part in _parts(content))
    return max(1, math.ceil((size + sum(map(len, prompt.tools or ()))) / 4))


def _weight(part: Part) -> int:
    if part.type in ("image", "document"):
        return BLOCK_BYTES
    return len((part.text + part.thinking).encode()) + len(part.input) + sum(map(_weight, _parts(part.content)))


def _message(script: Script, input_tokens: int) -> Json:
    """The whole answer, from which the stream is made too."""
    thinking = sum(_block_tokens(block) for block in script.blocks if block["type"] == "thinking")
    output = sum(map(_block_tokens, script.blocks))
    written = {f"ephemeral_{ttl}_input_tokens": int(script.cached.get(f"write_{ttl}", 0)) for ttl in ("5m", "1h")}
    usage = {
        "input_tokens": input_tokens,
        "cache_creation_input_tokens": sum(written.values()),
        "cache_read_input_tokens": int(script.cached.get("tokens", 0)),
        "cache_creation": written,
        "output_tokens": min(script.call.max_tokens, max(1, output)),
        "service_tier": "standard",
    }
    if thinking:
        usage["output_tokens_details"] = {"thinking_tokens": thinking}
    omitted = {"thinking": ""} if (script.call.thinking or {}).get("display") == "omitted" else {}
    return {
        "id": f"msg_sandbox{secrets.token_hex(10)}",
        "type": "message",
        "role": "assistant",
        "model": script.call.model,
        "content": [block | omitted if block["type"] == "thinking" else block for block in script.blocks],
        **script.stop,
        "usage": usage,
    }


def _events(message: Json) -> Iterator[Json]:
    """The events that fold to `message`."""
    usage = {key: value for key, value in message["usage"].items() if key != "output_tokens_details"}
    start = message | {"content": [], "stop_reason": None, "stop_sequence": None, "stop_details": None}
    yield {"type": "message_start", "message": start | {"usage": usage | {"output_tokens": 1}}}
    for index, block in enumerate(message["content"]):
        opened, deltas = _opened(block)
        yield {"type": "content_block_start", "index": index, "content_block": opened}
        if index == 0:
            yield {"type": "ping"}
        for delta in deltas:
            yield {"type": "content_block_delta", "index": index, "delta": delta}
        yield {"type": "content_block_stop", "index": index}
    stop = {key: message[key] for key in ("stop_reason", "stop_sequence", "stop_details")}
    total = {key: value for key, value in message["usage"].items() if key not in ("cache_creation", "service_tier")}
    yield {"type": "message_delta", "delta": stop, "usage": total}
    yield {"type": "message_stop"}


def _opened(block: Json) -> tuple[Json, list[Json]]:
    """How a block starts and the deltas that complete it; kinds without deltas arrive whole, as on the wire."""
    if block["type"] == "text":
        return block | {"text": ""}, [{"type": "text_delta", "text": word} for word in WORD.findall(block["text"])]
    if block["type"] == "thinking":
        words = [{"type": "thinking_delta", "thinking": word} for word in WORD.findall(block["thinking"])]
        signed = {"type": "signature_delta", "signature": block["signature"]}
        return block | {"thinking": "", "signature": ""}, [*words, signed]
    return block, []


def _sse(event: Json) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (event["type"].encode(), msgspec.json.encode(event))


def _error_body(failure: Failure, request_id: str) -> Json:
    error = {"type": ERRORS[failure.status], "message": failure.message}
    return {"type": "error", "error": error, "request_id": request_id}


class Sandbox(httpx.AsyncBaseTransport):
    """Answers for `models`: rows in the shape of `GET /v1/models`, listed in the order given.

    `sleep` and `clock` are in seconds. What `times` counts is kept here, so each process counts for itself.
    """

    def __init__(
        self,
        models: Sequence[Mapping[str, object]],
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._models = {str(row["id"]): dict(row) for row in models}
        self._sleep, self._clock = sleep, clock
        self._failed: dict[bytes, int] = {}

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        request_id = f"req_sandbox{secrets.token_hex(10)}"
        headers, status = {"content-type": "application/json", "request-id": request_id}, 200
        try:
            answer = await self._route(request, await request.aread(), request_id)
        except (Failure, RecursionError) as error:
            failure = error if isinstance(error, Failure) else Failure(400, "The request body is nested too deeply.")
            status, answer = failure.status, _error_body(failure, request_id)
            headers |= {} if failure.retry is None else {"retry-after": f"{failure.retry:g}"}
        if isinstance(answer, dict):
            return httpx.Response(status, headers=headers, content=msgspec.json.encode(answer))
        headers["content-type"] = "text/event-stream; charset=utf-8"
        return httpx.Response(status, headers=headers, content=answer)

    async def _route(self, request: httpx.Request, body: bytes, request_id: str) -> Json | AsyncIterator[bytes]:
        """What this path answers: an object, or the chunks of a stream."""
        match request.method, request.url.path.split("/")[1:]:
            case "POST", ["v1", "messages"]:
                return await self._answer(_read(body, Call), request_id)
            case "POST", ["v1", "messages", "count_tokens"]:
                prompt = _read(body, Prompt)
                self._model(prompt.model)
                return {"input_tokens": _input_tokens(prompt)}
            case "GET", ["v1", "models"]:
                return self._page(request.url.params)
            case "GET", ["v1", "models", name]:
                return self._model(name)
        raise Failure(404, f"Not found: {request.method} {request.url.path}")

    def _model(self, name: str) -> Json:
        if name not in self._models:
            raise Failure(404, f"model: {name}")
        return self._models[name]

    def _page(self, query: Mapping[str, str]) -> Json:
        rest, limit, after = list(self._models), query.get("limit", "20"), query.get("after_id", "")
        if not re.fullmatch(r"[1-9][0-9]{0,2}|1000", limit):
            raise Failure(400, "limit: Input should be between 1 and 1000")
        if after and after not in rest:
            raise Failure(400, f"after_id: there is no model {after}")
        rest = rest[rest.index(after) + 1 :] if after else rest
        page = rest[: int(limit)]
        first_id, last_id = (page[0], page[-1]) if page else (None, None)
        data = [self._models[name] for name in page]
        return {"data": data, "has_more": len(rest) > len(page), "first_id": first_id, "last_id": last_id}

    async def _answer(self, call: Call, request_id: str) -> Json | AsyncIterator[bytes]:
        most = self._model(call.model).get("max_tokens")
        if isinstance(most, int) and call.max_tokens > most:
            raise Failure(400, TOO_LONG.format(call.max_tokens, most, call.model))
        script = _script(call)
        if script.failure and self._still_fails(script.failure, script.heard):
            await self._sleep(script.first)
            raise script.failure
        message = _message(script, _input_tokens(call))
        output = message["usage"]["output_tokens"]
        script.rate = max(script.rate, output / LONGEST)
        if call.stream:
            return self._play(script, message, request_id)
        await self._sleep(script.first + output / script.rate)
        if script.breaks:
            raise httpx.ReadError(CUT) if script.breaks == "cut" else Failure(529, SCRIPTED)
        return message

    def _still_fails(self, failure: Failure, text: str) -> bool:
        if failure.times is None:
            return True
        key = hashlib.sha256(text.encode()).digest()
        self._failed[key] = count = self._failed.pop(key, 0) + 1
        if len(self._failed) > REMEMBERED:
            del self._failed[next(iter(self._failed))]
        return count <= failure.times

    async def _play(self, script: Script, message: Json, request_id: str) -> AsyncIterator[bytes]:
        started, reached, due, texts = self._clock(), 0.0, script.first, 0
        for n, event in enumerate(_events(message)):
            delta = event.get("delta", {})
            spoken = delta.get("type") == "text_delta"
            if script.breaks and (event["type"] == "message_delta" or (spoken and texts == script.breaks_after)):
                break
            texts += spoken
            due += len((delta.get("text") or delta.get("thinking") or "").encode()) / 4 / script.rate
            # Against the clock, so that late wake-ups do not add up; `reached`, because a test's clock may stand still.
            now = max(reached, self._clock() - started)
            if due > now:
                await self._sleep(due - now)
                reached = due
            elif n % 64 == 0:
                await asyncio.sleep(0)  # a long answer at once must not keep the others waiting
            yield _sse(event)
        if script.breaks == "cut":
            raise httpx.ReadError(CUT)
        if script.breaks == "error":
            yield _sse(_error_body(Failure(529, SCRIPTED), request_id))
