"""A request becomes one its model accepts, and the receipt says how."""

from __future__ import annotations

from typing import Any

import pytest

from bridge import catalog
from bridge.adapt import adapt
from bridge.receipt import Receipt

CATALOG = catalog.load()
NEW, OLD = "claude-opus-5-5", "claude-sonnet-4-5"


def said(role: str, *texts: str) -> dict[str, Any]:
    return {"role": role, "content": [{"type": "text", "text": text} for text in texts]}


def adapted(name: str, *messages: Any, **more: Any) -> tuple[dict[str, Any], str]:
    request = {"messages": list(messages) or [said("user", "Hi")], **more}
    receipt = Receipt()
    adapt(request, CATALOG.resolve(name), receipt)
    return request, str(receipt)


@pytest.mark.parametrize(("name", "most"), [(NEW, 128_000), (OLD, 64_000), ("claude-unheard-of", 128_000)])
def test_without_a_limit_the_models_own_is_sent(name: str, most: int) -> None:
    assert adapted(name) == ({"messages": [said("user", "Hi")], "max_tokens": most}, "")


def test_a_limit_above_the_models_is_clamped_and_named() -> None:
    request, receipt = adapted(OLD, max_tokens=100_000)
    assert (request["max_tokens"], receipt) == (64_000, "max_tokens=clamped(64000)")


@pytest.mark.parametrize(
    ("name", "given", "sent", "receipt"),
    [
        (NEW, {"temperature": 0.5, "top_p": 0.5}, {}, "temperature=dropped, top_p=dropped"),
        (NEW, {"temperature": 1, "top_p": 1}, {}, ""),
        (NEW, {"temperature": 0}, {}, "temperature=dropped"),
        (OLD, {"temperature": 0.5}, {"temperature": 0.5}, ""),
        (OLD, {"temperature": 1.5}, {"temperature": 1}, "temperature=clamped(1)"),
        (OLD, {"top_p": 0.5}, {"top_p": 0.5}, ""),
        (OLD, {"temperature": 0, "top_p": 0.5}, {"temperature": 0}, "top_p=dropped"),
        ("claude-unheard-of", {"temperature": 0.5}, {}, "temperature=dropped"),
    ],
)
def test_sampling_goes_where_it_is_accepted(name: str, given: Any, sent: Any, receipt: str) -> None:
    request, line = adapted(name, **given)
    assert {key: request[key] for key in ("temperature", "top_p") if key in request} == sent
    assert line == receipt


CONVERSATION = (said("user", "Hi"), said("system", "Now French."), said("assistant", "Salut"), said("user", "Bye"))


def test_a_system_turn_is_native_where_the_model_reads_it() -> None:
    request, receipt = adapted(NEW, *CONVERSATION)
    assert request["messages"] == list(CONVERSATION) and receipt == ""


def test_elsewhere_it_is_a_note_in_its_place() -> None:
    request, receipt = adapted(OLD, *CONVERSATION)
    note = "<system-message>\nNow French.\n</system-message>"
    assert request["messages"] == [said("user", "Hi", note), said("assistant", "Salut"), said("user", "Bye")]
    assert receipt == "messages.system=inlined"


def test_where_the_api_does_not_take_one_it_is_a_note_too() -> None:
    request, receipt = adapted(
        NEW, said("user", "Hi"), said("assistant", "Yo"), said("system", "Now."), said("user", "Bye")
    )
    assert [turn["role"] for turn in request["messages"]] == ["user", "assistant", "user"]
    assert receipt == "messages.system=inlined"


def test_an_assistant_turn_at_the_end_is_continued() -> None:
    request, receipt = adapted(NEW, said("user", "Hi"), said("assistant", "I was "))
    assert request["messages"][-1] == said("user", "Continue.") and receipt == "messages.prefill=emulated"


def test_or_is_a_prefill_where_that_exists_without_white_space_at_its_end() -> None:
    request, receipt = adapted(OLD, said("user", "Hi"), said("assistant", "I was "))
    assert request["messages"][-1] == said("assistant", "I was") and receipt == ""
