"""A training script that knows MLflow alone."""

from __future__ import annotations

import math
from pathlib import Path

import mlflow
import pytest
from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunTag
from mlflow.exceptions import MlflowException

from jupyter_mlops.core.records import RunStatus
from jupyter_mlops.tracker.remote import RemoteTracker
from tests.service.inprocess import Running


@pytest.fixture(autouse=True)
def _tracked(tracking: Running) -> None:
    mlflow.set_tracking_uri(tracking.url)
    mlflow.set_experiment("churn")


def test_a_training_script_makes_the_same_run_as_any_other(tracking: Running, client: MlflowClient) -> None:
    with mlflow.start_run(run_name="first") as made:
        mlflow.log_params({"lr": 0.1, "depth": 3, "flag": True, "name": "x"})
        mlflow.log_metric("auc", 0.9, step=1)
        mlflow.log_metrics({"a": 1.0, "b": math.nan}, step=2)
        mlflow.set_tag("team", "red")
        with mlflow.start_run(nested=True) as child:
            mlflow.log_metric("auc", 0.95)
    run_id = made.info.run_id
    with RemoteTracker(tracking.url, tracking.token("ann")) as tracker:
        run = tracker.runs.get(run_id)
        assert (run.name, run.user, run.status) == ("first", "ann", RunStatus.FINISHED)
        assert {param.key: param.value for param in run.params} == {"lr": 0.1, "depth": 3, "flag": True, "name": "x"}
        assert {metric.key: metric.step for metric in run.metrics} == {"auc": 1, "a": 2, "b": 2}
        assert [each.run_id for each in tracker.runs.children(run_id)] == [child.info.run_id]
    told = client.get_run(run_id)
    assert told.data.params == {"lr": "0.1", "depth": "3", "flag": "True", "name": "x"}
    assert math.isnan(told.data.metrics["b"])
    assert client.get_run(child.info.run_id).data.tags["mlflow.parentRunId"] == run_id


def test_runs_are_found(client: MlflowClient) -> None:
    experiment_id = client.create_experiment("many")
    for number in range(5):
        run = client.create_run(experiment_id)
        client.log_batch(
            run.info.run_id, [Metric("auc", number / 10, 1, 0)], [Param("n", str(number))], [RunTag("t", "")]
        )
    found = client.search_runs([experiment_id], "metrics.auc > 0.15", order_by=["metrics.auc DESC"], max_results=2)
    assert [run.data.params["n"] for run in found] == ["4", "3"]
    more = client.search_runs(
        [experiment_id], "metrics.auc > 0.15", order_by=["metrics.auc DESC"], max_results=2, page_token=found.token
    )
    assert [run.data.params["n"] for run in more] == ["2"]
    assert more.token is None


def test_files_go_up_and_come_down(client: MlflowClient, tmp_path: Path) -> None:
    with mlflow.start_run() as made:
        mlflow.log_text("hello", "notes/a.txt")
        mlflow.log_dict({"a": 1}, "b.json")
    run_id = made.info.run_id
    assert [(file.path, file.is_dir) for file in client.list_artifacts(run_id)] == [("b.json", False), ("notes", True)]
    assert [file.path for file in client.list_artifacts(run_id, "notes")] == ["notes/a.txt"]
    assert client.list_artifacts(run_id, "nowhere") == []
    (tmp_path / "down").mkdir()
    assert mlflow.artifacts.load_text(f"runs:/{run_id}/notes/a.txt") == "hello"
    whole = Path(client.download_artifacts(run_id, "", str(tmp_path / "down")))
    assert sorted(file.name for file in whole.rglob("*") if file.is_file()) == ["a.txt", "b.json"]
    with pytest.raises(MlflowException):
        client.download_artifacts(run_id, "missing.txt", str(tmp_path))


def test_experiment_0_is_the_callers_own(client: MlflowClient) -> None:
    default = client.get_experiment("0")
    assert default.name == "Default"
    assert client.get_experiment_by_name("Default").experiment_id == default.experiment_id
    assert client.create_run("0").info.experiment_id == default.experiment_id
