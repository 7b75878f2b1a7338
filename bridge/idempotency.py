"""Idempotency-Key: one request under one name is sent upstream once, however often and wherever it is asked.

The first to ask makes the answer, and goes on making it when its client leaves: a client that lost its connection asks
again, and gets what was made (and paid for) meanwhile. Others wait for it. Only a whole answer is kept: what failed, or
was refused, is made again, so that an error of ours is never final (docs/decisions/0008-idempotency.md).
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable

import msgspec

from bridge.call import Call, Ended
from bridge.errors import ApiError, internal
from bridge.reply import Events, Reply
from bridge.speech import Asked, Dialect
from tenants.replays import Replays
from tenants.values import Claim, KeptAnswer, State

log = logging.getLogger(__name__)

MAX_NAME = 255
MAX_KEPT_BYTES = 4 * 1024 * 1024  # a longer answer goes out, but is not kept

Made = Reply | Events

_REFUSALS: dict[Claim, tuple[str, str]] = {
    Claim.REUSED: (
        "idempotency_key_reused",
        "This Idempotency-Key was used for a different request: use a new one for each request.",
    ),
    Claim.RUNNING: (
        "in_progress",
        "The first request with this Idempotency-Key is still being answered; ask again for its answer.",
    ),
    Claim.UNAVAILABLE: (
        "replays_unavailable",
        "Whether this Idempotency-Key was used cannot be checked right now, so nothing was sent; try again shortly.",
    ),
}
_RETRY_AFTER = {Claim.RUNNING: "5", Claim.UNAVAILABLE: "2"}


async def once(
    replays: Replays,
    kept: Kept,
    dialect: Dialect,
    call: Call,
    asked: Asked,
    name: str,
    make: Callable[[], Awaitable[Made]],
) -> Made:
    """The answer kept under this name, or the one that `make` makes. Raises ApiError."""
    if len(name) > MAX_NAME or not name.isprintable():
        raise ApiError("bad_header", f"Idempotency-Key must have at most {MAX_NAME} printable characters.")
    found = await replays.claim(call.caller, name, _fingerprint(dialect, asked, name), call.id)
    if isinstance(found, KeptAnswer):
        return _replay(call, found)
    if found is not Claim.YOURS:
        kind, text = _REFUSALS[found]
        retry_after = _RETRY_AFTER.get(found)
        raise ApiError(kind, text, headers={"retry-after": retry_after} if retry_after else {})
    making = Making(replays, dialect, call, name)
    kept.start(making, make)
    return await asyncio.shield(making.begun)


def _fingerprint(dialect: Dialect, asked: Asked, name: str) -> str:
    """What was asked, whatever the order of its members. Hashed with the name, which is not stored, so that a short
    request cannot be guessed from it."""
    body = msgspec.json.encode([name, dialect.name, asked.model_in_url, asked.body], order="deterministic")
    return hashlib.sha256(body).hexdigest()


def _replay(call: Call, answer: KeptAnswer) -> Made:
    """The kept answer, byte for byte. The record says whose it is; it cost nothing."""
    call.entry.note(model=answer.model, streamed=answer.streamed)
    call.settle(State.SETTLED, 200, replay_of=str(answer.request_id))
    headers = {**answer.headers, "idempotent-replayed": "true"}
    if not answer.streamed:
        return Reply(answer.body, headers)
    return Events(_one(answer.body), lambda: b"", headers)


async def _one(part: bytes) -> AsyncIterator[bytes]:
    yield part


class Making:
    """An answer on its way. `begun` is its beginning for the client that asked first."""

    def __init__(self, replays: Replays, dialect: Dialect, call: Call, name: str) -> None:
        self.call = call
        self.begun: asyncio.Future[Made] = asyncio.get_running_loop().create_future()
        self.task: asyncio.Task[None] | None = None
        self._replays, self._dialect, self._name = replays, dialect, name
        self._parts: list[bytes] = []  # that the client has not been given yet
        self._more = asyncio.Event()
        self._done = False
        self._kept: list[bytes] | None = []
        self._size = 0
        self._settled = False  # the claim: its answer is kept, or it was given back

    async def work(self, make: Callable[[], Awaitable[Made]]) -> None:
        """Makes the answer to its end, keeps it if it is whole, and sees to the end of the call."""
        try:
            made = await make()
            if isinstance(made, Reply):
                self._collect(made.body)
                await self._keep(self._kept, made.headers, streamed=False)
                self._begin(made)
            else:
                self._begin(Events(self._told(), made.beat, made.headers))
                await self._pump(made)
        except (Exception, asyncio.CancelledError) as error:
            await self._fail(error)
        finally:
            await asyncio.shield(self._end())

    def _begin(self, made: Made) -> None:
        if not self.begun.done():
            self.begun.set_result(made)

    async def _fail(self, error: BaseException) -> None:
        """The client, if it is still there and has nothing yet, gets the error; the record ends here if it is not."""
        if not isinstance(error, ApiError | asyncio.CancelledError):
            log.exception("a request failed", extra={"request_id": str(self.call.id)})
        problem = error if isinstance(error, ApiError) else internal()
        if self.begun.done():
            return
        if isinstance(error, asyncio.CancelledError):
            self.begun.cancel()
            return
        self.call.fail(problem, self._dialect.status(problem))
        await self._release()
        self.begun.set_exception(problem)
        self.begun.exception()  # heard, in case that nobody is there to hear it

    async def _end(self) -> None:
        self._done = True
        self._more.set()
        await self._release()
        self.call.kept = False
        await self.call.aclose()

    async def _pump(self, made: Events) -> None:
        try:
            async for part in made.parts:
                self._collect(part)
                if self._kept is None and self.call.ended is not None:
                    return  # nobody is there to hear it, and nobody will
                if self.call.entry.closed:
                    await self._keep(self._kept, made.headers, streamed=True)
                self._parts.append(part)
                self._more.set()
        finally:
            await made.parts.aclose()  # type: ignore[attr-defined]

    def _collect(self, part: bytes) -> None:
        self._size += len(part)
        if self._size > MAX_KEPT_BYTES:
            self._kept = None
        elif self._kept is not None:
            self._kept.append(part)

    async def _keep(self, parts: list[bytes] | None, headers: dict[str, str], streamed: bool) -> None:
        """Before the client can know the end: who has seen the answer can have it again, or may try again."""
        if parts is None or not self.call.answered:
            await self._release()
        if self._settled:
            return
        self._settled = True
        columns = self.call.entry.columns
        answer = KeptAnswer(self.call.id, columns.get("model", ""), streamed, headers, b"".join(parts or ()))
        await self._replays.keep(self.call.caller, self._name, answer, columns.get("end_user") or None)

    async def _release(self) -> None:
        if not self._settled:
            self._settled = True
            await self._replays.release(self.call.caller, self._name, self.call.id)

    async def _told(self) -> AsyncIterator[bytes]:
        """The parts as they are made. When the process goes, so does the answer, with a word; when the client goes, the
        answer goes on."""
        while True:
            try:
                await self._more.wait()
            except asyncio.CancelledError:
                if self.call.ended is not Ended.DRAIN or self.task is None:
                    raise
                self.task.cancel()
                continue
            parts, self._parts = self._parts, []
            for part in parts:
                yield part
            if self._done and not self._parts:
                return
            if not self._done:
                self._more.clear()


class Kept:
    """The answers that are being made for names, with or without their clients."""

    def __init__(self) -> None:
        self._making: dict[asyncio.Task[None], Making] = {}

    def start(self, making: Making, make: Callable[[], Awaitable[Made]]) -> None:
        making.call.kept = True
        making.task = task = asyncio.create_task(making.work(make))
        self._making[task] = making
        task.add_done_callback(self._making.pop)

    async def aclose(self) -> None:
        """Ends what still runs, like every call when the process goes."""
        for task, making in list(self._making.items()):
            making.call.ended = Ended.DRAIN
            task.cancel()
        await asyncio.gather(*self._making, return_exceptions=True)
