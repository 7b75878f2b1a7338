"""What a pattern matches is replaced, however the wire cuts or escapes it, and nothing else is touched."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bridge.redaction import redact

CARDS = (r"\b\d{4}(?:[ -]?\d{4}){3}\b",)
MAIL = (r"(?i)[a-z0-9.]+@[a-z0-9.]+",)
CARD = "4111 1111 1111 1111"


def done(value: Any, patterns: tuple[str, ...] = CARDS) -> tuple[Any, int]:
    body, count = redact(json.dumps(value).encode(), patterns, False)
    return json.loads(body), count


def events(*datas: Any) -> bytes:
    return b"".join(b"data: " + json.dumps(data).encode() + b"\n\n" for data in datas)


def delta(text: str, index: int = 0) -> dict[str, Any]:
    return {"id": "chatcmpl-1111", "choices": [{"index": index, "delta": {"content": text}}]}


def texts(body: bytes, index: int = 0) -> str:
    """The pieces of one choice, joined."""
    found = [json.loads(line[6:]) for line in body.split(b"\n\n") if line.startswith(b"data: {")]
    choices = [event["choices"][0] for event in found]
    return "".join(choice["delta"]["content"] for choice in choices if choice["index"] == index)


@pytest.mark.parametrize("body", [b'{ "a" : "nothing here", "b": 12 }', events(delta("nothing"), delta(" here"))])
def test_where_nothing_matches_every_byte_stays(body: bytes) -> None:
    assert redact(body, CARDS, False) == (body, 0)


def test_texts_numbers_and_names_anywhere_in_a_document() -> None:
    value = {"a": [f"x {CARD} y", {"b": 4111111111111111}], CARD: 1, "c": 4111}
    assert done(value) == ({"a": ["x [redacted] y", {"b": "[redacted]"}], "c": 4111, "[redacted]": 1}, 3)


def test_escapes_hide_nothing() -> None:
    body, count = redact(rb'{"a":"bob\u0040acme.example \ud83d"}', MAIL, False)
    assert count == 1 and b"acme" not in body and json.loads(body)["a"].startswith("[redacted]")


def test_json_within_a_text_is_searched_as_text() -> None:
    assert done({"arguments": json.dumps({"card": CARD})}) == ({"arguments": '{"card": "[redacted]"}'}, 1)


def test_what_a_stream_sends_in_pieces_is_put_together() -> None:
    pieces = ["It is 4", "111 1111", " 1111 1111", ", and 41", "11-1111-1111-1111."]
    body, count = redact(events(*map(delta, pieces)) + b"data: [DONE]\n\n", CARDS, False)
    assert (texts(body), count) == ("It is [redacted], and [redacted].", 2)
    assert body.endswith(b"data: [DONE]\n\n")


def test_pieces_of_several_answers_do_not_mix() -> None:
    sent = [delta("4111 1111 ", 0), delta("1234 ", 1), delta("1111 1111", 0), delta("12", 1)]
    body, count = redact(events(*sent), CARDS, False)
    assert (texts(body, 0), texts(body, 1), count) == ("[redacted]", "1234 12", 1)


def test_what_every_event_repeats_is_no_text_in_pieces() -> None:
    body = events(*[{"id": "1234", "created": 4321}] * 8)
    assert redact(body, CARDS, False) == (body, 0)


def test_only_the_events_that_held_a_match_are_written_anew() -> None:
    sent = events(delta("one"), delta(CARD), delta("three"))
    body, _ = redact(sent, CARDS, False)
    assert body.split(b"\n\n")[0] == sent.split(b"\n\n")[0] and body.split(b"\n\n")[2] == sent.split(b"\n\n")[2]


def test_of_a_beginning_only_whole_events_stay_and_of_a_document_nothing() -> None:
    sent = events(delta("one"), delta(CARD))
    assert redact(sent[:-20], CARDS, True) == (events(delta("one")), 0)
    assert redact(b'{"a": "4111 1111 11', CARDS, True) == (b"", 0)


@pytest.mark.parametrize(
    "body",
    [f"not JSON {CARD}".encode(), b"\xff " + CARD.encode(), f'{{"a":"{CARD}","a":1}}'.encode(), b"[" * 100_000],
)
def test_what_is_not_json_is_searched_as_it_is(body: bytes) -> None:
    assert CARD.encode() not in redact(body, CARDS, False)[0]


def test_no_pattern_and_no_text_make_it_hang() -> None:
    """Either takes Python's own engine longer than anybody waits."""
    hard = (r"(a+)+$", r"(\w+\s?)*!", r"(x|x)*y")
    text = ("a" * 200_000) + "!" + " x" * 100_000
    assert done({"a": text}, hard)[1] >= 1
