"""Experiments."""

from __future__ import annotations

from contextlib import AbstractContextManager

from jupyter_mlops.core.access import Scope
from jupyter_mlops.core.errors import InvalidValue, NotFound
from jupyter_mlops.core.records import LARGEST_PAGE, Experiment
from jupyter_mlops.core.values import short
from jupyter_mlops.service.mlflow.messages import Answer, Message, active, limited, named
from jupyter_mlops.service.mlflow.words import (
    DEFAULT_EXPERIMENT,
    KeyValue,
    Pair,
    artifact_root,
    experiment_of,
    pairs_of,
    tags_of,
    view_of,
)
from jupyter_mlops.tracker.embedded import EmbeddedTracker


class ExperimentAnswer(Answer, frozen=True, kw_only=True):
    experiment_id: str
    name: str
    artifact_location: str
    lifecycle_stage: str
    last_update_time: int
    creation_time: int
    tags: tuple[Pair, ...] = ()
    workspace: str = ""


class Found(Answer, frozen=True, kw_only=True):
    experiment: ExperimentAnswer


class Created(Answer, frozen=True, kw_only=True):
    experiment_id: str


class Listed(Answer, frozen=True, kw_only=True):
    experiments: tuple[ExperimentAnswer, ...] = ()
    next_page_token: str | None = None


class Create(Message, frozen=True, kw_only=True):
    name: str
    artifact_location: str = ""
    tags: tuple[KeyValue, ...] = ()


class ById(Message, frozen=True, kw_only=True):
    experiment_id: str


class ByName(Message, frozen=True, kw_only=True):
    experiment_name: str


class Search(Message, frozen=True, kw_only=True):
    max_results: int = 1000
    page_token: str | None = None
    filter: str = ""
    order_by: tuple[str, ...] = ()
    view_type: int | str | None = None


class Update(Message, frozen=True, kw_only=True):
    experiment_id: str
    new_name: str


class SetTag(Message, frozen=True, kw_only=True):
    experiment_id: str
    key: str
    value: str = ""


class DeleteTag(Message, frozen=True, kw_only=True):
    experiment_id: str
    key: str


def create(tracker: EmbeddedTracker, asked: Create) -> Created:
    if asked.artifact_location:
        raise InvalidValue(
            "artifact_location: files are kept where this service keeps them, and downloaded from it; leave it out"
        )
    made = tracker.experiments.create(asked.name, tags=tags_of(asked.tags))
    return Created(experiment_id=made.experiment_id)


def get(tracker: EmbeddedTracker, asked: ById) -> Found:
    return Found(experiment=_get(tracker, asked.experiment_id))


def get_by_name(tracker: EmbeddedTracker, asked: ByName) -> Found:
    try:
        return Found(experiment=_answer(tracker.experiments.find(asked.experiment_name)))
    except NotFound as error:
        if asked.experiment_name == DEFAULT_EXPERIMENT:
            return Found(experiment=_get(tracker, "0"))
        raise NotFound(f"Could not find experiment with name {short(asked.experiment_name)}") from error


def search(tracker: EmbeddedTracker, asked: Search) -> Listed:
    limited(asked.max_results, "max_results", LARGEST_PAGE)
    view = view_of(asked.view_type, "view_type")
    if asked.page_token is None and tracker.principal.scope >= Scope.WRITE:
        # To MLflow, it is always there.
        experiment_of(tracker, "0")
    page = tracker.experiments.search(
        asked.filter, asked.order_by, view=view, limit=asked.max_results, page_token=asked.page_token or None
    )
    return Listed(experiments=tuple(map(_answer, page.items)), next_page_token=page.next_page_token)


def update(tracker: EmbeddedTracker, asked: Update) -> None:
    with _named(asked.experiment_id), active(f"experiment {asked.experiment_id[:64]}"):
        tracker.experiments.rename(experiment_of(tracker, asked.experiment_id), asked.new_name)


def delete(tracker: EmbeddedTracker, asked: ById) -> None:
    with _named(asked.experiment_id):
        tracker.experiments.delete(experiment_of(tracker, asked.experiment_id))


def restore(tracker: EmbeddedTracker, asked: ById) -> None:
    with _named(asked.experiment_id):
        tracker.experiments.restore(experiment_of(tracker, asked.experiment_id))


def set_tag(tracker: EmbeddedTracker, asked: SetTag) -> None:
    with _named(asked.experiment_id), active(f"experiment {asked.experiment_id[:64]}"):
        tracker.experiments.set_tags(experiment_of(tracker, asked.experiment_id), {asked.key: asked.value})


def delete_tag(tracker: EmbeddedTracker, asked: DeleteTag) -> None:
    experiment_id = _get(tracker, asked.experiment_id).experiment_id
    with named(f"No tag with name: {asked.key} in experiment with id {experiment_id};"):
        tracker.experiments.delete_tag(experiment_id, asked.key)


def _get(tracker: EmbeddedTracker, experiment_id: str) -> ExperimentAnswer:
    with _named(experiment_id):
        return _answer(tracker.experiments.get(experiment_of(tracker, experiment_id)))


def _named(experiment_id: str) -> AbstractContextManager[None]:
    return named(f"Experiment with id={experiment_id[:64]}")


def _answer(experiment: Experiment) -> ExperimentAnswer:
    return ExperimentAnswer(
        experiment_id=experiment.experiment_id,
        name=experiment.name,
        artifact_location=artifact_root(experiment.experiment_id),
        lifecycle_stage=experiment.lifecycle.value,
        last_update_time=experiment.updated,
        creation_time=experiment.created,
        tags=pairs_of(experiment.tags),
    )
