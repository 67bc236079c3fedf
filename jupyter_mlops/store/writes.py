"""Writing rows fast: several insertions in one round trip to a server, each as few statements of many rows."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Dialect
from sqlalchemy.sql.dml import Insert

from jupyter_mlops.store.failures import driver_error

Rows = Sequence[Mapping[str, Any]]
Part = tuple[Insert, Rows]
"""A statement that is kept (its SQL is remembered for it), perhaps with a rule for conflicts, and rows with the same
columns each. Values need no conversion; no two rows have the same key."""

MOST_ROWS = 64
"""Of one statement."""
_PLACEHOLDER = re.compile(r"%\((\w+)\)s")


def insert(connection: Connection, *parts: Part) -> None:
    """Insert the rows of each part, one part after the other.

    For what is written all the time, where SQLAlchemy's layers, and a message to the server and back for each row, take
    most of the time.
    """
    given = [(statement, rows) for statement, rows in parts if rows]
    if not given:
        return
    if connection.dialect.name == "sqlite":
        for statement, rows in given:
            connection.execute(statement, rows)
        return
    _pipelined(connection, given)


def _pipelined(connection: Connection, parts: Sequence[Part]) -> None:
    from psycopg import RawCursor

    dialect = connection.dialect
    errors = dialect.loaded_dbapi.Error
    driver: Any = connection.connection.driver_connection
    sql = ""
    try:
        with driver.pipeline():
            for statement, rows in parts:
                columns = tuple(rows[0])
                for some in _portions(rows):
                    sql, order = _compiled(statement, columns, len(some), dialect)
                    values = [row[column] for row in some for column in columns]
                    RawCursor(driver).execute(sql, [values[place] for place in order], prepare=True)
    except errors as error:
        raise driver_error(connection, sql, error) from error


def _portions(rows: Rows) -> Iterator[Rows]:
    """The rows in portions of few different sizes, since each size is a statement that is prepared."""
    start = 0
    while start < len(rows):
        size = min(MOST_ROWS, 1 << ((len(rows) - start).bit_length() - 1))
        yield rows[start : start + size]
        start += size


@lru_cache(maxsize=256)
def _compiled(statement: Insert, columns: tuple[str, ...], count: int, dialect: Dialect) -> tuple[str, list[int]]:
    """The SQL for ``count`` rows, and at which places in their values, row by row, its parameters stand."""
    names = [[f"{column}_{index}" for column in columns] for index in range(count)]
    rows = [
        {
            column: sa.bindparam(name, type_=statement.table.c[column].type)
            for column, name in zip(columns, row, strict=True)
        }
        for row in names
    ]
    places = {name: place for place, name in enumerate(name for row in names for name in row)}
    order: list[int] = []

    def numbered(found: re.Match[str]) -> str:
        order.append(places[found[1]])
        return f"${len(order)}"

    return _PLACEHOLDER.sub(numbered, str(statement.values(rows).compile(dialect=dialect))).replace("%%", "%"), order
