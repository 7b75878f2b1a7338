"""What is done around a model that refuses it: forced calls and plain JSON."""

from __future__ import annotations

from typing import Any

import pytest

from bridge.dialects import chat_answer
from bridge.dialects.chat import AnswerShape
from bridge.dialects.chat_stream import ChatStream
from bridge.emulate import ForcedTool, PlainJson, Rewriter, through
from bridge.wire.anthropic import Event
from tests import wire
from tests.chat import CREATED, assert_agree, fold


def rewritten(rewriter: Rewriter, parts: list[bytes]) -> list[Event]:
    return [made for event in wire.events(parts) for made in through([rewriter], [event])]


def choice(events: list[Event]) -> dict[str, Any]:
    """The choice that these events amount to, which the stream tells alike."""
    folded, meter = fold(events)
    answer = chat_answer.write(folded.message(), meter.usage(), CREATED, AnswerShape())
    stream = ChatStream(meter.usage, CREATED, True, AnswerShape())
    assert_agree(answer, b"".join(stream.feed(event) for event in events) + stream.close())
    found: dict[str, Any] = answer["choices"][0]
    return found


def forced(name: str | None, *texts: str, stop: str = "end_turn", **more: Any) -> dict[str, Any]:
    return choice(rewritten(ForcedTool(name), [wire.start(), *wire.text_block(*texts), *wire.end(stop, **more)]))


# --- a forced call ---


def test_text_of_one_tool_is_its_arguments() -> None:
    made = forced("look", '{"at":', '"x"}')
    (call,) = made["message"]["tool_calls"]
    assert call["function"] == {"name": "look", "arguments": '{"at":"x"}'}
    assert call["id"] == "toolu_01Test_0"
    assert (made["message"]["content"], made["finish_reason"]) == (None, "tool_calls")


def test_arguments_are_told_as_they_come() -> None:
    events = rewritten(ForcedTool("look"), [wire.start(), *wire.text_block("{", "}")])
    assert [event.type for event in events] == [
        "message_start", "content_block_start", "content_block_delta", "content_block_delta", "content_block_stop",
    ]  # fmt: skip


def test_one_of_several_is_known_when_the_text_is_complete() -> None:
    made = forced(None, '{"tool":"find","argu', 'ments":{"a":1}}')
    assert made["message"]["tool_calls"][0]["function"] == {"name": "find", "arguments": '{"a":1}'}
    assert made["finish_reason"] == "tool_calls"


def test_one_of_several_that_was_cut_is_a_call_as_far_as_it_came() -> None:
    for text, arguments in (('{"tool":"find","argum', "{}"), ('{"tool":"find","arguments":{"a":', '{"a":')):
        made = forced(None, text, stop="max_tokens")
        assert made["message"]["tool_calls"][0]["function"] == {"name": "find", "arguments": arguments}
        assert (made["message"]["content"], made["finish_reason"]) == (None, "length")


@pytest.mark.parametrize("text", ['{"tool":"fi', "Sorry.", "[]", '{"tool":"find"}', '{"arguments":{}}'])
def test_what_names_no_tool_stays_text(text: str) -> None:
    made = forced(None, text, stop="max_tokens")
    assert made["message"]["content"] == text and "tool_calls" not in made["message"]
    assert made["finish_reason"] == "length"


def test_arguments_that_were_cut_are_told_as_they_came_and_as_cut() -> None:
    made = forced("look", '{"at":', stop="max_tokens")
    assert made["message"]["tool_calls"][0]["function"]["arguments"] == '{"at":'
    assert made["finish_reason"] == "length"


def test_a_refusal_stays_a_refusal() -> None:
    made = choice(rewritten(ForcedTool("look"), [wire.start(), *wire.end("refusal", {"explanation": "No."})]))
    assert (made["message"]["refusal"], made["finish_reason"]) == ("No.", "content_filter")


def test_thinking_before_the_call_passes() -> None:
    parts = [wire.start(), *wire.thinking_block("Hm."), *wire.text_block("{}", index=1), *wire.end()]
    made = choice(rewritten(ForcedTool("look"), parts))
    assert made["message"]["reasoning_content"] == "Hm." and len(made["message"]["tool_calls"]) == 1


# --- plain JSON ---


def plain(*texts: str) -> Any:
    return choice(rewritten(PlainJson(), wire.answer(*texts)))["message"]["content"]


@pytest.mark.parametrize(
    "texts",
    [
        ('{"a":1}',),
        ("{", '"a"', ":1}"),
        ('```json\n{"a":1}\n```',),
        ("```", "json", "\n", '{"a":1}', "\n", "```"),
        ("`", "``json\n{", '"a":1}', "\n``", "`"),
        ('```\n{"a":1}\n```\n',),
        ('\n\n{"a":1}\n',),
        (' ```json\r\n{"a":1}\r\n```',),
    ],
)
def test_code_fences_are_taken_off_however_they_come(texts: tuple[str, ...]) -> None:
    assert plain(*texts) == '{"a":1}'


@pytest.mark.parametrize(
    ("said", "object_"),
    [
        ('Here it is:\n\n{"a":1}', '{"a":1}'),
        ('Sure! ```json\n{"a": {"b": [1, "}"]}}\n```\nAnything else?', '{"a": {"b": [1, "}"]}}'),
        ('Fill {name} in: { "a" : "{\\\\" }. Done {x}.', '{ "a" : "{\\\\" }'),
        ('{"a":"\\\\\\""} and {"b":2}', '{"a":"\\\\\\""}'),
        ("An empty one: {}!", "{}"),
        ('These: [{"a":1}, {"a":2}] are two.', '[{"a":1}, {"a":2}]'),
        ('["a", {"b":1}]', '["a", {"b":1}]'),
        ('```\n[["a"], {"b":1}]\n```', '[["a"], {"b":1}]'),
        ('{"a":{"b":', '{"a":{"b":'),
    ],
)
def test_what_is_said_around_one_object_is_taken_off_however_it_comes(said: str, object_: str) -> None:
    assert plain(said) == object_
    assert plain(*said) == object_


def test_an_object_in_several_blocks_is_one() -> None:
    parts = [wire.start(), *wire.text_block("I looked. ", index=0), *wire.text_block('So: {"a"', index=1)]
    parts += [*wire.text_block(":1", "} Bye.", index=2), *wire.text_block("And {}", index=3), *wire.end()]
    assert choice(rewritten(PlainJson(), parts))["message"]["content"] == '{"a":1}'


def test_text_that_a_block_begins_with_counts() -> None:
    block = wire.event("content_block_start", index=0, content_block={"type": "text", "text": 'So: {"a'})
    parts = [wire.start(), block, *wire.text_block('":1}!')[1:], *wire.end()]
    assert choice(rewritten(PlainJson(), parts))["message"]["content"] == '{"a":1}'


def test_what_is_said_beside_a_call_is_told() -> None:
    parts = [wire.start(), *wire.text_block("Let me look."), *wire.tool_block("{}", index=1), *wire.end("tool_use")]
    message = choice(rewritten(PlainJson(), parts))["message"]
    assert message["content"] == "Let me look." and len(message["tool_calls"]) == 1


@pytest.mark.parametrize("text", ["x" * 40_000, "{ " * 20_000, "[" * 40_000])
def test_what_goes_on_without_an_object_is_not_held_for_ever(text: str) -> None:
    pieces = [text[start : start + 100] for start in range(0, len(text), 100)]
    events = rewritten(PlainJson(), [wire.start(), *wire.text_block(*pieces)])
    assert "".join(event.delta.text or "" for event in events if event.delta) == text
    assert plain(*pieces, ' {"a":1} end') == text + ' {"a":1} end'


def test_a_fence_inside_a_text_stays() -> None:
    text = '{"a":"```x\\n``` "}'
    assert plain(*text) == text and plain(text) == text


@pytest.mark.parametrize("text", ["I cannot.", "42", "Use {name}.", '{"a', "{", "a { b"])
def test_what_is_not_json_is_told_as_it_is(text: str) -> None:
    assert plain(*text) == text


def test_of_what_is_not_an_object_a_fence_is_taken_off_still() -> None:
    assert plain("```json\n42", "\n```\n") == "42"


def test_an_answer_of_nothing_stays_one() -> None:
    assert choice(rewritten(PlainJson(), [wire.start(), *wire.text_block(), *wire.end()]))["message"]["content"] == ""


def test_an_object_is_told_as_it_comes() -> None:
    events = rewritten(PlainJson(), [wire.start(), *wire.text_block("So: ", '{"a":', "1}", "\n")])
    told = [event.delta.text for event in events if event.delta and event.delta.text]
    assert told == ['{"a":', "1}"]


def test_other_blocks_pass() -> None:
    parts = [wire.start(), *wire.thinking_block("```"), *wire.text_block("{}", index=1), *wire.end()]
    message = choice(rewritten(PlainJson(), parts))["message"]
    assert (message["reasoning_content"], message["content"]) == ("```", "{}")


def test_rewriters_follow_each_other() -> None:
    events = [event for one in wire.events(wire.answer("```\n{}\n```")) for event in [one]]
    plain_json, tool = PlainJson(), ForcedTool("look")
    made = [out for event in events for out in through([plain_json, tool], [event])]
    assert choice(made)["message"]["tool_calls"][0]["function"]["arguments"] == "{}"
