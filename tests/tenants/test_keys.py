"""The form of keys: what is recognised without a database, and what never leaks."""

from __future__ import annotations

import re

import pytest

from tenants import keys
from tenants.values import Mode


@pytest.mark.parametrize("mode", list(Mode))
def test_a_key_has_the_form_that_scanners_look_for(mode: Mode) -> None:
    key = keys.mint(mode)
    assert re.fullmatch(r"sk-bridge_(live|test)_[0-9A-Za-z]{46}", key.text)
    assert keys.recognise(key.text) == key
    assert key.public_id in key.hint and key.text not in key.hint


def test_every_single_wrong_character_is_noticed() -> None:
    text = keys.mint(Mode.LIVE).text
    for position in range(len("sk-bridge_live_"), len(text)):
        other = "a" if text[position] != "a" else "b"
        assert keys.recognise(text[:position] + other + text[position + 1 :]) is None


@pytest.mark.parametrize("text", ["", "sk-bridge_live_", "sk-ant-api03-x", "sk-bridge_prod_" + "a" * 46, "٣" * 60])
def test_anything_else_is_not_a_key(text: str) -> None:
    assert keys.recognise(text) is None


def test_a_line_break_at_the_end_is_not_part_of_a_key() -> None:
    assert keys.recognise(keys.mint(Mode.LIVE).text + "\n") is None


def test_the_secret_is_in_no_repr_and_two_keys_are_never_alike() -> None:
    one, other = keys.mint(Mode.LIVE), keys.mint(Mode.LIVE)
    assert one.text[23:55] not in f"{one} {one!r} {[one]}"
    assert one.text != other.text


def test_the_digest_depends_on_the_whole_key_and_on_the_pepper() -> None:
    key = keys.mint(Mode.LIVE)
    assert key.digest(b"one") != key.digest(b"two")
    assert len(key.digest(b"one")) == 32


def test_a_masked_credential_cannot_be_used() -> None:
    text = keys.mint(Mode.LIVE).text
    assert len(keys.mask(text)) == 17 and text not in keys.mask(text)
    assert keys.mask("short") == "…"
    assert "<" not in keys.mask("<script>alert(1)</script>" * 3)
