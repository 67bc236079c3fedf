"""Very many rows into a table, in the quickest way that its database has: for what is loaded, not logged."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from jupyter_mlops.store.failures import driver_error


def insert(connection: Connection, table: sa.Table, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Insert rows whose values, as the database's driver takes them, are in the order of ``columns``."""
    quoted = connection.dialect.identifier_preparer.quote
    into = f"{quoted(table.name)} ({', '.join(map(quoted, columns))})"
    driver: Any = connection.connection.driver_connection
    errors = connection.dialect.loaded_dbapi.Error
    sqlite = connection.dialect.name == "sqlite"
    sql = f"INSERT INTO {into} VALUES ({', '.join('?' * len(columns))})" if sqlite else f"COPY {into} FROM STDIN"
    try:
        if sqlite:
            driver.executemany(sql, rows)
            return
        with driver.cursor() as cursor, cursor.copy(sql) as copy:
            for row in rows:
                copy.write_row(row)
    except errors as error:
        raise driver_error(connection, sql, error) from error
