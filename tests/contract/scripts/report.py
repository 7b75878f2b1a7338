"""Runs the cases of a client script and prints what each came to, as JSON: {case: {"value": …} or {"error": …}}."""

from __future__ import annotations

import asyncio
import base64
import inspect
import json
import os
import sys
import traceback
from collections.abc import Callable
from typing import Any

BASE_URL, API_KEY = os.environ["BRIDGE_BASE_URL"], os.environ["BRIDGE_API_KEY"]
EMULATED, FORCED = "claude-sonnet-5-5", "claude-haiku-5-5"  # models without and with forced tool calls
PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
PNG_URL = f"data:image/png;base64,{PNG}"
PDF_URL = "data:application/pdf;base64," + base64.b64encode(b"%PDF-1.4\n%%EOF\n").decode()

_cases: dict[str, Callable[[], Any]] = {}


def case(function: Callable[[], Any]) -> Callable[[], Any]:
    """A case: its name is the function's, its value what it returns or, if it is a coroutine, what that returns."""
    _cases[function.__name__] = function
    return function


def run() -> None:
    print(json.dumps({name: _outcome(function) for name, function in _cases.items()}, default=str))


def _outcome(function: Callable[[], Any]) -> dict[str, Any]:
    try:
        value = function()
        if inspect.iscoroutine(value):
            value = asyncio.run(value)
    except Exception as problem:
        traceback.print_exc(file=sys.stderr)
        return {"error": f"{type(problem).__name__}: {problem}"}
    return {"value": value}
