"""A database in one file, and back: between SQLite and PostgreSQL, while it is in use.

The file is a gzip stream of MessagePack documents, each after its length in four bytes: a :class:`Header`, for each
table a :class:`Table` and its :class:`Rows`, at last a :class:`Trailer` with what was written, by which a file that is
cut off or changed is known. The bytes of artifacts are not in it.
"""

from __future__ import annotations

import gzip
import os
import struct
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from jupyter_mlops.core.errors import NO_ROOM, IntegrityError, InvalidValue, StorageFull
from jupyter_mlops.core.ids import new_id
from jupyter_mlops.store import bulk, contents, migrate, settings
from jupyter_mlops.store.contents import Summing, TableContents
from jupyter_mlops.store.database import Database

FORMAT = "jupyter-mlops dump 1"
_LENGTH = struct.Struct(">I")
_LARGEST = 1 << 30
_LEVEL = 3
"""Of compression: more costs far more time than it saves room."""

OnRows = Callable[[int], None]
"""Told how many rows more were written."""


class Header(msgspec.Struct, frozen=True, tag=True, kw_only=True):
    format: str
    schema: str
    """The revision of the database."""
    created: int
    """Milliseconds since the epoch."""


class Table(msgspec.Struct, frozen=True, tag=True):
    name: str
    columns: tuple[str, ...]
    last: int | None
    """The last number that the database gave to a row of the table, by itself; None where it has given none."""


class Rows(msgspec.Struct, frozen=True, tag=True):
    """Of the table before."""

    values: list[list[Any]]


class Trailer(msgspec.Struct, frozen=True, tag=True):
    tables: dict[str, TableContents]


Document = Header | Table | Rows | Trailer
_encode = msgspec.msgpack.Encoder().encode
_decoder = msgspec.msgpack.Decoder(Document)


def dump(database: Database, path: Path, now: int, on_rows: OnRows | None = None) -> Trailer:
    """Write one state of the database to the file ``path``, which others cannot read and which appears whole.

    Parameters
    ----------
    now
        Milliseconds since the epoch.

    Raises
    ------
    InvalidValue
        The database is empty, or the file cannot be written.
    StorageFull
        There is no room for it.
    """
    with database.read() as connection, _written(path) as file:
        revision = migrate.revision_of(connection)
        if revision is None:
            raise InvalidValue(f"{database.url} is empty: there is nothing to dump")
        _write(file, Header(format=FORMAT, schema=revision, created=now))
        written = {}
        for table in contents.tables(connection):
            name, columns = str(table.name), contents.column_names(table)
            _write(file, Table(name, columns, _last_number(connection, table)))
            summing = Summing(columns)
            for part in contents.rows(connection, table):
                summing.add(part)
                _write(file, Rows(part))
                if on_rows is not None:
                    on_rows(len(part))
            written[name] = summing.contents
        trailer = Trailer(written)
        _write(file, trailer)
    return trailer


def load(database: Database, path: Path, on_rows: OnRows | None = None, *, artifacts_url: str | None = None) -> Trailer:
    """Fill the database, which is empty, with the file ``path``: wholly, or not at all. An older schema is brought to
    this version's afterwards.

    Parameters
    ----------
    artifacts_url
        Where the files are from now on; where they were when None.

    Raises
    ------
    InvalidValue
        The database is not empty, or the file is no dump.
    SchemaTooNew
        A newer version of this package made the dump.
    IntegrityError
        The file is cut off or was changed, or the database does not hold what was written to it.
    """
    with _documents(path) as documents:
        header = next(documents, None)
        if not isinstance(header, Header) or header.format != FORMAT:
            raise InvalidValue(f"{path} is no dump that this version can read")
        migrate.refuse_newer(str(path), header.schema)
        with migrate.created_at(database, header.schema) as connection:
            trailer = _fill(connection, documents, on_rows)
            if trailer is None:
                raise IntegrityError(f"{path} is cut off: its end is missing")
            found = contents.contents(connection)
            wrong = sorted(name for name in {*found, *trailer.tables} if found.get(name) != trailer.tables.get(name))
            if wrong:
                raise IntegrityError(f"{path} was changed since it was made: other rows in {', '.join(wrong)}")
            if artifacts_url is not None:
                settings.replace(connection, settings.ARTIFACTS_URL, artifacts_url)
    migrate.upgrade(database)
    return trailer


def _fill(connection: Connection, documents: Iterator[Document], on_rows: OnRows | None) -> Trailer | None:
    known = {str(table.name): table for table in contents.tables(connection)}
    table: sa.Table | None = None
    names: tuple[str, ...] = ()
    numbers: dict[str, int] = {}
    for document in documents:
        if isinstance(document, Trailer):
            for name, last in numbers.items():
                _set_last_number(connection, known[name], last)
            return document
        if isinstance(document, Table):
            table, names = known.get(document.name), document.columns
            if table is None or set(names) != set(table.c.keys()):
                raise InvalidValue(f"the dump has a table {document.name!r} that its schema does not have so")
            if document.last:
                numbers[document.name] = document.last
        elif isinstance(document, Rows) and table is not None:
            if any(len(row) != len(names) for row in document.values):
                raise IntegrityError(f"the dump has rows of another width in {table.name}")
            bulk.insert(connection, table, names, document.values)
            if on_rows is not None:
                on_rows(len(document.values))
    return None


def _last_number(connection: Connection, table: sa.Table) -> int | None:
    if connection.dialect.name == "sqlite":
        # A table of SQLite's own, which it has as soon as any table numbers its rows.
        query = sa.text("SELECT seq FROM sqlite_sequence WHERE name = :name")
        last = connection.execute(query, {"name": table.name}).scalar()
        return None if last is None else int(last)
    sequence = _sequence(connection, table)
    if sequence is None:
        return None
    called, last = connection.execute(sa.text(f"SELECT is_called, last_value FROM {sequence}")).one()
    return int(last) if called else None


def _set_last_number(connection: Connection, table: sa.Table, last: int) -> None:
    if connection.dialect.name == "sqlite":
        connection.execute(sa.text("DELETE FROM sqlite_sequence WHERE name = :name"), {"name": table.name})
        numbered = sa.text("INSERT INTO sqlite_sequence (name, seq) VALUES (:name, :last)")
        connection.execute(numbered, {"name": table.name, "last": last})
    elif (sequence := _sequence(connection, table)) is not None:
        connection.execute(sa.text("SELECT setval(CAST(:name AS regclass), :last)"), {"name": sequence, "last": last})


def _sequence(connection: Connection, table: sa.Table) -> str | None:
    """Of the column by which PostgreSQL numbers the rows."""
    keys = list(table.primary_key.columns)
    if len(keys) != 1:
        return None
    query = sa.text("SELECT pg_get_serial_sequence(:table, :column)")
    found = connection.execute(query, {"table": table.name, "column": keys[0].name}).scalar()
    return None if found is None else str(found)


def _write(file: gzip.GzipFile, document: Document) -> None:
    content = _encode(document)
    file.write(_LENGTH.pack(len(content)) + content)


@contextmanager
def _written(path: Path) -> Iterator[gzip.GzipFile]:
    # It is replaced as a whole: of a link, what it leads to is, and a device or a pipe would be gone.
    path = Path(os.path.realpath(path))
    if os.path.lexists(path) and not path.is_file():
        raise InvalidValue(f"{path} is no file; a dump is written to one of its own")
    part = path.with_name(f".{path.name}.{new_id()}.part")
    try:
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as raw:
            with gzip.GzipFile(filename="", fileobj=raw, mode="wb", compresslevel=_LEVEL) as file:
                yield file
            raw.flush()
            os.fsync(raw.fileno())
        part.replace(path)
    except OSError as error:
        kind = StorageFull if error.errno in NO_ROOM else InvalidValue
        raise kind(f"{path} cannot be written: {error.strerror or error}") from error
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def _documents(path: Path) -> Iterator[Iterator[Document]]:
    try:
        with gzip.GzipFile(path, "rb") as file:
            yield _read(path, file)
    except (gzip.BadGzipFile, zlib.error) as error:
        raise IntegrityError(f"{path} is no dump, or was changed: {error}") from error
    except EOFError as error:
        raise IntegrityError(f"{path} is cut off: its end is missing") from error
    except OSError as error:
        raise InvalidValue(f"{path} cannot be read: {error.strerror or error}") from error


def _read(path: Path, file: gzip.GzipFile) -> Iterator[Document]:
    while head := file.read(_LENGTH.size):
        size = _LENGTH.unpack(head.ljust(_LENGTH.size, b"\0"))[0]
        content = file.read(min(size, _LARGEST))
        if len(head) < _LENGTH.size or len(content) < size:
            raise IntegrityError(f"{path} is cut off, or was changed")
        try:
            yield _decoder.decode(content)
        except msgspec.MsgspecError as error:
            raise IntegrityError(f"{path} is no dump, or was changed: {error}") from error
