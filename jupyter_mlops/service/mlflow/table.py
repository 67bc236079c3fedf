"""All routes: one table."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import structs

from jupyter_mlops.core.access import Scope
from jupyter_mlops.service.mlflow import (
    artifacts,
    datasets,
    experiments,
    histories,
    logged,
    registry,
    runs,
    versions,
    writes,
)
from jupyter_mlops.service.mlflow.handler import Route, Writing

_READ, _WRITE = Scope.READ, Scope.WRITE


def _of_model(*routes: Route) -> Iterator[Route]:
    return (structs.replace(route, within=registry.named_model) for route in routes)


def _of_version(*routes: Route) -> Iterator[Route]:
    return (structs.replace(route, within=versions.named_version) for route in routes)


ROUTES: tuple[Route, ...] = (
    Route("POST", "experiments/create", _WRITE, experiments.Create, experiments.create),
    Route("GET", "experiments/get", _READ, experiments.ById, experiments.get),
    Route("GET", "experiments/get-by-name", _READ, experiments.ByName, experiments.get_by_name),
    Route("GET", "experiments/search", _READ, experiments.Search, experiments.search),
    Route("POST", "experiments/search", _READ, experiments.Search, experiments.search),
    Route("POST", "experiments/update", _WRITE, experiments.Update, experiments.update),
    Route("POST", "experiments/delete", _WRITE, experiments.ById, experiments.delete),
    Route("POST", "experiments/restore", _WRITE, experiments.ById, experiments.restore),
    Route("POST", "experiments/set-experiment-tag", _WRITE, experiments.SetTag, experiments.set_tag),
    Route("POST", "experiments/delete-experiment-tag", _WRITE, experiments.DeleteTag, experiments.delete_tag),
    Route("POST", "experiments/search-datasets", _READ, datasets.Search, datasets.search),
    Writing(
        "POST",
        "runs/create",
        _WRITE,
        runs.Create,
        runs.create,
        runs.creating,
        answer=runs.created,
        waits=runs.needs_default,
    ),
    Writing("POST", "runs/update", _WRITE, runs.Update, runs.update, runs.writing, answer=runs.updated),
    Writing("POST", "runs/log-metric", _WRITE, writes.LogMetric, writes.log_metric, runs.writing),
    Writing("POST", "runs/log-parameter", _WRITE, writes.LogParam, writes.log_param, runs.writing),
    Writing("POST", "runs/log-batch", _WRITE, writes.LogBatch, writes.log_batch, runs.writing),
    Writing(
        "POST", "runs/log-inputs", _WRITE, writes.LogInputs, writes.log_inputs, runs.writing, waits=writes.has_models
    ),
    Writing("POST", "runs/set-tag", _WRITE, writes.LogParam, writes.set_tag, runs.writing),
    Route("GET", "runs/get", _READ, runs.OfRun, runs.get),
    Route("POST", "runs/search", _READ, runs.Search, runs.search),
    Route("POST", "runs/delete", _WRITE, runs.OfRun, runs.delete, runs.writing),
    Route("POST", "runs/restore", _WRITE, runs.OfRun, runs.restore, runs.writing),
    Route("POST", "runs/delete-tag", _WRITE, runs.DeleteTag, runs.delete_tag),
    Route("GET", "metrics/get-history", _READ, histories.GetHistory, histories.get_history),
    Route("GET", "metrics/get-history-bulk", _READ, histories.GetBulk, histories.get_bulk),
    Route("GET", "metrics/get-history-bulk-interval", _READ, histories.GetInterval, histories.get_interval),
    Route("GET", "artifacts/list", _READ, artifacts.ListInRun, artifacts.list_in_run),
    Route("POST", "runs/outputs", _WRITE, logged.LogOutputs, logged.log_outputs, runs.writing),
    Writing("POST", "runs/log-model", _WRITE, logged.LogModel, logged.log_model, runs.writing),
    Route("POST", "logged-models", _WRITE, logged.Create, logged.create),
    Route("POST", "logged-models/search", _READ, logged.Search, logged.search),
    Route("GET", "logged-models/{model_id}", _READ, logged.ById, logged.get),
    Route("PATCH", "logged-models/{model_id}", _WRITE, logged.Finalize, logged.finalize, logged.named_model),
    Route("DELETE", "logged-models/{model_id}", _WRITE, logged.ById, logged.delete, logged.named_model),
    Route("PATCH", "logged-models/{model_id}/tags", _WRITE, logged.SetTags, logged.set_tags, logged.named_model),
    Route("DELETE", "logged-models/{model_id}/tags/{tag_key}", _WRITE, logged.DeleteTag, logged.delete_tag),
    Route("POST", "logged-models/{model_id}/params", _WRITE, logged.LogParams, logged.log_params, logged.named_model),
    Route(
        "GET", "logged-models/{model_id}/artifacts/directories", _READ, artifacts.ListOfModel, artifacts.list_of_model
    ),
    *_of_model(
        Route("POST", "registered-models/create", _WRITE, registry.Create, registry.create),
        Route("GET", "registered-models/get", _READ, registry.ByName, registry.get),
        Route("POST", "registered-models/rename", _WRITE, registry.Rename, registry.rename),
        Route("PATCH", "registered-models/update", _WRITE, registry.Update, registry.update),
        Route("DELETE", "registered-models/delete", _WRITE, registry.ByName, registry.delete),
        Route("POST", "registered-models/get-latest-versions", _READ, registry.GetLatest, registry.get_latest),
        Route("GET", "registered-models/get-latest-versions", _READ, registry.GetLatest, registry.get_latest),
        Route("POST", "registered-models/set-tag", _WRITE, registry.SetTag, registry.set_tag),
        Route("DELETE", "registered-models/delete-tag", _WRITE, registry.DeleteTag, registry.delete_tag),
        Route("DELETE", "registered-models/alias", _WRITE, registry.OfAlias, registry.delete_alias),
        Route("GET", "registered-models/alias", _READ, registry.OfAlias, registry.get_by_alias),
        Route("POST", "model-versions/create", _WRITE, versions.Create, versions.create),
    ),
    Route("GET", "registered-models/search", _READ, registry.Search, registry.search),
    Route("GET", "model-versions/search", _READ, versions.Search, versions.search),
    *_of_version(
        Route("POST", "registered-models/alias", _WRITE, registry.SetAlias, registry.set_alias),
        Route("GET", "model-versions/get", _READ, versions.OfVersion, versions.get),
        Route("PATCH", "model-versions/update", _WRITE, versions.Update, versions.update),
        Route("POST", "model-versions/transition-stage", _WRITE, versions.Transition, versions.transition),
        Route("DELETE", "model-versions/delete", _WRITE, versions.OfVersion, versions.delete),
        Route("GET", "model-versions/get-download-uri", _READ, versions.OfVersion, versions.download_uri),
        Route("POST", "model-versions/set-tag", _WRITE, versions.SetTag, versions.set_tag),
        Route("DELETE", "model-versions/delete-tag", _WRITE, versions.DeleteTag, versions.delete_tag),
    ),
)

PROXIED: tuple[Route, ...] = (Route("GET", "artifacts", _READ, artifacts.List, artifacts.list_by_path),)
"""Below ``mlflow-artifacts/`` instead."""
