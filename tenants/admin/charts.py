"""Charts: bars drawn as SVG by the server, each with its words, under a policy that allows no script or style.

Places and sizes are percentages, which a rect takes as attributes: the chart is as wide as its column and nothing in it
is stretched. The same numbers stand in a table (`numbers`), for whoever does not see bars.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from tenants.admin import shown

GAP = 0.2  # of a bar's place
TOP = 92.0  # % of the height that the highest step takes
_STEPS = (1, 2, 3, 4, 5, 6, 8, 10)


@dataclass(frozen=True)
class Series:
    """One colour of the bars; `tone` is one of those in figures.css."""

    name: str
    tone: str
    values: Sequence[int]


def bars(
    title: str,
    labels: Sequence[str],
    series: Sequence[Series],
    show: Callable[[int], str] = shown.compact,
    note: str = "",
) -> SafeString:
    """A figure: its title, the sum over all bars, and a bar for each label, series upon series."""
    heights = [sum(values) for values in zip(*(one.values for one in series), strict=True)]
    head = format_html(
        '<figcaption><span class="name">{}</span> <strong>{}</strong>{}</figcaption>',
        title, show(sum(heights)), format_html(' <span class="quiet">{}</span>', note) if note else "",
    )  # fmt: skip
    if not any(heights):
        return format_html('<figure class="chart">{}<p class="quiet nothing">Nothing in this time.</p></figure>', head)
    most = step(max(heights))
    columns = format_html_join("", "{}", ((_column(n, labels, series, most, show),) for n in range(len(labels))))
    axis = format_html_join("", "<span>{}</span>", ((label,) for label in _ends(labels)))
    return format_html(
        '<figure class="chart">{}<div class="plot"><span class="most quiet">{}</span>'
        '<svg role="img" aria-label="{}">{}{}</svg></div>'
        '<div class="axis quiet" aria-hidden="true">{}</div>{}</figure>',
        head, show(most), f"{title} by day", _lines(), columns, axis, _legend(series),
    )  # fmt: skip


def step(value: int) -> int:
    """The round number (one figure and noughts) that is as much or just more."""
    power = int(10 ** (len(str(value)) - 1))
    return next(number * power for number in _STEPS if number * power >= value)


def share(part: int, whole: int) -> SafeString:
    """A bar within a row of a table; the number stands beside it."""
    width = 100 * part / whole if whole else 0
    return format_html(
        '<svg class="share" aria-hidden="true"><rect class="a" width="{}%" height="100%" rx="2"/></svg>', f"{width:.2f}"
    )


def numbers(head: Sequence[str], rows: Sequence[Sequence[str]]) -> SafeString:
    """The numbers of some charts, folded away until asked for."""
    top = format_html_join("", '<th scope="col">{}</th>', ((text,) for text in head))
    lines = (
        (first, format_html_join("", '<td class="num">{}</td>', ((cell,) for cell in rest))) for first, *rest in rows
    )
    body = format_html_join("", '<tr><th scope="row">{}</th>{}</tr>', lines)
    return format_html(
        '<details class="numbers"><summary>The numbers</summary><div class="results" tabindex="0" role="region" '
        'aria-label="The numbers"><table class="list"><thead><tr>{}</tr></thead><tbody>{}</tbody></table></div>'
        "</details>",
        top, body,
    )  # fmt: skip


def _column(
    number: int, labels: Sequence[str], series: Sequence[Series], most: int, show: Callable[[int], str]
) -> SafeString:
    """The parts of one bar, from the ground up, over a place that shows the words wherever it is pointed at."""
    width = 100 / len(labels)
    left, floor, parts = width * number, 100.0, []
    for one in series:
        height = TOP * one.values[number] / most
        floor -= height
        if height:
            parts.append(
                (one.tone, f"{left + width * GAP / 2:.3f}", f"{floor:.3f}", f"{width * (1 - GAP):.3f}", f"{height:.3f}")
            )
    rect = '<rect class="{}" x="{}%" y="{}%" width="{}%" height="{}%" rx="1.5"/>'
    words = ", ".join(
        f"{show(one.values[number])} {one.name}" if one.name else show(one.values[number]) for one in series
    )
    place = format_html('<rect class="place" x="{}%" width="{}%" height="100%"/>', f"{left:.3f}", f"{width:.3f}")
    return format_html(
        "<g><title>{}: {}</title>{}{}</g>", labels[number], words, place, format_html_join("", rect, parts)
    )


def _lines() -> SafeString:
    at = ((f"{100 - TOP * part:.1f}",) * 2 for part in (0.5, 1))
    return format_html_join("", '<line class="grid" x1="0" x2="100%" y1="{}%" y2="{}%"/>', at)


def _ends(labels: Sequence[str]) -> list[str]:
    """What the axis says: the first, the middle and the last."""
    places = sorted({0, len(labels) // 2, len(labels) - 1} if len(labels) > 2 else set(range(len(labels))))
    return [labels[place] for place in places]


def _legend(series: Sequence[Series]) -> SafeString | str:
    if len(series) < 2:
        return ""
    item = '<li><svg class="key" aria-hidden="true"><rect class="{}" width="100%" height="100%" rx="2"/></svg>{}</li>'
    return format_html(
        '<ul class="legend quiet">{}</ul>', format_html_join("", item, ((s.tone, s.name) for s in series))
    )
