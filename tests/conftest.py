from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from jupyter_mlops.store import database as databases
from jupyter_mlops.store import migrate
from jupyter_mlops.store.database import Database
from tests import postgres
from tests.hub import chromium

LONGEST = ("test_binder.py", "test_panel_story.py", "test_demo.py", "test_large_notebooks.py", "test_object_stores.py")
"""Files that begin first: at the end, one of them would keep one worker busy for minutes, and the others idle."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.path.name not in LONGEST)


# Read when the driver of Google's storage is imported, by whichever test is first: else it asks by gRPC what kind of
# bucket it is, which the emulator does not speak.
os.environ.setdefault("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")

# A shell has what it starts in the background ignore Ctrl-C, and nohup a closed terminal, and so would all that tests
# start and interrupt. They are not given a handler that ignores it.
for _number, _handler in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, lambda *_: None)):
    if signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, _handler)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """A line of its own: that a browser was missing must not be one skip among many."""
    if any(chromium.MISSING in str(report.longrepr) for report in terminalreporter.stats.get("skipped", ())):
        terminalreporter.write_sep("!", chromium.MISSING, yellow=True)


DURABLE = databases.SYNCHRONOUS


@pytest.fixture(scope="session", autouse=True)
def _no_wait_for_the_disk() -> Iterator[None]:
    """This process does not wait until files are on the disk, which small tests would do most of the time. No power is
    cut here; what tests kill are processes of their own, which wait."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(databases, "SYNCHRONOUS", "OFF")
        patched.setattr(os, "fsync", lambda descriptor: None)
        yield


@pytest.fixture
def durable(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is opened from now on waits for the disk as it does for users."""
    monkeypatch.setattr(databases, "SYNCHRONOUS", DURABLE)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[postgres.Server]:
    with postgres.server() as server:
        yield server


@pytest.fixture
def postgres_url(postgres_server: postgres.Server) -> Iterator[str]:
    """The URL of a new, empty database."""
    url = postgres_server.new_database()
    yield url
    postgres_server.drop(url)


@pytest.fixture(scope="session")
def _postgres_template(postgres_server: postgres.Server) -> str:
    """The name of a database with the schema and nothing else."""
    url = postgres_server.new_database()
    _create_schema(url)
    return str(sa.make_url(url).database)


@pytest.fixture(scope="session")
def _sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sqlite") / "template.db"
    _create_schema(f"sqlite:///{path}")
    return path


@pytest.fixture
def sqlite_url(tmp_path_factory: pytest.TempPathFactory, _sqlite_template: Path) -> str:
    """The URL of a database file with the schema and nothing else."""
    path = tmp_path_factory.mktemp("store") / "mlops.db"
    shutil.copyfile(_sqlite_template, path)
    return f"sqlite:///{path}"


@pytest.fixture
def postgres_store_url(postgres_server: postgres.Server, _postgres_template: str) -> Iterator[str]:
    """The URL of a database with the schema and nothing else."""
    url = postgres_server.new_database(_postgres_template)
    yield url
    postgres_server.drop(url)


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str:
    """The URL of a database with the schema and nothing else, of each kind."""
    url: str = request.getfixturevalue("sqlite_url" if request.param == "sqlite" else "postgres_store_url")
    return url


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    database = Database(database_url)
    yield database
    database.close()


def _create_schema(url: str) -> None:
    database = Database(url)
    migrate.ensure_current(database, upgrade=False)
    database.close()
