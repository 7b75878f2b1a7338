"""Monthly partitions of the request table: made ahead, dropped whole (PostgreSQL only; SQLite keeps one table)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from django.db import connection, migrations, transaction
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.utils import Error, OperationalError

from tenants import ids
from tenants.values import OPEN_STATES

MONTHS_AHEAD = 3
LOCK_TIMEOUT = "2s"  # a drop waits no longer for the table: requests go on, the drop is tried again the next night


class CreatePartitionedModel(migrations.CreateModel):
    """CreateModel whose table is PARTITION BY RANGE (id) on PostgreSQL, with a default partition."""

    def database_forwards(self, app_label: str, schema_editor: BaseDatabaseSchemaEditor, *states: Any) -> None:
        if schema_editor.connection.vendor != "postgresql":
            return super().database_forwards(app_label, schema_editor, *states)
        plain = schema_editor.sql_create_table
        schema_editor.sql_create_table = plain + " PARTITION BY RANGE (id)"
        try:
            super().database_forwards(app_label, schema_editor, *states)
        finally:
            schema_editor.sql_create_table = plain
        table = f"{app_label}_{self.name_lower}"
        schema_editor.execute(f'CREATE TABLE "{table}_rest" PARTITION OF "{table}" DEFAULT')


def prepare_months(table: str = "tenants_requestrecord", now: datetime | None = None) -> list[str]:
    """Makes the partitions of this month and the next ones; returns the names of those made now.

    A month whose rows already lie in the default partition stays there: that is slower to prune and loses nothing.
    """
    if connection.vendor != "postgresql":
        return []
    month = (now or datetime.now(UTC)).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    there, made = _partitions(table), []
    for _ in range(MONTHS_AHEAD + 1):
        after = _next(month)
        name = f"{table}_{month:%Y_%m}"
        if name not in there and _make(table, name, month, after):
            made.append(name)
        month = after
    return made


def _make(table: str, name: str, start: datetime, end: datetime) -> bool:
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(
                f'CREATE TABLE IF NOT EXISTS "{name}" PARTITION OF "{table}" '
                f"FOR VALUES FROM ('{ids.floor(start)}') TO ('{ids.floor(end)}')"
            )
    except Error:
        return False
    return True


def _partitions(table: str) -> list[str]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = %s::regclass", [table])
        return [name for (name,) in cursor.fetchall()]


def _next(month: datetime) -> datetime:
    return month.replace(year=month.year + month.month // 12, month=month.month % 12 + 1)


@dataclass(frozen=True, slots=True)
class Month:
    """A partition. It ends where the next month begins."""

    table: str
    name: str
    end: datetime

    def counts(self) -> dict[int, int]:
        """How many records it holds, by tenant."""
        with connection.cursor() as cursor:
            cursor.execute(f'SELECT tenant_id, count(*) FROM "{self.name}" GROUP BY tenant_id')
            return dict(cursor.fetchall())

    def drop(self, keepers: list[int]) -> bool:
        """Drops it, unless these tenants have a record in it or any record is open, or the table is too busy."""
        try:
            with transaction.atomic(), connection.cursor() as cursor:
                cursor.execute(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'")
                cursor.execute(f'LOCK TABLE "{self.table}" IN ACCESS EXCLUSIVE MODE')
                cursor.execute(
                    f'SELECT 1 FROM "{self.name}" WHERE tenant_id = ANY(%s) OR state = ANY(%s) LIMIT 1',
                    [keepers, list(OPEN_STATES)],
                )
                if cursor.fetchone() is not None:
                    return False
                cursor.execute(f'DROP TABLE "{self.name}"')
        except OperationalError:
            return False
        return True


def months(table: str = "tenants_requestrecord", now: datetime | None = None) -> list[Month]:
    """The partitions of past months, oldest first."""
    if connection.vendor != "postgresql":
        return []
    found = []
    for name in _partitions(table):
        if match := re.fullmatch(rf"{table}_(\d{{4}})_(\d\d)", name):
            month = Month(table, name, _next(datetime(int(match[1]), int(match[2]), 1, tzinfo=UTC)))
            if month.end <= (now or datetime.now(UTC)):
                found.append(month)
    return sorted(found, key=lambda month: month.end)
