"""What the documents say is so."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from bridge import compatibility, sandbox_script
from tests.faults.proof import PROOFS
from tests.faults.table import ROWS

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def test_the_sandbox_page_has_every_marker() -> None:
    table = [line for line in (sandbox_script.__doc__ or "").splitlines() if line.startswith("|")]
    assert len(table) > 10 and "\n".join(table) in (ROOT / "docs/sandbox.md").read_text()


def test_the_compatibility_page_is_the_table() -> None:
    assert (ROOT / "docs/compatibility.md").read_text() == compatibility.page(), "python -m bridge.compatibility"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", document.read_text()):
        assert (document.parent / target).exists(), target


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_files_that_are_named_exist(document: Path) -> None:
    for name in re.findall(r"`((?:bridge|tenants|proxysite|tests|docs)/[\w./]+\.\w+)`", document.read_text()):
        assert (ROOT / name).exists(), name


def faults() -> dict[str, str]:
    """The rows of the fault table: what shows each, by its name."""
    rows = re.findall(r"^\| ([A-Z]\d+) \|.*\|([^|]+)\|$", (ROOT / "docs/faults.md").read_text(), re.M)
    assert len(rows) == len(dict(rows)), "a row is there twice"
    return dict(rows)


@pytest.mark.parametrize("row", faults())
def test_what_shows_a_fault_exists(row: str) -> None:
    tests = {
        name for path in (ROOT / "tests").rglob("test_*.py") for name in re.findall(r"def (test_\w+)", path.read_text())
    }
    named = set(re.findall(r"`([^`]+)`", faults()[row]))
    assert named and named <= tests | PROOFS.keys()


def test_the_fault_table_has_every_row_that_is_played() -> None:
    assert {row.id.split()[0] for row in ROWS} <= faults().keys()
    assert len(faults()) > 30
