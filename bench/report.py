"""Turns the figures of `bench.run --json` into the tables of RESULTS.md.

python -m bench.report figures.json…        several runs of the same: the median of each figure
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from statistics import median
from typing import Any

from bench.run import CASES, Case

Run = dict[str, dict[str, dict[str, Any]]]  # system → case → figures


def main(paths: list[str]) -> None:
    runs: list[Run] = [json.loads(Path(path).read_text()) for path in paths]
    systems = [name for name in runs[0] if name != "direct"]
    cases = [case for case in CASES if any(case.name in run.get(name, {}) for run in runs for name in systems)]
    print(_line("case", *systems, "Bridge to the others"))
    print(_line(*["---"] * (len(systems) + 2)))
    for case in cases:
        found = {name: _figures(runs, name, case.name) for name in systems}
        print(_line(case.name, *(_told(case, found[name]) for name in systems), _ratios(case, found)))


def _figures(runs: list[Run], system: str, case: str) -> dict[str, float]:
    """The median of each figure over the runs, flat: `total_ms.p50`."""
    flat = [_flat(run[system][case]) for run in runs if case in run.get(system, {})]
    return {name: median(each[name] for each in flat) for name in flat[0]} if flat else {}


def _flat(figures: dict[str, Any]) -> dict[str, float]:
    plain = {name: value for name, value in figures.items() if isinstance(value, int | float)}
    nested = {
        f"{name}.{inner}": value
        for name, group in figures.items()
        if isinstance(group, dict) and name != "errors"
        for inner, value in group.items()
    }
    return {**plain, **nested, "errors": sum((figures.get("errors") or {}).values())}


def _speed(case: Case) -> str:
    return "chunks_per_second" if case.stream else "requests_per_second"


def _told(case: Case, found: dict[str, float]) -> str:
    if not found:
        return "–"
    unit = "chunks/s" if case.stream else "req/s"
    told = [f"{found[_speed(case)]:,.0f} {unit}", f"{found['cpu_us_per_request']:,.0f} µs CPU"]
    if case.name.startswith("paced"):
        told.append(f"lag p99 {found.get('lag_ms.p99', 0):,.0f} ms")
    else:
        told.append(f"p50 {found['total_ms.p50']:,.1f} p99 {found['total_ms.p99']:,.1f} ms")
    if found["errors"]:
        told.append(f"**{found['errors']:,.0f} errors**")
    return ", ".join(told)


def _ratios(case: Case, found: dict[str, dict[str, float]]) -> str:
    ours = found.get("bridge", {}).get(_speed(case))
    if not ours:
        return ""
    others = ((name, figures) for name, figures in found.items() if name != "bridge" and figures)
    return ", ".join(
        f"{name} {ours / figures[_speed(case)]:.2f} ×" for name, figures in others if figures[_speed(case)]
    )


def _line(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main(sys.argv[1:])
