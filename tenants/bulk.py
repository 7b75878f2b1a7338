"""Inserts many rows of one table at once: COPY on PostgreSQL, one prepared statement on SQLite.

`bulk_create` builds a statement of thousands of placeholders from the ORM's expressions, which costs more than the
database does with it (bench/RESULTS.md). Here only the values are made ready, each by its own field.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from operator import itemgetter
from typing import Any

from django.db import connection, models

# Fields whose values every driver takes as they are. (An enumeration is a str to us, not to every driver.)
_PLAIN = (models.IntegerField, models.BooleanField)
_TEXT = (models.CharField, models.TextField)

Ready = Callable[[Any], Any]


def insert(rows: Iterable[Mapping[str, Any]], model: type[models.Model]) -> None:
    """Inserts new rows, or raises what the database raises and inserts none. A row has a value for every column, by its
    attribute's name (as `vars` of an instance has), but for a number that the database counts up by itself."""
    fields = [field for field in model._meta.concrete_fields if not isinstance(field, models.AutoField)]
    columns_of = itemgetter(*(field.attname for field in fields))
    ready = [(place, make) for place, field in enumerate(fields) if (make := _ready(field)) is not None]
    values = [list(columns_of(row)) for row in rows]
    if not values:
        return
    for each in values:
        for place, make in ready:
            if each[place] is not None:
                each[place] = make(each[place])
    table = connection.ops.quote_name(model._meta.db_table)
    columns = ", ".join(connection.ops.quote_name(str(field.column)) for field in fields)
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            with connection.wrap_database_errors, cursor.copy(f"COPY {table} ({columns}) FROM STDIN") as copy:
                for each in values:
                    copy.write_row(each)
        else:
            marks = ", ".join(["%s"] * len(fields))
            cursor.executemany(f"INSERT INTO {table} ({columns}) VALUES ({marks})", values)


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
