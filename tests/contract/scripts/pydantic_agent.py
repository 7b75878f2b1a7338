"""pydantic-ai over Chat Completions and Responses: agents with tools, typed output in each mode, images, reasoning."""

from __future__ import annotations

import base64
from typing import Any

from pydantic import BaseModel
from pydantic_ai import Agent, BinaryContent, ModelHTTPError, NativeOutput, PromptedOutput, ToolOutput
from pydantic_ai.messages import ThinkingPart
from pydantic_ai.models.openai import (
    OpenAIChatModel,
    OpenAIChatModelSettings,
    OpenAIResponsesModel,
    OpenAIResponsesModelSettings,
)
from pydantic_ai.providers.openai import OpenAIProvider
from report import API_KEY, BASE_URL, EMULATED, FORCED, PNG, case, run

provider = OpenAIProvider(base_url=BASE_URL, api_key=API_KEY)


class Author(BaseModel):
    name: str


class Book(BaseModel):
    title: str
    pages: int
    authors: list[Author]


def agent(model: str = EMULATED, **options: Any) -> Agent[None, Any]:
    return Agent(OpenAIChatModel(model, provider=provider), **options)


def weather(city: str, days: int) -> str:
    """The weather of a city."""
    return f"{city} in {days} days: 22 degrees"


def calendar() -> str:
    """Today."""
    return "Monday"


@case
async def text() -> Any:
    result = await agent(instructions="Be brief.").run("[sandbox:echo] Hello there")
    return [result.output, result.usage.output_tokens, result.response.finish_reason]


@case
async def stream() -> Any:
    async with agent().run_stream("[sandbox:echo] Hello there, you") as result:
        pieces = [piece async for piece in result.stream_text(delta=True, debounce_by=None)]
        return ["".join(pieces), len(pieces) > 1, result.usage.output_tokens]


@case
async def tool_loop() -> Any:
    result = await agent(tools=[weather, calendar]).run("In 3 days? Use `weather` and `calendar`.")
    return [_calls(result), result.output]


@case
async def tool_loop_streamed() -> Any:
    async with agent(tools=[weather, calendar]).run_stream("In 3 days? Use `weather` and `calendar`.") as result:
        return await result.get_output()


def _calls(result: Any) -> list[str]:
    parts = [part for message in result.all_messages() for part in message.parts]
    return [part.tool_name for part in parts if part.part_kind == "tool-call"]


@case
async def typed_output() -> Any:
    made = {}
    for model in (EMULATED, FORCED):
        for mode in (ToolOutput, NativeOutput, PromptedOutput):
            result = await agent(model, output_type=mode(Book)).run("A book of 300 pages")
            made[f"{model} {mode.__name__}"] = result.output.model_dump()
    return made


@case
async def typed_output_streamed() -> Any:
    made = []
    for model in (EMULATED, FORCED):
        async with agent(model, output_type=Book).run_stream("A book of 300 pages") as result:
            made.append((await result.get_output()).model_dump())
    return made


@case
async def tools_and_typed_output() -> Any:
    made = {}
    for model in (EMULATED, FORCED):
        result = await agent(model, tools=[weather], output_type=Book).run("A book about `weather`")
        made[model] = [_calls(result), result.output.title]
    return made


@case
async def history() -> Any:
    first = await agent(tools=[weather]).run("`weather` please")
    second = await agent(tools=[weather]).run("[sandbox:echo] and now?", message_history=first.all_messages())
    return second.output


@case
async def image() -> Any:
    picture = BinaryContent(base64.b64decode(PNG), media_type="image/png")
    return (await agent().run(["What is this?", picture])).output


@case
async def reasoning() -> Any:
    settings = OpenAIChatModelSettings(openai_reasoning_effort="low")
    one = agent(model_settings=settings)
    first = await one.run("[sandbox:echo] Hello")
    thoughts = [part.content for part in first.response.parts if isinstance(part, ThinkingPart)]
    second = await one.run("[sandbox:echo] Go on", message_history=first.all_messages())
    return [thoughts, first.usage.details.get("reasoning_tokens"), second.output]


@case
async def responses() -> Any:
    """The `openai:` prefix: two steps, streamed, with reasoning, and typed output."""
    settings = OpenAIResponsesModelSettings(openai_reasoning_effort="low", openai_reasoning_summary="auto")
    model = OpenAIResponsesModel(EMULATED, provider=provider)
    one: Agent[None, Any] = Agent(model, tools=[weather, calendar], model_settings=settings)
    async with one.run_stream("In 3 days? Use `weather` and `calendar`.") as result:
        text = await result.get_output()
        messages = result.all_messages()
    thoughts = [part for message in messages for part in message.parts if isinstance(part, ThinkingPart)]
    again = await one.run("[sandbox:echo] Go on", message_history=messages)
    book = await Agent(model, output_type=NativeOutput(Book)).run("A book of 300 pages")
    sealed = all((part.signature or "").startswith("brg1.") for part in thoughts)
    return [text, _calls(result), len(thoughts), sealed, again.output, book.output.model_dump()]


@case
async def error() -> Any:
    try:
        await agent("gpt-none").run("Hello")
    except ModelHTTPError as problem:
        return [problem.status_code, problem.body["code"]]


if __name__ == "__main__":
    run()
