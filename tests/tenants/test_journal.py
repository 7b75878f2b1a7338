"""The journal: nothing admitted is ever lost, whatever dies when."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tenants import ids, journal
from tenants.journal import Journal
from tenants.values import State


def admit(book: Journal, **more: Any) -> journal.Entry:
    return book.admit(ids.uuid7(), key_id="k", tenant_id=1, **more)


def segments(directory: Path) -> list[Path]:
    return sorted(directory.glob("*.open"))


def recovered(directory: Path) -> list[journal.Columns]:
    """What another process would find once this one is dead."""
    return [row for path in segments(directory) for row in journal.rows(path.read_bytes())]


@pytest.fixture
def book(tmp_path: Path) -> Journal:
    return Journal(tmp_path)


def test_what_was_only_admitted_is_recovered_as_never_sent(book: Journal, tmp_path: Path) -> None:
    entry = admit(book, dialect="chat")
    (row,) = recovered(tmp_path)
    assert (row["id"], row["state"], row["dialect"]) == (entry.id, State.INTERRUPTED, "chat")
    assert "usage_source" not in row


def test_what_was_sent_is_recovered_with_its_last_mark_as_a_bound(book: Journal, tmp_path: Path) -> None:
    entry = admit(book)
    entry.note(alias="gpt-4o")
    entry.sent(model="claude-opus-5")
    entry.mark(output_tokens=5)
    entry.mark(output_tokens=9)
    (row,) = recovered(tmp_path)
    assert (row["state"], row["usage_source"], row["output_tokens"]) == (State.INTERRUPTED, "bound", 9)
    assert (row["alias"], row["model"]) == ("gpt-4o", "claude-opus-5")


@pytest.mark.parametrize(("marked", "charged"), [(5, 70), (70, 70), (71, 71), (None, 70)])
def test_what_was_sent_is_charged_the_most_it_can_have_cost_or_what_was_seen(
    book: Journal, tmp_path: Path, marked: int | None, charged: int
) -> None:
    entry = admit(book)
    entry.sent(bound={"input_tokens": 7, "cost_nanos": 70, "cost_lines": ["most"], "usage_source": "bound"})
    if marked is not None:
        entry.mark(input_tokens=1, cost_nanos=marked, cost_lines=["seen"], usage_source="exact")
    (row,) = recovered(tmp_path)
    assert (row["cost_nanos"], row["usage_source"]) == (charged, "bound")
    assert row["cost_lines"] == (["most"] if charged == 70 else ["seen"])
    assert "bound" not in row


@pytest.mark.parametrize(("held", "line"), [(70, "most"), (90, "hold"), (50, "hold")])
def test_with_a_hold_what_was_sent_is_charged_all_of_that(book: Journal, tmp_path: Path, held: int, line: str) -> None:
    bound = {"cost_nanos": 70, "cost_lines": [{"class": "most", "pico": 70_000}]}
    admit(book).sent(bound=bound, held_nanos=held)
    (row,) = recovered(tmp_path)
    assert row["cost_nanos"] == held
    assert [(one["class"], one["pico"]) for one in row["cost_lines"]] == [(line, held * 1_000)]


def test_what_ended_is_not_charged_the_most_it_could_have_cost(book: Journal, tmp_path: Path) -> None:
    entry = admit(book)
    entry.sent(bound={"cost_nanos": 70})
    entry.close(state=State.SETTLED, cost_nanos=5)
    (row,) = recovered(tmp_path)
    assert (row["cost_nanos"], "bound" in row) == (5, False)


def test_what_ended_is_recovered_as_it_ended(book: Journal, tmp_path: Path) -> None:
    entry = admit(book)
    entry.close(state=State.SETTLED, status=200)
    entry.close(state=State.FAILED, status=500)
    (row,) = recovered(tmp_path)
    assert (row["state"], row["status"]) == (State.SETTLED, 200)


def test_a_torn_tail_is_left_out_and_the_rest_is_read(book: Journal, tmp_path: Path) -> None:
    admit(book)
    admit(book)
    (path,) = segments(tmp_path)
    whole = path.read_bytes()
    for cut in range(1, len(whole)):
        assert len(journal.rows(whole[:cut])) in (0, 1)
    flipped = bytearray(whole)
    flipped[len(whole) - 3] ^= 1
    assert len(journal.rows(bytes(flipped))) == 1


def test_the_database_gets_each_end_once(book: Journal) -> None:
    entry = admit(book)
    assert book.take().rows == []
    entry.close(state=State.SETTLED, status=200)
    batch = book.take()
    assert [row["id"] for row in batch.rows] == [entry.id]
    book.stored(batch)
    assert book.take().rows == [] and book.depth == 0


def test_what_the_database_did_not_take_comes_again_first(book: Journal) -> None:
    first, second = admit(book), admit(book)
    first.close(state=State.SETTLED)
    batch = book.take()
    second.close(state=State.SETTLED)
    book.put_back(batch)
    assert [row["id"] for row in book.take().rows] == [first.id, second.id]


def test_a_long_running_request_is_shown_once_and_its_end_still_counts(
    book: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "SHOW_AFTER_SECONDS", -1.0)
    entry = admit(book)
    batch = book.take()
    assert [row["state"] for row in batch.rows] == [State.ADMITTED]
    entry.close(state=State.SETTLED)  # while the database is busy with the first row
    book.stored(batch)
    assert [row["state"] for row in book.take().rows] == [State.SETTLED]


def test_a_segment_goes_when_everything_in_it_is_stored(
    tmp_path: Path, book: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "SEGMENT_BYTES", 1)
    one, two = admit(book), admit(book)
    assert len(segments(tmp_path)) == 2
    one.close(state=State.SETTLED)
    two.close(state=State.SETTLED)
    book.stored(book.take())
    assert len(segments(tmp_path)) == 1
    book.shut()
    assert segments(tmp_path) == []


def test_too_much_for_memory_waits_on_disk_where_recovery_finds_it(
    tmp_path: Path, book: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "SEGMENT_BYTES", 1)
    monkeypatch.setattr(journal, "PENDING_IN_MEMORY", 2)
    entries = [admit(book) for _ in range(6)]
    for entry in entries:
        entry.close(state=State.SETTLED)
    book.put_back(book.take())
    in_memory = {row["id"] for row in book.take().rows}
    on_disk = {row["id"] for orphan in journal.orphans(tmp_path) for row in orphan.rows}
    assert in_memory | on_disk == {entry.id for entry in entries} and len(in_memory) == 1


def test_a_live_process_keeps_its_segment_to_itself(book: Journal, tmp_path: Path) -> None:
    admit(book)
    assert list(journal.orphans(tmp_path)) == []


def test_a_killed_process_loses_nothing(tmp_path: Path) -> None:
    script = (
        "import os, signal, sys; from pathlib import Path\n"
        "from tenants import ids; from tenants.journal import Journal\n"
        "book = Journal(Path(sys.argv[1]))\n"
        "for n in range(100):\n"
        "    book.admit(ids.uuid7(), key_id='k').close(state='settled', status=n)\n"
        "print('ready', flush=True); os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path)], capture_output=True, cwd=Path.cwd())
    assert done.returncode == -9 and done.stdout == b"ready\n"
    (orphan,) = journal.orphans(tmp_path)
    assert sorted(row["status"] for row in orphan.rows) == list(range(100))
    assert list(journal.orphans(tmp_path)) == []  # locked by us now
    orphan.delete()
    assert segments(tmp_path) == []


def test_a_full_disk_refuses_and_leaves_the_file_whole(
    book: Journal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    admit(book)
    write = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: write(descriptor, data[:5]))
    with pytest.raises(OSError, match="No space left"):
        admit(book)
    monkeypatch.undo()
    admit(book)
    assert len(recovered(tmp_path)) == 2


def test_an_end_that_cannot_be_written_still_reaches_the_database(
    book: Journal, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    entry = admit(book)

    def full(*_: Any) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    entry.close(state=State.SETTLED)
    assert [row["state"] for row in book.take().rows] == [State.SETTLED]
    assert "could not be written" in caplog.text


def test_a_flood_of_refusals_shares_a_row_per_reason(
    book: Journal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal.time, "monotonic", lambda: 100.5)
    for _ in range(25):
        admit(book).close(state=State.REFUSED, error_code="invalid_type")
    admit(book).close(state=State.REFUSED, error_code="too_large")
    assert len(book.take().rows) == 10
    assert sorted(row.get("count", 1) for row in recovered(tmp_path)) == [1] * 11 + [15]
    monkeypatch.setattr(journal.time, "monotonic", lambda: 101.5)
    rows = book.take().rows
    assert sorted((row["error_code"], row["count"]) for row in rows) == [("invalid_type", 15), ("too_large", 1)]
    assert all(row["state"] == State.REFUSED for row in recovered(tmp_path))


def test_another_key_is_not_part_of_the_flood(book: Journal) -> None:
    for number in range(20):
        book.admit(ids.uuid7(), key_id=str(number)).close(state=State.REFUSED, error_code="x")
    assert len(book.take().rows) == 20
