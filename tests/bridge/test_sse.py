"""The same events, however the network cut them."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bridge import sse
from bridge.sse import EventTooLarge, Parser

STREAM = (
    b': a comment\n\nevent: one\ndata: {"a": 1}\n\n'
    b"data:no space\r\n\r\ndata: two\ndata: lines\n\nid: 7\nretry: 5\n"
    b"data: \xe2\x80\xa8 kept\n\n\n\ndata\n\ndata: end\r\r"
)
EVENTS = [b'{"a": 1}', b"no space", b"two\nlines", b"\xe2\x80\xa8 kept", b"", b"end"]


def parsed(*pieces: bytes) -> list[bytes]:
    parser = Parser()
    found = [event for piece in pieces for event in parser.feed(piece)]
    return found + parser.finish()


def test_a_whole_stream() -> None:
    assert parsed(STREAM) == EVENTS


def test_every_single_cut_gives_the_same_events() -> None:
    for cut in range(len(STREAM) + 1):
        assert parsed(STREAM[:cut], STREAM[cut:]) == EVENTS, cut


def test_byte_by_byte() -> None:
    assert parsed(*(STREAM[i : i + 1] for i in range(len(STREAM)))) == EVENTS


def test_the_end_of_the_stream_completes_what_is_there() -> None:
    assert parsed(b"data: one\n") == [b"one"]
    assert parsed(b"data: on") == [b"on"]
    assert Parser().feed(b"data: one\n") == []


@given(st.binary(max_size=400), st.lists(st.integers(0, 400), max_size=6))
def test_any_bytes_cut_anywhere_parse_alike_and_never_fail(content: bytes, cuts: list[int]) -> None:
    edges = sorted({0, len(content), *(cut for cut in cuts if cut < len(content))})
    pieces = [content[a:b] for a, b in pairwise(edges)]
    assert parsed(*pieces) == parsed(content)


@pytest.mark.parametrize("line", [b"data: " + b"x" * 50 + b"\n", b"x" * 50])
def test_an_event_that_never_ends_is_given_up(monkeypatch: pytest.MonkeyPatch, line: bytes) -> None:
    monkeypatch.setattr(sse, "MAX_EVENT_BYTES", 1000)
    parser = Parser()
    with pytest.raises(EventTooLarge):
        for _ in range(1000):
            parser.feed(line)


USUAL = b'event: ping\ndata: {"a": 1}\n\ndata: {"b": 2}\n\n'


@pytest.mark.parametrize(
    ("between", "events"),
    [
        (b"", []),
        (b": a comment\n\n", []),
        (b"data: two\ndata: lines\n\n", [b"two\nlines"]),
        (b"event: no data\n\n", []),
        (b"data: three\r\n\r\n", [b"three"]),
        (b"id: 7\nevent: x\ndata: four\n\n", [b"four"]),
        (b"\n", []),
    ],
)
def test_events_of_the_usual_form_are_found_around_others(between: bytes, events: list[bytes]) -> None:
    expected = [b'{"a": 1}', b'{"b": 2}', *events, b'{"a": 1}', b'{"b": 2}']
    assert parsed(USUAL + between + USUAL) == expected
    assert parsed(USUAL[:7], USUAL[7:] + between, USUAL) == expected


def test_an_event_of_the_usual_form_has_a_size_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "MAX_EVENT_BYTES", 10)
    with pytest.raises(EventTooLarge):
        Parser().feed(b"data: 12345678901\n\n")


@given(
    st.lists(st.sampled_from([b"data: 1", b"event: e", b"\n", b"\n\n", b"\r", b"data:2", b" ", b"\r\n"]), max_size=8)
)
@example([b"data: 1", b"\r", b"\n\n"])
def test_what_is_whole_leaves_nothing_for_later(pieces: list[bytes]) -> None:
    content = b"".join(pieces)
    found, parser = Parser().whole(content), Parser()
    if found is not None:
        assert found == [event for byte in content for event in parser.feed(bytes([byte]))]
        assert parser.feed(b"data: 3\n\n") == [b"3"]


def test_nothing_is_whole_in_the_middle_of_an_event() -> None:
    usual = b"data: 1\n\n"
    assert Parser().whole(usual) == [b"1"] and Parser().whole(usual * 2) == [b"1", b"1"]
    for before in (b"da", b"data: 0\n"):
        parser = Parser()
        parser.feed(before)
        assert parser.whole(usual) is None
