"""Checks of a client's JSON, failing with OpenAI's words: the parameter's path, what was expected, what came."""

from __future__ import annotations

from typing import Any

from bridge.errors import ApiError

_NAMES = {
    dict: "an object",
    list: "an array",
    str: "a string",
    bool: "a boolean",
    int: "an integer",
    float: "a decimal",
}


def wrong_type(path: str, expected: str, value: Any) -> ApiError:
    got = _NAMES.get(type(value), "null")
    return ApiError("invalid_type", f"Invalid type for '{path}': expected {expected}, but got {got} instead.", path)


def missing(path: str) -> ApiError:
    return ApiError("missing", f"Missing required parameter: '{path}'.", path)


def an_object(value: Any, path: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise wrong_type(path, "an object", value)
    return value


def a_string(value: Any, path: str) -> str:
    if not isinstance(value, str):
        raise wrong_type(path, "a string", value)
    return value


def a_boolean(value: Any, path: str) -> bool:
    if not isinstance(value, bool):
        raise wrong_type(path, "a boolean", value)
    return value


def an_integer(value: Any, path: str, low: int) -> int:
    if isinstance(value, float) and value.is_integer():  # 100.0, from clients whose language knows one kind of number
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise wrong_type(path, "an integer", value)
    if value < low:
        text = f"Invalid '{path}': integer below minimum value. Expected a value >= {low}, but got {value} instead."
        raise ApiError("below_min", text, path)
    return value


def a_number(value: Any, path: str, low: float, high: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise wrong_type(path, "a decimal", value)
    if value > high:
        text = f"Invalid '{path}': decimal above maximum value. Expected a value <= {high}, but got {value} instead."
        raise ApiError("decimal_above_max", text, path)
    if value < low:
        text = f"Invalid '{path}': decimal below minimum value. Expected a value >= {low}, but got {value} instead."
        raise ApiError("decimal_below_min", text, path)
    return value


def a_page_size(text: str | None, default: int) -> int:
    """`?limit=` of a list: 1…1000."""
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:9]) <= 1000):
        raise ApiError("invalid_value", "Invalid value for 'limit': expected an integer from 1 to 1000.", "limit")
    return int(text)
