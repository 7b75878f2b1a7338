"""What a proof says: what it ran, its figures and their limits, and whether they hold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Figure:
    what: str
    value: str
    limit: str
    holds: bool


@dataclass(slots=True)
class Report:
    """`ran` is what was done; the figures are what came of it."""

    ran: str
    figures: list[Figure] = field(default_factory=list)
    evidence: list[str] = field(default_factory=list)  # a few examples of what should not have been

    @property
    def holds(self) -> bool:
        return all(figure.holds for figure in self.figures)

    @property
    def judged(self) -> bool:
        """Whether anything was: a proof that needs what is not there has not been run."""
        return any(figure.limit for figure in self.figures)

    def exactly(self, what: str, value: int, expected: int = 0) -> None:
        self.figures.append(Figure(what, f"{value:,}", f"= {expected:,}", value == expected))

    def none_of(self, what: str, found: Sequence[object]) -> None:
        """None may have been found; the first few that were are evidence."""
        self.exactly(what, len(found))
        self.evidence += [f"{what}: {item}" for item in found[:3]]

    def at_most(self, what: str, value: float, limit: float, unit: str = "") -> None:
        self.figures.append(Figure(what, f"{_short(value)}{unit}", f"≤ {_short(limit)}{unit}", value <= limit))

    def at_least(self, what: str, value: float, limit: float, unit: str = "") -> None:
        self.figures.append(Figure(what, f"{_short(value)}{unit}", f"≥ {_short(limit)}{unit}", value >= limit))

    def told(self, what: str, value: object) -> None:
        """A figure without a limit."""
        self.figures.append(Figure(what, value if isinstance(value, str) else f"{value:,}", "", True))

    def __str__(self) -> str:
        lines = [self.ran]
        for figure in self.figures:
            mark = " " if figure.holds else "✗"
            lines.append(f"  {mark} {figure.what}: {figure.value}" + (f" ({figure.limit})" if figure.limit else ""))
        return "\n".join([*lines, *(f"    {line}" for line in self.evidence)])


def not_installed(what: str) -> Report:
    """Of a proof that needs what this machine does not have."""
    report = Report("not run")
    report.told(what, "not installed")
    return report


def _short(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:,.3g}" if abs(value) < 1000 else f"{value:,.0f}"
