"""A store that is opened here: its database, its files, and what this machine has not brought there yet."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import sqlalchemy as sa

from jupyter_mlops.core.errors import MLOpsError
from jupyter_mlops.core.findings import Finding, bad, clocks, doubtful, good, room
from jupyter_mlops.core.formats import size
from jupyter_mlops.core.ids import new_id
from jupyter_mlops.core.quotas import standing
from jupyter_mlops.store import migrate, usage
from jupyter_mlops.store.blobs import BlobStore
from jupyter_mlops.store.database import Database
from jupyter_mlops.tracker.connect import artifacts_location

LEAST_FREE = 1 << 30
"""Bytes that should be free where the store is."""


def examine_store(url: str, artifacts: str | None) -> Iterator[Finding]:
    """Look at the store at ``url``; a small file is written to its artifacts and removed again.

    Raises
    ------
    InvalidValue
        The URL is no database's.
    """
    database = Database(url)
    try:
        yield from _examine(database, artifacts)
    finally:
        database.close()


def _examine(database: Database, artifacts: str | None) -> Iterator[Finding]:
    try:
        found = migrate.current(database)
    except MLOpsError as error:
        yield bad("database", error.message, "see that it runs, and that its address and password are right")
        return
    if found is None:
        yield good("database", f"{database.url} is empty: the first command that records fills it")
        return
    if found != migrate.HEAD:
        told = f"{database.url} has schema {found}, and this version needs {migrate.HEAD}"
        newer = found > migrate.HEAD
        advice = "upgrade the package" if newer else "stop the service, and run jupyter mlops db upgrade"
        yield bad("database", told, advice)
        return
    yield good("database", f"{database.url} answers, with schema {found}")
    yield from (_sqlite if database.is_sqlite else _postgresql)(database)
    yield from _files(database, artifacts)
    yield from _quotas(database)


def _sqlite(database: Database) -> Iterator[Finding]:
    assert database.path is not None
    if database.network is not None:
        yield doubtful(
            "file system",
            f"{database.path} is on {database.network}, where SQLite is slow, and one process writes at a time",
            "share a store by the service and PostgreSQL; one's own is quickest on a local disk",
        )
    yield _room("room", database.path.parent)


def _postgresql(database: Database) -> Iterator[Finding]:
    with database.read() as connection:
        version, now, most = connection.execute(
            sa.text(
                "SELECT current_setting('server_version'), extract(epoch FROM clock_timestamp()), "
                "current_setting('max_connections')"
            )
        ).one()
    yield good("PostgreSQL", f"it is {version}, for {most} connections at once")
    yield clocks(time.time() - float(now), "the database's")


def _files(database: Database, artifacts: str | None) -> Iterator[Finding]:
    try:
        place = artifacts_location(database, artifacts)
        blobs = BlobStore(database, place)
        content, key = os.urandom(1000), new_id()
        writer = blobs.objects.create(key)
        writer.write(content)
        writer.finish()
        blobs.objects.sync([key])
        read = b"".join(blobs.objects.read(key, 0, len(content) + 1))
        blobs.objects.remove(key)
    except (MLOpsError, FileNotFoundError) as error:
        told = error.message if isinstance(error, MLOpsError) else f"what was written is not there: {error}"
        yield bad("files", told, "see that the place exists, and that it may be written, read and deleted from")
        return
    if read != content:
        yield bad("files", f"{blobs.objects.url} gives other bytes than it was given", "take another place")
        return
    yield good("files", f"{blobs.objects.url} takes, gives and removes files")
    if "://" not in blobs.objects.url and not database.is_sqlite:
        yield _room("room", Path(blobs.objects.url))


def _quotas(database: Database) -> Iterator[Finding]:
    with database.read() as connection:
        rules = usage.quotas(connection)
        held = usage.of_owners(connection) if rules else {}
    yield from room(standing(owner, used, rules) for owner, used in sorted(held.items()))


def _room(what: str, folder: Path) -> Finding:
    free = shutil.disk_usage(folder).free
    if free < LEAST_FREE:
        return doubtful(
            what, f"{size(free)} are free in {folder}", "make room: jupyter mlops gc frees what was deleted"
        )
    return good(what, f"{size(free)} are free in {folder}")
