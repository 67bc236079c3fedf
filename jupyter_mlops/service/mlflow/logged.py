"""Logged models. To MLflow their ids begin with ``m-``, and their files have a root of their own. Clients before 3 know
none: they note in a tag of the run what they logged to it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import AbstractContextManager

import msgspec

from jupyter_mlops.core import values
from jupyter_mlops.core.errors import InvalidValue, NotFound
from jupyter_mlops.core.logged_model import LoggedModel, LoggedModelStatus, ModelMetric, ModelRole, ModelUse
from jupyter_mlops.core.records import DEFAULT_PAGE
from jupyter_mlops.service.mlflow.messages import Answer, Message, invalid, limited, missing, named, number
from jupyter_mlops.service.mlflow.runs import MetricAnswer, OfRun
from jupyter_mlops.service.mlflow.words import (
    LOGGED,
    MODEL_PREFIX,
    SCHEME,
    KeyValue,
    Pair,
    experiment_of,
    experiments_of,
    pairs_of,
    quoted,
    tags_of,
)
from jupyter_mlops.store.calls import RunCall
from jupyter_mlops.tracker.embedded import EmbeddedTracker

_VERSIONS_TAG = "mlflow.modelVersions"
_HISTORY_TAG = "mlflow.log-model.history"
_NEEDED = ("artifact_path", "flavors", "run_id", "utc_time_created")
_NOTED = ("artifact_path", "model_uuid", "run_id", "utc_time_created")
_STATUSES: dict[int | str, LoggedModelStatus] = {
    1: LoggedModelStatus.PENDING,
    2: LoggedModelStatus.READY,
    3: LoggedModelStatus.FAILED,
    "LOGGED_MODEL_PENDING": LoggedModelStatus.PENDING,
    "LOGGED_MODEL_READY": LoggedModelStatus.READY,
    "LOGGED_MODEL_UPLOAD_FAILED": LoggedModelStatus.FAILED,
}
_NAMES = {status: name for name, status in _STATUSES.items() if isinstance(name, str)}


class Registration(Answer, frozen=True, kw_only=True):
    name: str
    version: str


class Info(Answer, frozen=True, kw_only=True):
    model_id: str
    experiment_id: str
    name: str
    creation_timestamp_ms: int
    last_updated_timestamp_ms: int
    artifact_uri: str
    status: str
    model_type: str = ""
    source_run_id: str = ""
    tags: tuple[Pair, ...] = ()
    registrations: tuple[Registration, ...] = ()


class Data(Answer, frozen=True, kw_only=True):
    params: tuple[Pair, ...] = ()
    metrics: tuple[MetricAnswer, ...] = ()


class ModelAnswer(Answer, frozen=True, kw_only=True):
    info: Info
    data: Data


class Found(Answer, frozen=True, kw_only=True):
    model: ModelAnswer


class Listed(Answer, frozen=True, kw_only=True):
    models: tuple[ModelAnswer, ...] = ()
    next_page_token: str | None = None


class Create(Message, frozen=True, kw_only=True):
    experiment_id: str
    name: str = ""
    model_type: str = ""
    source_run_id: str = ""
    params: tuple[KeyValue, ...] = ()
    tags: tuple[KeyValue, ...] = ()


class ById(Message, frozen=True, kw_only=True):
    model_id: str


class Finalize(Message, frozen=True, kw_only=True):
    model_id: str
    status: int | str


class LogParams(Message, frozen=True, kw_only=True):
    model_id: str
    params: tuple[KeyValue, ...] = ()


class SetTags(Message, frozen=True, kw_only=True):
    model_id: str
    tags: tuple[KeyValue, ...] = ()


class DeleteTag(Message, frozen=True, kw_only=True):
    model_id: str
    tag_key: str


class OfDataset(Message, frozen=True, kw_only=True):
    dataset_name: str
    dataset_digest: str = ""


class Order(Message, frozen=True, kw_only=True):
    field_name: str
    ascending: bool = True


class Search(Message, frozen=True, kw_only=True):
    experiment_ids: tuple[str, ...] = ()
    filter: str = ""
    datasets: tuple[OfDataset, ...] = ()
    max_results: int = 50
    order_by: tuple[Order, ...] = ()
    page_token: str | None = None


class Output(Message, frozen=True, kw_only=True):
    model_id: str
    step: int = 0


class ModelSent(Message, frozen=True, kw_only=True):
    model_id: str


class LogOutputs(OfRun, frozen=True, kw_only=True):
    models: tuple[Output, ...] = ()


class LogModel(OfRun, frozen=True, kw_only=True):
    model_json: str


def create(tracker: EmbeddedTracker, asked: Create) -> Found:
    run_id, origin = asked.source_run_id or None, ""
    if run_id is not None:
        try:
            run_id = tracker.runs.get(run_id).run_id
        except NotFound:
            run_id, origin = None, asked.source_run_id
    made = tracker.logged_models.create(
        experiment_of(tracker, asked.experiment_id),
        name=asked.name or None,
        run_id=run_id,
        origin=origin,
        model_type=asked.model_type,
        params=[values.param_of_text(pair.key, pair.value) for pair in asked.params],
        tags=tags_of(asked.tags),
    )
    return Found(model=answer(made))


def get(tracker: EmbeddedTracker, asked: ById) -> Found:
    return Found(model=answer(model_of(tracker, asked.model_id)))


def search(tracker: EmbeddedTracker, asked: Search) -> Listed:
    if not asked.experiment_ids:
        raise missing("experiment_ids")
    limited(asked.max_results, "max_results", DEFAULT_PAGE)
    inside = experiments_of(tracker, asked.experiment_ids)
    if not inside:
        return Listed()
    conditions = [asked.filter] if asked.filter.strip() else []
    if asked.datasets:
        conditions.append(f"datasets.name IN ({', '.join(quoted(each.dataset_name) for each in asked.datasets)})")
        digests = [quoted(each.dataset_digest) for each in asked.datasets if each.dataset_digest]
        if digests:
            conditions.append(f"datasets.digest IN ({', '.join(digests)})")
    page = tracker.logged_models.search(
        inside,
        " AND ".join(conditions),
        [f"{_field(order.field_name)} {'ASC' if order.ascending else 'DESC'}" for order in asked.order_by],
        limit=asked.max_results,
        page_token=asked.page_token or None,
    )
    return Listed(models=tuple(map(answer, page.items)), next_page_token=page.next_page_token)


def finalize(tracker: EmbeddedTracker, asked: Finalize) -> Found:
    status = _STATUSES.get(asked.status)
    if status is None:
        raise invalid(asked.status, "status", f"It is one of {', '.join(_NAMES.values())}.")
    return Found(model=answer(tracker.logged_models.finish(id_of(asked.model_id), status)))


def log_params(tracker: EmbeddedTracker, asked: LogParams) -> None:
    params = [values.param_of_text(pair.key, pair.value) for pair in asked.params]
    tracker.logged_models.log_params(id_of(asked.model_id), params)


def set_tags(tracker: EmbeddedTracker, asked: SetTags) -> None:
    tracker.logged_models.set_tags(id_of(asked.model_id), tags_of(asked.tags))


def delete_tag(tracker: EmbeddedTracker, asked: DeleteTag) -> None:
    model = model_of(tracker, asked.model_id)
    with named(f"No tag with key {asked.tag_key!r} of model {asked.model_id};"):
        tracker.logged_models.delete_tag(model.model_id, asked.tag_key)


def delete(tracker: EmbeddedTracker, asked: ById) -> None:
    tracker.logged_models.delete(id_of(asked.model_id))


def log_outputs(tracker: EmbeddedTracker, asked: LogOutputs) -> None:
    if not asked.models:
        raise missing("models")
    run_id = asked.run
    uses = [
        ModelUse(run_id=run_id, model_id=id_of(each.model_id), role=ModelRole.OUTPUT, step=each.step)
        for each in asked.models
    ]
    tracker.logged_models.use(run_id, uses)


def log_model(tracker: EmbeddedTracker, asked: LogModel) -> Sequence[RunCall]:
    try:
        model = msgspec.json.decode(asked.model_json)
    except (msgspec.DecodeError, RecursionError) as error:
        raise InvalidValue(f"Malformed model info. \n {asked.model_json[:200]} \n is not a valid JSON.") from error
    if not isinstance(model, dict) or not isinstance(model.get("flavors", {}), dict):
        raise invalid(model, "model_json", "It is a JSON object, and so are its flavors.")
    lacking = sorted(set(_NEEDED) - set(model))
    if lacking:
        raise InvalidValue(f"Model json is missing mandatory fields: {', '.join(lacking)}")
    flavors = {
        name: {key: value for key, value in flavor.items() if key != "config"} if isinstance(flavor, dict) else flavor
        for name, flavor in model["flavors"].items()
    }
    noted = {**{key: model[key] for key in _NOTED if key in model}, "flavors": flavors}
    return (tracker.run_calls.append(asked.run, _HISTORY_TAG, noted),)


def note_inputs(tracker: EmbeddedTracker, run_id: str, models: Sequence[ModelSent]) -> None:
    """Note the models that a run took."""
    if models:
        uses = [ModelUse(run_id=run_id, model_id=id_of(each.model_id), role=ModelRole.INPUT) for each in models]
        tracker.logged_models.use(run_id, uses)


# --- shared ----------------------------------------------------------------------------------------------------------


def id_of(model_id: str) -> str:
    """The tracker's id of a model."""
    return model_id[len(MODEL_PREFIX) :] if model_id.startswith(MODEL_PREFIX) else model_id


def named_model(asked: ById | Finalize | LogParams | SetTags) -> AbstractContextManager[None]:
    return named(f"Logged model with ID '{asked.model_id[:64]}'")


def model_of(tracker: EmbeddedTracker, model_id: str) -> LoggedModel:
    with named(f"Logged model with ID '{model_id[:64]}'"):
        return tracker.logged_models.get(id_of(model_id))


def root_of(model: LoggedModel) -> str:
    """Where the files of a model are, for clients."""
    return f"{SCHEME}{model.experiment_id}/{LOGGED}/{MODEL_PREFIX}{model.model_id}/artifacts"


def answer(model: LoggedModel) -> ModelAnswer:
    tags = pairs_of(model.tags)
    if model.versions:
        versions = json.dumps([{"name": name, "version": number} for name, number in model.versions])
        tags = (*tags, Pair(_VERSIONS_TAG, versions))
    return ModelAnswer(
        info=Info(
            model_id=MODEL_PREFIX + model.model_id,
            experiment_id=model.experiment_id,
            name=model.name,
            creation_timestamp_ms=model.created,
            last_updated_timestamp_ms=model.updated,
            artifact_uri=root_of(model),
            status=_NAMES[model.status],
            model_type=model.model_type,
            source_run_id=model.origin or ("" if model.own_run else model.run_id),
            tags=tags,
            registrations=tuple(Registration(name=name, version=str(number)) for name, number in model.versions),
        ),
        data=Data(
            params=tuple(Pair(param.key, param.text) for param in model.params),
            metrics=tuple(_metric(MODEL_PREFIX + model.model_id, metric) for metric in model.metrics),
        ),
    )


def _metric(model_id: str, metric: ModelMetric) -> MetricAnswer:
    return MetricAnswer(
        key=metric.key,
        value=number(metric.value),
        timestamp=metric.timestamp,
        step=metric.step,
        dataset_name=metric.dataset_name or None,
        dataset_digest=metric.dataset_digest or None,
        model_id=model_id,
        run_id=metric.run_id,
    )


def _field(name: str) -> str:
    """A field to order by, whose key may have any characters."""
    prefix, dot, key = name.partition(".")
    return f"{prefix}.`{key.replace('`', '``')}`" if dot and "`" not in key and '"' not in key else name
