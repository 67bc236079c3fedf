"""What is logged to runs: the hot path, whose calls the store's writer takes without a thread that waits."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from jupyter_mlops.core import values
from jupyter_mlops.core.errors import InvalidValue
from jupyter_mlops.core.records import Batch, Dataset, Input, Metric, ModelPoint, RunChange, Tag
from jupyter_mlops.service.mlflow.logged import ModelSent, id_of, note_inputs
from jupyter_mlops.service.mlflow.messages import Message
from jupyter_mlops.service.mlflow.runs import CONTEXT, RUN_NAME, OfRun
from jupyter_mlops.service.mlflow.words import KeyValue
from jupyter_mlops.store.calls import RunCall
from jupyter_mlops.tracker.embedded import EmbeddedTracker

MOST_METRICS = MOST_ENTITIES = 1000
MOST_PARAMS = MOST_TAGS = 100


class MetricSent(msgspec.Struct, kw_only=True, frozen=True, gc=False):
    key: str
    value: float
    timestamp: int
    step: int = 0
    model_id: str | None = None
    dataset_name: str | None = None
    dataset_digest: str | None = None


class LogMetric(OfRun, frozen=True, kw_only=True):
    key: str
    value: float
    timestamp: int
    step: int = 0
    model_id: str | None = None
    dataset_name: str | None = None
    dataset_digest: str | None = None


class LogParam(OfRun, frozen=True, kw_only=True):
    key: str
    value: str = ""


class LogBatch(OfRun, frozen=True, kw_only=True):
    metrics: tuple[MetricSent, ...] = ()
    params: tuple[KeyValue, ...] = ()
    tags: tuple[KeyValue, ...] = ()


class DatasetSent(Message, frozen=True, kw_only=True):
    name: str
    digest: str
    source_type: str = "unknown"
    source: str = ""
    schema: str | None = None
    profile: str | None = None


class InputSent(Message, frozen=True, kw_only=True):
    dataset: DatasetSent
    tags: tuple[KeyValue, ...] = ()


class LogInputs(OfRun, frozen=True, kw_only=True):
    datasets: tuple[InputSent, ...] = ()
    models: tuple[ModelSent, ...] = ()


def log_metric(tracker: EmbeddedTracker, asked: LogMetric) -> Sequence[RunCall]:
    point = Metric(asked.key, asked.value, asked.timestamp, asked.step)
    return (tracker.run_calls.log(asked.run, Batch(metrics=(point,), model_points=_model_points((asked,)))),)


def log_param(tracker: EmbeddedTracker, asked: LogParam) -> Sequence[RunCall]:
    return (tracker.run_calls.log(asked.run, Batch(params=(values.param_of_text(asked.key, asked.value),))),)


def set_tag(tracker: EmbeddedTracker, asked: LogParam) -> Sequence[RunCall]:
    return _with_tags(tracker, asked.run, Batch(), (KeyValue(key=asked.key, value=asked.value),))


def log_batch(tracker: EmbeddedTracker, asked: LogBatch) -> Sequence[RunCall]:
    _require_few(len(asked.metrics), "metrics", MOST_METRICS)
    _require_few(len(asked.params), "params", MOST_PARAMS)
    _require_few(len(asked.tags), "tags", MOST_TAGS)
    _require_few(len(asked.metrics) + len(asked.params) + len(asked.tags), "metrics, params, and tags", MOST_ENTITIES)
    batch = Batch(
        metrics=tuple(Metric(point.key, point.value, point.timestamp, point.step) for point in asked.metrics),
        params=tuple(values.param_of_text(pair.key, pair.value) for pair in asked.params),
        model_points=_model_points(asked.metrics),
    )
    return _with_tags(tracker, asked.run, batch, asked.tags)


def has_models(asked: LogInputs) -> bool:
    return bool(asked.models)


def log_inputs(tracker: EmbeddedTracker, asked: LogInputs) -> Sequence[RunCall]:
    note_inputs(tracker, asked.run, asked.models)
    return (tracker.run_calls.log(asked.run, Batch(inputs=tuple(map(_input, asked.datasets)))),)


def _with_tags(tracker: EmbeddedTracker, run_id: str, batch: Batch, pairs: Sequence[KeyValue]) -> Sequence[RunCall]:
    """The calls that log a batch with tags, of which one is the run's name."""
    tags = {pair.key: pair.value for pair in pairs}
    name = tags.pop(RUN_NAME, None)
    calls: list[RunCall] = []
    if tags or name is None:
        labels = tuple(Tag(key, value) for key, value in tags.items())
        calls.append(tracker.run_calls.log(run_id, msgspec.structs.replace(batch, tags=labels)))
    elif batch != Batch():
        calls.append(tracker.run_calls.log(run_id, batch))
    if name is not None:
        # Last, since a batch that is refused changes nothing.
        calls.append(tracker.run_calls.change(run_id, RunChange(name=name)))
    return calls


def _model_points(sent: Sequence[MetricSent | LogMetric]) -> tuple[ModelPoint, ...]:
    """Of the points that tell of a logged model, too, what they tell of that."""
    return tuple(
        ModelPoint(
            id_of(point.model_id),
            Metric(point.key, point.value, point.timestamp, point.step),
            point.dataset_name or "",
            point.dataset_digest or "",
        )
        for point in sent
        if point.model_id
    )


def _input(sent: InputSent) -> Input:
    given = sent.dataset
    tags = {pair.key: pair.value for pair in sent.tags}
    context = tags.pop(CONTEXT, "")
    dataset = Dataset(
        name=given.name,
        digest=given.digest,
        source_type=given.source_type,
        source=given.source,
        schema=given.schema,
        profile=given.profile,
    )
    labels = tuple(values.tag(key, value) for key, value in tags.items())
    return Input(values.dataset(dataset), context=values.input_context(context), tags=labels)


def _require_few(count: int, what: str, most: int) -> None:
    if count > most:
        raise InvalidValue(f"A batch logging request can contain at most {most} {what}. Got {count} {what}.")
