"""audit_verify: names the first row that was edited, deleted, moved or put in; an anchor finds a cut tail."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import override_settings

from tenants import append_only
from tenants.audit import AuditEvent, Head
from tenants.verification import verify, verify_chain

T = "tenants_auditevent"


@pytest.fixture
def trail(db: None) -> list[AuditEvent]:
    return [AuditEvent.objects.append("audit.exported", label=f"export {n}", after={"rows": n}) for n in range(1, 11)]


@pytest.fixture
def execute(trail: list[AuditEvent]) -> Callable[..., None]:
    """Statements of a database administrator who took the triggers away and put them back."""

    def run(*statements: str) -> None:
        append_only.unprotect(connection)
        with connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
        append_only.protect(connection)

    return run


def test_an_untouched_trail_holds(trail: list[AuditEvent]) -> None:
    verdict = verify([Head(4, trail[3].hash), Head(10, trail[9].hash)])
    assert verdict.holds and verdict.rows == 10
    assert verdict.head == Head(10, trail[9].hash) == AuditEvent.objects.head()


@pytest.mark.parametrize(
    ("statement", "says"),
    [
        (f"UPDATE {T} SET actor_name = 'nobody' WHERE seq = 5", "row 5 was changed"),
        (f"UPDATE {T} SET after = '{{\"rows\": 5}}' WHERE seq = 5", "row 5 was changed"),
        (f"UPDATE {T} SET tenant_id = 1 WHERE seq = 5", "row 5 was changed"),
        (f"UPDATE {T} SET prev_hash = hash WHERE seq = 5", "row 5 was changed"),
        (f"UPDATE {T} SET hash = prev_hash WHERE seq = 5", "row 5 was changed"),
        (f"UPDATE {T} SET key_number = 2 WHERE seq = 5", "row 5 names AUDIT_KEY 2"),
        (f"DELETE FROM {T} WHERE seq = 5", "row 5 is missing: row 6 follows row 4"),
        (f"DELETE FROM {T} WHERE seq = 1", "row 1 is missing"),
        (f"DELETE FROM {T} WHERE seq < 5", "row 1 is missing"),
        (f"UPDATE {T} SET seq = 12 WHERE seq = 10", "row 10 is missing"),
    ],
)
def test_the_first_broken_row_is_named(execute: Callable[..., None], statement: str, says: str) -> None:
    execute(statement)
    assert says in verify().broken


def test_rows_that_changed_places_are_found(execute: Callable[..., None]) -> None:
    execute(*(f"UPDATE {T} SET seq = {new} WHERE seq = {old}" for old, new in ((5, 99), (6, 5), (99, 6))))
    assert "row 5 was changed, moved" in verify().broken


def test_a_row_put_in_is_found(execute: Callable[..., None], trail: list[AuditEvent]) -> None:
    columns = ", ".join(field.column for field in AuditEvent._meta.concrete_fields if field.column != "seq")
    execute(
        f"DELETE FROM {T} WHERE seq = 10",
        f"INSERT INTO {T} (seq, {columns}) SELECT 10, {columns} FROM {T} WHERE seq = 3",
    )
    assert "row 10 was changed" in verify().broken


def test_a_deleted_row_with_the_rest_moved_up_is_found(execute: Callable[..., None]) -> None:
    execute(f"DELETE FROM {T} WHERE seq = 5", *(f"UPDATE {T} SET seq = {n - 1} WHERE seq = {n}" for n in range(6, 11)))
    assert "row 5 was changed" in verify().broken


def test_a_column_that_cannot_be_read_is_found(execute: Callable[..., None]) -> None:
    if connection.vendor == "postgresql":
        pytest.skip("PostgreSQL keeps no such value")
    execute(f"UPDATE {T} SET at = 'yesterday' WHERE seq = 5")
    assert "row" in verify().broken


def test_a_cut_tail_is_found_with_an_anchor_only(execute: Callable[..., None], trail: list[AuditEvent]) -> None:
    execute(f"DELETE FROM {T} WHERE seq > 7")
    assert verify().holds
    assert verify([Head(9, trail[8].hash)]).broken == "row 9 is missing: the trail was cut after row 7"
    assert verify([Head(7, trail[6].hash)]).holds


def test_a_tail_written_anew_with_the_key_is_found_with_an_anchor(
    execute: Callable[..., None], trail: list[AuditEvent]
) -> None:
    execute(f"DELETE FROM {T} WHERE seq > 7")
    for _ in range(3):
        AuditEvent.objects.append("audit.exported")
    assert verify().holds
    assert "row 9 is not the one of the anchor" in verify([Head(9, trail[8].hash)]).broken


def test_missing_triggers_are_told(trail: list[AuditEvent]) -> None:
    append_only.unprotect(connection)
    verdict = verify()
    append_only.protect(connection)
    assert not verdict.holds and len(verdict.unguarded) == 3


def test_a_part_of_the_trail_can_be_verified(execute: Callable[..., None], trail: list[AuditEvent]) -> None:
    execute(f"UPDATE {T} SET actor_name = 'nobody' WHERE seq = 2")
    assert verify_chain(since=5).rows == 5 and not verify_chain(since=5).broken
    execute(f"UPDATE {T} SET actor_name = 'nobody' WHERE seq = 8")
    assert "row 8" in verify_chain(since=5).broken


def test_a_new_number_signs_what_is_new(trail: list[AuditEvent], settings: Any) -> None:
    with override_settings(AUDIT_KEYS={**settings.AUDIT_KEYS, 2: b"second" * 8}):
        AuditEvent.objects.append("audit.exported")
        assert verify().holds and verify().rows == 11
    assert "row 11 names AUDIT_KEY 2, which is not known here" in verify().broken


def test_the_command_says_the_head(trail: list[AuditEvent], capsys: pytest.CaptureFixture[str]) -> None:
    call_command("audit_verify", anchor=[f"4:{trail[3].hash}"])
    assert f"Rows verified: 10, 0 sealed days of records. Head: 10:{trail[9].hash}" in capsys.readouterr().out


def test_the_command_fails_with_the_row(execute: Callable[..., None]) -> None:
    execute(f"DELETE FROM {T} WHERE seq = 5")
    with pytest.raises(CommandError, match=r"row 5 is missing.*It holds up to row 4\."):
        call_command("audit_verify")


@pytest.mark.parametrize("anchor", ["5", "5:xyz", ":" + "a" * 64, "-1:" + "a" * 64])
def test_a_bad_anchor_is_refused_in_one_line(db: None, anchor: str) -> None:
    with pytest.raises(CommandError, match="it accepts SEQ:HASH"):
        call_command("audit_verify", anchor=[anchor])
