"""All routes: one table."""

from __future__ import annotations

from jupyter_mlops.core.access import Scope
from jupyter_mlops.service.mlflow import artifacts, experiments, histories, logging, runs
from jupyter_mlops.service.mlflow.handler import Route, Writing

_READ, _WRITE = Scope.READ, Scope.WRITE

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
    Writing("POST", "runs/create", _WRITE, runs.Create, runs.create, answer=runs.created, waits=runs.needs_default),
    Writing("POST", "runs/update", _WRITE, runs.Update, runs.update, runs.writing, answer=runs.updated),
    Writing("POST", "runs/log-metric", _WRITE, logging.LogMetric, logging.log_metric, runs.writing),
    Writing("POST", "runs/log-parameter", _WRITE, logging.LogParam, logging.log_param, runs.writing),
    Writing("POST", "runs/log-batch", _WRITE, logging.LogBatch, logging.log_batch, runs.writing),
    Writing("POST", "runs/log-inputs", _WRITE, logging.LogInputs, logging.log_inputs, runs.writing),
    Writing("POST", "runs/set-tag", _WRITE, logging.LogParam, logging.set_tag, runs.writing),
    Route("GET", "runs/get", _READ, runs.OfRun, runs.get),
    Route("POST", "runs/search", _READ, runs.Search, runs.search),
    Route("POST", "runs/delete", _WRITE, runs.OfRun, runs.delete, runs.writing),
    Route("POST", "runs/restore", _WRITE, runs.OfRun, runs.restore, runs.writing),
    Route("POST", "runs/delete-tag", _WRITE, runs.DeleteTag, runs.delete_tag),
    Route("GET", "metrics/get-history", _READ, histories.GetHistory, histories.get_history),
    Route("GET", "metrics/get-history-bulk", _READ, histories.GetBulk, histories.get_bulk),
    Route("GET", "metrics/get-history-bulk-interval", _READ, histories.GetInterval, histories.get_interval),
    Route("GET", "artifacts/list", _READ, artifacts.ListInRun, artifacts.list_in_run),
)

PROXIED: tuple[Route, ...] = (Route("GET", "artifacts", _READ, artifacts.List, artifacts.list_by_path),)
"""Below ``mlflow-artifacts/`` instead."""
