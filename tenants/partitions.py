"""Monthly partitions of the request table (PostgreSQL only; SQLite keeps one table)."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from django.db import connection, migrations, transaction
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.utils import Error

from tenants import ids

MONTHS_AHEAD = 3


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
    made = []
    for _ in range(MONTHS_AHEAD + 1):
        after = month.replace(year=month.year + month.month // 12, month=month.month % 12 + 1)
        name = f"{table}_{month:%Y_%m}"
        if name not in connection.introspection.table_names() and _make(table, name, month, after):
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
