"""Errors of database drivers, in our words."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from jupyter_mlops.core.errors import Conflict, IntegrityError, InvalidValue, MLOpsError, StorageFull, Unavailable


class Meaning(NamedTuple):
    """What an error of a driver is to us."""

    kind: type[MLOpsError]
    sentence: str
    """Takes the database's URL, and what its driver says."""
    public: str
    """For others, whom the names of a host, of files and of tables do not concern; takes what the driver says."""


_NO_ROOM = Meaning(
    StorageFull,
    "{} has no room to write: {}; free some space and try again",
    "the store has no room to write; nothing half written is visible",
)
_NO_ANSWER = Meaning(Unavailable, "{} does not answer: {}", "the store does not answer; try again")
_NO_ACCESS = Meaning(
    Unavailable,
    "{} cannot be used: {}; you must be able to read and write the file and its folder",
    "the store cannot be used now",
)
_DAMAGED = "the store's database is damaged"

_BY_CLASS: tuple[tuple[type[sa.exc.DBAPIError], Meaning], ...] = (
    (sa.exc.DataError, Meaning(InvalidValue, "{} refuses a value: {}", "the store refuses a value: {}")),
    (
        sa.exc.IntegrityError,
        Meaning(
            Conflict,
            "{}: someone else has changed the same thing meanwhile: {}",
            "someone else has changed the same thing meanwhile; look again",
        ),
    ),
)
# SQLite has one class for what may pass and for mistakes in statements; its texts tell them apart.
_SQLITE: tuple[tuple[re.Pattern[str], Meaning], ...] = (
    (re.compile("database or disk is full"), _NO_ROOM),
    (re.compile("is not a database"), Meaning(InvalidValue, "{} is no SQLite database: {}", _DAMAGED)),
    (re.compile("malformed"), Meaning(IntegrityError, "{} is damaged: {}; restore a copy of it", _DAMAGED)),
    (re.compile("unable to open|readonly|read-only"), _NO_ACCESS),
    (re.compile("locked|busy|disk I/O error|interrupted"), _NO_ANSWER),
)
# PostgreSQL's codes for a full disk, and for a quota that its host sets.
_NO_ROOM_STATES = ("53100", "53400")


@contextmanager
def translated(url: str) -> Iterator[None]:
    """Turn the errors of the drivers of the database at ``url`` (without a password) into ours; mistakes in statements
    stay what they are."""
    try:
        yield
    except (sa.exc.DBAPIError, sqlite3.Error) as error:
        meaning = _meaning(error)
        if meaning is None:
            raise
        told = " ".join(str(getattr(error, "orig", error)).split())
        raised = meaning.kind(meaning.sentence.format(url, told))
        raised.public = meaning.public.format(told)
        raise raised from error
    except UnicodeEncodeError as error:
        raise InvalidValue(f"a text cannot be stored: {error}") from error
    except sa.exc.TimeoutError as error:
        busy = Unavailable(f"{url}: all database connections are busy: {error}")
        busy.public = "all connections to the store's database are busy; try again"
        raise busy from error


def driver_error(connection: Connection, sql: str, error: Exception) -> sa.exc.DBAPIError:
    """An error of the driver, which was called without SQLAlchemy's layers, as they would have raised it."""
    dialect = connection.dialect
    driver: Any = connection.connection.driver_connection
    made = sa.exc.DBAPIError.instance(sql, None, error, dialect.loaded_dbapi.Error, dialect=dialect)
    assert isinstance(made, sa.exc.DBAPIError)
    made.connection_invalidated = dialect.is_disconnect(error, driver, None)  # type: ignore[arg-type]
    return made


def lost_connection(error: MLOpsError) -> bool:
    """Whether a connection that had been made broke: another one may well do, where reading can simply be repeated."""
    return isinstance(error.__cause__, sa.exc.DBAPIError) and error.__cause__.connection_invalidated


def met_another(error: MLOpsError) -> bool:
    """Whether another transaction has inserted the same, or taken away what was referred to, since this one looked."""
    return isinstance(error.__cause__, sa.exc.IntegrityError)


def _meaning(error: sa.exc.DBAPIError | sqlite3.Error) -> Meaning | None:
    for kind, meaning in _BY_CLASS:
        if isinstance(error, kind):
            return meaning
    original = error.orig if isinstance(error, sa.exc.DBAPIError) else error
    if isinstance(original, sqlite3.Error):
        text = str(original)
        return next((meaning for pattern, meaning in _SQLITE if pattern.search(text)), None)
    if getattr(original, "sqlstate", None) in _NO_ROOM_STATES:
        return _NO_ROOM
    lost = isinstance(error, sa.exc.OperationalError) or (
        isinstance(error, sa.exc.DBAPIError) and error.connection_invalidated
    )
    return _NO_ANSWER if lost else None
