"""Reports say what does not hold, and a proof that breaks off does not hold either."""

from __future__ import annotations

from functools import partial

import pytest

from tests.faults import proof
from tests.faults.proof import Proof, Run
from tests.faults.report import Report, not_installed


def test_a_report_holds_as_long_as_every_figure_does() -> None:
    report = Report("something was done")
    report.told("seen", 1234)
    report.exactly("lost", 0)
    report.at_most("p99", 12.34, 100, " ms")
    report.at_least("answers", 5, 5)
    assert report.holds
    report.none_of("records still open", ["one", "two", "three", "four"])
    assert not report.holds
    assert str(report) == (
        "something was done\n"
        "    seen: 1,234\n"
        "    lost: 0 (= 0)\n"
        "    p99: 12.3 ms (≤ 100 ms)\n"
        "    answers: 5 (≥ 5)\n"
        "  ✗ records still open: 4 (= 0)\n"
        "    records still open: one\n"
        "    records still open: two\n"
        "    records still open: three"
    )


def breaks_off() -> Report:
    raise TimeoutError("the start of the streams did not happen")


def test_a_proof_that_breaks_off_has_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(proof.PROOFS, "broken", Proof("Nothing breaks", breaks_off, breaks_off))
    run = proof.run("broken", full=False)
    assert not run.report.holds
    assert run.report.evidence[-1] == "TimeoutError: the start of the streams did not happen"


def test_the_page_has_every_figure_and_says_where_it_is_from(monkeypatch: pytest.MonkeyPatch) -> None:
    held, failed = Report("ten of ten"), Report("nine of ten")
    held.exactly("lost", 0)
    failed.none_of("lost", ["number 7"])
    monkeypatch.setitem(proof.PROOFS, "good", Proof("All is well", partial(Report, ""), partial(Report, "")))
    monkeypatch.setitem(proof.PROOFS, "bad", Proof("All is lost", partial(Report, ""), partial(Report, "")))
    page = proof.page([Run("good", held, 1.2), Run("bad", failed, 3.4)], full=True)
    assert "| [good](#good) | pass | All is well |" in page
    assert "| [bad](#bad) | **fail** | All is lost |" in page
    assert "**fail**, in full, 3 s." in page
    assert "| lost | 1 | = 0 | **fail** |" in page
    assert "lost: number 7" in page
    assert "commit" in page and "cores" in page


def test_what_was_not_run_again_keeps_what_the_page_said_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    held, failed = Report("ten of ten"), Report("nine of ten")
    held.exactly("lost", 0)
    failed.none_of("lost", ["number 7"])
    for name in ("first", "second"):
        monkeypatch.setitem(proof.PROOFS, name, Proof(f"The {name} holds", partial(Report, ""), partial(Report, "")))
    before = proof.page([Run("first", failed, 1), Run("second", held, 2)], full=True)
    after = proof.page([Run("first", held, 3)], full=False, before=before)
    assert "| [first](#first) | pass |" in after and "pass, a sample, 3 s." in after
    assert "| [second](#second) | pass |" in after and "pass, in full, 2 s." in after
    assert "number 7" not in after
    assert proof.page([], full=True, before=after) == after


def test_a_proof_that_needs_what_is_not_there_has_not_held(monkeypatch: pytest.MonkeyPatch) -> None:
    held, missing = Report("ten of ten"), not_installed("Redis")
    held.exactly("lost", 0)
    monkeypatch.setitem(proof.PROOFS, "one", Proof("It holds", partial(Report, ""), partial(Report, "")))
    before = proof.page([Run("one", held, 1)], full=True)
    assert not missing.judged and held.judged
    assert proof.page([Run("one", missing, 1)], full=True, before=before) == before
    assert "pass" not in proof.page([Run("one", missing, 1)], full=True)
