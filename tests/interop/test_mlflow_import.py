"""A history in MLflow, made by its own client, is here afterwards: all of it, once, whatever happens meanwhile."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from mlflow import MlflowClient

from jupyter_mlops.core.access import Principal
from jupyter_mlops.core.errors import InvalidValue, Unavailable
from jupyter_mlops.core.promotion import PromotionKind
from jupyter_mlops.core.records import Lifecycle, NewRun, View
from jupyter_mlops.interop.mlflow_import import import_from
from jupyter_mlops.interop.mlflow_source import Source
from jupyter_mlops.tracker.connect import connect
from jupyter_mlops.tracker.protocol import Tracker
from tests.interop.comparing import require_equal
from tests.interop.history import History
from tests.ports import free_ports
from tests.waiting import until

pytestmark = pytest.mark.slow


def test_all_of_it_is_here_and_a_second_time_changes_nothing(
    history: History, tracker: Tracker, tmp_path: Path
) -> None:
    report = import_from(Source(history.uri), tracker)
    assert report.problems == []
    assert [note.why for note in report.remarks] == ["parameter 'api_key' holds a secret, which is replaced"]
    require_equal(history.client, tracker, tmp_path / "first")
    before = (tracker.runs.search(view=View.ALL), tracker.models.search(), tracker.audit())
    again = import_from(Source(history.uri), tracker)
    assert again.problems == []
    assert {kind: count.copied for kind, count in again.counts.items() if count.copied} == {}
    assert again.counts["points"].found == report.counts["points"].copied
    assert (tracker.runs.search(view=View.ALL), tracker.models.search(), tracker.audit()) == before


def test_into_postgresql_too(in_database: History, postgres_url: str, tmp_path: Path) -> None:
    with connect(postgres_url, artifacts=tmp_path / "artifacts") as tracker:
        assert import_from(Source(in_database.uri), tracker).problems == []
        require_equal(in_database.client, tracker, tmp_path / "compared")
        assert import_from(Source(in_database.uri), tracker, verify=True).problems == []


def start_import(history: History, url: str, artifacts: Path, *options: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "jupyter_mlops", "--url", url, "--artifacts", str(artifacts)]
    command += ["import", "mlflow", history.uri, "--json", *options]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finished(process: subprocess.Popen[str]) -> dict[str, object]:
    out, error = process.communicate(timeout=240)
    assert process.returncode == 0, error + out
    report: dict[str, object] = json.loads(out)
    return report


@pytest.mark.parametrize("reached", ["a run", "half the runs", "a version", "the first deletion"])
def test_a_killed_import_goes_on(in_database: History, sqlite_url: str, tmp_path: Path, reached: str) -> None:
    artifacts = tmp_path / "artifacts"
    with connect(sqlite_url, artifacts=artifacts) as tracker:
        conditions = {
            "a run": lambda: tracker.runs.search().items,
            "half the runs": lambda: len(tracker.runs.search().items) >= 8,
            "a version": lambda: tracker.models.versions().items,
            "the first deletion": lambda: tracker.runs.search(view=View.DELETED).items,
        }
        process = start_import(in_database, sqlite_url, artifacts)
        until(lambda: conditions[reached]() or process.poll() is not None, reached)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert finished(start_import(in_database, sqlite_url, artifacts))["problems"] == []
        require_equal(in_database.client, tracker, tmp_path / "compared")


def test_two_imports_at_once_copy_once(in_database: History, sqlite_url: str, tmp_path: Path) -> None:
    artifacts = tmp_path / "artifacts"
    with connect(sqlite_url, artifacts=artifacts) as tracker:
        for process in [start_import(in_database, sqlite_url, artifacts) for _ in range(2)]:
            assert finished(process)["problems"] == []
        require_equal(in_database.client, tracker, tmp_path / "compared")


def test_what_is_new_in_the_source_comes_with_the_next_import(tracker: Tracker, tmp_path: Path) -> None:
    history = History(f"file://{tmp_path}/mlruns", tmp_path, points=10)
    import_from(Source(history.uri), tracker)
    client = history.client
    client.log_metric(history.running, "x", 2.0, 1_700_000_000_000, 2)
    client.log_param(history.running, "late", "1")
    client.set_tag(history.running, "note", "changed")
    client.log_text(history.running, "new", "late.txt")
    client.set_terminated(history.running, "FAILED", 1_700_000_000_000)
    client.restore_run(history.deleted)
    client.set_registered_model_alias("churn", "other", "4")
    new = client.create_run(history.tuning, 1_700_000_000_000, {"mlflow.parentRunId": history.main})
    report = import_from(Source(history.uri), tracker)
    assert report.problems == []
    assert (report.counts["runs"].copied, report.counts["points"].copied) == (1, 1)
    assert tracker.runs.get(new.info.run_id).parent_run_id == history.main
    # What was deleted here is not restored: nobody can tell it from what the team has removed.
    assert tracker.runs.get(history.deleted).lifecycle is Lifecycle.DELETED
    client.delete_run(history.deleted)
    require_equal(client, tracker, tmp_path / "compared")


def test_what_was_deleted_here_stays_deleted(in_database: History, tracker: Tracker) -> None:
    import_from(Source(in_database.uri), tracker)
    tracker.runs.delete(in_database.running)
    report = import_from(Source(in_database.uri), tracker)
    assert report.problems == []
    assert (f"run {in_database.running}", "was deleted here: left alone") in [(n.what, n.why) for n in report.remarks]
    assert tracker.runs.get(in_database.running).lifecycle is Lifecycle.DELETED


def test_verifying_finds_what_differs_and_writes_nothing(in_database: History, tracker: Tracker) -> None:
    nothing = import_from(Source(in_database.uri), tracker, verify=True)
    assert nothing.counts["runs"].differing == nothing.counts["runs"].found == 16
    assert tracker.runs.search(view=View.ALL).items == ()
    import_from(Source(in_database.uri), tracker)
    tracker.artifacts.put(in_database.main, "model/MLmodel", Path(__file__))
    tracker.artifacts.delete(in_database.main, "empty.txt")
    report = import_from(Source(in_database.uri), tracker, verify=True)
    found = {note.what for note in report.problems}
    assert found == {f"file {path!r} of run {in_database.main}" for path in ("model/MLmodel", "empty.txt")}


def test_namesakes_are_told_apart(in_database: History, tracker: Tracker) -> None:
    own = tracker.experiments.create("tuning", tags={"team": "blue"})
    tracker.models.create("churn")
    tracker.runs.create(NewRun(experiment_id=own.experiment_id, run_id=in_database.running, name="mine"))
    report = import_from(Source(in_database.uri), tracker)
    assert {note.what for note in report.problems} == {"model 'churn'", f"run {in_database.running}"}
    assert tracker.runs.get(in_database.running).name == "mine"
    assert tracker.models.get("churn").latest_version is None
    # An experiment is a name for runs: those of both are in one.
    assert tracker.runs.get(in_database.nested[0]).experiment_id == own.experiment_id


def test_for_a_group(in_database: History, tracker: Tracker) -> None:
    assert import_from(Source(in_database.uri), tracker, owner="group:red").problems == []
    (protected,) = tracker.promotions.search(model="churn", alias="champion").items
    assert (protected.kind, protected.version) == (PromotionKind.OVERRIDE, 3)
    assert {experiment.owner for experiment in tracker.experiments.search().items} == {"group:red"}
    assert tracker.models.get("churn").owner == "group:red"


def test_protected_aliases_are_for_administrators(in_database: History, sqlite_url: str, tmp_path: Path) -> None:
    ann = Principal("ann", groups=frozenset({"red"}))
    with connect(sqlite_url, artifacts=tmp_path / "artifacts", principal=ann) as tracker:
        report = import_from(Source(in_database.uri), tracker, owner="group:red")
        assert {note.what for note in report.problems} == {
            f"alias {alias!r} of model 'churn'" for alias in ("champion", "production")
        }
        assert "promote" in report.problems[0].why
        assert [alias.alias for alias in tracker.models.get("churn").aliases] == ["old-one"]


def test_an_alias_that_people_moved_here_stays(in_database: History, tracker: Tracker) -> None:
    import_from(Source(in_database.uri), tracker)
    tracker.models.set_alias("churn", "champion", 1, reason="better")
    report = import_from(Source(in_database.uri), tracker)
    assert report.problems == []
    assert "alias 'champion' of model 'churn'" in [note.what for note in report.remarks]
    assert tracker.models.resolve("churn", "@champion").version == 1


def test_a_damaged_run_of_a_folder_is_told(tracker: Tracker, tmp_path: Path) -> None:
    history = History(f"file://{tmp_path}/mlruns", tmp_path, points=10)
    (meta,) = (tmp_path / "mlruns").glob(f"*/{history.running}/meta.yaml")
    meta.unlink()
    report = import_from(Source(history.uri), tracker)
    assert [note.what for note in report.problems] == [f"run {history.running}"]


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("{folder}/nothing", "there is no folder"),
        ("{folder}", "has no experiments of MLflow"),
        ("sqlite:///{folder}/nothing.db", "there is no database file"),
        ("{url}", "is no database of MLflow"),
        ("{database}", "is a file: write sqlite:///"),
        ("s3://bucket/mlruns", "is no source"),
    ],
)
def test_what_is_no_source(source: str, told: str, sqlite_url: str, tmp_path: Path) -> None:
    before = Path(sqlite_url.removeprefix("sqlite:///")).read_bytes()
    filled = source.format(folder=tmp_path, url=sqlite_url, database=sqlite_url.removeprefix("sqlite:///"))
    with pytest.raises(InvalidValue, match=told):
        Source(filled)
    assert list(tmp_path.iterdir()) == []
    assert Path(sqlite_url.removeprefix("sqlite:///")).read_bytes() == before


def test_a_server_that_is_not_there_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    (port,) = free_ports(1)
    with pytest.raises(Unavailable, match=f"127.0.0.1:{port}") as told:
        Source(f"http://ann:secret@127.0.0.1:{port}")
    assert "secret" not in told.value.message


def test_a_database_of_another_mlflow_is_not_touched(tmp_path: Path) -> None:
    import sqlalchemy as sa

    MlflowClient(f"sqlite:///{tmp_path}/mlflow.db").search_experiments()
    engine = sa.create_engine(f"sqlite:///{tmp_path}/mlflow.db")
    with engine.begin() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = 'cc1f77228345'"))
    engine.dispose()
    before = (tmp_path / "mlflow.db").read_bytes()
    with pytest.raises(InvalidValue, match="has MLflow's schema cc1f77228345"):
        Source(f"sqlite:///{tmp_path}/mlflow.db")
    assert (tmp_path / "mlflow.db").read_bytes() == before
