"""The small checks that answers are validated with. Each raises Invalid with what is wrong."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Mapping
from typing import Any, NoReturn

import pydantic

Json = dict[str, Any]
Bytes = bytes | bytearray

COMPAT = re.compile(r"[\w.\[\]-]+=[\w().-]+(, [\w.\[\]-]+=[\w().-]+)*")


class Invalid(AssertionError):
    """What is wrong with an answer."""


def fail(problem: str) -> NoReturn:
    raise Invalid(problem)


def parsed(body: Bytes) -> Json:
    """One JSON object: UTF-8, no key twice, no NaN."""
    try:
        found = json.loads(body.decode("utf-8"), object_pairs_hook=_no_key_twice, parse_constant=_no_constant)
    except ValueError as problem:
        fail(f"not JSON: {problem}: {body[:200]!r}")
    if not isinstance(found, dict):
        fail(f"not an object: {body[:200]!r}")
    return found


def _no_key_twice(pairs: list[tuple[str, Any]]) -> Json:
    found = dict(pairs)
    if len(found) < len(pairs):
        fail(f"a key comes twice: {[name for name, _ in pairs]}")
    return found


def _no_constant(text: str) -> NoReturn:
    fail(f"{text} is not JSON")


def keys(found: Any, name: str, required: set[str], allowed: set[str] | None = None) -> None:
    if not isinstance(found, dict):
        fail(f"{name} is not an object: {found!r}")
    if missing := required - found.keys():
        fail(f"{name} lacks {sorted(missing)}: {found!r}")
    if foreign := found.keys() - required - (allowed or set()):
        fail(f"{name} has {sorted(foreign)}: {found!r}")


def equal(found: Any, wanted: Any, name: str) -> None:
    if found != wanted or type(found) is not type(wanted):
        fail(f"{name} is {found!r}, not {wanted!r}")


def text(found: Any, name: str, *, empty: bool = False) -> str:
    if not isinstance(found, str) or not (found or empty):
        fail(f"{name} is {found!r}, not a text")
    return found


def count(found: Any, name: str) -> int:
    if isinstance(found, bool) or not isinstance(found, int) or found < 0:
        fail(f"{name} is {found!r}, not a count")
    return found


def fits(kind: type[pydantic.BaseModel], answer: Json) -> None:
    """The SDK's own types, which it does not check by default."""
    try:
        kind.model_validate(answer, strict=True)
    except pydantic.ValidationError as problem:
        fail(f"not a {kind.__name__}: {problem}")


def common_headers(headers: Mapping[str, str]) -> None:
    try:
        uuid.UUID(headers.get("x-request-id", ""))
    except ValueError:
        fail(f"x-request-id is {headers.get('x-request-id')!r}")
    if not headers.get("openai-processing-ms", "").isdigit():
        fail(f"openai-processing-ms is {headers.get('openai-processing-ms')!r}")
    if "x-bridge-compat" in headers and not COMPAT.fullmatch(headers["x-bridge-compat"]):
        fail(f"x-bridge-compat is {headers['x-bridge-compat']!r}")
    for name in headers:
        if name.lower().startswith("anthropic-") or name.lower() in ("content-encoding", "set-cookie"):
            fail(f"the header {name} must not be there")


def json_headers(headers: Mapping[str, str], body: Bytes | None) -> None:
    equal(headers.get("content-type", "").partition(";")[0], "application/json", "content-type")
    if body is not None:
        equal(headers.get("content-length"), str(len(body)), "content-length")


def stream_headers(headers: Mapping[str, str]) -> None:
    equal(headers.get("content-type"), "text/event-stream; charset=utf-8", "content-type")
    equal(headers.get("cache-control"), "no-cache", "cache-control")
    equal(headers.get("x-accel-buffering"), "no", "x-accel-buffering")
    equal(headers.get("content-length"), None, "content-length")
