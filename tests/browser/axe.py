"""axe-core, from npm: what it finds wrong with a page for whoever sees, hears or steers it otherwise.

Installed once into .venv-contract/axe; without npm, or without the network, the tests that need it are skipped.
"""

from __future__ import annotations

import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.live import REPO

WANTED = Path(__file__).with_name("axe.package.json")
PLACE = REPO / ".venv-contract" / "axe"
SERIOUS = ("serious", "critical")
TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]


@cache
def source() -> str:
    """The script itself, to be run in a page."""
    script = PLACE / "node_modules" / "axe-core" / "axe.min.js"
    known = PLACE / "package.json"
    if not (script.exists() and known.read_text() == WANTED.read_text()):
        PLACE.mkdir(parents=True, exist_ok=True)
        shutil.copy(WANTED, known)
        try:
            command = ["npm", "install", "--no-fund", "--no-audit", "--loglevel=error"]
            subprocess.run(command, cwd=PLACE, check=True, capture_output=True, text=True, timeout=180)
        except FileNotFoundError:
            pytest.skip("axe-core needs npm")
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as problem:
            pytest.skip(f"axe-core could not be installed: {problem.stderr!r}")
    return script.read_text()


def violations(page: Any) -> list[str]:
    """The serious ones, each with the elements it is about."""
    page.evaluate(source())  # through the debugger: the page's policy would not let a script of ours in
    found = page.evaluate("tags => axe.run(document, {runOnly: tags})", TAGS)["violations"]
    return [
        f"{one['id']}: {one['help']} | {node['html'][:160]} | {node['failureSummary']}"
        for one in found
        for node in one["nodes"]
        if one["impact"] in SERIOUS
    ]
