"""OpenAI's Python client: create, the streaming helper, parsed answers, tools, images, reasoning, errors."""

from __future__ import annotations

import json
from enum import Enum
from typing import Any

import openai
from pydantic import BaseModel
from report import API_KEY, BASE_URL, EMULATED, FORCED, PDF_URL, PNG_URL, case, run

client = openai.OpenAI(base_url=BASE_URL, api_key=API_KEY, max_retries=0, timeout=30)
chat = client.chat.completions


def function(name: str, **properties: Any) -> Any:
    parameters = {"type": "object", "properties": properties, "required": list(properties)}
    return {"type": "function", "function": {"name": name, "description": name, "parameters": parameters}}


WEATHER, CLOCK = function("get_weather", city={"type": "string"}, days={"type": "integer"}), function("get_time")


class Mood(Enum):
    CALM = "calm"
    WILD = "wild"


class Author(BaseModel):
    name: str
    born: int | None


class Book(BaseModel):
    """A book, with all that schemas have: nested, repeated, chosen and optional parts."""

    title: str
    mood: Mood
    authors: list[Author]
    sequel: bool


def user(text: Any) -> Any:
    return [{"role": "user", "content": text}]


def calls(message: Any) -> list[list[Any]]:
    return [[call.function.name, json.loads(call.function.arguments)] for call in message.tool_calls or []]


def streamed(**request: Any) -> Any:
    """The completion that the streaming helper puts together."""
    with chat.stream(**request) as stream:
        for _ in stream:
            pass
        return stream.get_final_completion()


@case
def text() -> Any:
    answer = chat.create(model=EMULATED, messages=user("[sandbox:echo] Hello there"))
    choice = answer.choices[0]
    return [choice.message.content, choice.finish_reason, choice.message.tool_calls, answer.usage.completion_tokens]


@case
def stream() -> Any:
    request = {"model": EMULATED, "messages": user("[sandbox:echo] Hello there"), "stream": True}
    chunks = list(chat.create(**request, stream_options={"include_usage": True}))
    said = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    return [said, chunks[-1].usage.completion_tokens, chunks[-2].choices[0].finish_reason, len(chunks) > 4]


@case
def tool_loop() -> Any:
    return _loop(lambda **request: chat.create(**request))


@case
def tool_loop_streamed() -> Any:
    return _loop(streamed)


def _loop(ask: Any) -> Any:
    messages = user("What is it like in 3 days? Use `get_weather`.")
    first = ask(model=EMULATED, messages=messages, tools=[WEATHER, CLOCK])
    message = first.choices[0].message
    answered = {"role": "tool", "tool_call_id": message.tool_calls[0].id, "content": "22 degrees and sunny"}
    history = [*messages, message.to_dict(), answered]
    second = ask(model=EMULATED, messages=history, tools=[WEATHER, CLOCK])
    return {
        "calls": calls(message),
        "finish": [first.choices[0].finish_reason, second.choices[0].finish_reason],
        "text": second.choices[0].message.content,
    }


@case
def parallel_tools() -> Any:
    request = {"model": EMULATED, "messages": user("[sandbox:tools count=3] 4 5"), "tools": [WEATHER, CLOCK]}
    whole, in_pieces = chat.create(**request).choices[0].message, streamed(**request).choices[0].message
    ids = [call.id for call in [*whole.tool_calls, *in_pieces.tool_calls]]
    messages = [*request["messages"], in_pieces.to_dict()]
    results = [
        {"role": "tool", "tool_call_id": call.id, "content": f"result {n}"}
        for n, call in enumerate(in_pieces.tool_calls)
    ]
    last = chat.create(model=EMULATED, messages=[*messages, *reversed(results)], tools=[WEATHER, CLOCK])
    return [calls(whole), calls(in_pieces), len(set(ids)), last.choices[0].message.content]


@case
def one_call_at_a_time() -> Any:
    request = {"model": EMULATED, "messages": user("[sandbox:tools count=3]"), "tools": [WEATHER, CLOCK]}
    return calls(chat.create(**request, parallel_tool_calls=False).choices[0].message)


@case
def forced_tools() -> Any:
    named = {"type": "function", "function": {"name": "get_weather"}}
    made = {}
    for model in (EMULATED, FORCED):
        for choice in (named, "required"):
            request = {"model": model, "messages": user("Hello"), "tools": [WEATHER, CLOCK], "tool_choice": choice}
            for how, ask in (("whole", chat.create), ("streamed", streamed)):
                answer = ask(**request).choices[0]
                key = f"{model} {choice if choice == 'required' else 'named'} {how}"
                made[key] = [calls(answer.message), answer.finish_reason, answer.message.content]
    return made


@case
def no_tools_wanted() -> Any:
    request = {"model": EMULATED, "messages": user("[sandbox:tool] get_weather"), "tools": [WEATHER]}
    answer = chat.create(**request, tool_choice="none").choices[0]
    return [answer.finish_reason, answer.message.tool_calls]


@case
def tool_without_arguments() -> Any:
    request = {"model": EMULATED, "messages": user("`get_time`"), "tools": [CLOCK]}
    answers = [chat.create(**request), streamed(**request)]
    return [answer.choices[0].message.tool_calls[0].function.arguments for answer in answers]


@case
def call_cut_by_its_length() -> Any:
    request = {"model": EMULATED, "messages": user("[sandbox:tool][sandbox:max_tokens]"), "tools": [WEATHER]}
    whole = chat.create(**request).choices[0]
    chunks = list(chat.create(**request, stream=True))
    pieces = [call for chunk in chunks for call in chunk.choices[0].delta.tool_calls or []]
    in_pieces = "".join(piece.function.arguments or "" for piece in pieces)
    return [whole.finish_reason, whole.message.tool_calls[0].function.arguments, in_pieces]


@case
def forced_call_cut_by_its_length() -> Any:
    made = {}
    for model in (EMULATED, FORCED):
        request = {"model": model, "messages": user("[sandbox:max_tokens]"), "tools": [WEATHER, CLOCK]}
        choice = chat.create(**request, tool_choice="required").choices[0]
        names = [call.function.name for call in choice.message.tool_calls or []]
        made[model] = [choice.finish_reason, names, choice.message.content]
    return made


@case
def names_that_claude_does_not_take() -> Any:
    tool = function("weather.get now", city={"type": "string"})
    request = {"model": FORCED, "messages": user("Hello"), "tools": [tool], "tool_choice": "required"}
    message = chat.create(**request).choices[0].message
    answered = {"role": "tool", "tool_call_id": message.tool_calls[0].id, "content": "fine"}
    second = chat.create(model=FORCED, messages=[*user("Hello"), message.to_dict(), answered], tools=[tool])
    return [calls(message), calls(streamed(**request).choices[0].message), second.choices[0].finish_reason]


@case
def free_text_tool() -> Any:
    tool = {"type": "custom", "custom": {"name": "patch", "description": "Takes a patch"}}
    message = chat.create(model=FORCED, messages=user("`patch`"), tools=[tool]).choices[0].message
    call = message.tool_calls[0]
    answered = {"role": "tool", "tool_call_id": call.id, "content": "applied"}
    second = chat.create(model=FORCED, messages=[*user("`patch`"), message.to_dict(), answered], tools=[tool])
    return [call.type, call.custom.name, call.custom.input, second.choices[0].message.content]


@case
def functions_of_2023() -> Any:
    request = {"model": FORCED, "functions": [WEATHER["function"]]}
    message = chat.create(**request, messages=user("`get_weather`")).choices[0]
    answered = {"role": "function", "name": "get_weather", "content": "22 degrees"}
    history = [*user("`get_weather`"), message.message.to_dict(), answered]
    last = chat.create(**request, messages=history).choices[0].message.content
    return [message.finish_reason, message.message.function_call.name, last]


@case
def parsed() -> Any:
    answers = [
        chat.parse(model=EMULATED, messages=user("A book"), response_format=Book),
        streamed(model=EMULATED, messages=user("A book"), response_format=Book),
    ]
    return [json.loads(answer.choices[0].message.parsed.model_dump_json()) for answer in answers]


@case
def parsed_tools() -> Any:
    tools = [openai.pydantic_function_tool(Book)]
    made = []
    for model in (EMULATED, FORCED):
        for ask in (chat.parse, streamed):
            request = {"model": model, "messages": user("A book"), "tools": tools, "tool_choice": "required"}
            call = ask(**request).choices[0].message.tool_calls[0]
            made.append([call.function.name, type(call.function.parsed_arguments).__name__])
    return made


@case
def parsed_but_cut() -> Any:
    try:
        chat.parse(model=EMULATED, messages=user("[sandbox:max_tokens] A book"), response_format=Book)
    except openai.LengthFinishReasonError as problem:
        return problem.completion.choices[0].finish_reason


@case
def json_mode() -> Any:
    request = {"model": EMULATED, "response_format": {"type": "json_object"}}
    messages = user("[sandbox:fence] Answer in JSON")
    whole = chat.create(**request, messages=messages).choices[0].message.content
    in_pieces = streamed(**request, messages=messages).choices[0].message.content
    return [json.loads(whole), whole == in_pieces]


@case
def files() -> Any:
    parts = [
        {"type": "text", "text": "What is this?"},
        {"type": "image_url", "image_url": {"url": PNG_URL, "detail": "low"}},
        {"type": "image_url", "image_url": {"url": "https://example.com/cat.jpg"}},
        {"type": "file", "file": {"filename": "a.pdf", "file_data": PDF_URL}},
    ]
    return chat.create(model=EMULATED, messages=user(parts)).choices[0].message.content


@case
def reasoning() -> Any:
    request = {"model": EMULATED, "reasoning_effort": "low"}
    whole = chat.create(**request, messages=user("Hello"))
    in_pieces = streamed(**request, messages=user("Hello"), stream_options={"include_usage": True})
    message = whole.choices[0].message.to_dict()
    again = chat.create(**request, messages=[*user("Hello"), message, *user("[sandbox:echo] Go on")])
    return {
        "same": in_pieces.choices[0].message.reasoning_content == message["reasoning_content"],
        "thought": message["reasoning_content"],
        "signed": [block["type"] for block in message["thinking_blocks"]],
        "signed in pieces": [block["type"] for block in in_pieces.choices[0].message.thinking_blocks],
        "tokens": [answer.usage.completion_tokens_details.reasoning_tokens for answer in (whole, in_pieces)],
        "next": again.choices[0].message.content,
    }


@case
def sources() -> Any:
    request = {"model": EMULATED, "messages": user("[sandbox:cite][sandbox:echo] It is so"), "web_search_options": {}}
    chunks = list(chat.create(**request, stream=True))
    notes = [note for chunk in chunks for note in getattr(chunk.choices[0].delta, "annotations", None) or []]
    message = chat.create(**request).choices[0].message
    return [message.content, message.to_dict()["annotations"], notes]


@case
def a_pause_is_not_an_end() -> Any:
    request = {"model": EMULATED, "messages": user("[sandbox:pause][sandbox:echo] After it"), "web_search_options": {}}
    return [chat.create(**request).choices[0].message.content, streamed(**request).choices[0].message.content]


@case
def a_conversation_over_a_websocket() -> Any:
    told = []
    with client.responses.connect() as socket:
        previous: Any = None
        for text in ("One", "Two", "Three"):
            socket.response.create(model=EMULATED, input=f"[sandbox:echo] {text}", previous_response_id=previous)
            final = next(event.response for event in socket if event.type == "response.completed")
            previous = final.id
            told.append([final.output_text, final.usage.input_tokens])
        socket.response.create(model=EMULATED, input="Hello", previous_response_id="resp_unknown")
        error = next(iter(socket))
        told.append([error.type, error.error.code, error.status])
    return told


@case
def a_conversation_made_shorter() -> Any:
    first = [{"role": "user", "content": "Where is it?"}, {"role": "assistant", "content": "In the attic."}]
    compacted = client.responses.compact(model=EMULATED, input=first)
    following = [*compacted.to_dict()["output"], {"role": "user", "content": "[sandbox:echo] Go on"}]
    answer = client.responses.create(model=EMULATED, input=following)
    return [[item.type for item in compacted.output], compacted.usage.total_tokens > 0, answer.output_text.splitlines()]


@case
def errors() -> Any:
    asked = {
        "no such model": {"model": "gpt-none", "messages": user("Hello")},
        "no messages": {"model": EMULATED, "messages": []},
        "limited": {"model": EMULATED, "messages": user("[sandbox:rate_limited retry=7] no1")},
        "overloaded": {"model": EMULATED, "messages": user("[sandbox:overloaded]"), "stream": True},
        "no such tool": {
            "model": EMULATED,
            "messages": user("Hello"),
            "tools": [WEATHER],
            "tool_choice": {"type": "function", "function": {"name": "other"}},
        },
    }
    return {name: _error(request) for name, request in asked.items()}


def _error(request: Any) -> Any:
    try:
        chat.create(**request)
    except openai.APIStatusError as problem:
        return [type(problem).__name__, problem.status_code, problem.code, problem.param]


@case
def a_stream_that_breaks() -> Any:
    said = ""
    try:
        for chunk in chat.create(model=EMULATED, messages=user("[sandbox:error_midstream] a b c d e"), stream=True):
            said += chunk.choices[0].delta.content or ""
    except openai.APIError as problem:
        return [bool(said), problem.code, type(problem).__name__]


if __name__ == "__main__":
    run()
