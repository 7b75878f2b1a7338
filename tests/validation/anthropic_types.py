"""The request types of Anthropic's SDK, as a validator: recursive, lists for its lazy iterables, nothing extra."""

from __future__ import annotations

import os
import types
import typing
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any, NotRequired, Required

import pydantic
from anthropic._types import SequenceNotStr
from anthropic.types import message_create_params
from anthropic.types.beta import message_create_params as beta_params
from typing_extensions import TypedDict, get_type_hints, is_typeddict

from bridge.catalog import Model

# The SDK's newest types lack them; the API takes them from models whose row says so.
LEGACY = {"temperature": float, "top_p": float, "top_k": int}
BETA = frozenset({"context_management"})  # what only a beta's types have
_NOTHING = object()  # a union of the SDK's own answers only
_made: dict[Any, Any] = {}


def errors(request: dict[str, Any], model: Model) -> list[str]:
    """What is wrong with a request to this model; empty for a good one."""
    checked = request
    if model.sampling == "legacy":
        checked = {name: value for name, value in request.items() if name not in LEGACY}
    try:
        _adapter(any(name in BETA for name in request)).validate_python({**checked, "stream": True}, strict=True)
    except pydantic.ValidationError as problem:
        return [f"{'.'.join(map(str, one['loc']))}: {one['msg']}"[:300] for one in problem.errors()]
    return []


@cache
def _adapter(beta: bool) -> pydantic.TypeAdapter[Any]:
    params = beta_params if beta else message_create_params
    return pydantic.TypeAdapter(_eager(params.MessageCreateParamsStreaming))


def _eager(kind: Any) -> Any:
    """The same type with lists for iterables, which are not checked before they are read, and closed dictionaries."""
    if is_typeddict(kind):
        return _closed(kind)
    origin, inside = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Annotated, Required, NotRequired):
        return _eager(inside[0])
    if origin in (Iterable, Sequence, SequenceNotStr):
        return list[_eager(inside[0])]  # type: ignore[misc]
    if origin in (typing.Union, types.UnionType):
        kept = [made for one in inside if not _is_object(one) and (made := _eager(one)) is not _NOTHING]
        return typing.Union[tuple(kept)] if kept else _NOTHING  # noqa: UP007
    if origin is dict:
        return dict[inside[0], _eager(inside[1])]  # type: ignore[misc, valid-type]
    return kind


def _is_object(kind: Any) -> bool:
    """What Python callers may pass instead of JSON: files, paths, and the SDK's own answers."""
    if (typing.get_origin(kind) or kind) in (typing.IO, os.PathLike):
        return True
    return isinstance(kind, type) and issubclass(kind, pydantic.BaseModel)


def _closed(kind: Any) -> Any:
    if kind in _made:
        return _made[kind]
    _made[kind] = Any  # (a type that holds itself is not followed further)
    hints = get_type_hints(kind, include_extras=True)
    fields = {
        name: (Required if _is_needed(kind, name, hint) else NotRequired)[_eager(hint)] for name, hint in hints.items()
    }
    made = TypedDict(kind.__name__, fields)  # type: ignore[operator]
    made.__pydantic_config__ = pydantic.ConfigDict(extra="forbid")
    _made[kind] = made
    return made


def _is_needed(kind: Any, name: str, hint: Any) -> bool:
    """What the class itself knows is wrong where its annotations are text."""
    origin = typing.get_origin(hint)
    return origin is Required or (name in kind.__required_keys__ and origin is not NotRequired)
