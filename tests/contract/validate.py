"""Says whether an answer is one that OpenAI's own clients, and the strictest others, can rely on.

    exchange        a recorded request with its answer, whatever it was
    completion      a whole answer                  stream          a streamed one that ended well
    error           an error object                 broken_stream   one that broke, and says so
    models, model   the list, one of it             beginning       one that the client left early
    chunks          the parsed chunks of a stream, as some client saw them

Everything raises Invalid with what is wrong. Bodies are the raw bytes: what a client forgives is not forgiven here.
The rules are those that clients were seen to depend on (role only once, no `error` key, nothing after the usage, …).
"""

from __future__ import annotations

import json
import re
import time
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn

import pydantic
from openai.types import Model
from openai.types.chat import ChatCompletion, ChatCompletionChunk

Json = dict[str, Any]
Bytes = bytes | bytearray

FINISH_REASONS = ("stop", "length", "tool_calls", "content_filter", "function_call")
HEAD = {"id", "object", "created", "model", "choices", "service_tier", "system_fingerprint"}
MESSAGE = {"role", "content", "refusal", "annotations"}
ROLE_DELTA = {"role": "assistant", "content": "", "refusal": None}
DELTAS = {"content", "refusal", "reasoning_content", "thinking_blocks"}
USAGE = {
    "prompt_tokens",
    "completion_tokens",
    "total_tokens",
    "prompt_tokens_details",
    "completion_tokens_details",
    "cache_creation_input_tokens",
    "cache_read_input_tokens",
}
PROMPT_DETAILS = {"cached_tokens", "cache_write_tokens", "audio_tokens"}
COMPLETION_DETAILS = {
    "reasoning_tokens",
    "audio_tokens",
    "accepted_prediction_tokens",
    "rejected_prediction_tokens",
}
ERROR = {"message", "type", "param", "code"}
MODEL = {"id", "object", "created", "owned_by"}
MODEL_EXTRAS = {"display_name", "context_window", "context_length", "max_output_tokens"}
PAGE = {"object", "data", "has_more", "first_id", "last_id"}
STATUSES = {400, 401, 403, 404, 405, 408, 413, 415, 429, 500, 502, 503, 504}  # never 409: 0.28 repeats it for ever
COMPAT = re.compile(r"[\w.\[\]-]+=[\w().-]+(, [\w.\[\]-]+=[\w().-]+)*")
KEEP_ALIVE = ": keep-alive"  # a comment that begins with `: ping` loses Continue the rest of the stream
DONE = "data: [DONE]"


class Invalid(AssertionError):
    """What is wrong with an answer."""


@dataclass
class Stream:
    """What a stream said."""

    chunks: list[Json] = field(default_factory=list)
    error: Json | None = None

    @property
    def text(self) -> str:
        return self._joined("content")

    @property
    def reasoning(self) -> str:
        return self._joined("reasoning_content")

    @property
    def refusal(self) -> str:
        return self._joined("refusal")

    @property
    def finish_reason(self) -> str | None:
        return next((c["finish_reason"] for chunk in self.chunks for c in chunk["choices"] if c["finish_reason"]), None)

    @property
    def usage(self) -> Json | None:
        return self.chunks[-1].get("usage") if self.chunks else None

    def _joined(self, name: str) -> str:
        return "".join(choice["delta"].get(name) or "" for chunk in self.chunks for choice in chunk["choices"])


@dataclass
class Exchange:
    """A request and its answer; `complete` is false when the client left before the end."""

    method: str
    path: str
    sent: bytes
    status: int
    headers: Mapping[str, str]
    body: Bytes = field(default_factory=bytearray)
    complete: bool = False

    def asked(self) -> Json:
        try:
            asked = json.loads(self.sent)
        except ValueError:
            return {}
        return asked if isinstance(asked, dict) else {}


def exchange(made: Exchange, *, may_break: bool = False) -> Stream | Json:
    """Judges the answer by what was asked. `may_break`: the test asked for a stream that breaks."""
    _common_headers(made.headers)
    if made.status != 200:
        _error_status(made)
        return error(made.body) if made.complete else {}  # a client that repeats it need not have read it
    path = re.sub("/+", "/", made.path.partition("?")[0]).rstrip("/")
    if path.endswith("chat/completions"):
        asked = made.asked()
        if not asked.get("stream"):
            _json_headers(made.headers, made.body)
            return completion(made.body)
        _stream_headers(made.headers)
        with_usage = bool((asked.get("stream_options") or {}).get("include_usage"))
        if not made.complete:
            return beginning(made.body, include_usage=with_usage)
        judge = broken_stream if may_break else stream
        return judge(made.body, include_usage=with_usage)
    _json_headers(made.headers, made.body)
    return models(made.body) if path.endswith("/models") else model(_object(made.body))


# --- Whole answers --------------------------------------------------------------------------------------------------


def completion(body: Bytes) -> Json:
    """A ChatCompletion with one choice of text."""
    answer = _object(body)
    _keys(answer, "the answer", HEAD | {"usage"})
    _head(answer, "chat.completion")
    (choice,) = _choices(answer, 1)
    _keys(choice, "choices[0]", {"index", "message", "logprobs", "finish_reason"})
    _equal(choice["index"], 0, "choices[0].index")
    _equal(choice["logprobs"], None, "choices[0].logprobs")
    message = choice["message"]
    _keys(message, "message", MESSAGE, {"reasoning_content", "thinking_blocks"})
    _equal(message["role"], "assistant", "message.role")
    _text(message["content"], "message.content", empty=True)
    _equal(message["annotations"], [], "message.annotations")
    if "reasoning_content" in message:
        _text(message["reasoning_content"], "message.reasoning_content")
    _finish(choice["finish_reason"], message["refusal"])
    _usage(answer["usage"])
    _as(ChatCompletion, answer)
    return answer


def error(body: Bytes) -> Json:
    """`{"error": {"message", "type", "param", "code"}}`: all four keys, whatever the status."""
    answer = _object(body)
    _keys(answer, "the answer", {"error"})
    return _error(answer["error"])


def models(body: Bytes) -> Json:
    """A page of the list."""
    page = _object(body)
    _keys(page, "the page", PAGE)
    _equal(page["object"], "list", "object")
    if not isinstance(page["data"], list):
        _fail(f"data is {page['data']!r}")
    ids = [model(row)["id"] for row in page["data"]]
    if len(set(ids)) < len(ids):
        _fail(f"a model is listed twice: {ids}")
    _equal(page["first_id"], ids[0] if ids else None, "first_id")
    _equal(page["last_id"], ids[-1] if ids else None, "last_id")
    if not isinstance(page["has_more"], bool):
        _fail(f"has_more is {page['has_more']!r}")
    return page


def model(row: Json) -> Json:
    _keys(row, "the model", MODEL, MODEL_EXTRAS)
    _text(row["id"], "id")
    _equal(row["object"], "model", "object")
    _count(row["created"], "created")
    _equal(row["owned_by"], "anthropic", "owned_by")
    _as(Model, row)
    return row


# --- Streams --------------------------------------------------------------------------------------------------------


def stream(body: Bytes, *, include_usage: bool = False) -> Stream:
    """A stream that ended as it should: a finish reason, the usage if it was asked for, `[DONE]`."""
    lines = _lines(body)
    if lines.count(DONE) != 1 or lines[-1] != DONE:
        _fail(f"[DONE] comes {lines.count(DONE)} times and the last line is {lines[-1][:200]!r}")
    return chunks(_datas(lines[:-1]), include_usage=include_usage)


def broken_stream(body: Bytes, *, include_usage: bool = False) -> Stream:
    """A stream that broke: its last event is an error, there is no finish reason and no `[DONE]`."""
    lines = _lines(body)
    if DONE in lines:
        _fail("a broken stream says [DONE]")
    *before, last = _datas(lines)
    _keys(last, "the last event", {"error"})
    said = _chunks(before, include_usage)
    if said.finish_reason is not None:
        _fail(f"a broken stream has the finish reason {said.finish_reason!r}")
    return Stream(said.chunks, _error(last["error"]))


def beginning(body: Bytes, *, include_usage: bool = False) -> Stream:
    """Whatever a client had read when it left: the last event may be cut."""
    whole = body[: body.rfind(b"\n\n") + 2] if b"\n\n" in body else b""
    lines = [line for line in _lines(whole) if line != DONE] if whole else []
    return _chunks(_datas(lines), include_usage)


def chunks(said: Iterable[Json], *, include_usage: bool = False) -> Stream:
    """The chunks of a whole stream, in order, without `[DONE]`."""
    found = _chunks(list(said), include_usage)
    if found.finish_reason is None:
        _fail("the stream ended without a finish reason")
    if include_usage and not found.usage:
        _fail("the stream ended without the usage that was asked for")
    return found


def _lines(body: Bytes) -> list[str]:
    """The one line of each event: `data: …`, or the keep-alive comment."""
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as problem:
        _fail(f"the stream is not UTF-8: {problem}")
    if "\r" in text:
        _fail("a carriage return in the stream")
    if not text.endswith("\n\n"):
        _fail(f"the stream ends in the middle of an event: {text[-200:]!r}")
    lines = text[:-2].split("\n\n")
    for line in lines:
        if "\n" in line:
            _fail(f"an event of more than one line: {line[:200]!r}")
        if not line.startswith("data: ") and line != KEEP_ALIVE:
            _fail(f"neither data nor the keep-alive comment: {line[:200]!r}")
    return lines


def _datas(lines: Iterable[str]) -> list[Json]:
    return [_object(line.removeprefix("data: ").encode()) for line in lines if line != KEEP_ALIVE]


def _chunks(said: list[Json], include_usage: bool) -> Stream:
    """Every rule that holds however far the stream came."""
    found = Stream()
    finished = counted = refused = False
    for number, chunk in enumerate(said):
        name = f"chunk {number}"
        _keys(chunk, name, HEAD | {"usage"} if include_usage else HEAD)
        _head(chunk, "chat.completion.chunk")
        for field_name in ("id", "created", "model"):
            _equal(chunk[field_name], said[0][field_name], f"{name}: {field_name}")
        if counted:
            _fail(f"{name} comes after the usage")
        if finished:
            if not include_usage:
                _fail(f"{name} comes after the finish reason")
            _equal(chunk["choices"], [], f"{name}: choices beside the usage")
            _usage(chunk["usage"])
            counted = True
        else:
            _equal(chunk.get("usage"), None, f"{name}: usage before the end")
            (choice,) = _choices(chunk, 1)
            finished = _choice(choice, name, first=number == 0, refused=refused)
            refused = refused or (number > 0 and "refusal" in choice["delta"])
        found.chunks.append(chunk)
        _as(ChatCompletionChunk, chunk)
    return found


def _choice(choice: Json, name: str, *, first: bool, refused: bool) -> bool:
    """One choice of one chunk. Returns whether it has the finish reason."""
    _keys(choice, f"{name}: choices[0]", {"index", "delta", "logprobs", "finish_reason"})
    _equal(choice["index"], 0, f"{name}: index")
    _equal(choice["logprobs"], None, f"{name}: logprobs")
    delta = choice["delta"]
    if first:
        _equal(delta, ROLE_DELTA, f"{name}: the first delta")
    else:
        _keys(delta, f"{name}: the delta", set(), DELTAS)
        for field_name, value in delta.items():
            (_thinking if field_name == "thinking_blocks" else _text)(value, f"{name}: delta.{field_name}")
    if choice["finish_reason"] is None:
        return False
    _equal(delta, {}, f"{name}: the delta beside the finish reason")
    _finish(choice["finish_reason"], "said" if refused else None)
    return True


# --- Parts of both --------------------------------------------------------------------------------------------------


def _thinking(blocks: Any, name: str) -> None:
    """Signed thinking, to be sent back as it is."""
    if not isinstance(blocks, list) or not blocks:
        _fail(f"{name} is {blocks!r}, not a list of blocks")
    for block in blocks:
        if not (block.get("type") == "redacted_thinking" or block.get("signature")):
            _fail(f"{name} has thinking without a signature")


def _head(answer: Json, kind: str) -> None:
    if not re.fullmatch(r"chatcmpl-\w+", _text(answer["id"], "id")):
        _fail(f"id is {answer['id']!r}")
    _equal(answer["object"], kind, "object")
    if abs(time.time() - _count(answer["created"], "created")) > 3600:
        _fail(f"created is {answer['created']}, which is not now")
    _text(answer["model"], "model")
    _equal(answer["service_tier"], "default", "service_tier")
    _equal(answer["system_fingerprint"], None, "system_fingerprint")


def _choices(answer: Json, count: int) -> list[Json]:
    choices = answer["choices"]
    if not isinstance(choices, list) or len(choices) != count:
        _fail(f"not {count} choices: {choices!r}")
    return choices


def _finish(reason: Any, refusal: Any) -> None:
    if reason not in FINISH_REASONS:
        _fail(f"the finish reason is {reason!r}")
    if (reason == "content_filter") is not bool(refusal):
        _fail(f"the finish reason is {reason!r} and the refusal {refusal!r}")


def _usage(usage: Any) -> None:
    _keys(usage, "usage", USAGE)
    prompt, completed = usage["prompt_tokens_details"], usage["completion_tokens_details"]
    _keys(prompt, "prompt_tokens_details", PROMPT_DETAILS)
    _keys(completed, "completion_tokens_details", COMPLETION_DETAILS)
    for counts in (usage, prompt, completed):
        for name, count in counts.items():
            if not isinstance(count, dict):
                _count(count, f"usage: {name}")
    _equal(usage["total_tokens"], usage["prompt_tokens"] + usage["completion_tokens"], "usage: total_tokens")
    _equal(usage["cache_creation_input_tokens"], prompt["cache_write_tokens"], "usage: cache writes")
    _equal(usage["cache_read_input_tokens"], prompt["cached_tokens"], "usage: cache reads")
    if prompt["cached_tokens"] + prompt["cache_write_tokens"] > usage["prompt_tokens"]:
        _fail(f"more of the prompt was cached than there was: {usage}")
    if completed["reasoning_tokens"] > usage["completion_tokens"]:
        _fail(f"more reasoning than answer: {usage}")


def _error(said: Any) -> Json:
    _keys(said, "error", ERROR)
    _text(said["message"], "error.message")
    _text(said["type"], "error.type")
    for name in ("param", "code"):
        if said[name] is not None:
            _text(said[name], f"error.{name}")
    return said  # type: ignore[no-any-return]


# --- Headers --------------------------------------------------------------------------------------------------------


def _common_headers(headers: Mapping[str, str]) -> None:
    try:
        uuid.UUID(headers.get("x-request-id", ""))
    except ValueError:
        _fail(f"x-request-id is {headers.get('x-request-id')!r}")
    if not headers.get("openai-processing-ms", "").isdigit():
        _fail(f"openai-processing-ms is {headers.get('openai-processing-ms')!r}")
    if "x-bridge-compat" in headers and not COMPAT.fullmatch(headers["x-bridge-compat"]):
        _fail(f"x-bridge-compat is {headers['x-bridge-compat']!r}")
    for name in headers:
        if name.lower().startswith("anthropic-") or name.lower() in ("content-encoding", "set-cookie"):
            _fail(f"the header {name} must not be there")


def _json_headers(headers: Mapping[str, str], body: Bytes | None) -> None:
    _equal(headers.get("content-type", "").partition(";")[0], "application/json", "content-type")
    if body is not None:
        _equal(headers.get("content-length"), str(len(body)), "content-length")


def _stream_headers(headers: Mapping[str, str]) -> None:
    _equal(headers.get("content-type"), "text/event-stream; charset=utf-8", "content-type")
    _equal(headers.get("cache-control"), "no-cache", "cache-control")
    _equal(headers.get("x-accel-buffering"), "no", "x-accel-buffering")
    _equal(headers.get("content-length"), None, "content-length")


def _error_status(made: Exchange) -> None:
    if made.status not in STATUSES:
        _fail(f"no client expects the status {made.status}")
    _json_headers(made.headers, made.body if made.complete else None)
    if made.status == 405 and not made.headers.get("allow"):
        _fail("405 without Allow")
    if made.headers.get("x-should-retry", "true") not in ("true", "false"):
        _fail(f"x-should-retry is {made.headers['x-should-retry']!r}")
    if not re.fullmatch(r"\d+(\.\d+)?", made.headers.get("retry-after", "0")):
        _fail(f"retry-after is {made.headers['retry-after']!r}")


# --- Checks ---------------------------------------------------------------------------------------------------------


def _fail(problem: str) -> NoReturn:
    raise Invalid(problem)


def _object(body: Bytes) -> Json:
    """One JSON object: UTF-8, no key twice, no NaN."""
    try:
        found = json.loads(body.decode("utf-8"), object_pairs_hook=_no_key_twice, parse_constant=_no_constant)
    except ValueError as problem:
        _fail(f"not JSON: {problem}: {body[:200]!r}")
    if not isinstance(found, dict):
        _fail(f"not an object: {body[:200]!r}")
    return found


def _no_key_twice(pairs: list[tuple[str, Any]]) -> Json:
    found = dict(pairs)
    if len(found) < len(pairs):
        _fail(f"a key comes twice: {[name for name, _ in pairs]}")
    return found


def _no_constant(text: str) -> NoReturn:
    _fail(f"{text} is not JSON")


def _keys(found: Any, name: str, required: set[str], allowed: set[str] | None = None) -> None:
    if not isinstance(found, dict):
        _fail(f"{name} is not an object: {found!r}")
    if missing := required - found.keys():
        _fail(f"{name} lacks {sorted(missing)}: {found!r}")
    if foreign := found.keys() - required - (allowed or set()):
        _fail(f"{name} has {sorted(foreign)}: {found!r}")


def _equal(found: Any, wanted: Any, name: str) -> None:
    if found != wanted or type(found) is not type(wanted):
        _fail(f"{name} is {found!r}, not {wanted!r}")


def _text(found: Any, name: str, *, empty: bool = False) -> str:
    if not isinstance(found, str) or not (found or empty):
        _fail(f"{name} is {found!r}, not a text")
    return found


def _count(found: Any, name: str) -> int:
    if isinstance(found, bool) or not isinstance(found, int) or found < 0:
        _fail(f"{name} is {found!r}, not a count")
    return found


def _as(kind: type[pydantic.BaseModel], answer: Json) -> None:
    """The SDK's own types, which it does not check by default."""
    try:
        kind.model_validate(answer, strict=True)
    except pydantic.ValidationError as problem:
        _fail(f"not a {kind.__name__}: {problem}")
