"""The description is true: what it says may be sent is answered as it says."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_schema_conformance,
    status_code_conformance,
)

from jupyter_mlops.core.ids import new_id
from jupyter_mlops.core.policy import Policy
from jupyter_mlops.core.records import Batch, Metric, ModelPoint, NewRun, Param, Tag
from jupyter_mlops.service.description import document
from jupyter_mlops.tracker.operations import OPERATIONS, Operation
from jupyter_mlops.tracker.remote import RemoteTracker
from tests.service.inprocess import running

CHECKS = (
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    negative_data_rejection,
)


class Described(NamedTuple):
    """A description, and the service it is of."""

    schema: Any
    url: str
    token: str


@pytest.fixture(scope="module")
def described(_sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Described]:
    folder = tmp_path_factory.mktemp("described")
    database = folder / "mlops.db"
    database.write_bytes(_sqlite_template.read_bytes())
    with running(f"sqlite:///{database}", folder / "artifacts", folder) as service:
        token = service.token("ada", "growth", scope="admin")
        url = f"{service.url}/api/v1"
        yield Described(schemathesis.openapi.from_url(f"{url}/openapi.json"), url, token)


@pytest.fixture
def known(described: Described) -> Mapping[str, str]:
    """The parameters of paths that lead to something: a run, an experiment and a model with everything."""
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


@pytest.mark.slow
@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.id)
def test_answers_are_as_described(described: Described, known: Mapping[str, str], operation: Operation) -> None:
    cases = described.schema[f"/{operation.path}"][operation.method].as_strategy()
    headers = {"Authorization": f"token {described.token}"}

    @settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
    @given(case=cases, found=st.booleans())
    def check(case: Any, found: bool) -> None:
        if found:
            case.path_parameters.update({name: known[name] for name in case.path_parameters})
        case.call_and_validate(headers=headers, checks=CHECKS)

    check()


def test_what_only_requests_have_takes_no_unknown_field() -> None:
    schemas = json.loads(document())["components"]["schemas"]
    closed = {name for name, schema in schemas.items() if schema.get("additionalProperties") is False}
    assert {"NewRun", "Batch", "Metric", "ModelPoint", "RunChange", "StreamPosition"} <= closed
    assert not {"Run", "Tag", "Param", "Policy", "Problem", "Happening"} & closed


def test_every_operation_is_described() -> None:
    text = document().decode()
    for operation in OPERATIONS:
        assert f'"operationId":"{operation.id}"' in text
