"""Runs the heavy proofs, says what came of them and, if asked, writes it down.

    python -m tests.faults.proof [--full] [--only NAME]… [--write docs/proof.md]     replaces the results of these

Each proof drives a real server in front of a fake Anthropic, on this machine alone. Without --full it is a sample of a
minute or two, as CI runs it. The exit code is 1 if a limit does not hold. Seeds are fixed and printed.
"""

from __future__ import annotations

import argparse
import os
import platform
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tests.faults.bare import bare
from tests.faults.canaries import canaries
from tests.faults.changes import changes
from tests.faults.churn import churn
from tests.faults.contention import contention
from tests.faults.cuts import cuts
from tests.faults.disconnects import disconnects
from tests.faults.drain import drain
from tests.faults.duplicates import duplicates
from tests.faults.kills import kills
from tests.faults.large import large
from tests.faults.limits import limit_kills, limits, redis_dies
from tests.faults.locked import locked
from tests.faults.malformed import malformed
from tests.faults.outage import outage
from tests.faults.overdraft import killed, overdraft
from tests.faults.report import Figure, Report
from tests.faults.slow import slow, slow_readers
from tests.faults.soak import soak
from tests.faults.tampering import tampering
from tests.faults.volume import volume
from tests.live import REPO


@dataclass(frozen=True, slots=True)
class Proof:
    """`promise` is what holds if it passes."""

    promise: str
    sample: Callable[[], Report]
    full: Callable[[], Report]


PROOFS: dict[str, Proof] = {
    "churn": Proof(
        "Clients come and go at random, and nothing of them is left",
        partial(churn, 300),
        partial(churn, 1000),
    ),
    "kills": Proof(
        "SIGKILL loses, doubles and leaves open no request",
        partial(kills, 10),
        partial(kills, 200),
    ),
    "drain": Proof(
        "SIGTERM ends every stream properly, in time",
        partial(drain, 100),
        partial(drain, 100, rounds=20),
    ),
    "silent": Proof(
        "SIGTERM is not held up by connections that say nothing",
        partial(drain, 10, silent=4),
        partial(drain, 10, silent=50),
    ),
    "malformed": Proof(
        "Whatever is sent, the answer is JSON, never a 5xx, and nothing of it reaches upstream",
        partial(malformed, 500),
        partial(malformed, 10_000),
    ),
    "slow": Proof(
        "A slow upstream does not slow down other requests",
        partial(slow, 300, samples=100, limit=4),
        partial(slow, 300, samples=300, limit=2),
    ),
    "slow readers": Proof(
        "Clients that read slowly cost little memory, and others no time",
        partial(slow_readers, 50, rounds=1, samples=300, limit_mb=2, limit=4),
        partial(slow_readers, 500, rounds=20, samples=500, limit_mb=1.2, limit=1.1),
    ),
    "large": Proof(
        "A long history costs little time, and a huge image holds nobody up",
        partial(large, 10, 2, limit_ms=60, stall_ms=200),
        partial(large, 100, 10, limit_ms=15, stall_ms=50),
    ),
    "disconnects": Proof(
        "A client that hangs up stops upstream at once, and leaves nothing behind",
        partial(disconnects, 100, limit_ms=1000, at_once=8),
        partial(disconnects, 10_000, limit_ms=100, at_once=16),
    ),
    "changes": Proof(
        "A revocation, a changed limit and a suspension reach every worker within a second",
        partial(changes, 2, workers=2),
        partial(changes, 100, workers=4),
    ),
    "limits": Proof(
        "Limits hold exactly over all workers of a host, at ten times the load and more",
        partial(limits, 5, workers=2),
        partial(limits, 60, workers=4),
    ),
    "shared limits": Proof(
        "So they do when they are counted in Redis",
        partial(limits, 5, workers=2, shared=True),
        partial(limits, 60, workers=4, shared=True),
    ),
    "redis": Proof(
        "Redis may die under load: no request fails or waits because of it",
        partial(redis_dies, 2, workers=2),
        partial(redis_dies, 20, workers=4),
    ),
    "limit kills": Proof(
        "What ran in a killed worker keeps no place taken",
        partial(limit_kills, 10),
        partial(limit_kills, 100),
    ),
    "locked": Proof(
        "A locked database stops no request and loses no record",
        partial(locked, 8),
        partial(locked, 120),
    ),
    "contention": Proof(
        "Processes that write to one SQLite file at once wait for each other, and nobody notices",
        partial(contention, 400),
        partial(contention, 5000),
    ),
    "outage": Proof(
        "A database that is away stops no request of a known key and loses no record",
        partial(outage, 8),
        partial(outage, 120),
    ),
    "duplicates": Proof(
        "Under one Idempotency-Key a request is sent upstream and charged once",
        partial(duplicates, 3),
        partial(duplicates, 30),
    ),
    "tampering": Proof(
        "Whatever is done to the audit trail or to a closed record behind Bridge's back is found (SQLite)",
        partial(tampering, 300, 60),
        partial(tampering, 10_000, 1000),
    ),
    "tampering-postgresql": Proof(
        "The same on PostgreSQL",
        partial(tampering, 300, 60, postgresql=True),
        partial(tampering, 10_000, 1000, postgresql=True),
    ),
    "overdraft": Proof(
        "Nobody spends over a budget, and what fits in it is let through",
        partial(overdraft, 2),
        partial(overdraft, 50),
    ),
    "overdraft-postgresql": Proof(
        "The same on PostgreSQL",
        partial(overdraft, 2, postgresql=True),
        partial(overdraft, 50, postgresql=True),
    ),
    "bare": Proof(
        "A process that journals and settles may be killed at any moment: no record and no money is lost or doubled",
        partial(bare, 40),
        partial(bare, 1000),
    ),
    "bare-postgresql": Proof(
        "The same on PostgreSQL",
        partial(bare, 40, postgresql=True),
        partial(bare, 1000, postgresql=True),
    ),
    "budgets-killed": Proof(
        "A killed worker leaves nothing held, and what it sent is charged",
        partial(killed, 5),
        partial(killed, 50),
    ),
    "budgets-killed-postgresql": Proof(
        "The same on PostgreSQL",
        partial(killed, 5, postgresql=True),
        partial(killed, 50, postgresql=True),
    ),
    "volume": Proof(
        "The console is quick over a million requests, and exporting them takes no memory (SQLite)",
        partial(volume, 20_000, rounds=2, leeway=10),
        partial(volume, 1_000_000, rounds=5),
    ),
    "volume-postgresql": Proof(
        "The same over three million on PostgreSQL",
        partial(volume, 20_000, rounds=2, leeway=10, postgresql=True),
        partial(volume, 3_000_000, rounds=5, postgresql=True),
    ),
    "canaries": Proof(
        "No key, and nothing that was said, is anywhere that it does not belong, whatever fails",
        partial(canaries, 1, 120),
        partial(canaries, 2, 1200),
    ),
    "cuts": Proof(
        "A cut answer never looks like a whole one",
        partial(cuts, 60),
        partial(cuts, 1000),
    ),
    "soak": Proof(
        "Whatever goes on, for however long, nothing grows",
        partial(soak, 40, memory_mb=24),
        partial(soak, 1800),
    ),
}


@dataclass(frozen=True, slots=True)
class Run:
    name: str
    report: Report
    seconds: float


def main() -> int:
    options = _options()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that whoever ends this ends its servers too
    names = options.only or list(PROOFS)
    runs = list[Run]()
    for name in names:
        runs.append(run(name, options.full))
        print(_said(runs[-1]), flush=True)
    failed = [each.name for each in runs if not each.report.holds]
    left_out = [each.name for each in runs if not each.report.judged]
    print(f"\n{len(runs) - len(failed) - len(left_out)} of {len(runs)} proofs hold")
    print(
        "".join(
            f"not {what}: {', '.join(names)}\n" for what, names in {"held": failed, "run": left_out}.items() if names
        )
    )
    if options.write:
        before = options.write.read_text() if options.write.exists() else ""
        options.write.write_text(page(runs, options.full, before))
    return 1 if failed else 0


def run(name: str, full: bool) -> Run:
    """A proof that breaks off has failed."""
    started = time.monotonic()
    try:
        report = PROOFS[name].full() if full else PROOFS[name].sample()
    except Exception as error:
        where = traceback.format_exc().replace(f"{REPO}/", "").splitlines()[-6:]
        report = Report("broke off", [Figure("exception", type(error).__name__, "none", False)], where)
    return Run(name, report, time.monotonic() - started)


def page(runs: list[Run], full: bool, before: str = "") -> str:
    """The results as Markdown. Proofs that were not run now keep the section that they had in the page `before`."""
    kept = {name: section for name, section in _sections(before) if name in PROOFS}
    sections = {**kept, **{each.name: _section(each, full) for each in runs if each.report.judged}}
    names = [name for name in PROOFS if name in sections]
    lines = [
        "# Proof",
        "",
        "Each section says when, at which commit and where it was run: `make proof` runs all in full.",
        "",
    ]
    lines += ["| proof | | what it promises |", "|---|---|---|"]
    lines += [
        f"| [{name}](#{name.replace(' ', '-')}) | {sections[name].split(',', 1)[0].strip()} | {PROOFS[name].promise} |"
        for name in names
    ]
    return "\n".join(lines) + "\n" + "".join(f"\n## {name}\n\n{sections[name]}" for name in names)


def _sections(text: str) -> list[tuple[str, str]]:
    parts = text.split("\n## ")[1:]
    return [(name.strip(), section.strip("\n") + "\n") for name, _, section in (part.partition("\n") for part in parts)]


def _section(each: Run, full: bool) -> str:
    lines = [f"{_verdict(each)}, {'in full' if full else 'a sample'}, {each.seconds:.0f} s. {machine()}.", ""]
    lines += [_sentence(each.report.ran), "", "| figure | value | limit | |", "|---|---|---|---|"]
    lines += [f"| {f.what} | {f.value} | {f.limit} | {_mark(f)} |" for f in each.report.figures]
    if each.report.evidence:
        lines += ["", "```text", *each.report.evidence, "```"]
    return "\n".join(lines) + "\n"


def machine() -> str:
    """When, of what and where: figures mean nothing without."""
    when = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())
    python = f"Python {platform.python_version()}, {platform.system()} {platform.machine()}"
    return f"{when}, commit {_commit()}, {os.cpu_count()} cores shared with the load, {python}"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true", help="in full (soak: half an hour), instead of a sample")
    parser.add_argument("--only", action="append", choices=PROOFS, metavar="NAME", help=f"one of {', '.join(PROOFS)}")
    parser.add_argument(
        "--write", type=Path, metavar="FILE", help="write the results there, beside older ones of others"
    )
    return parser.parse_args()


def _commit() -> str:
    def git(*words: str) -> str:
        return subprocess.run(["git", *words], cwd=REPO, capture_output=True, text=True).stdout.strip()

    changed = " with changes" if git("status", "--porcelain", "--untracked-files=no") else ""
    return (git("rev-parse", "--short", "HEAD") or "unknown") + changed


def _said(each: Run) -> str:
    return f"\n{_verdict(each).upper()} {each.name} ({each.seconds:.0f} s): {each.report}"


def _verdict(each: Run) -> str:
    if not each.report.judged:
        return "not run"
    return "pass" if each.report.holds else "**fail**"


def _mark(figure: Figure) -> str:
    return ("pass" if figure.holds else "**fail**") if figure.limit else ""


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:] + "."


if __name__ == "__main__":
    sys.exit(main())
