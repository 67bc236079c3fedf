"""MLflow's entities as records: what a run, an experiment, a model of a source is once it is here."""

from __future__ import annotations

import hashlib
import math
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import msgspec

from jupyter_mlops.core import values
from jupyter_mlops.core.batches import check_batch
from jupyter_mlops.core.errors import InvalidValue
from jupyter_mlops.core.ids import is_id
from jupyter_mlops.core.logged_model import ModelRole
from jupyter_mlops.core.records import Batch, Dataset, Input, Param, RunStatus, Series, Tag
from jupyter_mlops.core.redaction import redact_batch, redact_tags, redact_text

T = TypeVar("T")
Entity = Any

IMPORTED_TAG = "mlops.imported"
"""On all that was imported: the source."""
CREATED_TAG = "mlops.imported.created"
"""When a thing was made that has only the time of its import here; milliseconds since the epoch."""
RUN_NAME_TAG, PARENT_TAG, SOURCE_TAG, CONTEXT_TAG = (
    "mlflow.runName",
    "mlflow.parentRunId",
    "mlflow.source.name",
    "mlflow.data.context",
)

_NAN = float("nan")

Point = tuple[int, int, int]
"""Step, timestamp, and the bits of the value, so that NaN and -0.0 are equal to themselves only."""


class WantedRun(msgspec.Struct, frozen=True):
    """A run of a source as it should be here, its metrics aside."""

    run_id: str
    name: str
    status: RunStatus
    start_time: int | None
    end_time: int | None
    parent_run_id: str | None
    source: str
    batch: Batch
    deleted: bool
    refused: tuple[str, ...]
    """What of it cannot be kept here, and why."""
    adapted: tuple[str, ...]
    """What of it is kept in another form, and how."""


def run_id_of(source: str) -> str:
    """The id here of a run of a source: the same one, if it is one here."""
    return source if is_id(source) else hashlib.sha256(f"mlflow run {source}".encode()).hexdigest()[:32]


def wanted_run(run: Entity, imported_from: str, parent_run_id: str | None) -> WantedRun:
    """A run of a source as it should be here.

    Parameters
    ----------
    imported_from
        The source, as users know it.
    parent_run_id
        Its parent's id here, where that is or will be here.
    """
    refused: list[str] = []
    adapted: list[str] = []
    info, tags = run.info, dict(run.data.tags)
    name = info.run_name or tags.get(RUN_NAME_TAG) or info.run_id
    try:
        values.run_name(name)
    except InvalidValue:
        tags.setdefault(RUN_NAME_TAG, name)
        name = info.run_id[: values.LONGEST_KEY]
        adapted.append(f"its name is in the tag {RUN_NAME_TAG}")
    source = tags.get(SOURCE_TAG, "")
    try:
        values.check_text(source, "source", values.LONGEST_RUN_SOURCE)
    except InvalidValue:
        source = ""
    # What is an attribute here is not kept as a tag, too.
    told = {RUN_NAME_TAG: name, SOURCE_TAG: source, PARENT_TAG: tags.get(PARENT_TAG) if parent_run_id else None}
    kept = {key: value for key, value in tags.items() if told.get(key) != value} | {IMPORTED_TAG: imported_from}
    params = _accepted(run.data.params.items(), lambda item: values.param_of_text(*item), _of_params, refused)
    labels = _accepted(kept.items(), lambda item: Tag(*item), _of_tags, refused)
    inputs = _accepted(_dataset_inputs(run), _input, _of_inputs, refused)
    batch = Batch(params=params, tags=labels, inputs=inputs)
    safe = redact_batch(batch)
    if safe != batch:
        adapted += [f"{what} holds a secret, which is replaced" for what in _redacted(batch, safe)]
    status, end = RunStatus(info.status), info.end_time
    if status.ended and end is None:
        end = info.start_time
        adapted.append("it ended without a time: the end is taken to be its start")
    return WantedRun(
        run_id=run_id_of(info.run_id),
        name=name,
        status=status,
        start_time=info.start_time,
        end_time=end,
        parent_run_id=parent_run_id,
        source=redact_text(source),
        batch=safe,
        deleted=info.lifecycle_stage == "deleted",
        refused=tuple(refused),
        adapted=tuple(adapted),
    )


def facts_of(thing: Entity, imported_from: str, **more: str | None) -> dict[str, str]:
    """What is known of an experiment, a registered model or a version that has no other place here, as tags."""
    created = getattr(thing, "creation_timestamp", None) or getattr(thing, "creation_time", None)
    facts = {IMPORTED_TAG: imported_from, CREATED_TAG: str(created or "unknown")}
    return facts | {f"{IMPORTED_TAG}.{name}": value for name, value in more.items() if value}


def is_same(present: Mapping[str, str], wanted: Mapping[str, str]) -> bool:
    """Whether what has the tags ``present`` here is the import of what should have ``wanted``, and no namesake."""
    return IMPORTED_TAG in present and present.get(CREATED_TAG) == wanted[CREATED_TAG]


def experiment_tags(experiment: Entity, imported_from: str) -> tuple[dict[str, str], list[str]]:
    """The tags of an experiment here, and what cannot be kept of those in the source."""
    refused: list[str] = []
    longest = values.LONGEST_EXPERIMENT_TAG
    facts = facts_of(experiment, imported_from, id=str(experiment.experiment_id))
    found = _accepted(
        (dict(experiment.tags) | facts).items(),
        lambda item: values.tag(*item, longest=longest),
        lambda _: None,
        refused,
    )
    return {tag.key: tag.value for tag in redact_tags(found)}, refused


def model_uses(run: Entity) -> Iterator[tuple[str, ModelRole, int]]:
    """Which logged models a run took or made, and at which step; none where MLflow is older than these."""
    for used in getattr(getattr(run, "inputs", None), "model_inputs", None) or ():
        yield used.model_id, ModelRole.INPUT, 0
    for made in getattr(getattr(run, "outputs", None), "model_outputs", None) or ():
        yield made.model_id, ModelRole.OUTPUT, int(made.step or 0)


def points_of(history: Iterable[Entity], key: str) -> tuple[list[Point], list[str]]:
    """The points of a metric, an identical one once, and what cannot be kept of them."""
    found = list(history)
    kept = [each for each in found if 0 <= each.timestamp <= values.LARGEST_INT]
    refused = []
    if len(kept) < len(found):
        refused.append(f"metric {key!r}: {len(found) - len(kept)} points before 1970 have no place here")
    bits = bits_of(each.value for each in kept)
    steps, times = [int(each.step) for each in kept], [int(each.timestamp) for each in kept]
    return list(dict.fromkeys(zip(steps, times, bits, strict=True))), refused


def bits_of(numbers: Iterable[float]) -> array[int]:
    """The IEEE 754 patterns of numbers, that of NaN being one."""
    plain = array("d", [_NAN if math.isnan(number) else number for number in numbers])
    return array("q", plain.tobytes())


def series_of(key: str, points: Sequence[Point]) -> Series:
    """Points of a metric as they are logged."""
    numbers = array("d", array("q", [point[2] for point in points]).tobytes())
    return values.series(
        key, numbers, steps=array("q", [point[0] for point in points]), timestamps=array("q", [p[1] for p in points])
    )


# --- inside ----------------------------------------------------------------------------------------------------------


def _accepted(
    items: Iterable[Any], make: Callable[[Any], T], batch: Callable[[T], Batch | None], refused: list[str]
) -> tuple[T, ...]:
    """What may be logged of ``items``; why the others may not is added to ``refused``."""
    kept = []
    for item in items:
        try:
            made = make(item)
            alone = batch(made)
            if alone is not None:
                check_batch(alone)
        except InvalidValue as error:
            refused.append(error.message)
        else:
            kept.append(made)
    return tuple(kept)


def _of_params(param: Param) -> Batch:
    return Batch(params=(param,))


def _of_tags(tag: Tag) -> Batch:
    return Batch(tags=(tag,))


def _of_inputs(use: Input) -> Batch:
    return Batch(inputs=(use,))


def _dataset_inputs(run: Entity) -> Sequence[Entity]:
    inputs = getattr(run, "inputs", None)
    return () if inputs is None else tuple(inputs.dataset_inputs)


def _input(given: Entity) -> Input:
    dataset, labels = given.dataset, {tag.key: tag.value for tag in given.tags}
    context = labels.pop(CONTEXT_TAG, "")
    return Input(
        values.dataset(
            Dataset(
                name=dataset.name,
                digest=dataset.digest,
                source_type=dataset.source_type or "",
                source=dataset.source or "",
                schema=dataset.schema,
                profile=dataset.profile,
            )
        ),
        context,
        tuple(Tag(key, value) for key, value in sorted(labels.items())),
    )


def _redacted(batch: Batch, safe: Batch) -> Iterable[str]:
    yield from (f"parameter {a.key!r}" for a, b in zip(batch.params, safe.params, strict=True) if a != b)
    yield from (f"tag {a.key!r}" for a, b in zip(batch.tags, safe.tags, strict=True) if a != b)
    yield from (f"data set {a.dataset.name!r}" for a, b in zip(batch.inputs, safe.inputs, strict=True) if a != b)
