"""Logged models of a source, with what runs have to do with them."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable
from functools import partial
from typing import Any

import msgspec

from jupyter_mlops.core import values
from jupyter_mlops.core.errors import InvalidValue, NotFound
from jupyter_mlops.core.logged_model import LoggedModel, LoggedModelStatus, ModelMetric, ModelRole, ModelUse
from jupyter_mlops.core.records import Batch, Metric, ModelPoint, Param
from jupyter_mlops.core.redaction import redact_params, redact_tags
from jupyter_mlops.interop.mlflow_experiments import Places
from jupyter_mlops.interop.mlflow_records import bits_of, facts_of, run_id_of
from jupyter_mlops.interop.transfer import Transfer

Entity = Any

_PREFIX = "m-"
"""Begins MLflow's ids of logged models."""


class Folder(msgspec.Struct, frozen=True):
    """Where the files of a model are here."""

    run_id: str
    path: str
    revive: Callable[[], None]
    """Has the run not be deleted."""


class LoggedModels:
    """The logged models of a source. Its ``runs`` are copied before."""

    def __init__(self, transfer: Transfer, places: Places, runs: Container[str]) -> None:
        self._transfer = transfer
        self._tracker = transfer.tracker
        self._report = transfer.report
        self._places = places
        self._runs = runs
        self._models: dict[str, Entity] = {}
        self._folders: dict[str, Folder] = {}

    def look(self, experiment_id: str) -> None:
        """Find those of an experiment."""
        for model in self._transfer.source.logged_models(experiment_id):
            self._models[model.model_id] = model
            self._report.found("logged models")

    def folder(self, model_id: str) -> Folder | None:
        """Where the files of a logged model are here; None when it is not."""
        return self._folders.get(model_id)

    def copy(self) -> None:
        """Copy all of them, the oldest first, which is the order that they are found in."""
        ordered = sorted(self._models.values(), key=lambda model: (model.creation_timestamp, model.model_id))
        for done, model in enumerate(ordered, start=1):
            with self._transfer.noted("logged models", f"logged model {model.model_id}"):
                self._copy(model)
            self._transfer.told("logged models", done, len(ordered))

    def use(self, run_id: str, experiment_id: str, uses: Iterable[tuple[str, ModelRole, int]]) -> None:
        """Note which logged models a run of the source took or made, and at which step."""
        here = run_id_of(run_id)
        wanted = {
            ModelUse(run_id=here, model_id=_id_of(model_id), role=role, step=step)
            for model_id, role, step in uses
            if model_id in self._folders
        }
        missing = wanted - set(self._tracker.logged_models.uses([here]))
        if missing and self._transfer.verify:
            raise InvalidValue("it uses other logged models here")
        if missing:
            ordered = sorted(missing, key=lambda use: (use.model_id, use.role))
            revive = partial(self._places.revive, experiment_id, here)
            self._transfer.written(lambda: self._tracker.logged_models.use(here, ordered), revive)

    def _copy(self, model: Entity) -> None:
        here = self._here(model)
        revive = partial(self._places.revive, model.experiment_id, here.run_id)
        self._folders[model.model_id] = Folder(here.run_id, here.path, revive)
        self._transfer.copy_files(model.artifact_location, here.run_id, here.path, revive)
        params, tags = _params(model), self._tags(model)
        known = {param.key: param.text for param in here.params}
        labels = {tag.key: tag.value for tag in here.tags}
        absent = [param for param in params if known.get(param.key) != param.text]
        other = {key: value for key, value in tags.items() if labels.get(key) != value}
        points = self._points(model, here)
        status = LoggedModelStatus(model.status.value)
        if not (absent or other or points or status is not here.status):
            return
        if self._transfer.verify:
            raise InvalidValue("its status, parameters, tags or metrics differ here")
        models = self._tracker.logged_models

        def write() -> None:
            if absent:
                models.log_params(here.model_id, absent)
            if other:
                models.set_tags(here.model_id, other)
            for run_id, batch in points.items():
                self._tracker.runs.log(run_id, batch)
            if status is not here.status:
                models.finish(here.model_id, status)

        self._transfer.written(write, revive)

    def _here(self, model: Entity) -> LoggedModel:
        """The model here, made when there is none."""
        model_id = _id_of(model.model_id)
        try:
            return self._tracker.logged_models.get(model_id)
        except NotFound:
            if self._transfer.verify:
                raise
        of_run = run_id_of(model.source_run_id) if model.source_run_id in self._runs else None

        def revive() -> None:
            if of_run is not None:
                self._places.revive(model.experiment_id, of_run)

        made = self._transfer.written(
            lambda: self._tracker.logged_models.create(
                self._places.open(model.experiment_id).experiment_id,
                name=model.name,
                run_id=of_run,
                model_type=model.model_type or "",
                params=_params(model),
                tags=self._tags(model),
                model_id=model_id,
            ),
            revive,
        )
        self._report.copied("logged models")
        return made

    def _tags(self, model: Entity) -> dict[str, str]:
        tags = dict(model.tags) | facts_of(model, self._transfer.source.shown)
        return {tag.key: tag.value for tag in redact_tags(values.tag(*item) for item in sorted(tags.items()))}

    def _points(self, model: Entity, here: LoggedModel) -> dict[str, Batch]:
        """The latest points of its metrics that are missing here, by the runs here that measured them."""
        present = {_known(metric) for metric in here.metrics}
        found: dict[str, list[ModelPoint]] = {}
        for each in model.metrics or ():
            point = ModelPoint(
                here.model_id,
                Metric(each.key, float(each.value), int(each.timestamp), int(each.step)),
                each.dataset_name or "",
                each.dataset_digest or "",
            )
            run_id = run_id_of(each.run_id)
            if each.run_id in self._runs and _identity(point, run_id) not in present:
                found.setdefault(run_id, []).append(point)
        return {run_id: Batch(model_points=tuple(points)) for run_id, points in found.items()}


def _id_of(model_id: str) -> str:
    return run_id_of(model_id.removeprefix(_PREFIX))


def _params(model: Entity) -> tuple[Param, ...]:
    return redact_params(values.param_of_text(*item) for item in sorted(dict(model.params).items()))


_Identity = tuple[str, int, int, int, str, str, str]


def _identity(point: ModelPoint, run_id: str) -> _Identity:
    metric = point.metric
    bits = bits_of([metric.value])[0]
    return metric.key, bits, metric.timestamp, metric.step, run_id, point.dataset_name, point.dataset_digest


def _known(metric: ModelMetric) -> _Identity:
    point = ModelPoint(
        "",
        Metric(metric.key, metric.value, metric.timestamp, metric.step),
        metric.dataset_name,
        metric.dataset_digest,
    )
    return _identity(point, metric.run_id)
