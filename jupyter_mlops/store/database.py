"""A database by URL: SQLite, or PostgreSQL; short read and write transactions, errors in our words."""

from __future__ import annotations

import logging
import os
import select
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.engine import URL, Connection, Dialect, Engine, make_url

from jupyter_mlops.core.errors import InvalidValue, MissingDependency, TrackerClosed, Unavailable
from jupyter_mlops.core.redaction import masked_url
from jupyter_mlops.core.values import short
from jupyter_mlops.store.failures import lost_connection, translated
from jupyter_mlops.store.filesystem import network_file_system
from jupyter_mlops.store.turnstile import Turnstile

T = TypeVar("T")

_WRITES = "mlops_writes"
_TRUSTED = "mlops_trusted_until"
_ONE_STATE: dict[str, Any] = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
"""What makes all statements of a transaction of PostgreSQL see the same; those of SQLite always do."""
_POOL = "jupyter-mlops"
_ANY = sa.select(1)
_TABLES = sa.text(
    "SELECT sql FROM sqlite_master WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite!_%' ESCAPE '!' ORDER BY rowid"
)
BUSY_TIMEOUT_MS = 60_000
"""How long a writer waits for another one, which may have been stopped and might never go on."""
CONNECT_TIMEOUT = 10
"""Seconds to wait for a PostgreSQL server."""
TRUSTED_S = 30.0
"""Seconds for which an idle connection to PostgreSQL is taken to live unless its server has said something."""
CONNECTIONS = 8
KEPT_TO_SQLITE = 8
"""Connections to a SQLite file that are kept when nobody uses them: opening one is quick, and each has a cache."""
SYNCHRONOUS = "FULL"
"""SQLite's word for when a commit returns: what it acknowledges is on the disk."""
CACHE_KIB = 32 * 1024
"""Memory that a SQLite connection may use for pages of the file."""


class Database:
    """Connections to one database. Thread-safe; not to be carried across a fork.

    Parameters
    ----------
    url
        ``sqlite:////absolute/path`` or ``postgresql://user:password@host/name``.
    mounts
        The table of mounted file systems, for tests; the machine's own when None.
    connections
        How many threads may use the database at once, at least; others wait for one of them to be done.

    Raises
    ------
    InvalidValue
        The URL is none of these.
    MissingDependency
        PostgreSQL without its driver, psycopg.
    """

    def __init__(self, url: str, *, mounts: str | None = None, connections: int = CONNECTIONS) -> None:
        parsed = _parsed(url)
        self.is_sqlite = parsed.get_backend_name() == "sqlite"
        self.url = masked_url(parsed.set(drivername=parsed.get_backend_name()).render_as_string(hide_password=False))
        self.path: Path | None = None
        """The file, of SQLite."""
        self.network: str | None = None
        """The type of the network file system that the SQLite file lies on; None when it is local."""
        self._turnstile: Turnstile | None = None
        self._pid = os.getpid()
        self._closed = False
        self._of_thread = threading.local()
        if self.is_sqlite:
            self.path = Path(str(parsed.database)).absolute()
            if "\0" in str(self.path):
                raise InvalidValue(f"{short(url, 200)}: a NUL character cannot be part of a file's name")
            try:
                exists = self.path.parent.is_dir()
            except OSError as error:
                raise InvalidValue(f"{self.url}: the folder {self.path.parent}: {error.strerror}") from error
            if not exists:
                raise InvalidValue(f"{self.url}: the folder {self.path.parent} does not exist")
            parsed = parsed.set(database=str(self.path))
            self.url = str(parsed)
            self.network = network_file_system(self.path.parent, mounts)
            self._turnstile = Turnstile(self.path.with_name(self.path.name + "-turn"), BUSY_TIMEOUT_MS / 1000)
        try:
            self.engine: Engine = sa.create_engine(
                parsed,
                connect_args={} if self.is_sqlite else {"connect_timeout": CONNECT_TIMEOUT},
                pool_logging_name=_POOL,
                pool_size=min(connections, KEPT_TO_SQLITE) if self.is_sqlite else connections,
                max_overflow=connections,
                # An error is logged with its statement, not with what people wrote.
                hide_parameters=True,
            )
        except ModuleNotFoundError as error:
            raise MissingDependency(
                f"{self.url}: PostgreSQL needs the package {error.name!r}: pip install 'jupyter-mlops[postgresql]'"
            ) from error
        if self.is_sqlite:
            sa.event.listen(self.engine, "connect", _configure_sqlite)
            sa.event.listen(self.engine, "begin", _begin_sqlite)
            self._set_journal()
        else:
            sa.event.listen(self.engine, "connect", _configure_postgresql)
            sa.event.listen(self.engine, "checkout", partial(_require_alive, self.engine.dialect))
        self._reading = self.engine if self.is_sqlite else self.engine.execution_options(**_ONE_STATE)

    @property
    def journal_mode(self) -> str:
        """What SQLite keeps its promises with: WAL where shared memory works, else a journal that every file system
        can carry."""
        return "WAL" if self.network is None else "DELETE"

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction that sees one state of the database and writes nothing."""
        self.check_usable()
        with translated(self.url), self._reading.connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A short transaction that is durable once the block has ended without an error."""
        self.check_usable()
        with (
            translated(self.url),
            self._turnstile.turn() if self._turnstile else nullcontext(),
            self.engine.connect().execution_options(**{_WRITES: True}) as connection,
            connection.begin(),
        ):
            yield connection
            self.begin_commit()

    @contextmanager
    def blank(self) -> Iterator[Connection]:
        """A transaction of a database in memory with the tables of this one, which is SQLite's, and nothing in them.
        Statements that are compiled for it are compiled for this one."""
        with self.read() as connection:
            tables = connection.execute(_TABLES).scalars().all()
        pool = sa.pool.StaticPool(
            partial(sqlite3.connect, ":memory:", check_same_thread=False), dialect=self.engine.dialect
        )
        sa.event.listen(pool, "connect", _configure_sqlite)
        try:
            proxied = pool.connect()
            proxied.cursor().executescript(";\n".join(tables))
            with Connection(self.engine, proxied) as connection, connection.begin():
                yield connection
        finally:
            pool.dispose()

    def begin_commit(self) -> None:
        """From here on something that this thread does may be durable, whatever is heard of it."""
        self._of_thread.commits = self._commits + 1

    @property
    def _commits(self) -> int:
        return int(getattr(self._of_thread, "commits", 0))

    def repeated(self, function: Callable[[], T]) -> T:
        """What ``function`` gives. It is called once more when it lost a connection to PostgreSQL before it began to
        commit anything in this thread: then it has certainly changed nothing, and another connection may well do."""
        before = self._commits
        try:
            return function()
        except Unavailable as error:
            # All idle connections have been given up with the lost one.
            if self._commits != before or not lost_connection(error):
                raise
        return function()

    def ping(self) -> None:
        """Raise ``Unavailable`` unless the database answers."""
        with self.read() as connection:
            connection.execute(_ANY)

    def check_usable(self) -> None:
        """Raise ``TrackerClosed`` in a forked child and after :meth:`close`."""
        if self._closed:
            raise TrackerClosed(f"{self.url} was closed; open it again with connect()")
        if os.getpid() != self._pid:
            raise TrackerClosed(
                f"{self.url} was opened by process {self._pid}, of which this process is a fork; "
                "open a tracker of its own here with connect()"
            )

    def close(self) -> None:
        self._closed = True
        # A forked child must leave its parent's sockets and locks alone.
        own = os.getpid() == self._pid
        self.engine.dispose(close=own)
        if self._turnstile is not None and own:
            self._turnstile.close()

    def _set_journal(self) -> None:
        # Of several processes that change the mode of a fresh file at once, SQLite turns some away without waiting.
        deadline = time.monotonic() + BUSY_TIMEOUT_MS / 1000
        while True:
            try:
                with translated(self.url), closing(self.engine.raw_connection()) as connection:
                    mode = connection.cursor().execute(f"PRAGMA journal_mode = {self.journal_mode}").fetchone()[0]
                if str(mode).upper() == self.journal_mode:
                    return
                raise Unavailable(f"{self.url} is locked: its journal mode {mode!r} cannot become {self.journal_mode}")
            except Unavailable as error:
                if "locked" not in error.message or time.monotonic() > deadline:
                    raise
            time.sleep(0.01)


def _parsed(url: str) -> URL:
    try:
        parsed = make_url(url)
    except (sa.exc.ArgumentError, ValueError):
        parsed = None
    if parsed is not None:
        if parsed.drivername in ("postgresql", "postgres"):
            return parsed.set(drivername="postgresql+psycopg")
        if parsed.drivername == "postgresql+psycopg":
            return parsed
        if parsed.drivername == "sqlite" and parsed.database and parsed.database != ":memory:":
            return parsed
    raise InvalidValue(
        f"{short(masked_url(url), 200)} is no database URL; write sqlite:////absolute/path/mlops.db or "
        "postgresql://user:password@host/database"
    )


def _configure_sqlite(connection: Any, _record: Any) -> None:
    # The driver's own transaction handling would open a deferred transaction at the first write, which can fail with
    # "database is locked" at once; BEGIN is said in `_begin_sqlite` instead.
    connection.isolation_level = None
    # SQLite's own lower() knows ASCII only.
    connection.create_function("mlops_lower", 1, _lower, deterministic=True)
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
    cursor.execute(f"PRAGMA synchronous = {SYNCHRONOUS}")
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
    cursor.close()


def _configure_postgresql(connection: Any, _record: Any) -> None:
    # Searches are short walks along indexes that are mostly in memory, for which parallel workers cost more than they
    # bring, and so does remembering what was looked up: hardly a run is looked up twice.
    from psycopg.types.numeric import Int8Dumper

    # Else each size of an integer is a type of its own, and each mixture of types a statement to prepare.
    connection.adapters.register_dumper(int, Int8Dumper)
    with connection.cursor() as cursor:
        cursor.execute("SET random_page_cost = 1.1")
        cursor.execute("SET max_parallel_workers_per_gather = 0")
        cursor.execute("SET enable_memoize = off")
        cursor.execute(f"SET lock_timeout = {BUSY_TIMEOUT_MS}")
    connection.commit()


def _require_alive(dialect: Dialect, connection: Any, record: Any, _proxy: Any) -> None:
    """Let the pool make a new connection in place of one that was lost while it was idle.

    To ask the server each time would be a round trip. But one that ends a connection says so: there is something to
    read then, which makes us ask; as does a long time in which the network may have forgotten the connection.
    """
    now = time.monotonic()
    trusted_until = record.info.get(_TRUSTED, now)
    record.info[_TRUSTED] = now + TRUSTED_S
    waiting = select.poll()
    try:
        waiting.register(connection.pgconn.socket, select.POLLIN)
        if now > trusted_until or waiting.poll(0):
            dialect.do_ping(connection)
    except dialect.loaded_dbapi.Error as error:
        raise sa.exc.InvalidatePoolError from error


def _lower(text: str | None) -> str | None:
    return None if text is None else text.lower()


def _begin_sqlite(connection: Connection) -> None:
    writes = connection.get_execution_options().get(_WRITES, False)
    # Straight to the driver: each reading begins with it.
    driver: Any = connection.connection.driver_connection
    driver.execute("BEGIN IMMEDIATE" if writes else "BEGIN")


def _is_news(record: logging.LogRecord) -> bool:
    """A connection that breaks when it is given back is thrown away, and whatever needed it has been told before."""
    return "Exception during reset" not in record.getMessage()


logging.getLogger(f"sqlalchemy.pool.impl.QueuePool.{_POOL}").addFilter(_is_news)
