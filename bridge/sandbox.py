"""A scripted Claude as an httpx transport: it speaks the real Messages wire and costs nothing.

Test keys and `UPSTREAM=sandbox` are answered here. Without a marker the answer repeats what the user said; markers in
the last user turn, like `[sandbox:slow first=2.5]`, script everything else: sandbox_script.py has their table.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence

import httpx
import msgspec

from bridge import sandbox_signatures
from bridge.sandbox_request import ERRORS, Call, Failure, Json, Prompt, block_tokens, input_tokens, read
from bridge.sandbox_script import SCRIPTED, WORD, Script, follow

CUT = "Bridge's sandbox cut the connection, as the request asked."
LONGEST = 1800.0  # seconds an answer may take, whatever its rate: nobody may hold a connection for days
REMEMBERED = 4096  # texts whose failures are counted for `times`
WORD_OF_JSON = re.compile(r"[\s\S]{1,12}")
TOO_LONG = "max_tokens: {} > {}, which is the maximum allowed number of output tokens for {}"


def _message(script: Script, model: str, counted: int, body: bytes) -> Json:
    """The whole answer, from which the stream is made too."""
    thinking = sum(block_tokens(block) for block in script.blocks if block["type"] == "thinking")
    output = sum(map(block_tokens, script.blocks))
    written = {f"ephemeral_{ttl}_input_tokens": int(script.cached.get(f"write_{ttl}", 0)) for ttl in ("5m", "1h")}
    usage = {
        "input_tokens": counted,
        "cache_creation_input_tokens": sum(written.values()),
        "cache_read_input_tokens": int(script.cached.get("tokens", 0)),
        "cache_creation": written,
        "output_tokens": min(script.call.max_tokens, max(1, output)),
        "service_tier": "standard",
    }
    if thinking:
        usage["output_tokens_details"] = {"thinking_tokens": thinking}
    if searches := sum(block["type"] == "server_tool_use" for block in script.blocks):
        usage["server_tool_use"] = {"web_search_requests": searches}
    return {
        "id": f"msg_sandbox{secrets.token_hex(10)}",
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": sandbox_signatures.sign(body, [block | _shown(block, script.call) for block in script.blocks]),
        **script.stop,
        "usage": usage,
    }


def _shown(block: Json, call: Call) -> Json:
    """What of a block differs from its script: thinking may be hidden, and broken JSON is only told in pieces."""
    asked = call.thinking or {}
    usual = "omitted" if asked.get("type") == "adaptive" else "summarized"
    if block["type"] == "thinking" and asked.get("display", usual) == "omitted":
        return {"thinking": ""}
    if isinstance(block.get("input"), msgspec.Raw) and not call.stream:
        return {"input": {}}
    return {}


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
        cited = [{"type": "citations_delta", "citation": citation} for citation in block.get("citations", ())]
        words = [{"type": "text_delta", "text": word} for word in WORD.findall(block["text"])]
        return block | {"text": ""} | ({"citations": []} if cited else {}), [*cited, *words]
    if block["type"] == "thinking":
        thoughts = [{"type": "thinking_delta", "thinking": word} for word in WORD.findall(block["thinking"])]
        signed = {"type": "signature_delta", "signature": block["signature"]}
        return block | {"thinking": "", "signature": ""}, [*thoughts, signed]
    if block["type"] in ("tool_use", "server_tool_use"):
        given = msgspec.json.encode(block["input"]).decode()
        pieces = ["", *(WORD_OF_JSON.findall(given) if given != "{}" else [])]
        return block | {"input": {}}, [{"type": "input_json_delta", "partial_json": piece} for piece in pieces]
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
        self._aliases = {name: str(row["id"]) for row in models for name in _names(row)}
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
            body = msgspec.json.encode(answer)
            headers["content-length"] = str(len(body))
            return httpx.Response(status, headers=headers, stream=httpx.ByteStream(body))  # unread, as from a network
        headers["content-type"] = "text/event-stream; charset=utf-8"
        return httpx.Response(status, headers=headers, content=answer)

    async def _route(self, request: httpx.Request, body: bytes, request_id: str) -> Json | AsyncIterator[bytes]:
        """What this path answers: an object, or the chunks of a stream."""
        match request.method, request.url.path.split("/")[1:]:
            case "POST", ["v1", "messages"]:
                return await self._answer(read(body, Call), body, request_id)
            case "POST", ["v1", "messages", "count_tokens"]:
                prompt = read(body, Prompt)
                self._model(prompt.model)
                return {"input_tokens": input_tokens(prompt)}
            case "GET", ["v1", "models"]:
                return self._page(request.url.params)
            case "GET", ["v1", "models", name]:
                return self._model(name)
        raise Failure(404, f"Not found: {request.method} {request.url.path}")

    def _model(self, name: str) -> Json:
        name = self._aliases.get(name, name)
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

    async def _answer(self, call: Call, body: bytes, request_id: str) -> Json | AsyncIterator[bytes]:
        most = self._model(call.model).get("max_tokens")
        if isinstance(most, int) and call.max_tokens > most:
            raise Failure(400, TOO_LONG.format(call.max_tokens, most, call.model))
        if b'"assistant"' in body:
            sandbox_signatures.check(body)
        script = follow(call)
        if script.failure and self._still_fails(script.failure, script.heard):
            await self._sleep(script.first)
            raise script.failure
        message = _message(script, str(self._model(call.model)["id"]), input_tokens(call), body)
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
            said = delta.get("text") or delta.get("thinking") or delta.get("partial_json") or ""
            due += len(said.encode()) / 4 / script.rate
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


def _names(row: Mapping[str, object]) -> list[str]:
    """Other names that the API takes for a model, as it does for the dated ones."""
    aliases = row.get("aliases")
    return [str(name) for name in aliases] if isinstance(aliases, list | tuple) else []
