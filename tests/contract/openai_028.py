"""Makes one call with openai 0.28 and prints what came of it. Run by test_openai_028 in a virtualenv of its own.

stdin   {"settings": {"api_base": …}, "call": "ChatCompletion.create", "arguments": {…}}
stdout  {"answer": …, "response_ms": …} or {"chunks": […]}, with {"error": {…}} if it raised
"""

from __future__ import annotations

import asyncio
import inspect
import json
import sys
from functools import reduce
from typing import Any

import openai


def plain(answer: Any) -> Any:
    return answer.to_dict_recursive() if hasattr(answer, "to_dict_recursive") else answer


async def settled(answer: Any, chunks: list[Any]) -> Any:
    """The answer itself, or None after its chunks."""
    if inspect.isawaitable(answer):
        answer = await answer
    if inspect.isasyncgen(answer):
        async for chunk in answer:
            chunks.append(plain(chunk))
        return None
    if inspect.isgenerator(answer):
        chunks.extend(plain(chunk) for chunk in answer)
        return None
    return answer


def main() -> None:
    order = json.load(sys.stdin)
    for name, value in order["settings"].items():
        setattr(openai, name, value)
    call = reduce(getattr, order["call"].split("."), openai)
    chunks: list[Any] = []
    result: dict[str, Any] = {"version": openai.version.VERSION, "chunks": chunks}
    try:

        async def running() -> Any:
            return await settled(call(**order["arguments"]), chunks)

        answer = asyncio.run(running())
        result |= {"answer": plain(answer), "response_ms": getattr(answer, "response_ms", None)}
    except openai.error.OpenAIError as error:
        names = ("user_message", "http_status", "code", "param")
        result["error"] = {"class": type(error).__name__} | {name: getattr(error, name, None) for name in names}
    json.dump(result, sys.stdout)


main()
