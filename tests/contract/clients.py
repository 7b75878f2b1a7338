"""openai's Python client, with and without async, behind one interface, and a tape of all that crosses the wire."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar

import httpx2
import openai
from openai.types import Model
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from tests.contract import validate
from tests.contract.checks import Json
from tests.contract.validate import Exchange, Stream

T = TypeVar("T")

MODEL = "claude-sonnet-5-5"
ECHO = "[sandbox:echo] "  # what the sandbox is told to do


def asked(text: str, **more: Any) -> Json:
    """A request that says this to the model."""
    return {"model": MODEL, "messages": [{"role": "user", "content": text}], **more}


@dataclass
class Tape:
    """Every exchange of a test. `may_break`: the test asks for streams that break."""

    exchanges: list[Exchange] = field(default_factory=list)
    may_break: bool = False

    def record(self, request: httpx2.Request, response: httpx2.Response) -> Exchange:
        path = request.url.raw_path.decode()
        made = Exchange(request.method, path, request.content, response.status_code, dict(response.headers))
        self.exchanges.append(made)
        return made

    @property
    def last(self) -> Exchange:
        return self.exchanges[-1]

    @property
    def statuses(self) -> list[int]:
        return [made.status for made in self.exchanges]

    def said(self) -> Stream:
        """What the last stream said, judged."""
        found = validate.exchange(self.last, may_break=self.may_break)
        assert isinstance(found, Stream)
        return found

    def judge(self) -> None:
        """Raises Invalid for the first answer that is not as it should be."""
        for made in self.exchanges:
            validate.exchange(made, may_break=self.may_break)


def is_over(body: validate.Bytes) -> bool:
    """Whether the stream has said its last word. Clients stop reading there; the tape wants to know what follows."""
    return body.endswith(b"data: [DONE]\n\n") or b'\n\ndata: {"error":' in body


class Tee(httpx2.SyncByteStream):
    def __init__(self, stream: Any, made: Exchange) -> None:
        self.stream, self.made = stream, made
        self.parts: Iterator[bytes] = iter(stream)

    def __iter__(self) -> Iterator[bytes]:
        for part in self.parts:
            self.made.body += part
            yield part
        self.made.complete = True

    def close(self) -> None:
        if is_over(self.made.body):
            self.made.body += b"".join(self.parts)
            self.made.complete = True
        self.stream.close()


class AsyncTee(httpx2.AsyncByteStream):
    def __init__(self, stream: Any, made: Exchange) -> None:
        self.stream, self.made = stream, made
        self.parts: AsyncIterator[bytes] = aiter(stream)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for part in self.parts:
            self.made.body += part
            yield part
        self.made.complete = True

    async def aclose(self) -> None:
        if is_over(self.made.body):
            async for part in self.parts:
                self.made.body += part
            self.made.complete = True
        await self.stream.aclose()


class Transport(httpx2.HTTPTransport):
    def __init__(self, tape: Tape) -> None:
        super().__init__()
        self.tape = tape

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        response = super().handle_request(request)
        response.stream = Tee(response.stream, self.tape.record(request, response))
        return response


class AsyncTransport(httpx2.AsyncHTTPTransport):
    def __init__(self, tape: Tape) -> None:
        super().__init__()
        self.tape = tape

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        response = await super().handle_async_request(request)
        response.stream = AsyncTee(response.stream, self.tape.record(request, response))
        return response


class Client:
    """The plain client. Options as openai.OpenAI takes them; no retries and strict validation unless told."""

    kind: type[openai.OpenAI] = openai.OpenAI

    def __init__(self, tape: Tape, **options: Any) -> None:
        self.tape = tape
        self.options: Json = {"max_retries": 0, "timeout": 60.0, "_strict_response_validation": True, **options}

    def but(self, **options: Any) -> Client:
        """The same client with other options."""
        return type(self)(self.tape, **{**self.options, **options})

    def use(self, work: Callable[[openai.OpenAI], T]) -> T:
        with (
            httpx2.Client(transport=Transport(self.tape)) as http,
            self.kind(http_client=http, **self.options) as client,
        ):
            return work(client)

    def whole(self, text: str, **more: Any) -> ChatCompletion:
        return self.use(lambda client: client.chat.completions.create(**asked(text, **more)))

    def streamed(self, text: str, into: list[ChatCompletionChunk] | None = None, **more: Any) -> Stream:
        """The stream, validated; `into` gets the chunks as they come, also of one that breaks."""

        def work(client: openai.OpenAI) -> None:
            with client.chat.completions.create(**asked(text, stream=True, **more)) as stream:
                for chunk in stream:
                    if into is not None:
                        into.append(chunk)

        self.use(work)
        return self.tape.said()

    def helped(self, text: str, into: list[Any] | None = None, **more: Any) -> ChatCompletion:
        """The final completion of `.stream()`; `into` gets its events."""

        def work(client: openai.OpenAI) -> ChatCompletion:
            with client.chat.completions.stream(**asked(text, **more)) as stream:
                for event in stream:
                    if into is not None:
                        into.append(event)
                return stream.get_final_completion()

        return self.use(work)

    def parsed(self, text: str, **more: Any) -> ChatCompletion:
        return self.use(lambda client: client.chat.completions.parse(**asked(text, **more)))

    def raw(self, text: str, **more: Any) -> tuple[Any, Any]:
        """with_raw_response: its headers and the parsed answer."""

        def work(client: openai.OpenAI) -> tuple[Any, Any]:
            response = client.chat.completions.with_raw_response.create(**asked(text, **more))
            return response.headers, response.parse()

        return self.use(work)

    def models(self, **query: Any) -> list[Model]:
        return self.use(lambda client: client.models.list(extra_query=query).data)

    def model(self, name: str) -> Model:
        return self.use(lambda client: client.models.retrieve(name))

    def post(self, path: str, body: Json) -> Any:
        """What the typed methods would not send."""
        return self.use(lambda client: client.post(path, body=body, cast_to=object))


class AsyncClient(Client):
    """The same with async, each call in an event loop of its own."""

    akind: type[openai.AsyncOpenAI] = openai.AsyncOpenAI

    def run(self, work: Callable[[openai.AsyncOpenAI], Awaitable[T]]) -> T:
        async def running() -> T:
            async with (
                httpx2.AsyncClient(transport=AsyncTransport(self.tape)) as http,
                self.akind(http_client=http, **self.options) as client,
            ):
                return await work(client)

        return asyncio.run(running())

    def whole(self, text: str, **more: Any) -> ChatCompletion:
        return self.run(lambda client: client.chat.completions.create(**asked(text, **more)))

    def streamed(self, text: str, into: list[ChatCompletionChunk] | None = None, **more: Any) -> Stream:
        async def work(client: openai.AsyncOpenAI) -> None:
            async with await client.chat.completions.create(**asked(text, stream=True, **more)) as stream:
                async for chunk in stream:
                    if into is not None:
                        into.append(chunk)

        self.run(work)
        return self.tape.said()

    def helped(self, text: str, into: list[Any] | None = None, **more: Any) -> ChatCompletion:
        async def work(client: openai.AsyncOpenAI) -> ChatCompletion:
            async with client.chat.completions.stream(**asked(text, **more)) as stream:
                async for event in stream:
                    if into is not None:
                        into.append(event)
                return await stream.get_final_completion()

        return self.run(work)

    def parsed(self, text: str, **more: Any) -> ChatCompletion:
        return self.run(lambda client: client.chat.completions.parse(**asked(text, **more)))

    def raw(self, text: str, **more: Any) -> tuple[Any, Any]:
        async def work(client: openai.AsyncOpenAI) -> tuple[Any, Any]:
            response = await client.chat.completions.with_raw_response.create(**asked(text, **more))
            return response.headers, response.parse()

        return self.run(work)

    def models(self, **query: Any) -> list[Model]:
        async def work(client: openai.AsyncOpenAI) -> list[Model]:
            return (await client.models.list(extra_query=query)).data

        return self.run(work)

    def model(self, name: str) -> Model:
        return self.run(lambda client: client.models.retrieve(name))

    def post(self, path: str, body: Json) -> Any:
        return self.run(lambda client: client.post(path, body=body, cast_to=object))


class AzureClient(Client):
    kind = openai.AzureOpenAI


class AsyncAzureClient(AsyncClient):
    akind = openai.AsyncAzureOpenAI
