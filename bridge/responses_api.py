"""OpenAI's Responses on the one road: read, made fit for the model, and told as items."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import msgspec

from bridge.chains import Chain
from bridge.dialects import betas, responses
from bridge.dialects.responses_answer import Response, ResponseStream
from bridge.emulate import Rewriter, through
from bridge.errors import ApiError
from bridge.speech import Asked, Tally
from bridge.translated import TranslatedDialect, TranslatedQuestion
from bridge.wire.anthropic import Event, Frame

# What of a request counts as its input; counting takes nothing else.
_COUNTED = frozenset({
    "model", "messages", "system", "tools", "tool_choice", "thinking", "output_config", "cache_control",
})  # fmt: skip


class ResponsesDialect(TranslatedDialect):
    """Errors before an answer has begun are chat's, in shape and status; later ones are events."""

    name = "responses"

    def read(self, asked: Asked) -> ResponsesQuestion:
        if asked.chain is None:
            reading = responses.read(asked.body, asked.seal)
        else:
            reading = responses.read(_told(asked.body), asked.seal, asked.chain.take)
        wanted = betas.passing(asked.header("anthropic-beta"), reading.receipt)
        return ResponsesQuestion(reading, wanted, asked.request_id, asked.chain)

    def read_count(self, asked: Asked) -> ResponsesQuestion:
        return self.read(asked)

    def countable(self, request: dict[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in request.items() if name in _COUNTED}

    def counted(self, count: Any) -> Any:
        return {"object": "response.input_tokens", **count}


class ResponsesQuestion(TranslatedQuestion[responses.Reading]):
    def __init__(
        self, reading: responses.Reading, asked_betas: list[str], request_id: str, chain: Chain | None = None
    ) -> None:
        super().__init__(reading, asked_betas)
        self._request_id, self._chain = request_id, chain

    def stream(self, tally: Tally, created: int) -> ResponseTold:
        return ResponseTold(self._response(tally, created), self._each()[0], self._keep)

    def whole(self, tally: Tally, created: int) -> ResponseWhole:
        return ResponseWhole(self._response(tally, created), self._each()[0], self._resource)

    def _resource(self, response: Response) -> dict[str, Any]:
        return response.resource()

    def _keep(self, response: Response) -> None:
        """What was said and answered, where a next request may go on from it."""
        if self._chain is not None:
            resource = response.resource()
            self._chain.keep(resource["id"], [*self._reading.said, *resource["output"]])

    def _response(self, tally: Tally, created: int) -> Response:
        return Response(tally.usage, created, self._reading.form, self._request_id, time.time)


def _told(body: Any) -> Any:
    """A `response.create` message as the body of a request. Whatever else it may be is refused as such a body is."""
    if not isinstance(body, dict):
        return body
    return {name: value for name, value in body.items() if name != "type"} | {"stream": True}


class _Telling:
    """Events through what emulates the rest; notes what the record wants to know."""

    def __init__(self, rewriters: list[Rewriter]) -> None:
        self._rewriters = rewriters
        self.message_id = ""
        self.stop_reason: str | None = None

    def _made(self, events: list[Event]) -> list[Event]:
        made = through(self._rewriters, events)
        for event in made:
            if event.type == "message_start" and event.message:
                self.message_id = self.message_id or event.message.id
            elif event.type == "message_delta" and event.delta:
                self.stop_reason = event.delta.stop_reason
        return made


class ResponseTold(_Telling):
    """`ended` hears of an answer that came to its end."""

    def __init__(self, response: Response, rewriters: list[Rewriter], ended: Callable[[Response], None]) -> None:
        super().__init__(rewriters)
        self._response, self._ended = response, ended
        self._stream = ResponseStream(response)
        self.beat: Callable[[], bytes] = self._stream.beat

    @property
    def done(self) -> bool:
        return self._stream.done

    def feed(self, events: list[Event], frames: list[Frame]) -> bytes:
        part = b"".join([self._stream.feed(event) for event in self._made(events)])
        if self.done:
            self._ended(self._response)
        return part

    def error(self, problem: ApiError) -> bytes:
        return self._stream.error(problem)


class ResponseWhole(_Telling):
    """What the events amount to is what the last of them would hold; `resource` is what is told of it."""

    def __init__(
        self, response: Response, rewriters: list[Rewriter], resource: Callable[[Response], dict[str, Any]]
    ) -> None:
        super().__init__(rewriters)
        self._response, self._resource = response, resource

    def feed(self, events: list[Event], frames: list[Frame]) -> None:
        for event in self._made(events):
            self._response.feed(event)

    def write(self) -> bytes:
        return msgspec.json.encode(self._resource(self._response))


RESPONSES = ResponsesDialect()
