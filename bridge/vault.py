"""The thinking vault: signed thinking that chat clients drop goes back to where it was, if nothing before it changed.

    remember   what one request has to do with it: nothing (the usual case, without a look at the database), or a Memory
    Memory     restores the thinking of earlier turns in the history, and keeps that of the answer
    forgiving  sends; if upstream takes exception to a signature, once more without what was restored

Claude's newer models accept a signed block only after the very system, tools and messages that it was made after, so
what is kept is bound to their digest (docs/decisions/0015-thinking-vault.md). Where it is kept: tenants/vault.py.
"""

from __future__ import annotations

import hashlib
import itertools
import re
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from typing import Any

import msgspec

from bridge.catalog import Catalog, Model
from bridge.chat import ChatQuestion
from bridge.dialects import chat_answer
from bridge.errors import ApiError
from bridge.reasoning import lacks_thinking, thinks
from bridge.receipt import Receipt
from bridge.speech import Question
from bridge.upstream_answer import Answer
from bridge.wire.anthropic import Event
from bridge.wire.fold import Fold
from tenants.values import Caller
from tenants.vault import Vault

Request = dict[str, Any]
Block = dict[str, Any]

_THINKING = ("thinking", "redacted_thinking")
_OURS = (*_THINKING, "text", "tool_use")  # other blocks (of Anthropic's own tools) are not in a chat's history
_COMPLAINT = re.compile(r"signature|redacted_thinking|\bthinking\W{0,3} block", re.I)

_encode = msgspec.json.encode


class KeptTurn(msgspec.Struct):
    """A turn's thinking and where it stood: `parts` in their order are thinking blocks, ids of tool calls, and lengths
    of texts, which are the client's to bring back."""

    model: str
    account: str
    prefix: str
    parts: list[Block | str | int]


async def remember(
    vault: Vault | None, catalog: Catalog, caller: Caller, question: Question, model: Model, end_user: str
) -> Memory | None:
    """What the vault has to do with this request; None: nothing."""
    if vault is None or not vault.is_open(caller) or not isinstance(question, ChatQuestion):
        return None
    request = question.request
    if question.is_legacy or not thinks(request, model):  # calls of 2023 have no ids
        return None
    turns = [turn for turn in request["messages"] if _calls(turn)]
    lacking = [_calls(turn)[0] for turn in turns if not _has_thinking(turn)]
    if turns and not lacking:
        return None  # a client that sends thinking back itself
    found = await vault.find(caller, lacking) if lacking else {}
    question.memory = memory = Memory(vault, catalog, caller, model, end_user, found)
    return memory


async def forgiving(
    memory: Memory | None, request: Request, send: Callable[[Request], Awaitable[Answer]]
) -> tuple[Request, Answer]:
    """The answer, and the request that it answers. Raises ApiError."""
    try:
        answer = await send(request)
    except ApiError as problem:
        if memory is None or not memory.caused(problem):
            raise
        request = await memory.without(request)
        try:
            answer = await send(request)
        except ApiError as second:
            second.attempts += problem.attempts
            raise
        answer.attempts += problem.attempts
    if memory is not None:
        memory.sent = request
    return request, answer


class Memory:
    """One request's. As a Rewriter it changes nothing: it listens to the answer, as the client is told it."""

    def __init__(
        self, vault: Vault, catalog: Catalog, caller: Caller, model: Model, end_user: str, found: dict[str, bytes]
    ) -> None:
        self._vault, self._catalog, self._caller, self._model = vault, catalog, caller, model
        self._end_user = end_user
        self._found = {call: turn for call, data in found.items() if (turn := _unpacked(data))}
        self._receipt: Receipt | None = None
        self._before: dict[int, tuple[str, list[Block]]] = {}  # restored turns: their first call, and as they came
        self._folds: dict[int, Fold] = {}  # by choice
        self.sent: Request = {}

    # --- What comes back ---

    def restore(self, request: Request, receipt: Receipt) -> None:
        """Puts thinking back into the turns that it is missing from, in place. Other turns stay as they are."""
        turns, self._receipt = request["messages"], receipt
        prefix = _prefix(request)
        for position, turn in enumerate(turns if self._found else ()):
            content = self._restored(turn, prefix.hexdigest())
            if content is not None:
                self._before[position] = _calls(turn)[0], turn["content"]
                turns[position] = turn = {**turn, "content": content}
            prefix.update(_encode(_bare(turn)))
        if self._before:
            receipt.add("thinking", "restored")

    def _restored(self, turn: Request, prefix: str) -> list[Block] | None:
        calls = _calls(turn)
        kept = self._found.get(calls[0]) if calls and not _has_thinking(turn) else None
        if kept is None or (kept.model, kept.account, kept.prefix) != (self._model.id, self._account, prefix):
            return None
        return _woven(turn["content"], kept.parts)

    # --- What upstream does not take back ---

    def caused(self, problem: ApiError) -> bool:
        """Whether it may be what was restored that upstream complains of."""
        return bool(self._before) and problem.kind == "rejected_upstream" and bool(_COMPLAINT.search(problem.message))

    async def without(self, request: Request) -> Request:
        """The request as it would have been; what was refused is forgotten, so that the next one is not refused too."""
        turns = list(request["messages"])
        for position, (_, content) in self._before.items():
            turns[position] = {**turns[position], "content": content}
        plain = {**request, "messages": turns}
        if plain.get("thinking", {}).get("type") == "enabled" and lacks_thinking(turns):
            del plain["thinking"]
        if self._receipt is not None:
            self._receipt.add("thinking", "not_restored(refused)")
        await self._vault.forget(self._caller, [call for call, _ in self._before.values()])
        return plain

    # --- What is kept ---

    def rewrite(self, event: Event) -> Iterator[Event]:
        self._folds.setdefault(event.choice, Fold()).feed(event)
        yield event

    async def keep(self) -> None:
        """Keeps the thinking of an answer that ended in tool calls. To be awaited before the client can know the end
        and come back with their results: perhaps to another worker."""
        turns = {}
        for fold in self._folds.values():
            message = fold.message()
            parts = _parts(message.content) if message.stop_reason == "tool_use" else []
            calls = [part for part in parts if isinstance(part, str)]
            answered = self._catalog.resolve(message.model).id if message.model else self._model.id
            if calls and answered == self._model.id and any(isinstance(part, dict) for part in parts):
                turns[calls[0]] = parts
        if turns:
            await self._vault.keep(self._caller, partial(self._packed, turns), self._end_user or None)

    def _packed(self, turns: dict[str, list[Block | str | int]]) -> dict[str, bytes]:
        """Runs in a thread: nothing of what was sent changes any more."""
        prefix = _prefix(self.sent)
        for turn in self.sent["messages"]:
            prefix.update(_encode(_bare(turn)))
        before = prefix.hexdigest()
        kept = {call: KeptTurn(self._model.id, self._account, before, parts) for call, parts in turns.items()}
        return {call: msgspec.msgpack.encode(turn) for call, turn in kept.items()}

    @property
    def _account(self) -> str:
        """Whose thinking it is upstream: some models' blocks are bound to the account too."""
        credential = self._caller.credential
        return "" if credential is None else f"{credential.id}:{credential.hint}"


def _unpacked(data: bytes) -> KeptTurn | None:
    """None: another version of Bridge kept it."""
    try:
        return msgspec.msgpack.decode(data, type=KeptTurn)
    except msgspec.DecodeError:
        return None


def _calls(turn: Request) -> list[str]:
    if turn["role"] != "assistant":
        return []
    return [block["id"] for block in turn["content"] if block["type"] == "tool_use"]


def _has_thinking(turn: Request) -> bool:
    return any(block["type"] in _THINKING for block in turn["content"])


def _parts(blocks: list[Block]) -> list[Block | str | int]:
    """What to keep of an answer. Nothing if Anthropic's own tools took part: the client's history lacks what they did,
    so the thinking after it would not fit."""
    parts: list[Block | str | int] = []
    for block in blocks:
        kind = block.get("type")
        if kind not in _OURS:
            return []
        if kind == "text":
            parts += [len(block["text"])] if block.get("text") else []
        elif kind == "tool_use":
            parts.append(str(block.get("id")))
        else:
            parts += chat_answer.thinking_blocks([block])
    return parts


def _woven(content: list[Block], parts: list[Block | str | int]) -> list[Block] | None:
    """The turn with its thinking where it was. None if it does not make the same calls any more."""
    calls = [block for block in content if block["type"] == "tool_use"]
    said = [block for block in content if block["type"] != "tool_use"]
    if [call["id"] for call in calls] != [part for part in parts if isinstance(part, str)]:
        return None
    if said and not any(isinstance(part, int) for part in parts):  # words that are the client's own
        first = next(position for position, part in enumerate(parts) if isinstance(part, str))
        parts = [*parts[:first], 0, *parts[first:]]
    texts = _cut(said, [part for part in parts if isinstance(part, int)])
    woven: list[Block] = []
    for part in parts:
        if isinstance(part, dict):
            woven.append(part)
        elif isinstance(part, int):
            woven += texts.pop(0) if texts else []
        else:
            woven.append(calls.pop(0))
    return woven


def _cut(said: list[Block], lengths: list[int]) -> list[list[Block]]:
    """A chat has all words of a turn in one text: cut where they were, or left whole if they are others by now."""
    text = said[0].get("text", "") if len(said) == 1 and said[0].keys() == {"type", "text"} else ""
    ends = list(itertools.accumulate(lengths))
    pieces = [text[end - length : end] for end, length in zip(ends, lengths, strict=True)]
    if not ends or ends[-1] != len(text) or not all(piece.strip() for piece in pieces):  # blank text is a 400
        return [said]
    return [[{"type": "text", "text": piece}] for piece in pieces]


def _bare(block: Request) -> Request:
    """Without cache breakpoints, which clients move from turn to turn and which change no meaning."""
    bare = {name: value for name, value in block.items() if name != "cache_control"}
    if isinstance(bare.get("content"), list):
        bare["content"] = [_bare(inner) if isinstance(inner, dict) else inner for inner in bare["content"]]
    return bare


def _prefix(request: Request) -> Any:
    """The digest of what comes before the first turn."""
    before = [[_bare(block) for block in request.get(name, ())] for name in ("tools", "system")]
    return hashlib.sha256(_encode(before))
