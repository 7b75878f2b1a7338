"""OpenAI's Agents SDK by Responses (its default) and by Chat Completions; the client under it by Responses."""

from __future__ import annotations

import json
from typing import Any

from agents import (
    Agent,
    ModelSettings,
    OpenAIChatCompletionsModel,
    OpenAIResponsesModel,
    Runner,
    function_tool,
    set_tracing_disabled,
)
from openai import APIError, AsyncOpenAI, BadRequestError, OpenAI
from openai.types.shared import Reasoning
from pydantic import BaseModel
from report import API_KEY, BASE_URL, EMULATED, PNG_URL, case, run

set_tracing_disabled(True)
PROMPT = "In 3 days? Use `weather` and `calendar`."
LOOK = {
    "type": "function",
    "name": "weather",
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
        "required": ["city", "days"],
    },
    "strict": False,
}
client = OpenAI(base_url=BASE_URL, api_key=API_KEY, max_retries=0)


@function_tool
def weather(city: str, days: int) -> str:
    """The weather of a city."""
    return f"{city} in {days} days: 22 degrees"


@function_tool
def calendar() -> str:
    """Today."""
    return "Monday"


def agent(kind: Any) -> Agent[Any]:
    model = kind(model=EMULATED, openai_client=AsyncOpenAI(base_url=BASE_URL, api_key=API_KEY, max_retries=0))
    settings = ModelSettings(reasoning=Reasoning(effort="low", summary="auto"))
    return Agent(name="one", model=model, tools=[weather, calendar], model_settings=settings)


async def _loop(kind: Any) -> Any:
    result = await Runner.run(agent(kind), PROMPT)
    streamed = Runner.run_streamed(agent(kind), PROMPT)
    async for _ in streamed.stream_events():
        pass
    kinds = [item.type for item in streamed.new_items]
    return [result.final_output, streamed.final_output, kinds.count("tool_call_item"), "reasoning_item" in kinds]


@case
async def agents_by_responses() -> Any:
    return await _loop(OpenAIResponsesModel)


@case
async def agents_by_chat() -> Any:
    return await _loop(OpenAIChatCompletionsModel)


@case
def create() -> Any:
    response = client.responses.create(model=EMULATED, input="[sandbox:echo] Hello there", instructions="Be brief.")
    return [response.output_text, response.status, response.usage.output_tokens, response.store]


@case
def stream() -> Any:
    with client.responses.stream(model=EMULATED, input="[sandbox:echo] Hello there, you") as told:
        deltas = [event.delta for event in told if event.type == "response.output_text.delta"]
        return ["".join(deltas), len(deltas), told.get_final_response().output_text]


class Author(BaseModel):
    name: str


class Book(BaseModel):
    title: str
    pages: int
    authors: list[Author]


@case
def parse() -> Any:
    parsed = client.responses.parse(model=EMULATED, input="A book of 300 pages", text_format=Book).output_parsed
    with client.responses.stream(model=EMULATED, input="A book of 300 pages", text_format=Book) as told:
        streamed = told.get_final_response().output_parsed
    return [parsed.model_dump(), streamed.model_dump()]


@case
def tool_loop() -> Any:
    """Two steps, streamed, with reasoning that goes back sealed."""
    said: list[Any] = [{"role": "user", "content": "In 3 days? Use `weather`."}]
    request: Any = {"model": EMULATED, "tools": [LOOK], "reasoning": {"effort": "low", "summary": "auto"}}
    receipts = []
    for _ in range(2):
        with client.responses.stream(**request, input=said) as told:
            receipts.append(told._response.headers.get("x-bridge-compat"))
            response = told.get_final_response()
        said += response.output
        for item in response.output:
            if item.type == "function_call":
                given = json.loads(item.arguments)
                answer = f"{given['city']} in {given['days']} days: 22 degrees"
                said.append({"type": "function_call_output", "call_id": item.call_id, "output": answer})
    kinds = [item["type"] if isinstance(item, dict) and "type" in item else getattr(item, "type", "") for item in said]
    sealed = [item.encrypted_content for item in said if getattr(item, "type", "") == "reasoning"]
    return [kinds, response.output_text, all(text.startswith("brg1.") for text in sealed), receipts]


@case
def custom_tool() -> Any:
    tool: Any = {"type": "custom", "name": "patch", "description": "Applies a patch"}
    with client.responses.stream(model=EMULATED, input='Use `patch` with "x"', tools=[tool]) as told:
        deltas = [event.delta for event in told if event.type == "response.custom_tool_call_input.delta"]
        (item,) = told.get_final_response().output
    return [item.type, item.name, item.input == "".join(deltas)]


@case
def web_search() -> Any:
    response = client.responses.create(model=EMULATED, input="[sandbox:cite] News?", tools=[{"type": "web_search"}])
    notes = [note.type for item in response.output if item.type == "message" for note in item.content[0].annotations]
    return [[item.type for item in response.output], notes]


@case
def image() -> Any:
    content: Any = [
        {"type": "input_text", "text": "What is this?"},
        {"type": "input_image", "image_url": PNG_URL, "detail": "auto"},
    ]
    return client.responses.create(model=EMULATED, input=[{"role": "user", "content": content}]).output_text


@case
def counting() -> Any:
    return client.responses.input_tokens.count(model=EMULATED, input="Hello there").input_tokens


@case
def refusals() -> Any:
    try:
        client.responses.create(model=EMULATED, input="Hello", previous_response_id="resp_1")
    except BadRequestError as problem:
        return [problem.status_code, problem.code, problem.param]


@case
def a_stream_that_breaks() -> Any:
    try:
        for _ in client.responses.create(model=EMULATED, input="[sandbox:cut] a b c d e f", stream=True):
            pass
    except APIError as problem:
        return [type(problem).__name__, problem.code]


if __name__ == "__main__":
    run()
