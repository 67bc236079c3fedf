"""A new stream's row: two who begin it at once apply nothing twice, and one alone asks for it once."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest
import sqlalchemy as sa

from jupyter_mlops.core.errors import PermissionDenied
from jupyter_mlops.core.records import StreamPosition
from jupyter_mlops.store import streams
from jupyter_mlops.store.database import Database
from tests.waiting import until


@contextmanager
def statements(database: Database) -> Iterator[list[str]]:
    """The first words of what is executed."""
    found: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        found.append(statement.split(maxsplit=1)[0])

    sa.event.listen(database.engine, "before_cursor_execute", note)
    try:
        yield found
    finally:
        sa.event.remove(database.engine, "before_cursor_execute", note)


def uses(*names: str) -> list[tuple[str, str | None]]:
    return [(name, "ada") for name in names]


@pytest.mark.parametrize("new", [["a"], ["c", "a", "b"]])
def test_new_streams_are_asked_for_once(database: Database, new: list[str]) -> None:
    with statements(database) as executed, database.write() as connection:
        assert streams.locked_watermarks(connection, uses(*new), 5) == dict.fromkeys(new, 0)
    assert executed == ["SELECT", "INSERT"]
    with database.write() as connection:
        streams.advance(connection, {"a": 7}, 6)
        assert streams.locked_watermarks(connection, uses("a", "new"), 7) == {"a": 7, "new": 0}
        with pytest.raises(PermissionDenied, match="'new' is of another user"):
            streams.locked_watermarks(connection, [("new", "bob")], 7)


@pytest.mark.parametrize("others", [[], ["before"], ["z"]])
@pytest.mark.parametrize("stays", [True, False])
def test_of_two_who_begin_a_stream_at_once_the_later_finds_what_the_first_applied(
    database: Database, others: list[str], stays: bool
) -> None:
    """Also where some of the later one's streams are not the first one's."""
    position = StreamPosition("s", 3)

    def begin() -> dict[str, int]:
        with database.write() as connection:
            return streams.locked_watermarks(connection, uses("s", *others), 6)

    with ThreadPoolExecutor(1) as pool:
        with database.write() as connection:
            assert streams.claim(connection, position, "ada", 5)
            later = pool.submit(begin)
            # SQLite's other writer begins only after this one.
            until(lambda: database.is_sqlite or somebody_waits(database), "that the other one inserts it, too,")
            if not stays:
                connection.rollback()
        assert later.result(60) == {"s": 3 if stays else 0, **dict.fromkeys(others, 0)}


def somebody_waits(database: Database) -> bool:
    """Whether a transaction of PostgreSQL waits for another."""
    with database.read() as connection:
        return bool(connection.exec_driver_sql("SELECT count(*) FROM pg_locks WHERE NOT granted").scalar())
