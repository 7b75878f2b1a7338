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
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from openai.types import Model
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from tests.contract import checks
from tests.contract.checks import Bytes, Json

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
KEEP_ALIVE = ": keep-alive"  # a comment that begins with `: ping` loses Continue the rest of the stream
DONE = "data: [DONE]"


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
    checks.common_headers(made.headers)
    if made.status != 200:
        _error_status(made)
        return error(made.body) if made.complete else {}  # a client that repeats it need not have read it
    path = re.sub("/+", "/", made.path.partition("?")[0]).rstrip("/")
    if path.endswith("chat/completions"):
        asked = made.asked()
        if not asked.get("stream"):
            checks.json_headers(made.headers, made.body)
            return completion(made.body)
        checks.stream_headers(made.headers)
        with_usage = bool((asked.get("stream_options") or {}).get("include_usage"))
        if not made.complete:
            return beginning(made.body, include_usage=with_usage)
        judge = broken_stream if may_break else stream
        return judge(made.body, include_usage=with_usage)
    checks.json_headers(made.headers, made.body)
    return models(made.body) if path.endswith("/models") else model(checks.parsed(made.body))


# --- Whole answers --------------------------------------------------------------------------------------------------


def completion(body: Bytes) -> Json:
    """A ChatCompletion with one choice of text."""
    answer = checks.parsed(body)
    checks.keys(answer, "the answer", HEAD | {"usage"})
    _head(answer, "chat.completion")
    (choice,) = _choices(answer, 1)
    checks.keys(choice, "choices[0]", {"index", "message", "logprobs", "finish_reason"})
    checks.equal(choice["index"], 0, "choices[0].index")
    checks.equal(choice["logprobs"], None, "choices[0].logprobs")
    message = choice["message"]
    checks.keys(message, "message", MESSAGE, {"reasoning_content", "thinking_blocks"})
    checks.equal(message["role"], "assistant", "message.role")
    checks.text(message["content"], "message.content", empty=True)
    checks.equal(message["annotations"], [], "message.annotations")
    if "reasoning_content" in message:
        checks.text(message["reasoning_content"], "message.reasoning_content")
    _finish(choice["finish_reason"], message["refusal"])
    _usage(answer["usage"])
    checks.fits(ChatCompletion, answer)
    return answer


def error(body: Bytes) -> Json:
    """`{"error": {"message", "type", "param", "code"}}`: all four keys, whatever the status."""
    answer = checks.parsed(body)
    checks.keys(answer, "the answer", {"error"})
    return _error(answer["error"])


def models(body: Bytes) -> Json:
    """A page of the list."""
    page = checks.parsed(body)
    checks.keys(page, "the page", PAGE)
    checks.equal(page["object"], "list", "object")
    if not isinstance(page["data"], list):
        checks.fail(f"data is {page['data']!r}")
    ids = [model(row)["id"] for row in page["data"]]
    if len(set(ids)) < len(ids):
        checks.fail(f"a model is listed twice: {ids}")
    checks.equal(page["first_id"], ids[0] if ids else None, "first_id")
    checks.equal(page["last_id"], ids[-1] if ids else None, "last_id")
    if not isinstance(page["has_more"], bool):
        checks.fail(f"has_more is {page['has_more']!r}")
    return page


def model(row: Json) -> Json:
    checks.keys(row, "the model", MODEL, MODEL_EXTRAS)
    checks.text(row["id"], "id")
    checks.equal(row["object"], "model", "object")
    checks.count(row["created"], "created")
    checks.equal(row["owned_by"], "anthropic", "owned_by")
    checks.fits(Model, row)
    return row


# --- Streams --------------------------------------------------------------------------------------------------------


def stream(body: Bytes, *, include_usage: bool = False) -> Stream:
    """A stream that ended as it should: a finish reason, the usage if it was asked for, `[DONE]`."""
    lines = _lines(body)
    if lines.count(DONE) != 1 or lines[-1] != DONE:
        checks.fail(f"[DONE] comes {lines.count(DONE)} times and the last line is {lines[-1][:200]!r}")
    return chunks(_datas(lines[:-1]), include_usage=include_usage)


def broken_stream(body: Bytes, *, include_usage: bool = False) -> Stream:
    """A stream that broke: its last event is an error, there is no finish reason and no `[DONE]`."""
    lines = _lines(body)
    if DONE in lines:
        checks.fail("a broken stream says [DONE]")
    *before, last = _datas(lines)
    checks.keys(last, "the last event", {"error"})
    said = _chunks(before, include_usage)
    if said.finish_reason is not None:
        checks.fail(f"a broken stream has the finish reason {said.finish_reason!r}")
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
        checks.fail("the stream ended without a finish reason")
    if include_usage and not found.usage:
        checks.fail("the stream ended without the usage that was asked for")
    return found


def _lines(body: Bytes) -> list[str]:
    """The one line of each event: `data: …`, or the keep-alive comment."""
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as problem:
        checks.fail(f"the stream is not UTF-8: {problem}")
    if "\r" in text:
        checks.fail("a carriage return in the stream")
    if not text.endswith("\n\n"):
        checks.fail(f"the stream ends in the middle of an event: {text[-200:]!r}")
    lines = text[:-2].split("\n\n")
    for line in lines:
        if "\n" in line:
            checks.fail(f"an event of more than one line: {line[:200]!r}")
        if not line.startswith("data: ") and line != KEEP_ALIVE:
            checks.fail(f"neither data nor the keep-alive comment: {line[:200]!r}")
    return lines


def _datas(lines: Iterable[str]) -> list[Json]:
    return [checks.parsed(line.removeprefix("data: ").encode()) for line in lines if line != KEEP_ALIVE]


def _chunks(said: list[Json], include_usage: bool) -> Stream:
    """Every rule that holds however far the stream came."""
    found = Stream()
    finished = counted = refused = False
    for number, chunk in enumerate(said):
        name = f"chunk {number}"
        checks.keys(chunk, name, HEAD | {"usage"} if include_usage else HEAD)
        _head(chunk, "chat.completion.chunk")
        for field_name in ("id", "created", "model"):
            checks.equal(chunk[field_name], said[0][field_name], f"{name}: {field_name}")
        if counted:
            checks.fail(f"{name} comes after the usage")
        if finished:
            if not include_usage:
                checks.fail(f"{name} comes after the finish reason")
            checks.equal(chunk["choices"], [], f"{name}: choices beside the usage")
            _usage(chunk["usage"])
            counted = True
        else:
            checks.equal(chunk.get("usage"), None, f"{name}: usage before the end")
            (choice,) = _choices(chunk, 1)
            finished = _choice(choice, name, first=number == 0, refused=refused)
            refused = refused or (number > 0 and "refusal" in choice["delta"])
        found.chunks.append(chunk)
        checks.fits(ChatCompletionChunk, chunk)
    return found


def _choice(choice: Json, name: str, *, first: bool, refused: bool) -> bool:
    """One choice of one chunk. Returns whether it has the finish reason."""
    checks.keys(choice, f"{name}: choices[0]", {"index", "delta", "logprobs", "finish_reason"})
    checks.equal(choice["index"], 0, f"{name}: index")
    checks.equal(choice["logprobs"], None, f"{name}: logprobs")
    delta = choice["delta"]
    if first:
        checks.equal(delta, ROLE_DELTA, f"{name}: the first delta")
    else:
        checks.keys(delta, f"{name}: the delta", set(), DELTAS)
        for field_name, value in delta.items():
            (_thinking if field_name == "thinking_blocks" else checks.text)(value, f"{name}: delta.{field_name}")
    if choice["finish_reason"] is None:
        return False
    checks.equal(delta, {}, f"{name}: the delta beside the finish reason")
    _finish(choice["finish_reason"], "said" if refused else None)
    return True


# --- Parts of both --------------------------------------------------------------------------------------------------


def _thinking(blocks: Any, name: str) -> None:
    """Signed thinking, to be sent back as it is."""
    if not isinstance(blocks, list) or not blocks:
        checks.fail(f"{name} is {blocks!r}, not a list of blocks")
    for block in blocks:
        if not (block.get("type") == "redacted_thinking" or block.get("signature")):
            checks.fail(f"{name} has thinking without a signature")


def _head(answer: Json, kind: str) -> None:
    if not re.fullmatch(r"chatcmpl-\w+", checks.text(answer["id"], "id")):
        checks.fail(f"id is {answer['id']!r}")
    checks.equal(answer["object"], kind, "object")
    if abs(time.time() - checks.count(answer["created"], "created")) > 3600:
        checks.fail(f"created is {answer['created']}, which is not now")
    checks.text(answer["model"], "model")
    checks.equal(answer["service_tier"], "default", "service_tier")
    checks.equal(answer["system_fingerprint"], None, "system_fingerprint")


def _choices(answer: Json, count: int) -> list[Json]:
    choices = answer["choices"]
    if not isinstance(choices, list) or len(choices) != count:
        checks.fail(f"not {count} choices: {choices!r}")
    return choices


def _finish(reason: Any, refusal: Any) -> None:
    if reason not in FINISH_REASONS:
        checks.fail(f"the finish reason is {reason!r}")
    if (reason == "content_filter") is not bool(refusal):
        checks.fail(f"the finish reason is {reason!r} and the refusal {refusal!r}")


def _usage(usage: Any) -> None:
    checks.keys(usage, "usage", USAGE)
    prompt, completed = usage["prompt_tokens_details"], usage["completion_tokens_details"]
    checks.keys(prompt, "prompt_tokens_details", PROMPT_DETAILS)
    checks.keys(completed, "completion_tokens_details", COMPLETION_DETAILS)
    for counts in (usage, prompt, completed):
        for name, count in counts.items():
            if not isinstance(count, dict):
                checks.count(count, f"usage: {name}")
    checks.equal(usage["total_tokens"], usage["prompt_tokens"] + usage["completion_tokens"], "usage: total_tokens")
    checks.equal(usage["cache_creation_input_tokens"], prompt["cache_write_tokens"], "usage: cache writes")
    checks.equal(usage["cache_read_input_tokens"], prompt["cached_tokens"], "usage: cache reads")
    if prompt["cached_tokens"] + prompt["cache_write_tokens"] > usage["prompt_tokens"]:
        checks.fail(f"more of the prompt was cached than there was: {usage}")
    if completed["reasoning_tokens"] > usage["completion_tokens"]:
        checks.fail(f"more reasoning than answer: {usage}")


def _error(said: Any) -> Json:
    checks.keys(said, "error", ERROR)
    checks.text(said["message"], "error.message")
    checks.text(said["type"], "error.type")
    for name in ("param", "code"):
        if said[name] is not None:
            checks.text(said[name], f"error.{name}")
    return said  # type: ignore[no-any-return]


# --- Headers --------------------------------------------------------------------------------------------------------


def _error_status(made: Exchange) -> None:
    if made.status not in STATUSES:
        checks.fail(f"no client expects the status {made.status}")
    checks.json_headers(made.headers, made.body if made.complete else None)
    if made.status == 405 and not made.headers.get("allow"):
        checks.fail("405 without Allow")
    if made.headers.get("x-should-retry", "true") not in ("true", "false"):
        checks.fail(f"x-should-retry is {made.headers['x-should-retry']!r}")
    if not re.fullmatch(r"\d+(\.\d+)?", made.headers.get("retry-after", "0")):
        checks.fail(f"retry-after is {made.headers['retry-after']!r}")
