"""What a database holds, as numbers that two databases can be compared by, whichever kind they are.

A table's digest is the sum, modulo 2**256, of the SHA-256 of its rows: it depends on no order, and is found in one
pass. A row is hashed as the MessagePack array of its values in the order of the columns' names, with truth values as 0
and 1, -0.0 as 0.0 (SQLite keeps no other) and bytes as bytes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from jupyter_mlops.store import schema

ROWS_AT_ONCE = 1_000
_MODULUS = 1 << 256
_encode = msgspec.msgpack.Encoder().encode


class TableContents(msgspec.Struct, frozen=True):
    """How many rows a table has, and its digest in hex."""

    rows: int
    digest: str


class Summing:
    """A table's contents, as its rows come."""

    def __init__(self, columns: Sequence[str]) -> None:
        self._order = sorted(range(len(columns)), key=columns.__getitem__)
        self._rows = 0
        self._sum = 0

    def add(self, rows: Iterable[Sequence[Any]]) -> None:
        for row in rows:
            content = _encode([_canonical(row[place]) for place in self._order])
            self._sum += int.from_bytes(hashlib.sha256(content).digest(), "big")
            self._rows += 1

    @property
    def contents(self) -> TableContents:
        return TableContents(self._rows, format(self._sum % _MODULUS, "064x"))


def tables(connection: Connection) -> list[sa.Table]:
    """The tables of ours as they are in the database, also of another version of the schema: those that others refer to
    come first."""
    found = sa.MetaData()
    names = set(sa.inspect(connection).get_table_names()) & schema.metadata.tables.keys()
    found.reflect(connection, only=sorted(names), resolve_fks=False)
    return found.sorted_tables


def column_names(table: sa.Table) -> tuple[str, ...]:
    """In the order of :func:`rows`."""
    # What is reflected is of a class of SQLAlchemy's own.
    return tuple(str(column.name) for column in table.c)


def rows(connection: Connection, table: sa.Table) -> Iterator[list[list[Any]]]:
    """All rows of a table, some at a time, in no order."""
    # Of this statement only: on PostgreSQL it is a cursor of the server, which takes no other kind.
    answer = connection.execute(sa.select(*table.c), execution_options={"yield_per": ROWS_AT_ONCE})
    for part in answer.partitions():
        yield [list(row) for row in part]


def contents(connection: Connection) -> dict[str, TableContents]:
    """Of each table."""
    found = {}
    for table in tables(connection):
        summing = Summing(column_names(table))
        for part in rows(connection, table):
            summing.add(part)
        found[str(table.name)] = summing.contents
    return found


def digest(found: dict[str, TableContents]) -> str:
    """One digest, in hex, over those of all tables."""
    lines = sorted(f"{name} {table.rows} {table.digest}\n" for name, table in found.items())
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _canonical(value: Any) -> Any:
    if value is True or value is False:
        return int(value)
    if isinstance(value, float):
        return value + 0.0
    return bytes(value) if isinstance(value, memoryview) else value
