"""A service, what it says of itself, and something of each kind in it."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import schemathesis

from jupyter_mlops.core.ids import new_id
from jupyter_mlops.core.policy import Policy
from jupyter_mlops.core.records import Batch, Metric, ModelPoint, NewRun, Param, Tag
from jupyter_mlops.tracker.remote import RemoteTracker
from tests.service.inprocess import running


class Described(NamedTuple):
    """A description, and the service it is of."""

    schema: Any
    url: str
    token: str


@contextmanager
def describing(template: Path, folder: Path) -> Iterator[Described]:
    """A service on a copy of the empty database ``template``."""
    database = folder / "mlops.db"
    database.write_bytes(template.read_bytes())
    with running(f"sqlite:///{database}", folder / "artifacts", folder) as service:
        token = service.token("ada", "growth", scope="admin")
        url = f"{service.url}/api/v1"
        yield Described(schemathesis.openapi.from_url(f"{url}/openapi.json"), url, token)


def known_to(described: Described) -> Mapping[str, str]:
    """The parameters of paths that lead to something new: a run, an experiment and a model with everything."""
    with RemoteTracker(described.url.removesuffix("/api/v1"), described.token) as tracker:
        experiment = tracker.experiments.create(new_id(), tags={"team": "growth"})
        batch = Batch(
            metrics=(Metric("auc", float("nan"), 1), Metric("auc", 0.9, 2, 1)),
            params=(Param("depth", 3, "3"),),
            tags=(Tag("kind", "forest"),),
        )
        run = tracker.runs.create(NewRun(experiment_id=experiment.experiment_id, batch=batch))
        tracker.runs.comment(run.run_id, "good")
        logged = tracker.logged_models.create(experiment.experiment_id, name="model", run_id=run.run_id)
        point = ModelPoint(logged.model_id, Metric("auc", float("inf"), 1))
        tracker.runs.log(run.run_id, Batch(model_points=(point,)))
        tracker.artifacts.put(
            run.run_id, "model/MLmodel", io.BytesIO(b"flavors: {python_function: {loader_module: mlflow.sklearn}}")
        )
        version = tracker.models.register(new_id(), run.run_id, "model")
        tracker.policies.set(Policy(), model=version.model)
        request = tracker.promotions.request(version.model, version.version)
        hook = tracker.webhooks.create("https://receiver.example/hook", model=version.model)
        return {
            "experiment_id": experiment.experiment_id,
            "run_id": run.run_id,
            "name": version.model,
            "version": str(version.version),
            "stream": "kernel",
            "upload_id": new_id(),
            "request_id": request.request_id,
            "job_id": request.checks[0].job_id,
            "webhook_id": hook.webhook_id,
            "token_id": tracker.access_tokens.create("ci").token_id,
            "model_id": logged.model_id,
        }
