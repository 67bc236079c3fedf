"""``INSERT ... ON CONFLICT``: SQLAlchemy has it in each dialect, not in common. Only the dialect in use is imported."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar

from sqlalchemy.engine import Connection

S = TypeVar("S")


def insert_of(connection: Connection) -> Callable[..., Any]:
    """The ``insert`` of the dialect of ``connection``."""
    # PostgreSQL's dialect takes a fifth of the time of importing SQLAlchemy, in each process that uses SQLite.
    if connection.dialect.name == "postgresql":
        from sqlalchemy.dialects import postgresql

        return postgresql.insert
    from sqlalchemy.dialects import sqlite

    return sqlite.insert


class Upsert(Generic[S]):
    """One or more statements that ``make`` makes of a dialect's ``insert``, once for each dialect that is used."""

    def __init__(self, make: Callable[[Callable[..., Any]], S]) -> None:
        self._make = make
        self._made: dict[str, S] = {}

    def on(self, connection: Connection) -> S:
        """For the dialect of ``connection``."""
        name = connection.dialect.name
        if name not in self._made:
            self._made[name] = self._make(insert_of(connection))
        return self._made[name]
