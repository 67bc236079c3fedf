"""The registry of a source: registered models, their versions with their numbers, aliases."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from jupyter_mlops.core import values
from jupyter_mlops.core.errors import AlreadyExists, Conflict, InvalidValue, NotFound, PermissionDenied
from jupyter_mlops.core.records import Batch, ModelVersion, NewRun, RegisteredModel, RunStatus, Tag
from jupyter_mlops.core.redaction import redact_tags
from jupyter_mlops.interop.mlflow_experiments import Places
from jupyter_mlops.interop.mlflow_models import Folder, LoggedModels
from jupyter_mlops.interop.mlflow_records import IMPORTED_TAG, facts_of, is_same, run_id_of
from jupyter_mlops.interop.transfer import Transfer

Entity = Any

_STAGES = ("Production", "Staging")
"""Whose newest version gets an alias of that name, in lower case: a stage is what aliases replaced."""
_ARCHIVED, _STAGE_TAG = "Archived", "mlflow.stage"
_REASON = "imported from"
"""Begins the reason of what moves an alias here, so that the next import knows its own moves from those of people."""
_WITHOUT_RUNS = "imported models"
"""The experiment of the runs that stand for those which are gone in the source."""


class Registry:
    """The registered models of a source. Runs and logged models are copied before.

    Parameters
    ----------
    runs
        The experiment in the source of each of its runs.
    artifacts
        Where the files are of each of its runs.
    """

    def __init__(
        self,
        transfer: Transfer,
        places: Places,
        logged: LoggedModels,
        runs: Mapping[str, str],
        artifacts: Mapping[str, str],
    ) -> None:
        self._transfer = transfer
        self._source, self._tracker = transfer.source, transfer.tracker
        self._report = transfer.report
        self._places = places
        self._logged = logged
        self._runs = runs
        self._artifacts = artifacts

    def copy(self) -> None:
        """Copy all of them."""
        names = [model.name for model in self._source.registered_models()]
        for done, name in enumerate(names, start=1):
            self._report.found("models")
            with self._transfer.noted("models", f"model {name!r}"):
                self._copy_model(name)
            self._transfer.told("models", done, len(names))

    def _copy_model(self, name: str) -> None:
        model = self._source.registered_model(name)
        self._copy_name(model)
        versions = self._source.versions(name)
        for version in versions:
            self._report.found("versions")
            with self._transfer.noted("versions", f"version {version.version} of model {name!r}"):
                self._copy_version(name, version)
        for alias, number in sorted(_aliases(model, versions).items()):
            self._report.found("aliases")
            with self._transfer.noted("aliases", f"alias {alias!r} of model {name!r}"):
                self._set_alias(name, alias, number)

    def _copy_name(self, model: Entity) -> None:
        name, description = model.name, model.description or ""
        tags = _tags(dict(model.tags) | facts_of(model, self._source.shown))
        here = self._model(name)
        if here is None and self._transfer.verify:
            raise NotFound("is not here")
        if here is None:
            try:
                here = self._tracker.models.create(name, description=description, tags=tags, owner=self._transfer.owner)
                self._report.copied("models")
            except AlreadyExists:
                # Another import made it just now, or it is somebody's whose models the caller does not see.
                here = self._model(name)
                if here is None:
                    raise
        present = {tag.key: tag.value for tag in here.tags}
        if not is_same(present, tags):
            raise Conflict("there is another model of this name here: rename one of the two to import this one")
        tags[IMPORTED_TAG] = present[IMPORTED_TAG]
        other = {key: value for key, value in tags.items() if present.get(key) != value}
        if (other or here.description != description) and self._transfer.verify:
            raise InvalidValue("its tags or its description differ here")
        if other:
            self._tracker.models.set_tags(name, other)
        if here.description != description:
            self._tracker.models.update(name, description=description)

    def _copy_version(self, name: str, version: Entity) -> None:
        number, description = int(version.version), version.description or ""
        stage = None if version.current_stage == "None" else version.current_stage
        facts = facts_of(version, self._source.shown, user=version.user_id, stage=stage)
        if stage == _ARCHIVED:
            facts[_STAGE_TAG] = _ARCHIVED
        tags = _tags(dict(version.tags) | facts)
        here = self._version(name, number)
        if here is None and self._transfer.verify:
            raise NotFound("is not here")
        if here is None:
            folder = self._folder(name, version)
            register = partial(self._tracker.models.register, name, folder.run_id, folder.path)
            try:
                here = self._transfer.written(
                    lambda: register(description=description, tags=tags, version=number), folder.revive
                )
                self._report.copied("versions")
            except Conflict:
                # Another import made it just now, or it was deleted here.
                here = self._version(name, number)
                if here is None:
                    raise
        present = {tag.key: tag.value for tag in here.tags}
        if not is_same(present, tags):
            raise Conflict("there is another version of this number here")
        tags[IMPORTED_TAG] = present[IMPORTED_TAG]
        other = {key: value for key, value in tags.items() if present.get(key) != value}
        if (other or here.description != description) and self._transfer.verify:
            raise InvalidValue("its tags or its description differ here")
        if other:
            self._tracker.models.set_tags(name, other, version=number)
        if here.description != description:
            self._tracker.models.update_version(name, number, description=description)
        files = {file.path: file for file in self._tracker.models.files(name, number)}
        what = f"version {number} of model {name!r}"
        self._transfer.compare_files(self._source.version_location(name, number), files, what, "versions")

    def _set_alias(self, name: str, alias: str, number: int) -> None:
        values.alias_name(alias)
        here = {each.alias: each.version for each in self._tracker.models.get(name).aliases}
        if here.get(alias) == number:
            return
        reason = f"{_REASON} {self._source.shown}"
        moves = self._tracker.models.alias_history(name, alias)
        if moves and not moves[-1].reason.startswith(_REASON):
            self._report.remark(f"alias {alias!r} of model {name!r}", "was moved here since: left alone")
        elif self._transfer.verify:
            raise InvalidValue(f"points at version {here.get(alias)} here, not {number}")
        else:
            try:
                self._tracker.models.set_alias(name, alias, number, reason=reason)
            except PermissionDenied as refused:
                # A protected one, which an administrator may set.
                try:
                    self._tracker.promotions.override(name, alias, version=number, reason=reason)
                except PermissionDenied:
                    raise refused from None
            self._report.copied("aliases")

    def _folder(self, name: str, version: Entity) -> Folder:
        """The folder here that has the files of a version; they are brought where none has."""
        source, number = str(version.source or ""), int(version.version)
        model_id = getattr(version, "model_id", None) or source.removeprefix("models:/")
        logged = self._logged.folder(model_id)
        if logged is not None:
            return logged
        location = self._source.version_location(name, number)
        run_id = version.run_id or ""
        if run_id not in self._runs:
            folder = Folder(self._stand_in(f"{name}/{number}", f"{name} {number}"), "model", _nothing)
            self._transfer.copy_files(location, folder.run_id, folder.path, folder.revive)
            return folder
        here = run_id_of(run_id)
        revive = partial(self._places.revive, self._runs[run_id], here)
        for root in (f"runs:/{run_id}", _plain(self._artifacts[run_id])):
            path = _plain(source).removeprefix(f"{root}/")
            # A name may mean a later logged model of the run than the one that has this folder.
            if path != _plain(source) and self._transfer.has_files(location, here, path):
                return Folder(here, path, revive)
        folder = Folder(here, f"registered/{name}/{number}", revive)
        self._transfer.copy_files(location, here, folder.path, revive)
        return folder

    def _stand_in(self, holder: str, name: str) -> str:
        """The id of a run that stands for one which the source has no more; it is made from ``holder``."""
        experiment = self._tracker.experiments.ensure(_WITHOUT_RUNS, owner=self._transfer.owner)
        new = NewRun(
            experiment_id=experiment.experiment_id,
            run_id=run_id_of(holder),
            name=name,
            status=RunStatus.FINISHED,
            batch=Batch(tags=(Tag(IMPORTED_TAG, self._source.shown),)),
        )
        return self._tracker.runs.create(new).run_id

    def _model(self, name: str) -> RegisteredModel | None:
        try:
            return self._tracker.models.get(name)
        except NotFound:
            return None

    def _version(self, name: str, number: int) -> ModelVersion | None:
        try:
            return self._tracker.models.version(name, number)
        except NotFound:
            return None


def _aliases(model: Entity, versions: list[Entity]) -> dict[str, int]:
    wanted = {alias: int(number) for alias, number in dict(model.aliases).items()}
    for stage in _STAGES:
        of_stage = [int(version.version) for version in versions if version.current_stage == stage]
        if of_stage:
            wanted.setdefault(stage.lower(), max(of_stage))
    return wanted


def _tags(tags: Mapping[str, str]) -> dict[str, str]:
    longest = values.LONGEST_REGISTRY_TAG
    return {
        tag.key: tag.value for tag in redact_tags(values.tag(key, tags[key], longest=longest) for key in sorted(tags))
    }


def _plain(location: str) -> str:
    """A location that is compared: of a file, its path."""
    return location.removeprefix("file://").rstrip("/")


def _nothing() -> None:
    """What need not be revived."""
