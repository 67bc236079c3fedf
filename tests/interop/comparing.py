"""Both sides read by their own clients and compared, without anything of the import itself."""

from __future__ import annotations

import hashlib
import math
import struct
from collections import Counter
from pathlib import Path
from typing import Any

import mlflow
from mlflow import MlflowClient
from mlflow.entities import ViewType

from jupyter_mlops.core.records import Experiment, Run, View
from jupyter_mlops.tracker.protocol import Tracker

SECRETS = {"api_key": "[redacted]"}
FIELDS = {"mlflow.runName", "mlflow.source.name", "mlflow.parentRunId"}
"""Tags of MLflow that are fields of a run here."""


def bits(value: float) -> bytes:
    return struct.pack("<d", math.nan if math.isnan(value) else value)


def experiment_here(tracker: Tracker, name: str) -> Experiment:
    (found,) = (each for each in tracker.experiments.search(view=View.ALL).items if each.name == name)
    return found


def require_equal(client: MlflowClient, tracker: Tracker, folder: Path) -> None:
    """Fail where the tracker has not all that the source has, exactly once; ``folder`` is for files."""
    experiments = client.search_experiments(view_type=ViewType.ALL)
    runs = {
        run.info.run_id: run
        for experiment in experiments
        for run in client.search_runs([experiment.experiment_id], "", ViewType.ALL)
    }
    here = {run.run_id: run for run in tracker.runs.search(view=View.ALL).items}
    alone = {run_id for run_id in here if run_id not in runs}
    versions = client.search_model_versions()
    runless = {f"{each.name} {each.version}" for each in versions if not each.run_id and "models:/" not in each.source}
    assert {here[run_id].name for run_id in alone} == {"alone", *runless}, "only what stands for missing runs is new"
    for experiment in experiments:
        found = experiment_here(tracker, experiment.name)
        tags = {tag.key: tag.value for tag in found.tags}
        assert {key: tags.get(key) for key in experiment.tags} == dict(experiment.tags)
        assert found.lifecycle.value == experiment.lifecycle_stage
        inside = {run_id for run_id, run in runs.items() if run.info.experiment_id == experiment.experiment_id}
        assert inside == {run_id for run_id in here if here[run_id].experiment_id == found.experiment_id} - alone
    for run_id, run in runs.items():
        require_equal_run(client, run, tracker, here[run_id], set(runs), folder)
    require_equal_logged_models(client, runs, tracker)
    require_equal_models(client, tracker, folder)


def require_equal_logged_models(client: MlflowClient, runs: dict[str, Any], tracker: Tracker) -> None:
    experiments = [each.experiment_id for each in client.search_experiments(view_type=ViewType.ALL)]
    models = {model.model_id: model for model in client.search_logged_models(experiments)}
    here = {f"m-{model.model_id}": model for model in tracker.logged_models.search().items}
    assert set(here) == set(models)
    for model_id, model in models.items():
        found = here[model_id]
        assert (found.name, found.model_type, found.status.value) == (model.name, model.model_type or "", model.status)
        assert found.own_run == (not model.source_run_id)
        if model.source_run_id:
            assert found.run_id == model.source_run_id
        assert {param.key: param.text for param in found.params} == model.params
        assert {tag.key: tag.value for tag in found.tags}.items() >= model.tags.items()
        assert {(m.key, m.value, m.step, m.run_id, m.dataset_name, m.dataset_digest) for m in found.metrics} == {
            (m.key, m.value, m.step, m.run_id, m.dataset_name or "", m.dataset_digest or "")
            for m in model.metrics or ()
        }
    for run_id, run in runs.items():
        wanted = {(used.model_id, "input", 0) for used in run.inputs.model_inputs}
        wanted |= {(made.model_id, "output", made.step) for made in run.outputs.model_outputs}
        uses = tracker.logged_models.uses([run_id])
        assert {(f"m-{use.model_id}", use.role.value, use.step) for use in uses} >= wanted


def require_equal_run(
    client: MlflowClient, run: Any, tracker: Tracker, here: Run, known: set[str], folder: Path
) -> None:
    info = run.info
    assert here.name == info.run_name
    assert here.status.value == info.status
    assert (here.start_time, here.end_time) == (info.start_time, info.end_time)
    assert here.lifecycle.value == info.lifecycle_stage
    assert {param.key: param.text for param in here.params} == {**run.data.params, **_secrets(run.data.params)}
    tags = {tag.key: tag.value for tag in here.tags}
    expected = {key: value for key, value in run.data.tags.items() if key not in FIELDS}
    assert {key: value for key, value in tags.items() if not key.startswith("mlops.")}.items() >= expected.items()
    assert here.source == run.data.tags.get("mlflow.source.name", "")
    parent = run.data.tags.get("mlflow.parentRunId")
    assert here.parent_run_id in (parent, None)
    if here.parent_run_id is None:
        assert parent == tags.get("mlflow.parentRunId"), "what is no parent here stays a tag"
    assert {metric.key for metric in here.metrics} == set(run.data.metrics)
    for summary in here.metrics:
        wanted = {(p.step, p.timestamp, bits(p.value)) for p in client.get_metric_history(info.run_id, summary.key)}
        points = []
        token = None
        while True:
            page = tracker.runs.history(here.run_id, summary.key, page_token=token)
            points += [(p.step, p.timestamp, bits(p.value)) for p in page.items]
            token = page.next_page_token
            if token is None:
                break
        assert set(points) == wanted
        assert summary.count == len(points) == len(wanted), "each point is there once"
    assert _inputs_here(here) == _inputs(run)
    require_equal_files(client, run, tracker, here, folder)


def _secrets(params: dict[str, str]) -> dict[str, str]:
    return {key: SECRETS[key] for key in params if key in SECRETS}


def _inputs(run: Any) -> Counter[Any]:
    return Counter(
        (
            d.name,
            d.digest,
            d.source_type,
            d.source,
            d.schema,
            d.profile,
            tuple(sorted((t.key, t.value) for t in use.tags)),
        )
        for use in run.inputs.dataset_inputs
        for d in [use.dataset]
    )


def _inputs_here(run: Run) -> Counter[Any]:
    return Counter(
        (
            d.name,
            d.digest,
            d.source_type,
            d.source,
            d.schema,
            d.profile,
            tuple(sorted([("mlflow.data.context", use.context), *((t.key, t.value) for t in use.tags)])),
        )
        for use in run.inputs
        for d in [use.dataset]
    )


def digests(place: Path) -> dict[str, str]:
    return {
        path.relative_to(place).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in place.rglob("*")
        if path.is_file()
    }


def require_equal_files(client: MlflowClient, run: Any, tracker: Tracker, here: Run, folder: Path) -> None:
    place = folder / run.info.run_id
    place.mkdir(parents=True, exist_ok=True)
    for listed in client.list_artifacts(run.info.run_id):
        client.download_artifacts(run.info.run_id, listed.path, str(place))
    wanted = digests(place)
    found = {file.path: file.digest for file in tracker.artifacts.walk(here.run_id)}
    assert wanted.items() <= found.items()
    models = {model.path for model in tracker.logged_models.search([here.experiment_id]).items}
    assert all(path in wanted or path.partition("/")[0] in models for path in found)


def require_equal_models(client: MlflowClient, tracker: Tracker, folder: Path) -> None:
    models = client.search_registered_models()
    assert {model.name for model in models} == {model.name for model in tracker.models.search().items}
    for listed in models:
        model, here = client.get_registered_model(listed.name), tracker.models.get(listed.name)
        assert here.description == (model.description or "")
        assert {tag.key: tag.value for tag in here.tags}.items() >= model.tags.items()
        versions = client.search_model_versions(f"name='{model.name}'")
        there = {version.version: version for version in tracker.models.versions(f"name = '{model.name}'").items}
        assert set(there) == {int(version.version) for version in versions}
        wanted = {alias: int(number) for alias, number in model.aliases.items()}
        wanted |= {
            version.current_stage.lower(): int(version.version)
            for version in versions
            if version.current_stage != "None"
        }
        assert {alias.alias: alias.version for alias in here.aliases} == wanted
        assert len(tracker.models.alias_history(model.name)) == len(wanted), "each alias was set once"
        for version in versions:
            found = there[int(version.version)]
            assert found.description == (version.description or "")
            assert {tag.key: tag.value for tag in found.tags}.items() >= version.tags.items()
            if version.run_id:
                assert found.run_id == version.run_id
            place = folder / f"{model.name}-{version.version}"
            place.mkdir(parents=True)
            uri = client.get_model_version_download_uri(model.name, str(version.version))
            local = mlflow.artifacts.download_artifacts(uri, dst_path=str(place), tracking_uri=client.tracking_uri)
            files = {file.path: file.digest for file in tracker.models.files(model.name, found.version)}
            assert files == digests(Path(local))
