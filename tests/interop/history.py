"""Years of a team's history in MLflow, in small: made by MLflow's own client, with all that is hard about it."""

from __future__ import annotations

import math
import os
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import mlflow
import mlflow.sklearn
from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag, LoggedModelInput, LoggedModelOutput, Metric, Param, RunTag

from tests.ports import free_ports
from tests.waiting import until

POINTS = 60_000
"""Of the longest history: more than a page of anybody."""
START = 1_600_000_000_000


@contextmanager
def server(folder: Path) -> Iterator[str]:
    """A tracking server of MLflow's own on a SQLite file, until the block ends; gives its address."""
    (port,) = free_ports(1)
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += [
        "--backend-store-uri",
        f"sqlite:///{folder}/mlflow.db",
        "--artifacts-destination",
        str(folder / "files"),
    ]
    url = f"http://127.0.0.1:{port}"
    log = (folder / "server.log").open("wb")
    with log, subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, start_new_session=True) as process:
        try:
            until(lambda: _answers(url), "the start of the tracking server")
            yield url
        finally:
            os.killpg(process.pid, 15)
            process.wait()


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/health", timeout=5) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


class History:
    """What was made in the source at ``uri``; files go below ``artifacts`` unless the source is a server."""

    def __init__(self, uri: str, folder: Path, *, points: int = POINTS) -> None:
        self.uri = uri
        # The registry looks models up where the process tracks to, whatever the client was made for.
        mlflow.set_tracking_uri(uri)
        self.client = MlflowClient(uri, uri)
        self._folder = folder
        self._is_server = uri.startswith("http")
        self.model = folder / "model"
        self._save_model()
        self.vision = self._experiment("vision/resnet 😀", {"mlflow.note.content": "Größe\nzählt", "team": "red"})
        self.tuning = self._experiment("tuning", {})
        self.old = self._experiment("old", {})
        self.main = self._main(points)
        self.nested = self._nested()
        self._statuses()
        self._deleted()
        self._models()
        self.client.delete_experiment(self.old)

    def _save_model(self) -> None:
        from sklearn.linear_model import LinearRegression

        fitted = LinearRegression().fit([[1.0], [2.0]], [1.0, 2.0])
        mlflow.sklearn.save_model(fitted, str(self.model), pip_requirements=["scikit-learn"])

    def _experiment(self, name: str, tags: dict[str, str]) -> str:
        location = None if self._is_server else str(self._folder / "artifacts" / name.replace("/", "-"))
        return str(self.client.create_experiment(name, location, tags))

    def _run(self, experiment: str, name: str | None = None, status: str = "FINISHED", **tags: str) -> str:
        made = self.client.create_run(experiment, START, {"mlflow.user": "ann", **tags}, name)
        self.client.set_terminated(made.info.run_id, status, START + 5000)
        return str(made.info.run_id)

    def _main(self, points: int) -> str:
        tags = {"mlflow.source.name": "train.py", "emoji": "🎉", "long": "t" * 8000, "lines": "a\n\tb", "empty": ""}
        run_id = self._run(self.vision, "a long one", **tags)
        long = [Metric("loss", 1 / (i + 1), START + i, i) for i in range(points)]
        for start in range(0, points, 1000):
            self.client.log_batch(run_id, metrics=long[start : start + 1000])
        odd = [
            Metric("odd/values", value, START + step, step)
            for step, value in enumerate([math.nan, math.inf, -math.inf, -0.0, 0.0, 5e-324, 1.7e308])
        ]
        odd += [Metric("steps", 1.0, START, step) for step in (-5, 0, 2**62, -(2**63), 2**63 - 1)]
        # One step, several times; the same point twice; times that go backwards.
        odd += [Metric("again", value, START + 9 - value, 7) for value in (1, 2, 3, 3, 1)]
        self.client.log_batch(
            run_id,
            metrics=odd,
            params=[Param("größe", "x" * 6000), Param("lr", "0.1"), Param("a/b c", "None"), Param("n", "010")],
        )
        self.client.log_batch(run_id, params=[Param(f"p{i}", str(i)) for i in range(100)])
        self.client.log_batch(run_id, params=[Param("api_key", "sk-very-secret-indeed-0123456789")])
        self.client.log_batch(run_id, tags=[RunTag("after", "the end")])
        dataset = Dataset(
            "wine", "a1b2", "http", '{"url": "https://example.org/wine.csv"}', '{"x": "double"}', '{"rows": 3}'
        )
        uses = [[InputTag("mlflow.data.context", context), InputTag("split", "1")] for context in ("training", "test")]
        self.client.log_inputs(run_id, [DatasetInput(dataset, tags) for tags in uses])
        self.client.log_text(run_id, "", "empty.txt")
        self.client.log_text(run_id, "ä" * 1000, "plots/with space/ümläut 😀.txt")
        self.client.log_artifacts(run_id, str(self.model), "model")
        return run_id

    def _nested(self) -> list[str]:
        parent = self._run(self.tuning, "parent")
        children = [self._run(self.tuning, f"child {i}", **{"mlflow.parentRunId": parent}) for i in range(3)]
        grandchild = self._run(self.vision, "grandchild", **{"mlflow.parentRunId": children[0]})
        gone = self._run(self.tuning, "orphan", **{"mlflow.parentRunId": "f" * 32})
        circle = self._run(self.tuning, "circle")
        other = self._run(self.tuning, "other", **{"mlflow.parentRunId": circle})
        self.client.set_tag(circle, "mlflow.parentRunId", other)
        return [parent, *children, grandchild, gone, circle, other]

    def _statuses(self) -> None:
        for status in ("FAILED", "KILLED"):
            self._run(self.tuning, status, status)
        self.running = str(self.client.create_run(self.tuning, START, {}, "still going").info.run_id)
        self.client.log_metric(self.running, "x", 1.0, START, 1)

    def _deleted(self) -> None:
        self._run(self.old, "of a deleted experiment")
        self.deleted = self._run(self.tuning, "deleted")
        self.client.log_metric(self.deleted, "x", 1.0, START, 1)
        self.deleted_parent = self._run(self.tuning, "deleted parent")
        self.active_child = self._run(self.tuning, "active child", **{"mlflow.parentRunId": self.deleted_parent})
        for run_id in (self.deleted, self.deleted_parent):
            self.client.delete_run(run_id)

    def _models(self) -> None:
        client = self.client
        self.logged = [self._logged(self.main, self.vision, "clf") for _ in range(2)] + [
            self._logged(None, self.tuning, "alone")
        ]
        client.log_outputs(
            self.main, [LoggedModelOutput(model_id, step) for step, model_id in enumerate(self.logged[:2])]
        )
        client.log_inputs(self.running, models=[LoggedModelInput(self.logged[0])])
        for step, dataset in ((3, {}), (4, {"dataset_name": "wine", "dataset_digest": "a1b2"})):
            client.log_metric(self.main, "auc", 0.5, START + step, step, model_id=self.logged[0], **dataset)
        client.create_registered_model("churn", {"stage": "🎉"}, "what it is for")
        client.create_registered_model("empty model")
        location = client.get_run(self.main).info.artifact_uri
        sources = [
            (f"{location}/model", self.main, None),
            (f"runs:/{self.main}/model", self.main, None),
            (f"models:/{self.logged[0]}", self.main, self.logged[0]),
            (f"models:/{self.logged[2]}", None, self.logged[2]),
            # A folder that is of no run, which a server takes none of.
            (self.model.as_uri(), None, None) if not self._is_server else (f"runs:/{self.main}/model", self.main, None),
        ]
        for number, (source, run_id, model_id) in enumerate(sources, start=1):
            client.create_model_version(
                "churn", source, run_id, {"v": str(number)}, description=f"nr {number}", model_id=model_id
            )
        client.delete_model_version("churn", "2")
        client.set_registered_model_alias("churn", "champion", "3")
        client.set_registered_model_alias("churn", "old-one", "1")
        client.transition_model_version_stage("churn", "4", "Production")

    def _logged(self, run_id: str | None, experiment: str, name: str) -> str:
        model = self.client.create_logged_model(experiment, name, run_id, {"kind": "linear"}, {"depth": "3"})
        self.client.log_model_artifacts(model.model_id, str(self.model))
        self.client.finalize_logged_model(model.model_id, "READY")
        return str(model.model_id)
