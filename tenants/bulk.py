"""Writes many rows of one table at once: COPY and one UPDATE on PostgreSQL, prepared statements on SQLite.

`bulk_create` and `bulk_update` build statements of thousands of placeholders from the ORM's expressions, which costs
more than the database does with them (bench/RESULTS.md). Here only the values are made ready, each by its own field.

A row has a value for every column, by its attribute's name (as `vars` of an instance has).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from operator import itemgetter
from typing import Any

import msgspec
from django.db import connection, models

# Fields whose values every driver takes as they are. (An enumeration is a str to us, not to every driver.)
_PLAIN = (models.IntegerField, models.BooleanField)
_TEXT = (models.CharField, models.TextField)

Row = Mapping[str, Any]
Ready = Callable[[Any], Any]


def insert(rows: Iterable[Row], model: type[models.Model]) -> None:
    """Inserts new rows, or raises what the database raises and inserts none. A number that the database counts up by
    itself is left to it."""
    fields = [field for field in model._meta.concrete_fields if not isinstance(field, models.AutoField)]
    values = _values(rows, fields)
    if not values:
        return
    columns = ", ".join(map(_column, fields))
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            with (
                connection.wrap_database_errors,
                cursor.copy(f"COPY {_table(model)} ({columns}) FROM STDIN") as copy,
            ):
                for each in values:
                    copy.write_row(each)
        else:
            marks = ", ".join(["%s"] * len(fields))
            cursor.executemany(f"INSERT INTO {_table(model)} ({columns}) VALUES ({marks})", values)


def update(rows: Iterable[Row], model: type[models.Model]) -> None:
    """Overwrites all columns of rows that are there, by their primary key."""
    rows, key = list(rows), model._meta.pk
    assert key is not None  # every model has one
    fields = [field for field in model._meta.concrete_fields if field is not key]
    if not rows:
        return
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            given = [{str(field.column): row[field.attname] for field in (key, *fields)} for row in rows]
            cursor.execute(
                f"UPDATE {_table(model)} AS kept SET {', '.join(f'{_column(f)} = given.{_column(f)}' for f in fields)} "
                f"FROM json_populate_recordset(NULL::{_table(model)}, %s) AS given "
                f"WHERE kept.{_column(key)} = given.{_column(key)}",
                [msgspec.json.encode(given).decode()],
            )
        else:
            cursor.executemany(
                f"UPDATE {_table(model)} SET {', '.join(f'{_column(field)} = %s' for field in fields)} "
                f"WHERE {_column(key)} = %s",
                _values(rows, [*fields, key]),
            )


def _values(rows: Iterable[Row], fields: list[models.Field[Any, Any]]) -> list[list[Any]]:
    """As the driver takes them, in this order of columns."""
    columns_of = itemgetter(*(field.attname for field in fields))
    ready = [(place, make) for place, field in enumerate(fields) if (make := _ready(field)) is not None]
    values = [list(columns_of(row)) for row in rows]
    for each in values:
        for place, make in ready:
            if each[place] is not None:
                each[place] = make(each[place])
    return values


def _table(model: type[models.Model]) -> str:
    return connection.ops.quote_name(model._meta.db_table)


def _column(field: models.Field[Any, Any]) -> str:
    return connection.ops.quote_name(str(field.column))


def _ready(field: models.Field[Any, Any]) -> Ready | None:
    """What makes a value of this field ready for the driver; None: every driver takes it as it is."""
    if isinstance(field, models.ForeignKey):
        return _ready(field.target_field)
    if isinstance(field, _PLAIN):
        return None
    if isinstance(field, _TEXT) and type(field).get_db_prep_save is models.Field.get_db_prep_save:
        return _text
    return lambda value: field.get_db_prep_save(value, connection)


def _text(value: str) -> str:
    return value if type(value) is str else str(value)
