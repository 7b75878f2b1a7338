"""instructor: one model out of each of its modes, whole, in parts, and after a first answer that did not fit."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import instructor
import openai
from pydantic import BaseModel, field_validator
from report import API_KEY, BASE_URL, EMULATED, FORCED, PNG_URL, case, run

MODES = ("TOOLS", "TOOLS_STRICT", "JSON", "MD_JSON", "JSON_SCHEMA", "PARALLEL_TOOLS")


class Author(BaseModel):
    name: str
    born: int


class Book(BaseModel):
    title: str
    authors: list[Author]


BOOK = {"title": "title", "authors": [{"name": "name", "born": 1}]}


def client(mode: str = "TOOLS") -> Any:
    made = openai.OpenAI(base_url=BASE_URL, api_key=API_KEY, max_retries=0, timeout=30)
    return instructor.from_openai(made, mode=getattr(instructor.Mode, mode))


def ask(mode: str, model: str, response_model: Any = Book, text: Any = "A book", **more: Any) -> Any:
    messages = [{"role": "user", "content": text}]
    create = client(mode).chat.completions.create
    return create(model=model, messages=messages, response_model=response_model, max_retries=1, **more)


@case
def every_mode() -> Any:
    made = {}
    for mode in MODES[:-1]:
        for model in (EMULATED, FORCED):
            text = "A book" if mode != "JSON" else "[sandbox:fence] A book"
            try:
                made[f"{mode} {model}"] = ask(mode, model, text=text).model_dump()
            except Exception as problem:
                made[f"{mode} {model}"] = f"{type(problem).__name__}: {problem}"[:300]
    return made


@case
def in_parts() -> Any:
    made = []
    for model in (EMULATED, FORCED):
        *parts, last = list(ask("TOOLS", model, instructor.Partial[Book], stream=True))
        made.append([last.model_dump(), len(parts) > 0])
    return made


@case
def one_after_the_other() -> Any:
    return [
        [author.model_dump() for author in ask("TOOLS", model, Iterable[Author], stream=True)]
        for model in (EMULATED, FORCED)
    ]


@case
def in_parallel() -> Any:
    books = ask("PARALLEL_TOOLS", FORCED, Iterable[Book | Author], text="[sandbox:tools count=2]")
    return [type(book).__name__ for book in books]


@case
def second_try() -> Any:
    """The first answer does not fit; the second request carries the call and the complaint about it."""
    tries = []

    class Picky(BaseModel):
        pages: int

        @field_validator("pages")
        @classmethod
        def enough(cls, pages: int) -> int:
            tries.append(pages)
            if len(tries) < 2:
                raise ValueError("not enough pages")
            return pages

    made = client().chat.completions.create(
        model=EMULATED,
        response_model=Picky,
        max_retries=2,
        messages=[{"role": "user", "content": "A book"}],
    )
    return [made.pages == tries[1], len(tries)]


@case
def image() -> Any:
    parts = [{"type": "text", "text": "A book"}, {"type": "image_url", "image_url": {"url": PNG_URL}}]
    return ask("JSON_SCHEMA", EMULATED, text=parts).model_dump()


@case
def error() -> Any:
    try:
        ask("TOOLS", "gpt-none")
    except Exception as problem:
        return [type(problem).__name__, "gpt-none" in str(problem)]


if __name__ == "__main__":
    run()
