"""Tags are short pairs, few, each name once."""

from __future__ import annotations

import pytest

from tenants import tags


def test_tags_are_pairs() -> None:
    assert tags.read_all(["team=search", " cost-centre = 4711 ", "who=Zoë & co."]) == {
        "team": "search",
        "cost-centre": "4711",
        "who": "Zoë & co.",
    }


@pytest.mark.parametrize(
    "text", ["", "team", "=x", "team=", "a b=c", "t=a=b", "x" * 33 + "=1", "t=" + "x" * 65, "t=\n", "t=\0x"]
)
def test_what_is_no_tag_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a tag"):
        tags.read_all([text])


def test_a_name_stands_for_one_value() -> None:
    with pytest.raises(ValueError, match="given twice"):
        tags.read_all(["team=search", "team=ads"])


def test_ten_are_enough() -> None:
    assert len(tags.read_all(f"t{n}=x" for n in range(10))) == 10
    with pytest.raises(ValueError, match="10 tags at most"):
        tags.read_all(f"t{n}=x" for n in range(11))


def test_what_is_shown_can_be_read_again() -> None:
    given = {"team": "search", "env": "live"}
    assert tags.read_all(tags.shown(given)) == given
