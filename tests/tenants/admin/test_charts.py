"""Bars: as high as what they stand for, each in words, and nothing in them but what was drawn."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest

from tenants.admin import charts
from tenants.admin.charts import Series

LABELS = ["20 Nov", "21 Nov", "22 Nov"]
HOSTILE = "</title><script>alert(1)</script>\"'"


def heights(figure: str, tone: str) -> list[float]:
    return [float(height) for height in re.findall(rf'class="{tone}"[^>]* height="([\d.]+)%" rx="1.5"', figure)]


def test_bars_are_as_high_as_their_values() -> None:
    figure = charts.bars("Requests", LABELS, [Series("answered", "a", [10, 0, 5]), Series("failed", "bad", [0, 0, 5])])
    assert heights(figure, "a") == [charts.TOP, charts.TOP / 2] and heights(figure, "bad") == [charts.TOP / 2]
    assert "<strong>20</strong>" in figure
    for words in ("20 Nov: 10 answered, 0 failed", "21 Nov: 0 answered, 0 failed", "22 Nov: 5 answered, 5 failed"):
        assert f"<title>{words}</title>" in figure


def test_bars_stand_on_each_other() -> None:
    figure = charts.bars("Requests", ["today"], [Series("answered", "a", [6]), Series("failed", "bad", [4])])
    tops = [float(top) for top in re.findall(r'y="([\d.]+)%" width="[\d.]+%" height="[\d.]+%" rx="1.5"', figure)]
    assert tops == pytest.approx([100 - charts.TOP * 0.6, 100 - charts.TOP])


def test_a_figure_is_well_formed_whatever_it_is_given() -> None:
    figure = charts.bars(HOSTILE, [HOSTILE], [Series(HOSTILE, "a", [1])], note=HOSTILE)
    table = charts.numbers([HOSTILE, HOSTILE], [[HOSTILE, HOSTILE]])
    ElementTree.fromstring(f"<div>{figure}{table}</div>")
    assert "<script>" not in figure + table and " style=" not in figure + table


def test_without_anything_there_is_a_sentence_and_no_chart() -> None:
    figure = charts.bars("Requests", LABELS, [Series("answered", "a", [0, 0, 0])])
    assert "Nothing in this time" in figure and "<svg" not in figure


@pytest.mark.parametrize(
    ("value", "high"), [(1, 1), (7, 8), (9, 10), (11, 20), (30, 30), (701, 800), (10**15 + 1, 2 * 10**15)]
)
def test_the_axis_ends_at_a_round_number(value: int, high: int) -> None:
    assert charts.step(value) == high


def test_a_share_is_of_the_whole() -> None:
    assert 'width="25.00%"' in charts.share(1, 4) and 'width="0.00%"' in charts.share(0, 0)
