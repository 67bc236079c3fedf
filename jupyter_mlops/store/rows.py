"""Reading many rows fast: straight from the driver, and as one tuple of records an owner."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from itertools import groupby
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Dialect

T = TypeVar("T")


def fetch(connection: Connection, statement: sa.Select[Any], bound: Mapping[str, Any]) -> list[tuple[Any, ...]]:
    """All rows of ``statement``, as the driver gives them.

    For searches and listings, where SQLAlchemy's layers around execution and rows take half of the time. ``statement``
    has to be one that is kept: its SQL is remembered for it. Values are strings, numbers, or lists of strings for
    :func:`~jupyter_mlops.store.parameters.among`; columns need no conversion (SQLite has no booleans).
    """
    dialect = connection.dialect
    sql, names, constants = _compiled(statement, dialect)
    values = {**constants, **bound}
    parameters: Any
    if names is None:
        parameters = {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}
    else:
        parameters = [
            json.dumps(value) if isinstance(value, list | tuple) else value for value in map(values.get, names)
        ]
    errors = dialect.loaded_dbapi.Error
    cursor = connection.connection.cursor()
    try:
        cursor.execute(sql, parameters)
        return list(cursor.fetchall())
    except errors as error:
        raise sa.exc.DBAPIError.instance(sql, None, error, errors, dialect=dialect) from error
    finally:
        cursor.close()


@lru_cache(maxsize=1024)
def _compiled(statement: sa.Select[Any], dialect: Dialect) -> tuple[str, list[str] | None, dict[str, Any]]:
    """The SQL, the names of its positional parameters in order (None when they are named), and the parameters that have
    values already."""
    compiled = statement.compile(dialect=dialect)
    constants = {name: value for name, value in compiled.params.items() if value is not None}
    return str(compiled), compiled.positiontup, constants


def by_run(rows: Sequence[Sequence[Any]], records: Callable[..., Iterable[T]]) -> dict[str, tuple[T, ...]]:
    """The records by run.

    Parameters
    ----------
    rows
        Ordered by their first column, the run's id.
    records
        Makes the records of all rows out of their other columns, column by column: at hundreds of runs a call, a loop
        in Python is what takes the time.
    """
    if not rows:
        return {}
    run_ids, *columns = zip(*rows, strict=True)
    made = tuple(records(*columns))
    found: dict[str, tuple[T, ...]] = {}
    start = 0
    for run_id, group in groupby(run_ids):
        stop = start + len(list(group))
        found[run_id] = made[start:stop]
        start = stop
    return found
