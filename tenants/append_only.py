"""Triggers that refuse to change a table's rows, on both databases: for migrations and for those who check."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from django.db import DatabaseError
from django.db.backends.base.base import BaseDatabaseWrapper

REFUSAL = "the audit trail is append-only"
TABLE, ORDER = "tenants_auditevent", "seq"
NAMES = (f"{TABLE}_no_update", f"{TABLE}_no_delete", f"{TABLE}_no_truncate", f"{TABLE}_next_only")

_POSTGRESQL = (
    f"""CREATE OR REPLACE FUNCTION {TABLE}_refuse() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN RAISE EXCEPTION '{REFUSAL}'; END $$""",
    f"CREATE TRIGGER {TABLE}_no_update BEFORE UPDATE ON {TABLE} EXECUTE FUNCTION {TABLE}_refuse()",
    f"CREATE TRIGGER {TABLE}_no_delete BEFORE DELETE ON {TABLE} EXECUTE FUNCTION {TABLE}_refuse()",
    f"CREATE TRIGGER {TABLE}_no_truncate BEFORE TRUNCATE ON {TABLE} EXECUTE FUNCTION {TABLE}_refuse()",
)
# SQLite has no TRUNCATE, and INSERT OR REPLACE deletes without asking the trigger for it: only the next row may come.
_SQLITE = (
    f"CREATE TRIGGER {TABLE}_no_update BEFORE UPDATE ON {TABLE} BEGIN SELECT RAISE(ABORT, '{REFUSAL}'); END",
    f"CREATE TRIGGER {TABLE}_no_delete BEFORE DELETE ON {TABLE} BEGIN SELECT RAISE(ABORT, '{REFUSAL}'); END",
    f"""CREATE TRIGGER {TABLE}_next_only BEFORE INSERT ON {TABLE}
    WHEN NEW.{ORDER} IS NOT (SELECT COALESCE(MAX({ORDER}), 0) + 1 FROM {TABLE})
    BEGIN SELECT RAISE(ABORT, '{REFUSAL}'); END""",
)
_PRESENT = {
    "postgresql": f"SELECT tgname FROM pg_trigger WHERE tgrelid = '{TABLE}'::regclass AND tgenabled <> 'D'",
    "sqlite": f"SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name = '{TABLE}'",
}


def protect(connection: BaseDatabaseWrapper) -> None:
    """Makes the triggers. Django's changes to a SQLite table make the table anew: protect it again after one."""
    with connection.cursor() as cursor:
        for statement in _POSTGRESQL if connection.vendor == "postgresql" else _SQLITE:
            cursor.execute(statement)


def unprotect(connection: BaseDatabaseWrapper) -> None:
    """What only a migration's way back and an administrator of the database do."""
    of_table = f" ON {TABLE}" if connection.vendor == "postgresql" else ""
    with connection.cursor() as cursor:
        for name in NAMES:
            cursor.execute(f"DROP TRIGGER IF EXISTS {name}{of_table}")


def missing(connection: BaseDatabaseWrapper) -> list[str]:
    """The triggers that should be there and are not (or are switched off)."""
    present: set[Any] = set()
    with suppress(DatabaseError), connection.cursor() as cursor:
        cursor.execute(_PRESENT[connection.vendor])
        present = {name for (name,) in cursor.fetchall()}
    statements = _POSTGRESQL[1:] if connection.vendor == "postgresql" else _SQLITE
    return [name for name in NAMES if any(f"TRIGGER {name} " in one for one in statements) and name not in present]
