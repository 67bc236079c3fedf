"""Reading many rows fast: straight from the driver, as columns, and as one tuple of records an owner."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from functools import lru_cache
from itertools import count, islice
from typing import Any, TypeVar

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection, Dialect
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

from jupyter_mlops.store.failures import driver_error
from jupyter_mlops.store.parameters import driver_value

T = TypeVar("T")

Columns = Sequence[Sequence[Any]]
"""A table, column by column: at hundreds of runs a call, a loop over rows in Python is what takes the time."""


def fetch(
    connection: Connection, statements: Sequence[sa.Select[Any]], bound: Mapping[str, Any], *, plan_anew: bool = False
) -> list[list[tuple[Any, ...]]]:
    """All rows of each of ``statements``, as the driver gives them, in one round trip to a server (that of a BEGIN that
    is due included).

    For searches and listings, where SQLAlchemy's layers around execution and rows take half of the time. Columns need
    no conversion (SQLite has no booleans).

    Parameters
    ----------
    statements
        Ones that are kept: their SQL is remembered for them.
    bound
        The parameters of all of them: strings, numbers, or lists of strings for
        :func:`~jupyter_mlops.store.parameters.among`.
    plan_anew
        Let PostgreSQL plan for these values, where the best plan depends on them; otherwise it may keep one plan.
    """
    dialect = connection.dialect
    errors = dialect.loaded_dbapi.Error
    values = {name: driver_value(value, dialect.name) for name, value in bound.items()}
    is_sqlite = dialect.name == "sqlite"
    options: dict[str, Any] = {} if is_sqlite else {"binary": True, "prepare": False if plan_anew else None}
    driver: Any = connection.connection.driver_connection
    sql = ""
    cursors: list[Any] = []
    try:
        with nullcontext() if is_sqlite else driver.pipeline():
            for statement in statements:
                sql, names, constants = _compiled(statement, dialect)
                given = {**constants, **values}
                cursors.append(driver.cursor())
                cursors[-1].execute(sql, given if names is None else [*map(given.get, names)], **options)
        # After the block: a fetch inside would be a round trip more.
        return [cursor.fetchall() for cursor in cursors]
    except errors as error:
        raise driver_error(connection, sql, error) from error
    finally:
        for cursor in cursors:
            cursor.close()


@lru_cache(maxsize=1024)
def _compiled(statement: sa.Select[Any], dialect: Dialect) -> tuple[str, list[str] | None, dict[str, Any]]:
    """The SQL, the names of its positional parameters in order (None when they are named), and the parameters that have
    values already."""
    compiled = statement.compile(dialect=dialect)
    constants = {name: value for name, value in compiled.params.items() if value is not None}
    constants = {name: driver_value(value, dialect.name) for name, value in constants.items()}
    return str(compiled), compiled.positiontup, constants


class _JsonOf(FunctionElement[str]):
    """All values of a column, in the order of its rows, as the JSON text of an array; NULL or an empty one for none."""

    type = sa.Text()
    inherit_cache = True


@compiles(_JsonOf, "sqlite")
def _sqlite_json_of(element: _JsonOf, compiler: SQLCompiler, **options: Any) -> str:
    return f"json_group_array({compiler.process(element.clauses, **options)})"


@compiles(_JsonOf, "postgresql")
def _postgresql_json_of(element: _JsonOf, compiler: SQLCompiler, **options: Any) -> str:
    return f"CAST(json_agg({compiler.process(element.clauses, **options)}) AS TEXT)"


class Tables:
    """Several statements read as one, each column of each as one JSON text.

    Making Python objects of rows is most of the time of reading them, and SQLite's driver lets go of the interpreter's
    lock and waits for it again at every row. Columns are texts, integers and booleans (SQLite loses digits of other
    numbers).

    Parameters
    ----------
    statements, sorted_here
        What is read, in this order; the rows of the latter come in any order, although they say one, and are sorted
        where they are used (:func:`by_run`).
    """

    def __init__(self, *statements: sa.Select[Any], sorted_here: Sequence[sa.Select[Any]] = ()) -> None:
        self._statements = (*statements, *sorted_here)
        self._widths = [len(statement.selected_columns) for statement in self._statements]
        # In SQLite an ordered subquery is a step of its own, which takes as long as reading the table.
        self._unordered = (*statements, *(statement.order_by(None) for statement in sorted_here))
        self._made: dict[bool, sa.Select[Any]] = {}

    def statement(self, connection: Connection) -> sa.Select[Any]:
        """Gives one row."""
        is_sqlite = connection.dialect.name == "sqlite"
        if is_sqlite not in self._made:
            parts = [part.subquery() for part in (self._unordered if is_sqlite else self._statements)]
            self._made[is_sqlite] = sa.select(
                *(column for part in parts for column in sa.select(*map(_JsonOf, part.c)).subquery().c)
            )
        return self._made[is_sqlite]

    def columns(self, row: Sequence[str | None]) -> list[list[Columns]]:
        """The columns of each of the statements."""
        texts = iter(row)
        return [[_decode(text or "[]") for text in islice(texts, width)] for width in self._widths]


_decode = msgspec.json.Decoder(list[Any]).decode


def by_run(columns: Columns, records: Callable[..., Iterable[T]]) -> dict[str, tuple[T, ...]]:
    """The records by run.

    Parameters
    ----------
    columns
        The first is the run's id, the second what a run's records are ordered by.
    records
        Makes the records of all rows out of the other columns.
    """
    if not columns or not columns[0]:
        return {}
    order = list(zip(*columns[:2], strict=True))
    if order != sorted(order):
        places = sorted(range(len(order)), key=order.__getitem__)
        columns = [[column[place] for place in places] for column in columns]
    run_ids, *rest = columns
    made = tuple(records(*rest))
    found: dict[str, tuple[T, ...]] = {}
    start = 0
    # Of equal keys the last one stays: where the rows of a run end, and those of the next begin.
    for run_id, stop in dict(zip(run_ids, count(1), strict=False)).items():
        found[run_id] = made[start:stop]
        start = stop
    return found
