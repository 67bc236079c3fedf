"""What code does with MLflow's client, 2.22 or 3: a script that knows nothing else. It tells what it made."""

from __future__ import annotations

import contextlib
import json
import logging
import math
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunTag, ViewType
from mlflow.exceptions import MlflowException
from sklearn.linear_model import LogisticRegression

X = pd.DataFrame({"a": [0.0, 1.0, 0.2, 0.9], "b": [1.0, 0.0, 0.8, 0.1]})
Y = np.array([0, 1, 0, 1])

_OLD = int(mlflow.__version__.partition(".")[0]) < 3
_NAME = {"artifact_path": "model"} if _OLD else {"name": "model"}


class Warnings(logging.Handler):
    """Keeps what MLflow warns of."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.found: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        # Of the server; not of what is installed beside the client.
        of_server = record.name.startswith(
            ("mlflow.tracking", "mlflow.store", "mlflow.utils.rest_utils", "mlflow.tracing")
        )
        if of_server or "server" in text:
            self.found.append(f"{record.name}: {text}")


def tracked(client: MlflowClient) -> str:
    """A run with all that a run has; its id."""
    with mlflow.start_run(run_name="first", tags={"team": "red"}) as run:
        mlflow.log_params({"lr": 0.1, "depth": 3})
        for first in range(0, 1200, 600):
            points = [
                Metric("loss", 1 / (step + 1), 1_700_000_000_000 + step, step) for step in range(first, first + 600)
            ]
            client.log_batch(run.info.run_id, points, [], [])
        mlflow.log_metrics({"auc": 0.9, "gone": math.nan}, step=3)
        mlflow.log_input(mlflow.data.from_pandas(X, name="points"), context="training")
        mlflow.log_text("hello", "notes/a.txt")
        mlflow.log_dict({"a": 1}, "b.json")
        with mlflow.start_run(run_name="inner", nested=True) as inner:
            mlflow.log_metric("auc", 0.95)
    run_id: str = run.info.run_id
    found = client.get_run(run_id)
    assert found.data.params == {"lr": "0.1", "depth": "3"}
    assert found.data.metrics["auc"] == 0.9
    assert math.isnan(found.data.metrics["gone"])
    assert found.data.tags["team"] == "red"
    assert [point.step for point in client.get_metric_history(run_id, "loss")] == list(range(1200))
    assert client.get_run(inner.info.run_id).data.tags["mlflow.parentRunId"] == run_id
    assert sorted(file.path for file in client.list_artifacts(run_id)) == ["b.json", "notes"]
    assert mlflow.artifacts.load_text(f"runs:/{run_id}/notes/a.txt") == "hello"
    assert mlflow.artifacts.load_dict(f"runs:/{run_id}/b.json") == {"a": 1}
    return run_id


def searched(client: MlflowClient, run_id: str) -> None:
    experiment_id = client.get_run(run_id).info.experiment_id
    found = client.search_runs([experiment_id], "metrics.auc > 0.5", order_by=["metrics.auc DESC"])
    assert [run.info.run_name for run in found] == ["inner", "first"]
    table = mlflow.search_runs([experiment_id], "params.lr = '0.1'")
    assert table["run_id"].tolist() == [run_id]
    assert [each.name for each in client.search_experiments(filter_string="name = 'churn'")] == ["churn"]


def edited(client: MlflowClient) -> None:
    experiment_id = client.create_experiment("other", tags={"a": "b"})
    client.set_experiment_tag(experiment_id, "c", "d")
    client.rename_experiment(experiment_id, "another")
    assert client.get_experiment_by_name("another").tags == {"a": "b", "c": "d"}
    run_id = client.create_run(experiment_id).info.run_id
    client.log_batch(run_id, [Metric("m", 1.0, 1, 0)], [Param("p", "x")], [RunTag("t", "y")])
    client.delete_tag(run_id, "t")
    client.update_run(run_id, status="FAILED", name="renamed")
    found = client.get_run(run_id)
    assert (found.info.status, found.info.run_name, found.data.tags.get("t")) == ("FAILED", "renamed", None)
    client.delete_run(run_id)
    assert [run.info.run_id for run in client.search_runs([experiment_id], run_view_type=ViewType.DELETED_ONLY)] == [
        run_id
    ]
    client.restore_run(run_id)
    client.delete_experiment(experiment_id)
    client.restore_experiment(experiment_id)
    with contextlib.suppress(MlflowException):
        client.log_param(run_id, "p", "z")
    assert client.get_run(run_id).data.params == {"p": "x"}


def modelled(client: MlflowClient, run_id: str) -> None:
    fitted = LogisticRegression().fit(X, Y)
    with mlflow.start_run(run_id=run_id):
        for _ in range(2):
            mlflow.sklearn.log_model(
                fitted, input_example=X, registered_model_name="churn", pip_requirements=[], **_NAME
            )
    client.set_registered_model_alias("churn", "champion", "2")
    client.set_model_version_tag("churn", "1", "checked", "yes")
    client.update_model_version("churn", "1", "the first")
    assert client.get_model_version("churn", "1").tags == {"checked": "yes"}
    expected = fitted.predict(X).tolist()
    for uri in ("models:/churn/1", "models:/churn@champion", f"runs:/{run_id}/model"):
        loaded = mlflow.pyfunc.load_model(uri)
        assert loaded.predict(X).tolist() == expected, uri
        assert loaded.metadata.signature is not None
    assert [
        str(each.version) for each in client.search_model_versions("name = 'churn'", order_by=["version_number"])
    ] == [
        "1",
        "2",
    ]


def autologged() -> str:
    mlflow.sklearn.autolog()
    with mlflow.start_run(run_name="auto") as run:
        LogisticRegression(C=2.0).fit(X, Y)
    mlflow.sklearn.autolog(disable=True)
    found = mlflow.get_run(run.info.run_id)
    assert "training_accuracy_score" in found.data.metrics
    model = mlflow.pyfunc.load_model(f"runs:/{run.info.run_id}/model")
    assert model.metadata.signature is not None
    run_id: str = run.info.run_id
    return run_id


def main() -> None:
    warned = Warnings()
    logging.getLogger("mlflow").addHandler(warned)
    client = MlflowClient()
    mlflow.set_experiment("churn")
    run_id = tracked(client)
    searched(client, run_id)
    edited(client)
    modelled(client, run_id)
    told: dict[str, Any] = {
        "version": mlflow.__version__,
        "run_id": run_id,
        "autologged": autologged(),
        "warnings": warned.found,
    }
    assert Path("mlruns").exists() is False
    print(json.dumps(told))


if __name__ == "__main__":
    main()
