"""The only HTTP client: one call to Anthropic, always streamed, retried only before its first event.

    Upstream.send      request → Answer (its first event is here already), or ApiError
    Upstream.get       a small JSON resource (the list of models); `post` likewise (counting tokens)

The client API is httpx; the transport is given (aiohttp's in production, the sandbox, a fake in tests) and called
directly. A transport error before the first event may be retried; a time-out may not, for upstream may be at work.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx
import msgspec

from bridge import errors, sse
from bridge.errors import ApiError
from bridge.upstream_answer import BROKEN, Answer, Deadlines

log = logging.getLogger(__name__)

ATTEMPTS = 3
LONGEST_RETRY_AFTER = 2.0  # seconds; a longer wait is the client's to do
_RETRIED_STATUS = frozenset({429, 500, 502, 503, 529})
_ERROR_BODY_BYTES = 64 * 1024
_NO_HEADERS: Mapping[str, str] = {}


class RetryBudget:
    """Retries as a share of recent calls: when everything fails, retrying must not add load (under 1.1 in all)."""

    def __init__(self, share: float = 0.09, most: float = 10.0) -> None:
        self._share, self._most, self._left = share, most, most

    def deposit(self) -> None:
        self._left = min(self._left + self._share, self._most)

    def withdraw(self) -> bool:
        if self._left < 1:
            return False
        self._left -= 1
        return True


@dataclass(frozen=True, slots=True)
class _Sent:
    """What `send` was asked for, for as many attempts as it takes."""

    body: bytes
    headers: httpx.Headers
    frames: bool


class Upstream:
    """One per worker and destination. `in_flight` calls at most; the rest wait. `headers`: of calls that begin now."""

    def __init__(
        self,
        transport: httpx.AsyncBaseTransport,
        base_url: str,
        headers: Mapping[str, str],
        *,
        in_flight: int = 1000,
        deadlines: Deadlines | None = None,
    ) -> None:
        self._transport = transport
        self._messages = httpx.URL(f"{base_url}/v1/messages")
        self._base_url = base_url
        self.headers = {
            "content-type": "application/json",
            "accept": "text/event-stream, application/json",
            "accept-encoding": "identity",  # a decompression bomb can't reach us, and nothing buffers
            "user-agent": "bridge",
            **headers,
        }
        self._usual: tuple[Mapping[str, str], httpx.Headers] = ({}, httpx.Headers())  # of which, and they as httpx's
        self._slots = asyncio.Semaphore(in_flight)
        self._budget = RetryBudget()
        self.deadlines = deadlines or Deadlines()

    async def send(
        self, body: bytes, *, retry: bool = True, headers: Mapping[str, str] = _NO_HEADERS, frames: bool = False
    ) -> Answer:
        """POST /v1/messages with `"stream": true` in the body. Close the Answer whatever happens. Raises ApiError.

        `frames`: the answer also keeps the bytes of its events.
        """
        self._budget.deposit()
        await self._slots.acquire()
        try:
            answer = await self._attempts(_Sent(body, self._complete(body, headers), frames), retry)
        except BaseException:
            self._slots.release()
            raise
        answer.on_close = self._slots.release
        return answer

    async def get(self, path: str, params: Any, seconds: float = 5.0, headers: Mapping[str, str] = _NO_HEADERS) -> Any:
        """A JSON resource. Raises ApiError."""
        sent = {**self.headers, **headers}
        return await self._small(httpx.Request("GET", self._base_url + path, params=params, headers=sent), seconds)

    async def post(self, path: str, body: bytes, headers: Mapping[str, str], seconds: float = 30.0) -> Any:
        """What a small JSON request is answered with; not retried, for the client does. Raises ApiError."""
        sent = {**self.headers, "accept": "application/json", **headers}
        async with self._slots:
            return await self._small(httpx.Request("POST", self._base_url + path, headers=sent, content=body), seconds)

    async def _small(self, request: httpx.Request, seconds: float) -> Any:
        request.extensions["timeout"] = {"connect": self.deadlines.connect, "read": seconds}
        try:
            async with asyncio.timeout(seconds):
                response = await self._transport.handle_async_request(request)
                try:
                    body = await response.aread()
                finally:
                    await response.aclose()
        except (TimeoutError, *BROKEN) as error:
            raise _unreachable(error) from error
        if response.status_code != 200:
            raise errors.from_status(response.status_code, body, response.headers.get("retry-after"))
        try:
            return msgspec.json.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise ApiError("upstream_malformed", "Upstream's answer was not JSON.") from None

    async def aclose(self) -> None:
        await self._transport.aclose()

    async def _attempts(self, sent: _Sent, retry: bool) -> Answer:
        attempt = 1
        while True:
            try:
                return await self._attempt(sent, attempt)
            except ApiError as error:
                error.attempts = attempt
                raise
            except _Retryable as failure:
                failure.error.attempts = attempt
                if not retry or attempt >= ATTEMPTS or not self._budget.withdraw():
                    raise failure.error from failure
                wait = failure.after if failure.after is not None else 0.25 * 2**attempt * random.uniform(0.5, 1)
                errors.forget(failure)
            await asyncio.sleep(wait)
            attempt += 1

    async def _attempt(self, sent: _Sent, attempt: int) -> Answer:
        """One try, up to the first event. Raises _Retryable or ApiError."""
        deadlines = self.deadlines
        request = httpx.Request("POST", self._messages, headers=sent.headers, stream=httpx.ByteStream(sent.body))
        request.read()
        request.extensions["timeout"] = {"connect": deadlines.connect, "read": deadlines.silence}
        response: httpx.Response | None = None
        try:
            async with asyncio.timeout(deadlines.first_event):
                response = await self._transport.handle_async_request(request)
                if response.status_code != 200:
                    await self._fail(response)
                answer = Answer(response, attempt, deadlines, sse.FrameParser() if sent.frames else sse.Parser())
                await _begin(answer)
                return answer
        except BaseException as error:
            if response is not None:
                await response.aclose()
            failure = _as_failure(error, response)
            if failure is error:
                raise
            raise failure from error

    def _complete(self, body: bytes, more: Mapping[str, str]) -> httpx.Headers:
        """All that a call needs: httpx then looks for nothing that is missing."""
        if self._usual[0] is not self.headers:
            self._usual = self.headers, httpx.Headers({"host": self._messages.netloc.decode("ascii"), **self.headers})
        headers = httpx.Headers(self._usual[1])
        headers["content-length"] = str(len(body))
        headers.update(more)
        return headers

    async def _fail(self, response: httpx.Response) -> None:
        """Raises what an answer other than 200 means."""
        body = b""
        async for chunk in response.aiter_raw():
            body += chunk
            if len(body) > _ERROR_BODY_BYTES:
                break
        after = response.headers.get("retry-after")
        error = errors.from_status(response.status_code, body, after)
        if error.kind in ("upstream_auth", "upstream_billing"):
            log.error("upstream refused the account of a request", extra={"status": response.status_code})
        if response.status_code not in _RETRIED_STATUS or error.retry is False:
            raise error
        seconds = _seconds(after)
        if seconds is not None and seconds > LONGEST_RETRY_AFTER:
            raise error
        raise _Retryable(error, seconds)


class _Retryable(Exception):
    """A failed attempt that may be repeated, after `after` seconds if upstream named a time."""

    def __init__(self, error: ApiError, after: float | None = None) -> None:
        super().__init__(error.message)
        self.error, self.after = error, after


def _as_failure(error: BaseException, response: httpx.Response | None) -> BaseException:
    """What a failed attempt means, with the id that upstream gave it."""
    if isinstance(error, TimeoutError | httpx.ReadTimeout):
        error = ApiError("upstream_timeout", "Upstream did not answer in time.", retry=False)
    elif isinstance(error, BROKEN):
        error = _Retryable(_unreachable(error))
    problem = error.error if isinstance(error, _Retryable) else error
    if response is not None and isinstance(problem, ApiError):
        problem.upstream_id = response.headers.get("request-id", "")
    return error


async def _begin(answer: Answer) -> None:
    """A stream that fails before it says anything may be tried again. Raises _Retryable or ApiError."""
    try:
        await answer.begin()
    except ApiError as error:
        if error.kind in ("overloaded", "upstream_truncated"):
            raise _Retryable(error) from error
        raise


def _unreachable(error: BaseException) -> ApiError:
    log.warning("upstream cannot be reached", extra={"error": type(error).__name__})
    return ApiError("upstream_unreachable", "Upstream could not be reached.")


def _seconds(retry_after: str | None) -> float | None:
    try:
        return max(0.0, float(retry_after)) if retry_after else None
    except ValueError:
        return None
