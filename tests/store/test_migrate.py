from __future__ import annotations

import hashlib
import io
import re
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from jupyter_mlops.core.errors import SchemaOutdated, SchemaTooNew
from jupyter_mlops.core.ids import new_id
from jupyter_mlops.core.quotas import Usage
from jupyter_mlops.core.records import NewRun
from jupyter_mlops.store import experiments, migrate, registry, runs, schema, streams, usage
from jupyter_mlops.store.database import Database
from jupyter_mlops.store.shares import Reach
from jupyter_mlops.tracker.connect import connect
from tests.waiting import until

NEXT = """
import sqlalchemy as sa
from alembic import op

revision = "{revision}"
down_revision = "{before}"


def upgrade() -> None:
    op.create_table("later", sa.Column("id", sa.Integer(), primary_key=True))
    {then}
"""

PRESENT = migrate.HEAD
"""The revision of this version, also where a test makes up a later one."""


@pytest.fixture(params=["sqlite", "postgresql"])
def empty(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """A database without tables."""
    url = f"sqlite:///{tmp_path}/new.db" if request.param == "sqlite" else request.getfixturevalue("postgres_url")
    database = Database(url)
    yield database
    database.close()


@pytest.fixture
def next_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A version of the package with one more migration; its file is returned."""
    scripts = tmp_path / "scripts"
    shutil.copytree(migrate.SCRIPTS, scripts, ignore=shutil.ignore_patterns("__pycache__"))
    head = f"{int(migrate.HEAD) + 1:04}"
    file = scripts / "versions" / f"{head}_later.py"
    file.write_text(NEXT.format(revision=head, before=migrate.HEAD, then=""))
    monkeypatch.setattr(migrate, "SCRIPTS", scripts)
    monkeypatch.setattr(migrate, "HEAD", head)
    return file


def tables(database: Database) -> set[str]:
    with database.read() as connection:
        return set(sa.inspect(connection).get_table_names())


def stamp(database: Database, revision: str) -> None:
    with database.write() as connection:
        connection.exec_driver_sql(f"UPDATE mlops_schema SET version_num = '{revision}'")


def test_the_migrations_lead_to_the_schema(empty: Database, tmp_path: Path) -> None:
    migrate.ensure_current(empty, upgrade=False)
    created = definitions(empty)
    with empty.write() as connection:
        schema.metadata.drop_all(connection)
        connection.exec_driver_sql("DELETE FROM mlops_schema")
    migrate.run_migrations(empty)
    assert migrate.current(empty) == migrate.HEAD
    assert definitions(empty) == created
    with empty.read() as connection:
        context = MigrationContext.configure(
            connection,
            opts={
                "compare_type": True,
                "include_name": lambda name, kind, _: kind != "table" or name != "mlops_schema",
            },
        )
        assert compare_metadata(context, schema.metadata) == []


def definitions(database: Database) -> list[tuple[str, str]]:
    """Everything in a database by name, as the words of its definition: constraints may come in any order."""
    query = (
        "SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite_%'"
        if database.is_sqlite
        else """
        SELECT table_name || '.' || column_name,
               concat_ws(' ', data_type, character_maximum_length, is_nullable, column_default)
        FROM information_schema.columns WHERE table_schema = 'public'
        UNION ALL SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint
                  WHERE connamespace = 'public'::regnamespace
        UNION ALL SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'
        """
    )
    with database.read() as connection:
        rows = [(name, sql) for name, sql in connection.exec_driver_sql(query) if name != "mlops_schema"]
    return sorted((name, " ".join(sorted(re.split(r"[\s(),]+", sql)))) for name, sql in rows)


def test_what_was_stored_before_sharing_is_kept(empty: Database) -> None:
    with empty.write() as connection:
        config = Config()
        config.set_main_option("script_location", str(migrate.SCRIPTS))
        config.set_main_option("version_table", "mlops_schema")
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
        for statement in (
            "INSERT INTO experiment VALUES ('e', 'churn', 'ada', 'active', 1, 1)",
            "INSERT INTO run (id, experiment_id, name, kind, created_by, status, created, start_time, lifecycle,"
            " source) VALUES ('r', 'e', 'run', 'session', 'ada', 'FINISHED', 1, 1, 'active', '')",
            "INSERT INTO model VALUES ('m', 'churn', 'ada', '', 1, 1, 0)",
            "INSERT INTO event (at, kind, owner, target) VALUES (1, 'run.created', 'ada', 'r')",
            "INSERT INTO stream VALUES ('s', 7, 1)",
        ):
            connection.exec_driver_sql(statement)
    migrate.upgrade(empty)
    reach = Reach(("ada",), ("everyone",), open_models=True)
    with empty.read() as connection:
        (run,) = runs.load(connection, ["r"])
        assert (run.name, run.submitted_by) == ("run", None)
        (model,) = registry.load(connection, ["m"])
        assert model.restricted is False
        assert [each.name for each in experiments.find(connection, "churn", reach)] == ["churn"]
        assert streams.watermark(connection, "s", "ada") == 7
        row = connection.execute(sa.select(schema.event.c.experiment_id, schema.event.c.restricted)).one()
        assert tuple(row) == (None, False)


def test_versions_from_before_know_the_data_sets_of_their_runs(empty: Database) -> None:
    with empty.write() as connection:
        config = Config()
        config.set_main_option("script_location", str(migrate.SCRIPTS))
        config.set_main_option("version_table", "mlops_schema")
        config.attributes["connection"] = connection
        command.upgrade(config, "0002")
        for statement in (
            "INSERT INTO experiment VALUES ('e', 'churn', 'ada', 'active', 1, 1)",
            *(
                "INSERT INTO run (id, experiment_id, name, kind, created_by, status, created, start_time, lifecycle,"
                f" source) VALUES ('{run}', 'e', 'run', 'session', 'ada', 'FINISHED', 1, 1, 'active', '')"
                for run in ("r1", "r2")
            ),
            "INSERT INTO dataset (id, name, digest, source_type, source) VALUES ('d', 'iris', 'd1', '', '')",
            "INSERT INTO run_input VALUES ('r1', 'd', 'training', '[]'), ('r1', 'd', 'testing', '[]')",
            "INSERT INTO model (id, name, owner, description, created, updated, last_version)"
            " VALUES ('m', 'churn', 'ada', '', 1, 1, 3)",
            *(
                "INSERT INTO model_version (id, model_id, version, description, created_by, created, updated, run_id,"
                f" source, digest, size, safe, flavors_json) VALUES ('v{number}', 'm', {number}, '', 'ada', 1, 1,"
                f" '{run}', '', '', 1, true, '[]')"
                for number, run in ((1, "r1"), (2, "r2"), (3, "collected"))
            ),
        ):
            connection.exec_driver_sql(statement)
    migrate.upgrade(empty)
    with empty.write() as connection:
        connection.exec_driver_sql("DELETE FROM run")
        uses = runs.dataset_uses(connection, "d1", None)
    assert [(use.run_id, use.context, use.versions) for use in uses] == [
        ("r1", "testing", (("churn", 1),)),
        ("r1", "training", (("churn", 1),)),
    ]
    with empty.write() as connection:
        registry.delete_version(connection, "v1")
        assert runs.dataset_uses(connection, "d1", None) == ()


def test_what_was_stored_before_quotas_is_counted(empty: Database) -> None:
    with empty.write() as connection:
        config = Config()
        config.set_main_option("script_location", str(migrate.SCRIPTS))
        config.set_main_option("version_table", "mlops_schema")
        config.attributes["connection"] = connection
        command.upgrade(config, "0006")
        for statement in (
            "INSERT INTO experiment VALUES ('e', 'churn', 'ada', 'active', 1, 1), ('f', 'idle', 'ada', 'active', 1, 1)",
            *(
                "INSERT INTO run (id, experiment_id, name, kind, created_by, status, created, start_time, lifecycle,"
                f" source) VALUES ('{run}', 'e', 'run', 'session', 'ada', 'FINISHED', 1, 1, '{lifecycle}', '')"
                for run, lifecycle in (("r1", "active"), ("r2", "deleted"))
            ),
            "INSERT INTO metric (run_id, key, experiment_id, bits, step, timestamp, count)"
            " VALUES ('r1', 'loss', 'e', 0, 0, 0, 7), ('r2', 'loss', 'e', 0, 0, 0, 5)",
            "INSERT INTO blob VALUES ('b1', 'd1', 100, 1), ('b2', 'd2', 20, 1)",
            "INSERT INTO model (id, name, owner, description, created, updated, last_version)"
            " VALUES ('m', 'churn', 'ada', '', 1, 1, 1)",
            "INSERT INTO model_version (id, model_id, version, description, created_by, created, updated, run_id,"
            " source, digest, size, safe, flavors_json) VALUES ('v', 'm', 1, '', 'ada', 1, 1, 'r1', '', '', 100, true,"
            " '[]')",
            "INSERT INTO artifact VALUES ('r1', 'model', 'b1', 1), ('r1', 'again', 'b1', 1), ('r2', 'a', 'b2', 1),"
            " ('v', 'model', 'b1', 1)",
        ):
            connection.exec_driver_sql(statement)
    migrate.upgrade(empty)
    with empty.read() as connection:
        assert usage.of_owners(connection) == {"ada": Usage(runs=2, bytes=320, points=12)}
    assert usage.recount(empty) == 0


def test_an_upload_that_was_open_before_it_counted_is_gone_on_with(empty: Database, tmp_path: Path) -> None:
    with empty.write() as connection:
        config = Config()
        config.set_main_option("script_location", str(migrate.SCRIPTS))
        config.set_main_option("version_table", "mlops_schema")
        config.attributes["connection"] = connection
        command.upgrade(config, "0008")
    url = empty.engine.url.render_as_string(hide_password=False)
    upload, digest = new_id(), hashlib.sha256(b"one two").hexdigest()
    migrate.upgrade(empty)
    with connect(url, artifacts=tmp_path) as tracker:
        run = tracker.runs.create(NewRun(experiment_id=tracker.experiments.create("churn").experiment_id))
        tracker.artifacts.put_part(run.run_id, upload, "a", 0, io.BytesIO(b"one "))
        with empty.write() as connection:  # as the version before wrote it
            connection.execute(schema.upload.update().values(experiment_id=None, bytes=None))
        tracker.artifacts.put_part(run.run_id, upload, "a", 4, io.BytesIO(b"two"))
        (standing,) = tracker.quotas.standing()
        assert (standing.usage.bytes, tracker.quotas.recount()) == (0, 0)
        tracker.artifacts.commit(run.run_id, upload, {"a": digest})
        (standing,) = tracker.quotas.standing()
        assert (standing.usage.bytes, tracker.quotas.recount()) == (7, 0)


def test_the_revisions_are_numbered_and_the_last_is_known() -> None:
    scripts = ScriptDirectory(str(migrate.SCRIPTS))
    revisions = [script.revision for script in scripts.walk_revisions()]
    assert revisions == [f"{number:04}" for number in range(len(revisions), 0, -1)]
    assert revisions[0] == migrate.HEAD


def test_a_fresh_database_needs_no_alembic(tmp_path: Path) -> None:
    code = (
        "import sys; from jupyter_mlops.tracker.connect import connect; "
        f"connect('sqlite:///{tmp_path}/new.db').close(); assert 'alembic' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_opening_twice_changes_nothing(empty: Database) -> None:
    assert migrate.current(empty) is None
    migrate.ensure_current(empty, upgrade=False)
    before = tables(empty)
    assert migrate.current(empty) == migrate.HEAD
    migrate.ensure_current(empty, upgrade=False)
    migrate.upgrade(empty)
    assert tables(empty) == before


@pytest.mark.usefixtures("next_version")
def test_an_older_database_is_upgraded_when_asked(empty: Database, tmp_path: Path) -> None:
    migrate.ensure_current(empty, upgrade=False)
    stamp(empty, PRESENT)
    with pytest.raises(SchemaOutdated, match="jupyter mlops db upgrade"):
        migrate.ensure_current(empty, upgrade=False)
    assert migrate.current(empty) == PRESENT
    migrate.upgrade(empty)
    assert migrate.current(empty) == migrate.HEAD
    assert "later" in tables(empty)
    migrate.ensure_current(empty, upgrade=False)


def test_an_older_file_is_copied_and_upgraded_on_opening(
    tmp_path: Path, request: pytest.FixtureRequest, caplog: pytest.LogCaptureFixture
) -> None:
    url = f"sqlite:///{tmp_path}/mlops.db"
    with connect(url) as tracker:
        experiment = tracker.experiments.create("kept")
    request.getfixturevalue("next_version")
    with connect(url) as tracker:
        assert tracker.experiments.find("kept") == experiment
    (copy,) = tmp_path.glob(f"mlops.db.backup-{PRESENT}-*")
    assert str(copy) in caplog.text
    with sqlite3.connect(copy) as connection:
        assert connection.execute("SELECT version_num FROM mlops_schema").fetchone() == (PRESENT,)
        assert connection.execute("SELECT name FROM experiment").fetchone() == ("kept",)
    connection.close()
    connect(url).close()
    assert len(list(tmp_path.glob("mlops.db.backup-*"))) == 1


def test_an_upgrade_that_fails_leaves_the_database_as_it_was(empty: Database, next_version: Path) -> None:
    migrate.ensure_current(empty, upgrade=False)
    stamp(empty, PRESENT)
    broken = NEXT.format(revision=migrate.HEAD, before=PRESENT, then="raise RuntimeError('broken')")
    next_version.write_text(broken)
    with pytest.raises(RuntimeError, match="broken"):
        migrate.upgrade(empty)
    assert migrate.current(empty) == PRESENT
    assert "later" not in tables(empty)


def test_an_upgrade_that_is_killed_has_done_nothing_and_can_be_done_again(
    empty: Database, next_version: Path, tmp_path: Path
) -> None:
    migrate.ensure_current(empty, upgrade=False)
    stamp(empty, PRESENT)
    with empty.write() as connection:
        connection.execute(sa.insert(schema.setting), {"key": "kept", "value": "yes"})
    begun = tmp_path / "begun"
    stuck = f"op.execute(\"DELETE FROM setting\"); open({str(begun)!r}, 'w').close(); __import__('time').sleep(600)"
    next_version.write_text(NEXT.format(revision=migrate.HEAD, before=PRESENT, then=stuck))
    code = (
        "import sys; from pathlib import Path; from jupyter_mlops.store import migrate; "
        "from jupyter_mlops.store.database import Database; "
        "migrate.SCRIPTS, migrate.HEAD = Path(sys.argv[2]), sys.argv[3]; migrate.upgrade(Database(sys.argv[1]))"
    )
    url = empty.engine.url.render_as_string(hide_password=False)
    with subprocess.Popen([sys.executable, "-c", code, url, str(migrate.SCRIPTS), migrate.HEAD]) as upgrading:
        until(lambda: begun.exists() or upgrading.poll() is not None, "the middle of the upgrade")
        assert upgrading.poll() is None
        upgrading.kill()
    # Whoever opens it now is refused or upgrades it; nobody finds the half of it.
    assert migrate.current(empty) == PRESENT
    assert "later" not in tables(empty)
    with pytest.raises(SchemaOutdated, match="jupyter mlops db upgrade"):
        migrate.ensure_current(empty, upgrade=False)
    next_version.write_text(NEXT.format(revision=migrate.HEAD, before=PRESENT, then=""))
    migrate.upgrade(empty)
    assert "later" in tables(empty)
    with empty.read() as connection:
        assert (
            connection.execute(sa.select(schema.setting.c.value).where(schema.setting.c.key == "kept")).scalar()
            == "yes"
        )


def test_a_newer_database_is_refused_with_a_sentence(empty: Database) -> None:
    migrate.ensure_current(empty, upgrade=False)
    stamp(empty, "9999")
    for attempt in (lambda: migrate.ensure_current(empty, upgrade=True), lambda: migrate.upgrade(empty)):
        with pytest.raises(SchemaTooNew, match=r"9999.*newer jupyter-mlops.*upgrade the package"):
            attempt()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_processes_that_open_a_fresh_database_at_once_all_succeed(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    url = f"sqlite:///{tmp_path}/new.db" if kind == "sqlite" else request.getfixturevalue("postgres_url")
    code = (
        "import sys; from jupyter_mlops.tracker.connect import connect; sys.stdin.readline(); "
        "t = connect(sys.argv[1]); print(t.experiments.ensure('one').experiment_id); t.close()"
    )
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    processes = [subprocess.Popen([sys.executable, "-c", code, url], **pipes) for _ in range(4)]  # type: ignore[call-overload]
    for process in processes:
        process.stdin.write("\n")
        process.stdin.flush()
    outputs = [process.communicate(timeout=60) for process in processes]
    assert [process.returncode for process in processes] == [0] * 4, outputs
    assert len({output for output, _ in outputs}) == 1
