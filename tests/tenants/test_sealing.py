"""A tenant's seal opens what it made, and nothing else."""

from __future__ import annotations

import pytest

from tenants.sealing import Seals

KEYS = {1: b"1" * 32}


def test_what_a_tenant_sealed_opens_for_it_and_hides_what_it_is() -> None:
    sealed = Seals(KEYS).of(7).seal(b"a thought")
    assert "thought" not in sealed
    assert Seals(KEYS).of(7).open(sealed) == b"a thought"


def test_no_other_tenant_can_open_it() -> None:
    sealed = Seals(KEYS).of(7).seal(b"a thought")
    assert Seals(KEYS).of(8).open(sealed) is None
    assert Seals(KEYS).of(77).open(sealed) is None


def test_a_key_that_was_added_does_not_close_what_was_sealed_before() -> None:
    sealed = Seals(KEYS).of(7).seal(b"a thought")
    assert Seals({**KEYS, 2: b"2" * 32}).of(7).open(sealed) == b"a thought"
    assert Seals({2: b"2" * 32}).of(7).open(sealed) is None


@pytest.mark.parametrize("text", ["", ":", "1:", "1:AAAA", "x", "1:é", "1:" + "A" * 400, "😀"])
def test_nonsense_does_not_open(text: str) -> None:
    assert Seals(KEYS).of(7).open(text) is None


def test_what_was_changed_does_not_open() -> None:
    sealed = Seals(KEYS).of(7).seal(b"a thought")
    for place in range(2, len(sealed), 7):
        changed = sealed[:place] + ("A" if sealed[place] != "A" else "B") + sealed[place + 1 :]
        assert Seals(KEYS).of(7).open(changed) is None
