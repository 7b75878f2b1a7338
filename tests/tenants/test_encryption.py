"""What is sealed opens with its key and for its purpose, and with nothing else."""

from __future__ import annotations

import pytest

from tenants.encryption import Box, Unreadable

OLD, NEW = {1: b"a" * 32}, {1: b"a" * 32, 2: b"b" * 32}


def test_what_is_sealed_opens_for_its_purpose() -> None:
    sealed = Box(OLD).seal("credential:7", b"a secret\0with a null")
    assert Box(OLD).open("credential:7", sealed) == b"a secret\0with a null"
    assert b"secret" not in sealed


def test_a_value_moved_to_another_row_does_not_open_there() -> None:
    sealed = Box(OLD).seal("credential:7", b"a secret")
    with pytest.raises(Unreadable):
        Box(OLD).open("credential:8", sealed)


@pytest.mark.parametrize("sealed", [b"", b"1:", b"nonsense", b"1:nonsense"])
def test_nonsense_does_not_open(sealed: bytes) -> None:
    with pytest.raises(Unreadable):
        Box(OLD).open("credential:7", sealed)
    with pytest.raises(Unreadable):
        Box(OLD).renew(sealed)


def test_every_changed_byte_is_noticed() -> None:
    sealed = Box(OLD).seal("x", b"a secret")
    for position in range(2, len(sealed) - 2):  # the last characters hold bits that mean nothing
        broken = sealed[:position] + bytes([sealed[position] ^ 1]) + sealed[position + 1 :]
        with pytest.raises(Unreadable):
            Box(OLD).open("x", broken)


def test_an_older_key_still_opens_and_the_newest_seals() -> None:
    old = Box(OLD).seal("x", b"a secret")
    both = Box(NEW)
    assert both.open("x", old) == b"a secret" and not both.is_current(old)
    renewed = both.renew(old)
    assert both.is_current(renewed) and renewed.startswith(b"2:")
    assert Box({2: b"b" * 32}).open("x", renewed) == b"a secret"
    with pytest.raises(Unreadable):
        Box(OLD).open("x", renewed)
