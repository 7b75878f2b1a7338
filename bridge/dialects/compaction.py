"""A conversation made shorter: what to ask of Claude for that, and what the client gets in its place.

Shapes: openai-python `types/responses/compacted_response.py`: the user's messages as they were, then one `compaction`
item. OpenAI's item holds what only OpenAI can read; ours holds a summary, sealed for the tenant.
"""

from __future__ import annotations

from typing import Any

from bridge.dialects import responses, sealing
from bridge.dialects.responses import Body
from bridge.dialects.sealing import Seal
from bridge.errors import ApiError

MOST_TOKENS = 16_384  # of a summary
ASKED = (
    "Summarise this conversation, so that you can go on with it from your summary and the user's messages alone. Keep "
    "what was asked and decided, facts, names, numbers, paths and identifiers exactly, what tools were called and what "
    "came of it, what is done, and what is to be done next. Leave out what no longer matters. Answer with the summary "
    "only, and call no tools."
)
# What a request may have beside the conversation that a summary has no use for.
_IGNORED = (
    "stream", "stream_options", "max_output_tokens", "text", "stop", "tool_choice", "include", "reasoning", "metadata",
)  # fmt: skip


def read(given: Any, seal: Seal) -> responses.Reading:
    """The request for a summary. Raises ApiError (400)."""
    if not isinstance(given, dict):
        return responses.read(given, seal)
    body = {name: value for name, value in given.items() if name not in _IGNORED} | {"max_output_tokens": MOST_TOKENS}
    said = body.get("input")
    if isinstance(said, str):
        said = [_message(said)]
    if said and isinstance(said, list):
        body["input"] = [*said, _message(ASKED)]
    if body.get("tools"):
        body["tool_choice"] = "none"
    reading = responses.read(body, seal)
    for name in _IGNORED:
        if given.get(name) is not None:
            reading.receipt.add(name, "ignored")
    return reading


def resource(response: Body, said: list[Body], seal: Seal) -> Body:
    """What the client goes on with instead of `said`. Raises ApiError (502) unless the summary is whole."""
    parts = [part for item in response["output"] if item["type"] == "message" for part in item["content"]]
    summary = "\n\n".join(part["text"] for part in parts if part["type"] == "output_text").strip()
    if response["status"] != "completed" or not summary:
        text = "The conversation could not be summarised: the model's answer was no whole summary."
        raise ApiError("not_compacted", text, retry=False)
    suffix = response["id"].removeprefix("resp_")
    item = {"id": f"cmp_{suffix}", "type": "compaction", "encrypted_content": sealing.pack_summary(summary, seal)}
    return {
        "id": response["id"],
        "object": "response.compaction",
        "created_at": response["created_at"],
        "output": [*_of_the_user(said[:-1], suffix), item],
        "usage": response["usage"],
    }


def _of_the_user(said: list[Body], suffix: str) -> list[Body]:
    asked = [item for item in said if item.get("type") in (None, "message") and item.get("role") == "user"]
    return [
        {"id": f"msg_{suffix}_{place}", **_message(item["content"]), "status": "completed"}
        for place, item in enumerate(asked)
    ]


def _message(content: Any) -> Body:
    parts = [{"type": "input_text", "text": content}] if isinstance(content, str) else content
    return {"type": "message", "role": "user", "content": parts}
