"""The input of a request in tokens, about: text by its bytes, pictures and pages by what they usually come to."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from bridge.estimate import input_tokens


def about(*content: Any, **more: Any) -> int:
    request = {"messages": [{"role": "user", "content": list(content)}], **more}
    return input_tokens(request, msgspec.json.encode(request))


def test_text_counts_by_its_bytes() -> None:
    assert 1000 <= about({"type": "text", "text": "word" * 1000}) <= 1020
    assert 750 <= about({"type": "text", "text": "語" * 1000}) <= 770


def test_so_do_tools_and_the_system_prompt() -> None:
    tool = {"name": "look", "description": "d" * 4000, "input_schema": {"type": "object"}}
    assert about(tools=[tool], system=[{"type": "text", "text": "s" * 4000}]) >= 2000


@pytest.mark.parametrize(
    ("block", "least", "most"),
    [
        ({"type": "image", "source": {"type": "base64", "data": "A" * 1_000_000}}, 1_600, 1_700),
        ({"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}}, 1_600, 1_700),
        ({"type": "document", "source": {"type": "base64", "data": "A" * 300_000}}, 10_000, 10_100),
        ({"type": "document", "source": {"type": "text", "data": "A" * 4_000}}, 1_000, 1_100),
        ({"type": "document", "source": {"type": "file", "file_id": "file_1"}}, 3_000, 3_100),
        ({"type": "document", "source": {"type": "content", "content": "A" * 4_000}}, 1_000, 1_100),
    ],
)
def test_media_do_not_count_by_their_bytes(block: Any, least: int, most: int) -> None:
    assert least <= about(block) <= most
    assert least <= about({"type": "tool_result", "tool_use_id": "t", "content": [block]}) <= most + 20


def test_nonsense_has_a_size_too() -> None:
    deep: Any = "x"
    for _ in range(5000):
        deep = [deep]
    nonsense = [deep, 1, None, {"source": 5}, {"type": "image", "source": {}}, "\ud800"]
    assert input_tokens({"messages": nonsense}, b'{"source":{}}') > 0
