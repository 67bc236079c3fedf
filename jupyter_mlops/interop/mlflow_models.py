"""Logged models of a source: their files go to the runs that logged them, what is known of them to tags of these."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Container
from functools import partial
from typing import Any

import msgspec

from jupyter_mlops.core import values
from jupyter_mlops.core.errors import InvalidValue, NotFound
from jupyter_mlops.core.records import Batch, Json, Run, RunStatus, Tag
from jupyter_mlops.core.redaction import redact_value
from jupyter_mlops.interop.mlflow_experiments import Places
from jupyter_mlops.interop.mlflow_records import IMPORTED_TAG, WantedRun, run_id_of
from jupyter_mlops.interop.mlflow_runs import RunCopy
from jupyter_mlops.interop.transfer import Transfer

Entity = Any

LOGGED_TAG = "mlops.imported.model."
"""Begins the key of a run's tag that has, as JSON, what the source knows of a logged model; its id follows."""


class Folder(msgspec.Struct, frozen=True):
    """Where the files of a model are here."""

    run_id: str
    path: str


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

    def folder(self, model_id: str) -> Folder:
        """Where the files of a logged model are here."""
        if model_id not in self._folders:
            raise NotFound(f"the logged model {model_id} is not here")
        return self._folders[model_id]

    def experiment(self, model_id: str) -> str:
        """The experiment of a logged model, in the source."""
        return str(self._models[model_id].experiment_id)

    def copy(self) -> None:
        """Copy all of them."""
        named: dict[tuple[str, str], list[Entity]] = defaultdict(list)
        for model in self._models.values():
            named[_holder(model), model.name].append(model)
        done = 0
        for models in named.values():
            models.sort(key=lambda model: (model.creation_timestamp, model.model_id), reverse=True)
            for index, model in enumerate(models):
                # The newest has the name to itself, as in MLflow's `runs:/<id>/<name>`.
                path = model.name if index == 0 else f"{model.name}-{model.model_id}"
                with self._transfer.noted("logged models", f"logged model {model.model_id}"):
                    self._copy(model, path)
                done += 1
                self._transfer.told("logged models", done, len(self._models))

    def _copy(self, model: Entity, path: str) -> None:
        values.artifact_path(path)
        run = self._run(model)
        revive = partial(self._places.revive, model.experiment_id, run.run_id)
        self._describe(model, path, run, revive)
        self._transfer.copy_files(model.artifact_location, run.run_id, path, revive)
        self._folders[model.model_id] = Folder(run.run_id, path)

    def _run(self, model: Entity) -> Run:
        """The run here that has the model's files: the one that logged it; where none did, one that stands for it."""
        run_id = run_id_of(_holder(model))
        try:
            return self._tracker.runs.get(run_id)
        except NotFound:
            if model.source_run_id in self._runs:
                raise
        experiment = self._places.open(model.experiment_id)
        return stand_in(self._transfer, experiment.experiment_id, _holder(model), model.name)

    def _describe(self, model: Entity, path: str, run: Run, revive: partial[None]) -> None:
        key = LOGGED_TAG + model.model_id
        described: dict[str, Json] = {
            "path": path,
            "name": model.name,
            "type": model.model_type or "",
            "status": str(model.status),
            "created": model.creation_timestamp,
            "params": {key: redact_value(key, value) for key, value in sorted(model.params.items())},
            "tags": {key: redact_value(key, value) for key, value in sorted(model.tags.items())},
        }
        text = msgspec.json.encode(described).decode()
        if len(text) > values.LONGEST_TAG:
            self._report.remark(f"logged model {model.model_id}", "its parameters and tags are too long to be kept")
            text = msgspec.json.encode(described | {"params": {}, "tags": {}}).decode()
        if any(tag.key == key and tag.value == text for tag in run.tags):
            return
        if self._transfer.verify:
            raise InvalidValue(f"the tag {key!r} of run {run.run_id} differs here")
        revive()
        self._tracker.runs.log(run.run_id, Batch(tags=(Tag(key, text),)))
        self._report.copied("logged models")


def stand_in(transfer: Transfer, experiment_id: str, holder: str, name: str) -> Run:
    """A run here, in an experiment here, for what has none in the source; its id is made from ``holder``."""
    wanted = WantedRun(
        run_id=run_id_of(holder),
        name=name,
        status=RunStatus.FINISHED,
        start_time=None,
        end_time=None,
        parent_run_id=None,
        source="",
        batch=Batch(tags=(Tag(IMPORTED_TAG, transfer.source.shown),)),
        deleted=False,
        refused=(),
        adapted=(),
    )
    if transfer.verify:
        raise NotFound("the run that stands for it is not here")
    return RunCopy(transfer.tracker, wanted, {}).create(experiment_id)


def _holder(model: Entity) -> str:
    return str(model.source_run_id or model.model_id)
