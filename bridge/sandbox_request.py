"""What the sandbox is asked: the shapes of requests, what the API refuses in them, and how tokens are counted."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import dropwhile, takewhile
from typing import Annotated, Any, Literal, TypeVar

import msgspec

Json = dict[str, Any]

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
MARKER = re.compile(r"\[sandbox:([^\[\]]{0,200})\]\s?")
PROSE = ("text", "thinking")  # blocks with a text, in the field that has the name of their type
BLOCK_BYTES = 6400  # what an image or a document weighs: 1,600 tokens, about the most an image costs

NO_CONTENT = "messages.{}: all messages must have non-empty content except for the optional final assistant message"
NO_TEXT = "messages: text content blocks must contain non-whitespace text"
NO_STOP = "stop_sequences: each stop sequence must contain non-whitespace"
NO_TOOLS = "tool_choice: tool_choice may only be specified while providing tools"
NO_TOOL = "tool_choice: Tool '{}' not found in provided tools"


class Source(msgspec.Struct):
    """Where an image or a document comes from; its data is not read."""

    type: str = ""
    media_type: str = ""


class Part(msgspec.Struct):
    """A content block of a request. Only the size of `input` matters, so it stays as it came."""

    type: str
    text: str = ""
    thinking: str = ""
    input: msgspec.Raw = msgspec.Raw(b"")
    content: str | list[Part] | dict[str, object] = ""
    id: str = ""
    name: str = ""
    tool_use_id: str = ""
    source: Source | str | None = None


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


class Choice(msgspec.Struct):
    type: Literal["auto", "any", "tool", "none"]
    name: str = ""
    disable_parallel_tool_use: bool = False


class OutputConfig(msgspec.Struct):
    effort: str | None = None
    format: dict[str, Any] | None = None


class Call(Prompt, kw_only=True):
    """The body of `messages`."""

    max_tokens: Annotated[int, msgspec.Meta(ge=0)]
    stream: bool | None = None
    stop_sequences: list[str] | None = None
    temperature: Annotated[float, msgspec.Meta(ge=0, le=1)] | None = None
    top_p: Annotated[float, msgspec.Meta(ge=0, le=1)] | None = None
    tool_choice: Choice | None = None
    output_config: OutputConfig | None = None


class Tool(msgspec.Struct):
    """A tool on offer. Tools without a schema are Anthropic's own, which the sandbox never calls."""

    name: str = ""
    input_schema: dict[str, Any] | None = None


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
        if any(part.type == "text" and not part.text.strip() for part in parts(content)):
            raise Failure(400, NO_TEXT)
    if not all(stop.strip() for stop in getattr(prompt, "stop_sequences", None) or ()):
        raise Failure(400, NO_STOP)
    return prompt


def tools(call: Call) -> list[Tool]:
    """The tools that the answer may call, in the order given."""
    try:
        offered = [msgspec.json.decode(tool, type=Tool) for tool in call.tools or ()]
    except msgspec.ValidationError as error:
        raise Failure(400, f"tools: {error}") from None
    choice = call.tool_choice
    if choice and choice.type in ("any", "tool") and not offered:
        raise Failure(400, NO_TOOLS)
    if choice and choice.type == "tool" and choice.name not in {tool.name for tool in offered}:
        raise Failure(400, NO_TOOL.format(choice.name))
    return [tool for tool in offered if tool.input_schema is not None]


def _worded(problem: str) -> str:
    """Turn "Object missing required field `model` - at `$.x[0]`" into "x.0.model: Field required"."""
    said, _, path = problem.rstrip("`").partition(" - at `$")
    if missing := re.fullmatch(r"Object missing required field `(\w+)`?", said):
        said, path = "Field required", f"{path}.{missing[1]}"
    where = re.sub(r"\W+", ".", path).strip(".")
    return f"{where}: {said}" if where else said


def last_user_parts(messages: Sequence[Turn]) -> list[Part]:
    """The last user turn: the API joins user messages that follow each other."""
    backwards = dropwhile(lambda turn: turn.role == "assistant", reversed(messages))
    turns = list(takewhile(lambda turn: turn.role != "assistant", backwards))[::-1]
    return [part for turn in turns if turn.role == "user" for part in parts(turn.content)]


def texts(content: Sequence[Part]) -> list[str]:
    return [part.text for part in content if part.type == "text"]


def results(content: Sequence[Part]) -> list[str]:
    """What the tools of this turn answered."""
    return [inner.text for part in content for inner in parts(part.content) if inner.text]


def everything(content: Sequence[Part]) -> Iterator[Part]:
    """All blocks, those inside of others too."""
    for part in content:
        yield part
        yield from everything(parts(part.content))


def parts(content: object) -> list[Part]:
    if isinstance(content, str):
        return [Part("text", text=content)] if content else []
    return content if isinstance(content, list) else []


def block_tokens(block: Mapping[str, Any]) -> int:
    """What a block of an answer counts; the results of Anthropic's own tools are not output."""
    kind = block["type"]
    if kind.endswith("_tool_result"):
        return 0
    return _tokens(block[kind] if kind in PROSE else msgspec.json.encode(block).decode())


def _tokens(text: str) -> int:
    return math.ceil(len(text.encode()) / 4)


def input_tokens(prompt: Prompt) -> int:
    contents = [prompt.system, *(turn.content for turn in prompt.messages)]
    size = sum(_weight(part) for content in contents for part in parts(content))
    return max(1, math.ceil((size + sum(map(len, prompt.tools or ()))) / 4))


def _weight(part: Part) -> int:
    if part.type in ("image", "document"):
        return BLOCK_BYTES
    return len((part.text + part.thinking).encode()) + len(part.input) + sum(map(_weight, parts(part.content)))
