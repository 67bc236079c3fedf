"""A database in a file, and back into another: the rows are the same, by a reckoning of the test's own."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import sqlite3
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest

from jupyter_mlops.core.access import Principal, Scope
from jupyter_mlops.core.errors import IntegrityError, InvalidValue, SchemaTooNew
from jupyter_mlops.core.ids import new_id
from jupyter_mlops.core.records import Batch, Dataset, Input, Metric, NewRun
from jupyter_mlops.core.values import param, series
from jupyter_mlops.store import backup, contents, migrate, settings
from jupyter_mlops.store.database import Database
from jupyter_mlops.tracker.connect import connect
from tests.postgres import Server

ODD = [float("nan"), float("inf"), -0.0, 1e-300, 5.0]


def fill(url: str, artifacts: Path) -> None:
    """Something in most tables, with values that are easily lost on the way."""
    principal = Principal("ada", frozenset({"red"}), Scope.ADMIN)
    with connect(url, artifacts=artifacts, principal=principal) as tracker:
        experiment = tracker.experiments.ensure("ünï \U0001f680", owner="group:red")
        for number in range(3):
            batch = Batch(
                params=(param("text", "x" * 6_000), param("flag", True), param("deep", {"a": [1, None, 2.5]})),
                metrics=tuple(Metric(f"m{place}", value, 1, 2**63 - 1) for place, value in enumerate(ODD)),
                series=(series("loss", [1 / (step + 1) for step in range(2_500)]),),
                inputs=(Input(Dataset("rows", "d1", "local", "a.csv", rows=3), "train"),),
            )
            run = tracker.runs.create(NewRun(experiment_id=experiment.experiment_id, batch=batch))
            tracker.runs.comment(run.run_id, f"number {number}\nsecond line")
            folder = artifacts.parent / "model"
            folder.mkdir(exist_ok=True)
            (folder / "MLmodel").write_text("flavors: {python_function: {loader_module: x}}")
            (folder / "weights").write_bytes(os.urandom(1000))
            tracker.artifacts.put_folder(run.run_id, folder, "model")
            tracker.models.register("churn", run.run_id, "model")
        tracker.models.set_alias("churn", "canary", 2, reason="try")
        tracker.promotions.request("churn", 3, reason="better")
        tracker.runs.delete(run.run_id)
        # The last row that a table numbered is gone: its number must not be given again.
        hook = tracker.webhooks.create("https://example.org/hook", events=("alias.moved",))
        tracker.webhooks.delete(hook.webhook_id)


def reckoned(url: str) -> dict[str, tuple[int, str]]:
    """Rows and a digest of each table, read by the driver and written as sorted JSON: nothing of the product's."""
    if url.startswith("sqlite"):
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection:
            names = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
            return {
                name: _reckon(connection.execute(f'SELECT * FROM "{name}"')) for name in names if "sqlite" not in name
            }
    with psycopg.connect(url) as server:
        query = "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
        return {
            name: _reckon(server.execute(f'SELECT * FROM "{name}"')) for (name,) in server.execute(query).fetchall()
        }


def _reckon(cursor: Any) -> tuple[int, str]:
    names = [column[0] for column in cursor.description]
    rows = sorted(
        json.dumps({name: _plain(value) for name, value in zip(names, row, strict=True)}, sort_keys=True)
        for row in cursor
    )
    return len(rows), hashlib.sha256("\n".join(rows).encode()).hexdigest()


def _plain(value: Any) -> Any:
    if isinstance(value, bytes | memoryview):
        return bytes(value).hex()
    if isinstance(value, float):
        # SQLite keeps no -0.0; what a metric was exactly is in its bits.
        return value + 0.0
    return int(value) if isinstance(value, bool) else value


@pytest.fixture
def urls(tmp_path: Path, postgres_server: Server) -> Iterator[Callable[[str], str]]:
    """New, empty databases."""
    made = []

    def new(kind: str) -> str:
        if kind == "sqlite":
            return f"sqlite:///{tmp_path / new_id()}.db"
        made.append(postgres_server.new_database())
        return made[-1]

    yield new
    for url in made:
        postgres_server.drop(url)


@pytest.mark.parametrize("target", ["sqlite", "postgresql"])
@pytest.mark.parametrize("source", ["sqlite", "postgresql"])
def test_what_was_dumped_is_there_again(urls: Callable[[str], str], tmp_path: Path, source: str, target: str) -> None:
    there, here, file = urls(source), urls(target), tmp_path / "dump"
    fill(there, tmp_path / "artifacts")
    with closing(Database(there)) as database:
        dumped = backup.dump(database, file, now=1)
        with database.read() as connection:
            assert contents.contents(connection) == dumped.tables
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    with closing(Database(here)) as database:
        assert backup.load(database, file).tables == dumped.tables
    assert reckoned(there) == reckoned(here)
    with closing(Database(here)) as database, database.write() as connection:
        settings.replace(connection, settings.ARTIFACTS_URL, str(tmp_path / "artifacts"))
    assert reckoned(here)["metric_chunk"][0] > 0
    # It is in use as the other was, with the same files, and gives no number twice.
    with connect(there) as before, connect(here) as after:
        assert after.models.get("churn") == before.models.get("churn")
        for tracker, folder in ((before, "one"), (after, "two")):
            tracker.models.download("churn", 1, tmp_path / folder)
        assert (tmp_path / "one" / "weights").read_bytes() == (tmp_path / "two" / "weights").read_bytes()
        after.models.set_alias("churn", "canary", 1)
        before.models.set_alias("churn", "canary", 1)
        assert newest(here) == newest(there)


def newest(url: str) -> list[int]:
    with closing(Database(url)) as database, database.read() as connection:
        return [
            connection.exec_driver_sql(f"SELECT max({column}) FROM {table}").scalar_one()
            for table, column in (("event", "id"), ("audit", "number"), ("alias_move", "id"))
        ]


def test_what_is_written_meanwhile_is_wholly_in_it_or_not_at_all(
    database: Database, database_url: str, tmp_path: Path
) -> None:
    """A writer goes on through some dumps: each of its transactions writes a run with params and a metric."""
    with connect(database_url, artifacts=tmp_path / "artifacts") as tracker:
        experiment = tracker.experiments.ensure("busy").experiment_id
        over = threading.Event()

        def write() -> None:
            while not over.is_set():
                batch = Batch(params=(param("a", 1), param("b", 2)), metrics=(Metric("m", 1.0, 1),))
                tracker.runs.create(NewRun(experiment_id=experiment, batch=batch))

        thread = threading.Thread(target=write)
        thread.start()
        try:
            dumps = [backup.dump(database, tmp_path / f"dump{number}", now=number).tables for number in range(5)]
        finally:
            over.set()
            thread.join()
    assert dumps[-1]["run"].rows > dumps[0]["run"].rows
    for tables in dumps:
        assert (tables["param"].rows, tables["metric"].rows) == (2 * tables["run"].rows, tables["run"].rows)


def test_a_dump_of_an_older_version_is_upgraded(urls: Callable[[str], str], tmp_path: Path) -> None:
    old, new = urls("sqlite"), urls("postgresql")
    with closing(Database(old)) as database:
        with migrate.created_at(database, "0003"):
            pass
        backup.dump(database, tmp_path / "dump", now=1)
    with closing(Database(new)) as database:
        backup.load(database, tmp_path / "dump")
        assert migrate.current(database) == migrate.HEAD
    with connect(new, artifacts=tmp_path / "artifacts") as tracker:
        tracker.experiments.ensure("x")


@pytest.fixture
def dumped(tmp_path: Path, sqlite_url: str) -> Path:
    fill(sqlite_url, tmp_path / "artifacts")
    with closing(Database(sqlite_url)) as database:
        backup.dump(database, tmp_path / "dump", now=1)
    return tmp_path / "dump"


def test_a_damaged_file_leaves_the_database_empty(dumped: Path, tmp_path: Path, urls: Callable[[str], str]) -> None:
    whole, content = dumped.read_bytes(), gzip.decompress(dumped.read_bytes())
    changed = content.replace(b"number 1\n", b"number 7\n")
    assert changed != content
    damaged = [whole[:-20], whole[: len(whole) // 2], b"", b"no dump at all", gzip.compress(changed)]
    damaged += [gzip.compress(content[: len(content) - cut]) for cut in (1, 40, 4_000)]
    place = tmp_path / "bad"
    url = urls("sqlite")
    for each in damaged:
        place.write_bytes(each)
        with closing(Database(url)) as database:
            with pytest.raises((IntegrityError, InvalidValue)):
                backup.load(database, place)
            assert migrate.current(database) is None
    with closing(Database(url)) as database:
        backup.load(database, dumped)


def test_only_an_empty_database_is_filled(dumped: Path, database: Database, tmp_path: Path) -> None:
    with pytest.raises(InvalidValue, match="not empty"):
        backup.load(database, dumped)
    newer = gzip.decompress(dumped.read_bytes()).replace(migrate.HEAD.encode(), b"9999", 1)
    (tmp_path / "newer").write_bytes(gzip.compress(newer))
    with pytest.raises(SchemaTooNew, match="9999"):
        backup.load(database, tmp_path / "newer")


def test_a_dump_that_fails_leaves_nothing(database: Database, tmp_path: Path) -> None:
    with pytest.raises(InvalidValue, match="cannot be written"):
        backup.dump(database, tmp_path / "nowhere" / "dump", now=1)
    assert list(tmp_path.iterdir()) == []


def test_a_dump_that_is_stopped_leaves_what_was_there(dumped: Path, sqlite_url: str) -> None:
    before, others = dumped.read_bytes(), set(dumped.parent.iterdir())

    def stop(rows: int) -> None:
        raise KeyboardInterrupt

    with closing(Database(sqlite_url)) as database, pytest.raises(KeyboardInterrupt):
        backup.dump(database, dumped, 2, stop)
    assert (dumped.read_bytes(), set(dumped.parent.iterdir())) == (before, others)


def test_a_dump_goes_where_a_link_leads_and_never_in_the_place_of_what_is_no_file(
    dumped: Path, sqlite_url: str, tmp_path: Path
) -> None:
    link, pipe = tmp_path / "link", tmp_path / "pipe"
    link.symlink_to(dumped)
    os.mkfifo(pipe)
    before = dumped.read_bytes()
    with closing(Database(sqlite_url)) as database:
        backup.dump(database, link, now=2)
        with pytest.raises(InvalidValue, match="pipe is no file"):
            backup.dump(database, pipe, now=2)
    assert link.is_symlink()
    assert dumped.read_bytes() != before
    assert stat.S_ISFIFO(pipe.lstat().st_mode)
