"""The search for canaries finds them, in whatever clothes, and the proof does not hold where one is."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from tests.faults.canaries import ANSWER, PROMPT, canaries
from tests.faults.canary import Canary, files, found

BIRD = Canary("the bird", "3f9c1d77a2b84e60915c")


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(BIRD.whole.encode(), id="as it is"),
        pytest.param(BIRD.whole[3:17].encode() + b"...", id="a piece"),
        pytest.param(BIRD.whole.encode().hex().encode(), id="in hexadecimal"),
        pytest.param(BIRD.whole[::-1].encode(), id="backwards"),
        *(
            pytest.param(base64.b64encode(b"x" * start + BIRD.whole.encode() + b"yz"), id=f"in Base64, from {start}")
            for start in range(3)
        ),
    ],
)
def test_a_canary_is_found(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "journal").mkdir()
    (tmp_path / "journal" / "1.open").write_bytes(b"\0\1" + data + b"\n")
    assert found([BIRD], files(tmp_path)) == ["the bird in file journal/1.open"]


@pytest.mark.parametrize("data", [b"", b"3f9c1d7", b"a2b84e6091 5c", b"another 3f9c1d77"])
def test_what_is_none_is_not(data: bytes) -> None:
    assert found([BIRD], [("somewhere", data)]) == []


def test_a_leak_that_is_planted_is_found_wherever_it_went() -> None:
    """Clients that say what they ask in their User-Agent, which is on the record."""
    report = canaries(0, 0, header=f"user-agent: {PROMPT}")
    assert not report.holds
    (leaks,) = [figure for figure in report.figures if figure.what.startswith("places")]
    assert not leaks.holds
    places = " ".join(report.evidence)
    assert "the prompt in " in places and PROMPT not in places and ANSWER not in places
