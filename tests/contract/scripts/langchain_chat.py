"""LangChain's ChatOpenAI: text, streams, tools, structured output by each method, images, reasoning, errors."""

from __future__ import annotations

from typing import Any

import openai
from langchain_core.messages import HumanMessage, SystemMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from pydantic import BaseModel
from report import API_KEY, BASE_URL, EMULATED, FORCED, PNG_URL, case, run


class Author(BaseModel):
    name: str


class Book(BaseModel):
    """A book."""

    title: str
    pages: int
    authors: list[Author]


@tool
def weather(city: str, days: int) -> str:
    """The weather of a city."""
    return f"{city} in {days} days: 22 degrees"


@tool
def calendar() -> str:
    """Today."""
    return "Monday"


TOOLS = {"weather": weather, "calendar": calendar}


def llm(model: str = EMULATED, **more: Any) -> ChatOpenAI:
    return ChatOpenAI(model=model, base_url=BASE_URL, api_key=API_KEY, max_retries=0, stream_usage=True, **more)


@case
def text() -> Any:
    answer = llm().invoke([SystemMessage("Be brief."), HumanMessage("[sandbox:echo] Hello there")])
    return [answer.content, answer.usage_metadata["output_tokens"], answer.response_metadata["finish_reason"]]


@case
async def stream() -> Any:
    whole = None
    async for piece in llm().astream("[sandbox:echo] Hello there, you"):
        whole = piece if whole is None else whole + piece
    return [whole.content, whole.usage_metadata["output_tokens"]]


@case
def tool_loop() -> Any:
    return _loop(lambda model, messages: model.invoke(messages))


@case
def tool_loop_streamed() -> Any:
    def ask(model: Any, messages: Any) -> Any:
        pieces = list(model.stream(messages))
        return sum(pieces[1:], pieces[0])

    return _loop(ask)


def _loop(ask: Any) -> Any:
    model, messages = llm().bind_tools(list(TOOLS.values())), [HumanMessage("In 3 days? `weather` and `calendar`.")]
    first = ask(model, messages)
    results = [
        ToolMessage(TOOLS[call["name"]].invoke(call["args"]), tool_call_id=call["id"]) for call in first.tool_calls
    ]
    last = ask(model, [*messages, first, *results])
    return [[call["name"] for call in first.tool_calls], last.content]


@case
def structured() -> Any:
    made = {}
    for model in (EMULATED, FORCED):
        for method in ("json_schema", "function_calling", "json_mode"):
            one = llm(model).with_structured_output(Book if method != "json_mode" else None, method=method)
            book = one.invoke("A book of 300 pages, as JSON")
            made[f"{model} {method}"] = book.model_dump() if method != "json_mode" else sorted(book)
            *_, last = one.stream("A book of 300 pages, as JSON")
            made[f"{model} {method} streamed"] = last.model_dump() if method != "json_mode" else sorted(last)
    return made


@case
def image() -> Any:
    parts = [{"type": "text", "text": "What is this?"}, {"type": "image_url", "image_url": {"url": PNG_URL}}]
    return llm().invoke([HumanMessage(parts)]).content


@case
def reasoning() -> Any:
    answer = llm(reasoning_effort="low").invoke("[sandbox:echo] Hello")
    return [answer.content, answer.usage_metadata["output_token_details"]["reasoning"]]


@case
def error() -> Any:
    try:
        llm("gpt-none").invoke("Hello")
    except openai.NotFoundError as problem:
        return [problem.status_code, problem.code]


@case
def responses() -> Any:
    """Two steps, streamed, with reasoning."""
    model = llm(use_responses_api=True, reasoning={"effort": "low", "summary": "auto"}, store=False).bind_tools(
        list(TOOLS.values())
    )
    said: list[Any] = [HumanMessage("In 3 days? Use `weather` and `calendar`.")]
    for _ in range(2):
        answer: Any = None
        for piece in model.stream(said):
            answer = piece if answer is None else answer + piece
        said.append(answer)
        said += [
            ToolMessage(TOOLS[call["name"]].invoke(call["args"]), tool_call_id=call["id"]) for call in answer.tool_calls
        ]
    kinds = [block["type"] for block in said[1].content_blocks]
    return [kinds, answer.text if isinstance(answer.text, str) else answer.text()]


if __name__ == "__main__":
    run()
