"""Limits counted in Redis (or Valkey), for installations of several hosts: the same buckets, in one Lua script.

All limits of a request are one call; the calls that wait together are one round trip. What runs is a sorted set of
leases that a living worker renews, so that what ran in a dead one no longer counts after LEASE_SECONDS. When Redis
does not answer, `usable` is False until it does again: nobody waits for it meanwhile (tenants.limits.Limiter).
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import redis.asyncio
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from tenants.limits import Ask, Away, Limit, Standing, Taken, Unit, standing, step

log = logging.getLogger(__name__)

TIMEOUT = 0.25  # s, to connect and for an answer: longer than any healthy Redis needs, shorter than anyone minds
RETRY_SECONDS = 0.5
LEASE_SECONDS = 20.0
RENEW_SECONDS = 5.0

# µs of Redis's clock: a Lua number holds them exactly. A bucket is "until:at": if the clock is set back (now < at), so
# is the bucket. Answers: what refused (1-based, 0: nothing), what a dark limit would have refused, and every level.
TAKE = """
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local member, lease, minute = ARGV[1], tonumber(ARGV[2]), 60000000 + 10
local levels, tats, moves = {}, {}, {}
local refused, dark, longest_refused, longest_dark = 0, 0, -1, -1
for n, key in ipairs(KEYS) do
  local at = 3 + (n - 1) * 4
  local kind, size, amount, is_dark = ARGV[at], tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2]), ARGV[at + 3] == '1'
  local over
  if kind == 'running' then
    redis.call('ZREMRANGEBYSCORE', key, '-inf', now)
    redis.call('ZREMRANGEBYSCORE', key, '(' .. (now + 2 * lease), '+inf')
    levels[n], moves[n] = redis.call('ZCARD', key), amount
    over = (levels[n] + amount > size) and 1000000 or 0
  else
    local until_, written = string.match(redis.call('GET', key) or '', '^(%d+):(%d+)$')
    until_, written = tonumber(until_ or 0), tonumber(written or 0)
    if written > now then until_ = until_ - (written - now) end
    tats[n] = math.max(until_, now)
    levels[n], moves[n] = tats[n] - now, math.ceil(amount * 60000000 / size)
    over = levels[n] + moves[n] - minute
    if moves[n] > minute then over = over + 1e15 end
  end
  if over > 0 then
    if is_dark then
      if over > longest_dark then dark, longest_dark = n, over end
    elseif over > longest_refused then
      refused, longest_refused = n, over
    end
  end
end
if refused == 0 then
  for n, key in ipairs(KEYS) do
    local at = 3 + (n - 1) * 4
    if moves[n] > 0 and not (dark > 0 and ARGV[at + 3] == '1') then
      if ARGV[at] == 'running' then
        redis.call('ZADD', key, now + lease, member)
        redis.call('PEXPIRE', key, math.ceil(lease / 500))
      else
        local value = string.format('%.0f:%.0f', tats[n] + moves[n], now)
        redis.call('SET', key, value, 'PX', math.ceil((levels[n] + moves[n]) / 1000) + 1000)
      end
    end
  end
end
return {refused, dark, unpack(levels)}
"""

# Moves buckets by so many µs (negative: back), and removes what no longer runs: (key, move or "", member or "")…
SETTLE = """
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
for n, key in ipairs(KEYS) do
  local move, member = ARGV[2 * n - 1], ARGV[2 * n]
  if move == '' then
    redis.call('ZREM', key, member)
  else
    local until_ = tonumber(string.match(redis.call('GET', key) or '', '^(%d+):') or 0)
    until_ = math.max(until_, tonumber(move) > 0 and now or 0) + tonumber(move)
    if until_ > now then
      redis.call('SET', key, string.format('%.0f:%.0f', until_, now), 'PX', math.ceil((until_ - now) / 1000) + 1000)
    else
      redis.call('DEL', key)
    end
  end
end
return 1
"""

RENEW = """
local time = redis.call('TIME')
local now, lease = time[1] * 1000000 + time[2], tonumber(ARGV[1])
for n, key in ipairs(KEYS) do
  redis.call('ZADD', key, now + lease, ARGV[n + 1])
  redis.call('PEXPIRE', key, math.ceil(lease / 500))
end
return 1
"""


@dataclass(slots=True)
class Order:
    """One call of a script that waits for its turn."""

    script: str
    keys: list[str]
    args: list[Any]
    answer: asyncio.Future[Any]


class RedisStore:
    """One per worker; `run` carries the orders until cancelled. `prefix` keeps installations apart."""

    def __init__(self, url: str, prefix: str) -> None:
        self._client = redis.asyncio.Redis.from_url(
            url,
            socket_timeout=TIMEOUT,
            socket_connect_timeout=TIMEOUT,
            retry=Retry(NoBackoff(), 0),
            max_connections=2,
        )
        self._prefix = f"bridge:{prefix}:"
        self._shas: dict[str, str] = {}
        self._orders: list[Order] = []
        self._waiting = asyncio.Event()
        self._leases: dict[str, list[str]] = {}  # by member, the sets it is in
        self.usable = False

    # --- The store ---

    async def take(self, asks: Sequence[Ask], instances: int = 1) -> Taken:
        """All of it or nothing. Raises Away."""
        member = uuid.uuid4().hex
        order = self._order(TAKE, *self._asked(asks, member))
        try:
            async with asyncio.timeout(2 * TIMEOUT):
                found = await asyncio.shield(order.answer)
        except TimeoutError:
            order.answer.add_done_callback(lambda answer: self._give_back(answer, asks, member))
            self._lost("no answer in time")
            raise Away from None
        except asyncio.CancelledError:
            order.answer.add_done_callback(lambda answer: self._give_back(answer, asks, member))
            raise
        return self._taken(found, asks, member)

    async def peek(self, limits: Sequence[Limit], instances: int = 1) -> list[Standing]:
        """How these stand. Raises Away."""
        order = self._order(TAKE, *self._asked([(limit, 0) for limit in limits], ""))
        try:
            async with asyncio.timeout(2 * TIMEOUT):
                _, _, *levels = await asyncio.shield(order.answer)
        except TimeoutError:
            order.answer.add_done_callback(_heard)
            raise Away from None
        return [standing(limit, 0, _level(limit, level)) for limit, level in zip(limits, levels, strict=True)]

    def settle(self, taken: Taken, tokens: int, requests: bool) -> None:
        """Sent as soon as may be; nobody waits for it."""
        member = str(taken.ticket)
        keys, args = list[str](), list[Any]()
        for limit, amount in taken.kept():
            if limit.running:
                keys.append(self._key(limit))
                args += ["", member]
                continue
            change = tokens - amount if limit.unit is Unit.TOKENS else 0 if requests else -amount
            if change:
                keys.append(self._key(limit))
                args += [_micros(change, limit), ""]
        self._leases.pop(member, None)
        if keys:
            order = self._order(SETTLE, keys, args)
            order.answer.add_done_callback(_heard)

    # --- The way there ---

    async def open(self) -> None:
        """Whether Redis is there now; it need not be."""
        await self._look()

    async def run(self) -> None:
        """Carries orders, renews leases and looks after a Redis that was away, until cancelled."""
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None
        renewed = loop.time()
        while not task.cancelling():  # the client has been seen to swallow a cancellation
            try:
                async with asyncio.timeout(RETRY_SECONDS):
                    await self._waiting.wait()
            except TimeoutError:
                pass
            if not self.usable:
                await self._look()
            await self._carry()
            if loop.time() - renewed > RENEW_SECONDS and self.usable:
                renewed = loop.time()
                self._renew()

    async def close(self) -> None:
        """Sends what is left."""
        await self._carry()
        await self._client.aclose()

    def _order(self, script: str, keys: list[str], args: list[Any]) -> Order:
        order = Order(script, keys, args, asyncio.get_running_loop().create_future())
        self._orders.append(order)
        self._waiting.set()
        return order

    async def _carry(self) -> None:
        """All that waits, in one round trip."""
        self._waiting.clear()
        orders, self._orders = self._orders, []
        if not orders:
            return
        if not self.usable:
            _fail(orders, Away("away"))
            return
        try:
            answers = await self._send(orders)
        except (RedisError, OSError, TimeoutError) as error:
            self._lost(str(error))
            _fail(orders, Away(str(error)))
            return
        except asyncio.CancelledError:
            _fail(orders, Away("closing"))
            raise
        for order, answer in zip(orders, answers, strict=True):
            if order.answer.done():
                continue
            if isinstance(answer, Exception):
                self._lost(str(answer))
                order.answer.set_exception(Away(str(answer)))
            else:
                order.answer.set_result(answer)

    async def _send(self, orders: list[Order]) -> list[Any]:
        """Each order's answer or error."""
        async with asyncio.timeout(TIMEOUT), self._client.pipeline(transaction=False) as pipe:
            for order in orders:
                pipe.evalsha(self._shas[order.script], len(order.keys), *order.keys, *order.args)
            answers: list[Any] = await pipe.execute(raise_on_error=False)
        return answers

    async def _look(self) -> None:
        """Makes Redis usable if it answers. (Its scripts may be gone: it may be another one.)"""
        try:
            async with asyncio.timeout(2 * TIMEOUT):
                for script in (TAKE, SETTLE, RENEW):
                    self._shas[script] = str(await self._client.script_load(script))
        except (RedisError, OSError, TimeoutError) as error:
            self._lost(str(error))
            return
        if not self.usable:
            self.usable = True
            log.info("limits are counted in Redis")
            self._renew()

    def _lost(self, why: str) -> None:
        if self.usable:
            log.error("Redis does not answer: every host counts limits for itself", extra={"error": why})
        self.usable = False
        self._waiting.set()

    def _renew(self) -> None:
        """Says of everything that runs here that it still does."""
        pairs = [(key, member) for member, keys in self._leases.items() for key in keys]
        for start in range(0, len(pairs), 500):
            part = pairs[start : start + 500]
            args = [round(LEASE_SECONDS * 1e6), *(member for _, member in part)]
            self._order(RENEW, [key for key, _ in part], args).answer.add_done_callback(_heard)

    # --- One call ---

    def _asked(self, asks: Sequence[Ask], member: str) -> tuple[list[str], list[Any]]:
        return [self._key(limit) for limit, _ in asks], _arguments(asks, member)

    def _taken(self, found: list[int], asks: Sequence[Ask], member: str) -> Taken:
        refused, dark, *raw = found
        levels = [_level(limit, level) for (limit, _), level in zip(asks, raw, strict=True)]
        taken = Taken(self, asks, levels, 1, refused - 1 if refused else None, dark - 1 if dark else None, member)
        if not refused:
            kept = taken.kept()
            taken.levels = [
                level + (ask[1] if ask[0].running else step(ask[1], ask[0].limit)) if ask in kept else level
                for ask, level in zip(asks, levels, strict=True)
            ]
            running = [self._key(limit) for limit, _ in kept if limit.running]
            if running:
                self._leases[member] = running
        return taken

    def _give_back(self, answer: asyncio.Future[Any], asks: Sequence[Ask], member: str) -> None:
        """The one who asked did not wait for the answer."""
        if not answer.cancelled() and answer.exception() is None:
            self._taken(answer.result(), asks, member).settle(None, requests=False)

    def _key(self, limit: Limit) -> str:
        return self._prefix + limit.id.hex()


def installation(secret: str) -> str:
    """What tells one installation from others that use the same Redis."""
    return hashlib.blake2b(secret.encode(), digest_size=8, person=b"bridge:limits").hexdigest()


def levels(evaluate: Callable[..., Any], limits: Sequence[Limit], prefix: str) -> list[Standing]:
    """How limits stand, by a client that blocks. Raises RedisError."""
    asks = [(limit, 0) for limit in limits]
    keys = [f"bridge:{prefix}:{limit.id.hex()}" for limit in limits]
    _, _, *found = evaluate(TAKE, len(keys), *keys, *_arguments(asks, ""))
    return [standing(limit, 0, _level(limit, level)) for limit, level in zip(limits, found, strict=True)]


def _arguments(asks: Sequence[Ask], member: str) -> list[Any]:
    args: list[Any] = [member, round(LEASE_SECONDS * 1e6)]
    for limit, amount in asks:
        args += ["running" if limit.running else "bucket", limit.limit, amount, int(limit.dark)]
    return args


def _level(limit: Limit, level: int) -> int:
    return int(level) if limit.running else int(level) * 1000


def _micros(amount: int, limit: Limit) -> int:
    size = step(abs(amount), limit.limit) // 1000
    return size if amount > 0 else -size


def _fail(orders: list[Order], error: Away) -> None:
    for order in orders:
        if not order.answer.done():
            order.answer.set_exception(error)


def _heard(answer: asyncio.Future[Any]) -> None:
    """Nobody waits for this one: what went wrong has been said."""
    if not answer.cancelled():
        answer.exception()
