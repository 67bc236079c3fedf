"""The schema's version: create it, check it, upgrade it. Alembic is imported only for an upgrade.

Revisions are numbered ``0001``, ``0002``... in ``migrations/versions``; a fresh database gets the newest at once.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from jupyter_mlops.core.errors import InvalidValue, SchemaOutdated, SchemaTooNew
from jupyter_mlops.store import (  # noqa: F401 - their tables join the others
    schema,
    schema_access,
    schema_limits,
    schema_logged,
    schema_promotion,
    schema_telling,
)
from jupyter_mlops.store.database import Database

HEAD = "0010"
"""The revision of :mod:`jupyter_mlops.store.schema`."""

SCRIPTS = Path(__file__).with_name("migrations")

_version = sa.Table(
    "mlops_schema",
    sa.MetaData(),
    sa.Column("version_num", sa.String(32), nullable=False),
    sa.PrimaryKeyConstraint("version_num", name="mlops_schema_pkc"),
)
# Any number will do, as long as each process takes the same.
_ADVISORY_LOCK = 0x6D6C6F7073

logger = logging.getLogger("jupyter_mlops")


def current(database: Database) -> str | None:
    """The revision of the database; None when there is no schema of ours in it."""
    with database.read() as connection:
        return revision_of(connection)


def ensure_current(database: Database, upgrade: bool) -> None:
    """Make sure that the schema is this version's: create it in a fresh database, upgrade an older one if ``upgrade``.

    Raises
    ------
    SchemaOutdated
        The database is older and ``upgrade`` is False.
    SchemaTooNew
        A newer version of this package made it.
    """
    found = current(database)
    if found is None:
        found = _create(database)
    if found == HEAD:
        return
    refuse_newer(database.url, found)
    if not upgrade:
        raise SchemaOutdated(
            f"{database.url} has schema {found}, this version of jupyter-mlops needs {HEAD}: "
            "run 'jupyter mlops db upgrade'"
        )
    run_migrations(database)


def upgrade(database: Database) -> None:
    """Bring the database to this version's schema; an SQLite file is copied to ``<file>.backup-<revision>-<time>``
    first. Harmless when there is nothing to do."""
    found = current(database)
    if found is None:
        _create(database)
    elif found != HEAD:
        refuse_newer(database.url, found)
        run_migrations(database)


def refuse_newer(what: str, found: str) -> None:
    """Raise ``SchemaTooNew`` when ``what`` has a schema that this version does not know."""
    if found > HEAD:
        raise SchemaTooNew(
            f"{what} has schema {found}, made by a newer jupyter-mlops; this one knows schemas up to {HEAD}: "
            "upgrade the package (pip install --upgrade jupyter-mlops)"
        )


def revision_of(connection: Connection) -> str | None:
    """As :func:`current`."""
    if not sa.inspect(connection).has_table(_version.name):
        return None
    return connection.execute(sa.select(_version.c.version_num)).scalar()


@contextmanager
def created_at(database: Database, revision: str) -> Iterator[Connection]:
    """A transaction in which an empty database has got the schema of ``revision``; ``InvalidValue`` when it is not
    empty."""
    with database.write() as connection:
        _exclusive(connection)
        if revision_of(connection) is not None:
            raise InvalidValue(f"{database.url} is not empty: give a database that nothing has been stored in")
        _refuse_foreign(database, connection)
        if revision == HEAD:
            _create_tables(connection)
        else:
            _migrate(connection, revision)
        yield connection


def _exclusive(connection: Connection) -> None:
    """Let one process at a time change the schema; SQLite's write transactions are exclusive anyway."""
    if connection.dialect.name == "postgresql":
        # Another one may take long to change it.
        connection.execute(sa.text("SET LOCAL lock_timeout = 0"))
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_ADVISORY_LOCK)))


def _create(database: Database) -> str:
    with database.write() as connection:
        _exclusive(connection)
        found = revision_of(connection)
        if found is not None:
            return found
        _refuse_foreign(database, connection)
        _create_tables(connection)
    if database.network is not None:
        logger.warning(
            "%s lies on a network file system (%s): SQLite keeps it in journal mode %s, which is safe there and slower",
            database.path,
            database.network,
            database.journal_mode,
        )
    return HEAD


def _create_tables(connection: Connection) -> None:
    schema.metadata.create_all(connection, checkfirst=False)
    _version.create(connection, checkfirst=False)
    connection.execute(sa.insert(_version), {"version_num": HEAD})


def _refuse_foreign(database: Database, connection: Connection) -> None:
    """A SQLite file belongs to one program; in PostgreSQL others may be beside us, under other names."""
    others = set(sa.inspect(connection).get_table_names())
    if not database.is_sqlite:
        others &= schema.metadata.tables.keys()
    if others:
        raise InvalidValue(
            f"{database.url} holds tables of another program ({', '.join(sorted(others)[:5])}): give an empty "
            "database, or a file that does not exist yet"
        )


def run_migrations(database: Database) -> None:
    """Run the migrations that the database lacks, in one transaction, after a copy of an SQLite file was made."""
    with database.write() as connection:
        _exclusive(connection)
        found = revision_of(connection)
        if found == HEAD:
            return
        if database.path is not None:
            copy = _back_up(database, database.path, str(found))
            logger.warning("%s: schema %s becomes %s; a copy is kept in %s", database.url, found, HEAD, copy)
        _migrate(connection, "head")


def _migrate(connection: Connection, revision: str) -> None:
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(SCRIPTS).replace("%", "%%"))
    config.set_main_option("version_table", _version.name)
    config.attributes["connection"] = connection
    command.upgrade(config, revision)


def _back_up(database: Database, path: Path, revision: str) -> Path:
    """A consistent copy beside the file. Its connection reads what was committed before the write lock was taken."""
    copy = path.with_name(f"{path.name}.backup-{revision}-{time.strftime('%Y%m%d-%H%M%S')}")
    # What is called a copy is whole: one whose process was killed keeps this name, and is made anew.
    partial = path.with_name(f"{path.name}.backup-{revision}.partial")
    partial.unlink(missing_ok=True)
    with closing(database.engine.raw_connection()) as connection:
        connection.cursor().execute("VACUUM INTO ?", (str(partial),))
    partial.replace(copy)
    return copy
