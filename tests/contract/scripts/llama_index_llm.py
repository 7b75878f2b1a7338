"""LlamaIndex's OpenAILike: chat, streams, tool calls, structured prediction, images, errors."""

from __future__ import annotations

import base64
from typing import Any

from llama_index.core.base.llms.types import ChatMessage, ImageBlock, TextBlock
from llama_index.core.tools import FunctionTool
from llama_index.llms.openai_like import OpenAILike
from pydantic import BaseModel
from report import API_KEY, BASE_URL, EMULATED, FORCED, PNG, case, run


class Author(BaseModel):
    name: str


class Book(BaseModel):
    """A book."""

    title: str
    pages: int
    authors: list[Author]


def llm(model: str = EMULATED, **more: Any) -> OpenAILike:
    return OpenAILike(
        model=model,
        api_base=BASE_URL,
        api_key=API_KEY,
        is_chat_model=True,
        is_function_calling_model=True,
        max_retries=0,
        **more,
    )


def weather(city: str, days: int) -> str:
    """The weather of a city."""
    return f"{city} in {days} days: 22 degrees"


TOOL = FunctionTool.from_defaults(weather)


@case
def text() -> Any:
    return [llm().complete("[sandbox:echo] Hello there").text, llm().chat(_user("[sandbox:echo] Hi")).message.content]


def _user(text: str) -> list[ChatMessage]:
    return [ChatMessage(role="system", content="Be brief."), ChatMessage(role="user", content=text)]


@case
def stream() -> Any:
    pieces = [piece.delta for piece in llm().stream_chat(_user("[sandbox:echo] Hello there, you"))]
    return ["".join(pieces), len(pieces) > 2]


@case
async def stream_async() -> Any:
    return "".join([piece.delta async for piece in await llm().astream_chat(_user("[sandbox:echo] Hello there, you"))])


@case
def tool_loop() -> Any:
    return llm().predict_and_call([TOOL], user_msg="In 3 days? Use `weather`.").response


@case
def forced_tool() -> Any:
    made = []
    for model in (EMULATED, FORCED):
        answer = llm(model).chat_with_tools([TOOL], user_msg="Hello", tool_required=True)
        calls = llm(model).get_tool_calls_from_response(answer)
        *_, last = llm(model).stream_chat_with_tools([TOOL], user_msg="Hello", tool_required=True)
        streamed = llm(model).get_tool_calls_from_response(last)
        made.append([[call.tool_name, call.tool_kwargs] for call in [*calls, *streamed]])
    return made


@case
def tool_results() -> Any:
    first = llm().chat_with_tools([TOOL], user_msg="`weather` please")
    call = llm().get_tool_calls_from_response(first)[0]
    result = ChatMessage(role="tool", content="22 degrees", additional_kwargs={"tool_call_id": call.tool_id})
    history = [ChatMessage(role="user", content="`weather` please"), first.message, result]
    return llm().chat_with_tools([TOOL], chat_history=history).message.content


@case
def structured() -> Any:
    made = []
    for options in ({"is_function_calling_model": True}, {"should_use_structured_outputs": True}):
        for model in (EMULATED, FORCED):
            one = llm(model)
            for name, value in options.items():
                setattr(one, name, value)
            made.append(one.as_structured_llm(Book).complete("A book of 300 pages").raw.model_dump())
    return made


@case
def image() -> Any:
    blocks = [TextBlock(text="What is this?"), ImageBlock(image=base64.b64decode(PNG), image_mimetype="image/png")]
    return llm().chat([ChatMessage(role="user", blocks=blocks)]).message.content


@case
def reasoning() -> Any:
    answer = llm(additional_kwargs={"reasoning_effort": "low"}).chat(_user("[sandbox:echo] Hello"))
    return [answer.message.content, answer.raw.choices[0].message.reasoning_content[:14]]


@case
def error() -> Any:
    try:
        llm("gpt-none").complete("Hello")
    except Exception as problem:
        return [type(problem).__name__, "gpt-none" in str(problem)]


@case
def completions() -> Any:
    """Its default: the API of 2021."""
    old = OpenAILike(model=EMULATED, api_base=BASE_URL, api_key=API_KEY, max_retries=0)
    pieces = [piece.delta for piece in old.stream_complete("[sandbox:echo] Hello there, you")]
    return [old.complete("[sandbox:echo] Hello there").text, "".join(pieces), len(pieces) > 2]


if __name__ == "__main__":
    run()
